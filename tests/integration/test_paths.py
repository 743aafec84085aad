# SPDX-License-Identifier: MIT
"""Thousands and millions of distinct stacks are each recorded as they were, whatever
the library remembers of them, which is a fixed number. libmlog_forgetful.so is the
library with room for 32 stacks in all and 4 a thread.
"""
import json
import subprocess
import time

import pytest

import support
from support import BUILD, LIBRARY, PROGRAMS

LEVELS, BASE = 12, 123 * 8
FORGETFUL = BUILD / "tests" / "forgetful" / "libmlog_forgetful.so"
EXHAUSTED = BUILD / "tests" / "forgetful" / "libmlog_exhausted.so"
LAST_NODE = 3000        # of the latter: see its meson.build


def trace_with(library, path, *argv, sink="file"):
    preload = f'LD_PRELOAD="{library}" "$@"'
    script = {"file": f'trace=$1; shift; {preload} 1022>"$trace"',
              "pipe": f'trace=$1; shift; {{ {preload} 1022>&1 >&2; }} | cat >"$trace"; '
                      'exit ${PIPESTATUS[0]}'}[sink]
    done = support.bash(script, path, *argv)
    assert done.returncode == 0, done


def path_of(entry):
    """The bits that the functions on the stack spell, and how many there are."""
    names = [name for name in support.functions(entry) if name in ("left", "right")]
    return sum((name == "right") << level for level, name in enumerate(reversed(names))), len(names)


def assert_defined(audit):
    assert audit["unknown_stacks"] == 0, audit
    assert not any(audit["truncated_stacks"].values()), audit


def assert_all_paths(whole, levels, times):
    """Every path was taken so many times, and goes through the functions that the size
    of its blocks names; no stack is there twice, undefined or cut."""
    seen = {}
    for entry in support.leaks_of(whole["leaks"], "leaf"):
        bits, depth = path_of(entry)
        assert depth == levels
        assert entry["bytes"] == entry["blocks"] * (BASE + bits), (bits, entry["bytes"])
        assert bits not in seen, f"{bits:b} is there twice"
        seen[bits] = entry["blocks"]
    assert seen == {bits: times for bits in range(1 << levels)}
    support.assert_sound(whole["audit"])
    assert_defined(whole["audit"])


@pytest.mark.smoke
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("sink", ["file", "pipe"])
@pytest.mark.parametrize("library", [LIBRARY, FORGETFUL], ids=["", "forgetful"])
def test_every_path_is_the_one_taken(tmp_path, library, threads, sink):
    # GIVEN a leak on each of 4,096 call paths, by threads at the same time,
    # its size telling the path
    trace_with(library, tmp_path / "t", PROGRAMS / "paths", threads, sink=sink)
    # WHEN all leaks are asked for
    whole = support.report(tmp_path / "t", "--leaks")
    # THEN every stack goes through the functions that the size names
    assert_all_paths(whole, LEVELS, threads)


@pytest.mark.parametrize("library", [LIBRARY, FORGETFUL], ids=["", "forgetful"])
@pytest.mark.parametrize("how", ["leak", "fork"])
def test_many_threads_define_the_same_paths(tmp_path, library, how):
    """
    GIVEN 64 threads that leak on the same 128 paths, or 8 on 256 that fork in the middle
    WHEN  they share one dictionary, and their children inherit it at any moment
    THEN  every path is right, and there once
    """
    threads, levels, times = (64, 7, 64) if how == "leak" else (8, 8, 16)
    trace_with(library, tmp_path / "t", PROGRAMS / "paths", threads, levels, how)
    assert_all_paths(support.report(tmp_path / "t", "--leaks"), levels, times)


def test_more_paths_than_the_library_remembers(tmp_path):
    """
    GIVEN 65,536 call paths of 131,071 nodes, twice what the library has room for, walked twice at a time
    WHEN  they are forgotten before they come again
    THEN  every one is right, and has both blocks
    """
    path = tmp_path / "t"
    trace_with(LIBRARY, path, PROGRAMS / "paths", 2, 16)
    seen = {}
    for line in support.analyze(path, "--flamegraph=leaks").stdout.splitlines():
        stack, total = line.rsplit(" ", 1)
        names = [name for name in stack.split(";") if name in ("left", "right")]
        if names:
            assert len(names) == 16, line
            bits = sum((name == "right") << level for level, name in enumerate(names))
            assert bits not in seen, line
            seen[bits] = int(total)
    assert seen == {bits: 2 * (BASE + bits) for bits in range(1 << 16)}
    audit = support.report(path, "--summary")["audit"]
    support.assert_sound(audit)
    assert_defined(audit)


