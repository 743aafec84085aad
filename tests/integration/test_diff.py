# SPDX-License-Identifier: MIT
"""Differences between two traces: of one program, of programs built again with
other flags at another place, and of programs whose names are hostile."""
import json
import re

import pytest

import support
from support import analyze, run

# WORK is replaced: what each version does. xmalloc is inlined, or not, as the
# compiler likes.
SOURCE = r"""
#include <stdlib.h>
static void *volatile keep;
static void *xmalloc(size_t n) { void *p = malloc(n); keep = p; return p; }
#define SITE(name) __attribute__((noinline, noipa)) static void name(size_t n, int times) \
    { for (int i = 0; i < times; i++) xmalloc(n); keep = 0; }
SITE(same) SITE(grows) SITE(shrinks) SITE(goes) SITE(comes)
__attribute__((noinline, noipa)) static void churn(int times)
{ for (int i = 0; i < times; i++) { free(xmalloc(24)); keep = 0; } }
int main(void)
{
    WORK
    return 0;
}
"""
OLD = "same(111, 7); grows(123 * 8, 2); shrinks(1000, 9); goes(4321, 1); churn(10);"
NEW = "same(111, 7); grows(123 * 8, 5); shrinks(1000, 4); comes(777, 3); churn(12);"
# status, change in bytes and blocks
EXPECTED = {"grows": ("grew", 3 * 984, 3), "shrinks": ("shrank", -5000, -5),
            "goes": ("gone", -4321, -1), "comes": ("new", 3 * 777, 3)}


def traced(folder, work, *flags, source=SOURCE, name="program", replace=None):
    folder.mkdir(parents=True)
    (folder / f"{folder.name[:1]}.c").write_text(source.replace("WORK", work))
    program = folder / name
    done = run(["gcc", "-g", "-fno-optimize-sibling-calls", *(flags or ["-O2"]), "-o", program,
                folder / f"{folder.name[:1]}.c"])
    assert done.returncode == 0, done
    if replace:
        program.write_bytes(program.read_bytes().replace(*replace))
    assert support.trace([program], folder / "t").returncode == 0
    return folder / "t"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diff")
    return traced(folder / "old", OLD), traced(folder / "new", NEW)


def diff(old, new, *args):
    done = run([support.ANALYZE, "--json", "--top", "0", *args, "--diff", old, new])
    assert done.returncode == 0, done
    whole = json.loads(done.stdout)
    assert whole["schema"] == "mlog-diff/1"
    return whole


def by_site(entries):
    """Changes by the function of ours that stands outside xmalloc."""
    sites = {}
    for entry in entries:
        names = support.functions(entry)
        (site,) = [n for n in names if n in ("same", "grows", "shrinks", "goes", "comes", "churn")]
        assert site not in sites, "one entry a stack"
        sites[site] = (entry["status"], entry["change_bytes"], entry["change_blocks"])
    return sites


def test_changes_by_stack(pair):
    whole = diff(*pair)
    assert by_site(whole["leaks"]) == EXPECTED
    sizes = [abs(entry["change_bytes"]) for entry in whole["leaks"]]
    assert sizes == sorted(sizes, reverse=True)
    assert by_site(whole["allocations"]) == EXPECTED | {"churn": ("grew", 48, 2)}
    for entry in whole["leaks"]:
        assert entry["new_bytes"] - entry["old_bytes"] == entry["change_bytes"]
        assert entry["new_blocks"] - entry["old_blocks"] == entry["change_blocks"]
    grown = whole["leaks"][[support.functions(e)[-2:] and e["status"] for e in
                            whole["leaks"]].index("grew")]
    assert grown["percent"] == pytest.approx(150) and grown["old_bytes"] == 2 * 984


def test_sums(pair):
    whole = diff(*pair)
    old, new = support.summary(pair[0]), support.summary(pair[1])
    for name, of in whole["summary"].items():
        assert (of["old"], of["new"]) == (old[name], new[name]), name
        assert of["change"] == new[name] - old[name], name
    for cost, total in (("leaks", "leaked_bytes"), ("peak", "peak_bytes"),
                        ("allocations", "allocated_bytes")):
        change = whole["summary"][total]["change"]
        assert sum(e["change_bytes"] for e in whole[cost]) == change
        sums = whole["changes"][cost]
        assert sums["grew"]["bytes"] + sums["new"]["bytes"] - sums["shrank"]["bytes"] - \
            sums["gone"]["bytes"] == change
        for status, of in sums.items():
            assert of["stacks"] == sum(e["status"] == status for e in whole[cost])


@pytest.mark.parametrize("flags", [["-O0"], ["-O3", "-fomit-frame-pointer"],
                                   ["-O2", "-fno-inline"], ["-O1", "-fPIE", "-pie"],
                                   ["-O2", "-no-pie", "-fcf-protection=none"]], ids=" ".join)
