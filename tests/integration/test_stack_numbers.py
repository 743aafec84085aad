# SPDX-License-Identifier: MIT
"""The number of a stack: the same in every run and build, told by the reports, and taken
by --stack, which shows one stack whole and over time."""
import re

import pytest

import support
from support import PROGRAMS, analyze

SOURCE = """
#include <cstdlib>
#include <vector>
struct Keeper { void *keep(int); };
std::vector<void *> *kept = new std::vector<void *>;
__attribute__((noinline)) void *Keeper::keep(int size)
{
    void *block = malloc(size);
    kept->push_back(block);
    return block;
}
__attribute__((noinline)) void *other(int size)
{
    return malloc(size);
}
int main()
{
    Keeper keeper;
    kept->reserve(64);
    for (int i = 0; i < 20; i++) {
        keeper.keep(123 * 8);
        free(other(123 * 16));
    }
}
"""


def traced(folder, name, source, *options):
    program = support.compiled(folder, name, source, "-g", *options, compiler="g++")
    support.trace([program], folder / "t")
    return folder / "t"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return traced(tmp_path_factory.mktemp("kept"), "kept", SOURCE, "-O0")


def numbers(path, *options):
    """Function to the numbers of its stacks."""
    found = {}
    for entry in support.report(path, "--allocations", "--top", "0", *options)["allocations"]:
        found.setdefault(entry["label"], set()).add(entry["stack_id"])
    return found


def test_the_same_in_two_runs_and_two_builds(kept, tmp_path):
    """GIVEN a program, and the same source some lines further down, built with other options
    and names, in another folder
    WHEN both are traced
    THEN a path has the same number in each; two paths have two."""
    old = numbers(kept)
    assert re.fullmatch("[0-9a-f]{12}", *old["Keeper::keep"])
    assert old["Keeper::keep"] != old["other"]
    again = traced(tmp_path / "again", "kept", SOURCE, "-O0")
    assert numbers(again) == old
    new = numbers(traced(tmp_path / "new", "kept-2", "\n\n\n" + SOURCE, "-O1", "-fno-inline",
                         "-fno-optimize-sibling-calls", "-no-pie"))
    for function in ("Keeper::keep", "other"):
        assert new[function] == old[function]
    full = support.report(kept, "--allocations", "--full-names")["allocations"]
    assert {e["stack_id"] for e in full if e["label"].startswith("Keeper::keep(")} == \
        old["Keeper::keep"]


def test_reports_tell_it(kept):
    [number] = numbers(kept)["Keeper::keep"]
    for options in (["--leaks"], ["--peak"], ["--allocations"], ["--snapshots=churn:1G"]):
        assert number in analyze(kept, *options).stdout, options
    assert f'"stack_id": "{number}"' in analyze(kept, "--json", "--snapshots=churn:1G").stdout
    other = traced(kept.parent / "other", "kept", SOURCE.replace("i < 20", "i < 10"), "-O0")
    text = support.run([support.ANALYZE, "--diff", "--leaks", kept, other]).stdout
    assert f"      stack: {number}\n" in text, text


def test_snapshots_tell_calls(kept):
    """Text tells calls as well as bytes, of all and of each stack."""
    text = analyze(kept, "--snapshots=churn:1G", "--function", "^other$").stdout
    assert "since the last allocated 38.4 KiB in 20 calls and freed 38.4 KiB" in text, text
    assert re.search(r"^ +0 B +0 +20 +38\.4 KiB +38\.4 KiB  [0-9a-f]{12}  other, \S+$", text, re.M)


@pytest.mark.parametrize("digits", [12, 4])
def test_one_stack_whole_and_over_time(kept, digits):
    """GIVEN the number of a stack, or how it begins
    WHEN it is asked for
    THEN all its frames are there, and a history whose sums are its own."""
    [number] = numbers(kept)["Keeper::keep"]
    got = support.report(kept, "--stack", number[:digits])["stack"]
    [one] = got["stacks"]
    assert one["stack_id"] == number and (one["calls"], one["allocated_bytes"]) == (20, 20 * 984)
    assert sum(span["calls"] for span in got["history"]) == 20
    assert sum(span["allocated_bytes"] for span in got["history"]) == 20 * 984
    last = got["history"][-1]
    assert last["live_bytes"] == last["most_bytes"] == one["leaked_bytes"] == 20 * 984
    assert len(got["history"]) <= 64
    text = analyze(kept, "--stack", number[:digits]).stdout
    assert " _start " in text and "Over time" in text and "stack " + number in text


def test_freed_blocks_over_time(kept):
    [number] = numbers(kept)["other"]
    history = support.report(kept, f"--stack={number}")["stack"]["history"]
    assert sum(span["frees"] for span in history) == 20
    assert sum(span["freed_bytes"] for span in history) == 20 * 1968
    assert history[-1]["live_bytes"] == 0 and max(s["most_bytes"] for s in history) == 1968


def test_a_number_that_is_none(kept):
    done = support.run([support.ANALYZE, "--stack", "000000000000", kept])
    assert done.returncode == 0 and "None has the number 000000000000" in done.stdout
    for wrong in ("xyz", "abc", "0123456789abc", ""):
        done = support.run([support.ANALYZE, "--stack", wrong, kept])
        assert done.returncode == 2 and "expected a stack's number" in done.stderr, wrong


def test_of_processes_that_are_over(tmp_path):
    """GIVEN two processes of one program; THEN its stacks have one number, and one entry."""
    support.trace(["sh", "-c", '"$0" 10; "$0" 10', PROGRAMS / "churn"], tmp_path / "t")
    [number] = numbers(tmp_path / "t")["site_two"]
    [one] = support.report(tmp_path / "t", "--stack", number)["stack"]["stacks"]
    assert one["calls"] == sum(
        e["calls"] for e in support.report(tmp_path / "t", "--allocations", "--top", "0")
        ["allocations"] if e["stack_id"] == number)
