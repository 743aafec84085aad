# SPDX-License-Identifier: MIT
"""The footer: stacks, what was traced, the allocator's own totals, the kernel's numbers."""
import json

import pytest

import support
from support import PROGRAMS, analyze

PROGRAM = PROGRAMS / "totals"


def traced(path, *argv, **env):
    return support.trace([PROGRAM, *argv], path, env=support.clean_environment(**env))


def footer(path, *args):
    return json.loads(analyze(path, "--json", "--summary", *args).stdout)["footer"]


def told(done):
    return [tuple(map(int, line.split())) for line in done.stdout.splitlines()]


@pytest.fixture(autouse=True)
def needs_mallinfo2():
    if not PROGRAM.exists():
        pytest.skip("no mallinfo2 in this C library")


def test_the_allocators_totals_are_its_own(tmp_path):
    # GIVEN a program that asks its allocator WHEN mlog is asked to do so at exit
    done = traced(tmp_path / "t", MLOG_TOTALS=1)
    # THEN it tells the same
    (mapped, in_use, free), = told(done)
    assert in_use >= 300 * 123 * 8 and free >= 290 * 123 * 8
    assert footer(tmp_path / "t")["allocator"] == {
        "processes": 1, "mapped_bytes": mapped, "in_use_bytes": in_use, "free_bytes": free}
    text = analyze(tmp_path / "t", "--footer").stdout
    assert "in use" in text and "at exit" in text


def test_those_of_a_child_are_added(tmp_path):
    done = traced(tmp_path / "t", "fork", MLOG_TOTALS=1)
    sums = [sum(column) for column in zip(*told(done))]
    assert list(footer(tmp_path / "t")["allocator"].values()) == [2, *sums]


@pytest.mark.parametrize("env", [{}, {"MLOG_TOTALS": 0}, {"MLOG_TOTALS": ""}])
def test_unasked_nothing_is_taken_and_a_damaged_heap_does_no_harm(tmp_path, env):
    plain = support.run([PROGRAM, "corrupt"])
    done = traced(tmp_path / "t", "corrupt", **env)
    assert done.visible == plain.visible and done.returncode == 0
    assert footer(tmp_path / "t")["allocator"] is None
    assert "allocator" not in analyze(tmp_path / "t", "--footer").stdout


def test_nothing_is_taken_in_a_handler_nor_of_another_allocator(tmp_path):
    # GIVEN a program that exits in a handler, which may have interrupted the allocator
    assert traced(tmp_path / "t", "handler", MLOG_TOTALS=1).returncode == 0
    # THEN it is not asked, which could wait for ever
    assert footer(tmp_path / "t")["allocator"] is None
    support.bash('LD_PRELOAD="$LIB $1" MLOG_TOTALS=1 "$2" 1022>"$3"',
                 PROGRAMS / "toy_allocator.so", PROGRAM, tmp_path / "t")
    assert footer(tmp_path / "t")["allocator"] is None


def test_stacks_traced_sizes_and_the_kernels_numbers(tmp_path):
    # GIVEN a process that holds 300 of 600 blocks at its end
    traced(tmp_path / "t")
    whole = json.loads(analyze(tmp_path / "t", "--json", "--summary", "--timeline").stdout)
    numbers, summary = whole["footer"], whole["summary"]
    # THEN the footer tells what the summary does, and the last sample of its memory
    assert numbers["stacks"] == summary["stacks"] > 0
    assert numbers["traced"] == {"end_bytes": 300 * 123 * 8, "peak_bytes": 600 * 123 * 8}
    samples = [json.loads(line) for line in analyze(tmp_path / "t", "--dump=json").stdout.splitlines()
               if '"memory"' in line]
    last = samples[-1]
    assert numbers["end"] == {"virtual_bytes": last["virtual"],
                              "resident_bytes": last["resident"], "shared_bytes": last["shared"]}
    # ... and the first at or after the peak
    after = next((s for s in samples if s["time_ns"] >= summary["peak_time_ns"]), last)
    assert numbers["peak"]["resident_bytes"] == after["resident"]
    text = analyze(tmp_path / "t", "--footer").stdout
    assert "288.3 KiB at the end, 576.6 KiB at the peak" in text, text
    # It closes the usual report, before the audit.
    usual = analyze(tmp_path / "t").stdout
    assert usual.index("Peak\n") < usual.index("Memory\n") < usual.index("Audit\n")


def test_a_trace_without_samples_has_no_kernels_numbers(tmp_path):
    numbers = footer(support.ROOT / "format" / "vectors" / "addresses.mlog")
    assert numbers["allocator"] is numbers["end"] is numbers["peak"] is None