def test_a_rebuilt_program_matches(pair, tmp_path, flags):
    """Other flags, another place, another name of file and source."""
    new = traced(tmp_path / "elsewhere" / "v2", "\n\n" + NEW, *flags, name="program-2")
    whole = diff(pair[0], new)
    assert by_site(whole["leaks"]) == EXPECTED
    assert whole["new"]["stacks_without_names"] == 0
    same = traced(tmp_path / "again" / "v1", "\n" + OLD, *flags)
    assert diff(pair[0], same)["leaks"] == []


def test_with_itself_nothing_changed(pair):
    whole = diff(pair[0], pair[0])
    assert not whole["leaks"] and not whole["peak"] and not whole["allocations"]
    assert all(of["change"] == 0 for of in whole["summary"].values())
    text = run([support.ANALYZE, "--diff", pair[0], pair[0]]).stdout
    assert text.count("No stack changed.") == 3


def test_text(pair):
    text = run([support.ANALYZE, "--diff", *pair]).stdout
    assert re.search(r"^  never freed +\d\S* KiB +\d\S* KiB +-3\.94 KiB +-2\d\.\d %$", text, re.M)
    assert re.search(r"^   1\. -4\.88 KiB, -55\.6 %, -5 blocks, 8\.79 KiB before, 3\.91 KiB now +"
                     r"shrinks, \S+$", text, re.M), text
    assert re.search(r"-4\.22 KiB gone, -1 block +goes, \S+$", text, re.M)
    assert re.search(r"\+2\.28 KiB new, \+3 blocks +comes, \S+$", text, re.M)
    assert "Stacks: 1 grew by 2.88 KiB, 1 shrank by 4.88 KiB, 1 new with 2.28 KiB, " \
        "1 gone with 4.22 KiB:" in text
    assert f"OLD  {pair[0]}" in text and "NEW  Complete" in text
    top = run([support.ANALYZE, "--leaks", "--top", "1", "--diff", *pair]).stdout
    assert "the 1 that changed most" in top and "goes" not in top and "Allocations" not in top


def test_sort(pair):
    blocks = [abs(e["change_blocks"]) for e in diff(*pair, "--sort", "blocks")["leaks"]]
    assert blocks == sorted(blocks, reverse=True) and blocks[-1] == 1


def test_without_symbols_the_same_build_matches_by_offset(tmp_path):
    program = r"""
#include <stdlib.h>
static void *volatile keep;
__attribute__((noinline)) void a(void) { keep = malloc(984); }
__attribute__((noinline)) void b(void) { keep = malloc(77); }
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        argv[i][0] == 'a' ? a() : b();
    return 0;
}
"""
    support.compiled(tmp_path, "p", program, "-O1")
    support.trace([tmp_path / "p", "a", "b"], tmp_path / "1")
    support.trace([tmp_path / "p", "a", "a"], tmp_path / "2")
    entries = diff(tmp_path / "1", tmp_path / "2", "--no-symbols")["leaks"]
    assert [(e["status"], e["change_bytes"]) for e in entries] == [("grew", 984), ("gone", -77)]
    # Another build, also without names: offsets mean nothing, modules do.
    support.compiled(tmp_path, "q", program.replace("984", "985"), "-O1")
    support.trace([tmp_path / "q", "a", "b"], tmp_path / "3")
    whole = diff(tmp_path / "1", tmp_path / "3", "--no-symbols")
    (entry,) = whole["leaks"]
    assert entry["status"] == "grew" and entry["change_bytes"] == 1
    assert whole["old"]["stacks_without_names"] == 2


def test_a_replaced_build_is_told_and_its_bundle_is_not(tmp_path):
    old = traced(tmp_path / "p", OLD)
    analyze(old, "--bundle", tmp_path / "old.mlogz")
    compressed = run(["zstd", "-qc", old], binary=True).stdout
    (tmp_path / "old.zst").write_bytes(compressed)
    (tmp_path / "p").rename(tmp_path / "kept")
    new = traced(tmp_path / "p", NEW)
    text = run([support.ANALYZE, "--diff", tmp_path / "old.zst", new]).stdout
    assert re.search("OLD  .* stacks have frames without names", text), text
    assert by_site(diff(tmp_path / "old.mlogz", new)["leaks"]) == EXPECTED


def test_two_windows_of_one_trace(pair):
    """Marks are moments like any other; here the whole and none of it."""
    trace = pair[0]
    window = ["--old-to", "0", "--from", "0"]
    whole = diff(trace, trace, *window)
    leaked = support.summary(trace)["leaked_bytes"]
    assert whole["summary"]["leaked_bytes"] == {"old": 0, "new": leaked, "change": leaked}
    assert {entry["status"] for entry in whole["leaks"]} == {"new"}
    assert {e["status"] for e in diff(trace, trace, "--old-from", "0", "--to", "0")["leaks"]} == \
        {"gone"}
    text = run([support.ANALYZE, *window, "--diff", trace, trace]).stdout
    assert re.search("OLD  filtered: .*\n +NEW  filtered: ", text), text