def test_millions_of_paths_take_no_more_memory_than_thousands(tmp_path):
    """
    GIVEN 2,097,152 call paths, each taken once, and 32,768
    WHEN  both programs are traced
    THEN  the library holds the same memory in both, little of it is resident, and any
          thousand paths are as they were taken
    """
    held = []
    for levels in (15, 21):
        path = tmp_path / f"{levels}"
        script = 'trace=$1; shift; LD_PRELOAD=$LIB "$@" 1022>"$trace"'
        done, resident = support.measured(
            ["bash", "-c", script, "bash", path, PROGRAMS / "paths", 1, levels, "free"],
            tmp_path / "used", 300, env=support.clean_environment(LIB=LIBRARY))
        assert done.returncode == 0, done
        assert resident < 16 << 20, resident
        counted = support.run([BUILD / "tests" / "bench" / "count", path])
        held.append(json.loads(counted.stdout)["counters"]["7"])
    assert held[0] == held[1] > 1 << 20
    first = 765432
    whole = support.report(path, "--allocations", "--min-size", str(BASE + first),
                           "--max-size", str(BASE + first + 999))
    found = {}
    for entry in whole["allocations"]:
        bits, depth = path_of(entry)
        assert depth == 21 and entry["bytes"] == BASE + bits, entry
        found[bits] = entry["calls"]
    assert found == {bits: 1 for bits in range(first, first + 1000)}
    support.assert_sound(whole["audit"])
    assert_defined(whole["audit"])


def test_generations_of_objects_are_told_apart_by_a_forgetful_library(tmp_path):
    """
    GIVEN two plug-ins at the same address, one after the other
    WHEN  what was known of the first is forgotten, or not
    THEN  each is blamed for its own leak
    """
    trace_with(FORGETFUL, tmp_path / "t", PROGRAMS / "reload", PROGRAMS / "plugin_first.so",
               PROGRAMS / "plugin_second.so")
    leaks = support.report(tmp_path / "t", "--leaks")["leaks"]
    for size, name in ((123 * 8, "first_leak"), (321 * 8, "second_leak")):
        (entry,) = [e for e in leaks if e["bytes"] == size]
        assert support.functions(entry)[:3] == [name, "plugin_run", "run"]


@pytest.mark.parametrize("library", [LIBRARY, FORGETFUL], ids=["", "forgetful"])
def test_a_kill_leaves_no_stack_without_definition(tmp_path, library):
    """
    GIVEN 64 threads that define the same paths again and again
    WHEN  the program is killed at some instant
    THEN  every stack that an event names is defined in the trace, whoever defined it
    """
    for turn in range(8):
        path = tmp_path / f"{turn}"
        process = subprocess.Popen(
            [PROGRAMS / "paths", "64", "7", "endless"],
            env=support.clean_environment(LD_PRELOAD=library, MLOG_OUT=path))
        time.sleep(0.1 + 0.037 * turn)
        process.kill()
        process.wait()
        whole = support.report(path, "--allocations")
        assert whole["audit"]["unknown_stacks"] == 0, whole["audit"]
        for entry in support.leaks_of(whole["allocations"], "leaf"):
            bits, depth = path_of(entry)
            assert depth == 7 and entry["bytes"] == entry["calls"] * (BASE + bits), entry


def test_numbers_of_nodes_that_are_used_up_are_said(tmp_path):
    """
    GIVEN a library that may number 3,000 nodes, and a program of 8,191
    WHEN  the numbers are used up
    THEN  every event is recorded, what is told of stacks is right, and the audit names the
          number of those that it does not tell, with the reason
    """
    trace_with(EXHAUSTED, tmp_path / "t", PROGRAMS / "paths", 1)
    whole = support.report(tmp_path / "t", "--leaks", "--summary")
    told = support.leaks_of(whole["leaks"], "leaf")
    for entry in told:
        bits, depth = path_of(entry)
        assert depth == LEVELS and entry["bytes"] == entry["blocks"] * (BASE + bits), entry
    assert 0 < len(told) < LAST_NODE
    untold = [entry for entry in whole["leaks"] if not entry["stack"]]
    assert sum(e["blocks"] for e in told + untold) == 1 << LEVELS
    assert whole["audit"]["truncated_stacks"]["table_full"] == 1, whole["audit"]
    said = support.analyze(tmp_path / "t").stdout
    assert "for want of room" in said, said
    support.assert_sound(whole["audit"])