def test_filters_hold_for_both(pair):
    sites = by_site(diff(*pair, "--min-size", "980")["leaks"])
    assert sites == {site: EXPECTED[site] for site in ("grows", "shrinks", "goes")}


def test_differential_flame_graph(pair, tmp_path):
    done = run([support.ANALYZE, "--flamegraph=leaks", "--diff", *pair])
    lines = [line.rsplit(" ", 2) for line in done.stdout.splitlines()]
    values = {stack: (int(old), int(new)) for stack, old, new in lines}

    def of(site):
        (value,) = [v for stack, v in values.items() if site in stack.split(";")]
        return value

    assert of("grows") == (2 * 984, 5 * 984) and of("goes") == (4321, 0)
    assert of("comes") == (0, 3 * 777) and of("same") == (777, 777)
    done = run([support.ANALYZE, "--flamegraph=leaks", "-o", tmp_path / "d.svg", "--diff", *pair])
    assert done.returncode == 0 and done.stdout == ""
    picture = (tmp_path / "d.svg").read_text()
    assert "grows" in picture and picture.startswith("<?xml")
    one = analyze(pair[1], "--flamegraph=leaks", "-o", tmp_path / "one.svg")
    assert one.returncode == 0 and (tmp_path / "one.svg").read_text() != picture


def test_hostile_names(tmp_path):
    """Names that hold what keys are joined with, escapes and what is no text."""
    plain, odd = b"hostile_name_of_site", b"\x01\x02\x1b[31m\";<\xff\n\xe2\x80;\\%\x7f=@"
    assert len(plain) == len(odd)
    source = SOURCE.replace("grows", plain.decode())
    old, new = (traced(tmp_path / f"a\n\x1b[31m{i}", work.replace("grows", plain.decode()),
                       source=source, replace=(plain, odd))
                for i, work in enumerate((OLD, NEW)))
    text = run([support.ANALYZE, "--diff", old, new], binary=True)
    assert text.returncode == 0
    assert b"\x1b" not in text.stdout and b"\x01" not in text.stdout
    text.stdout.decode("utf-8")
    whole = diff(old, new)
    (entry,) = [e for e in whole["leaks"] if e["status"] == "grew"]
    assert entry["change_bytes"] == 3 * 984 and "[31m" in entry["label"]


def test_gate_against_the_old_trace(pair, tmp_path):
    done = run([support.ANALYZE, "--fail-on=leaked_bytes>-10%", "--fail-on=allocations>+0",
                "--junit", tmp_path / "j", "--diff", *pair])
    assert done.returncode == 3, done
    assert "--fail-on 'allocations>+0'" in done.stderr and "leaked" not in done.stderr
    assert (tmp_path / "j").read_text().count("<testcase") == 3


@pytest.mark.parametrize("broken", [0, 1])
def test_errors_name_their_trace(pair, tmp_path, broken):
    def refused(path, *words):
        traces = list(pair)
        traces[broken] = path
        done = run([support.ANALYZE, "--diff", *traces])
        support.refused(done, path, *words)
        return done

    refused(tmp_path / "missing", "No such file")
    (tmp_path / "text").write_text("no trace\n")
    refused(tmp_path / "text")
    support.trace([support.PROGRAMS / "churn", 200000], tmp_path / "whole")
    data = run(["zstd", "-qc", tmp_path / "whole"], binary=True).stdout
    (tmp_path / "cut").write_bytes(data[:len(data) // 2])
    done = refused(tmp_path / "cut", "truncated")
    assert "Difference" in done.stdout, "what could be read is compared all the same"


@pytest.mark.parametrize("args, words", [
    (["--diff", "a"], ["two traces"]), (["--diff", "a", "b", "c"], ["two traces"]),
    (["--diff"], ["TRACE"]), (["--diff", "-", "b"], ["standard input"]),
    (["--diff", "a", "-"], ["standard input"]), (["--diff", "a", "b", "--dump=json"], ["--dump"]),
    (["--diff", "a", "b", "--follow"], ["--follow"]),
    (["--diff", "a", "b", "--export=csv"], ["--export"]),
    (["--diff", "a", "b", "--bundle", "x"], ["--bundle"]),
    (["--diff", "a", "b", "--timeline"], ["--timeline"]),
    (["a", "--old-to", "1"], ["--diff"]), (["--diff", "a", "b", "--old-to", "1x"], ["--old-to"]),
], ids=str)
def test_wrong_usage(tmp_path, args, words):
    done = run([support.ANALYZE, *args], cwd=tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done
    assert all(word in done.stderr for word in words), done


@pytest.mark.parametrize("path", ["/nonexistent/x", "/dev/full"])
def test_output_that_cannot_be_written(pair, path):
    support.refused(run([support.ANALYZE, "-o", path, "--diff", *pair]), path, "cannot write")
