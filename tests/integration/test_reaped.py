# SPDX-License-Identifier: MIT
"""Ends that a process does not tell itself: whoever waits for it tells them."""
import json
import signal
import subprocess

import pytest

import support
from support import PROGRAMS

REAPER = PROGRAMS / "reaper"


def own_block(report):
    """The process whose block is of this number of eight bytes."""
    found = {p["leaked_bytes"] // 8: p for p in report["processes"]}
    return lambda number: found[number]


def test_every_function_that_waits_names_how_the_child_ended(tmp_path):
    """GIVEN children that are killed, leave by a bare system call, end in order, or are
    stopped first, and a parent that waits by every function
    THEN each child's end is named, a stop is none, and the parent is told what it was told."""
    plain = support.run([REAPER, "all"])
    done = support.trace([REAPER, "all"], tmp_path / "t")
    assert done.visible == plain.visible and plain.stdout.count("errno 33") >= 9
    report = support.report(tmp_path / "t", "--per-process")
    support.assert_sound(report["audit"])
    of = own_block(report)
    ends = [(of(101 + i)["end_how"], of(101 + i)["signal"], of(101 + i)["status"])
            for i in range(7)]
    assert ends == [("signal", 11, None), ("silent", None, 41), ("signal", 9, None),
                    ("silent", None, 43), ("signal", 15, None), ("silent", None, 45),
                    ("exit", None, 46)]
    assert not any(p["core_dumped"] for p in report["processes"])
    warnings = " ".join(report["audit"]["warnings"])
    assert f'Process {of(101)["pid"]} (reaper all) ended by signal 11 (SIGSEGV).' in warnings
    assert f'Process {of(102)["pid"]} (reaper all) ended by _exit 41 without a word.' in warnings
    assert str(of(107)["pid"]) not in warnings
    assert report["audit"]["complete"] and report["audit"]["silent_processes"] == 0
    assert report["verdict"]["crashed_processes"] == 2      # a SIGTERM is no crash
    text = support.analyze(tmp_path / "t", "--per-process").stdout
    assert "ended by signal 11 (SIGSEGV)" in text.split("\n\n")[0]
    # once for each child, though one was looked at before it was waited for
    dump = [json.loads(line) for line in
            support.analyze(tmp_path / "t", "--dump=json").stdout.splitlines()]
    assert len([line for line in dump if line["type"] == "child_end"]) == 7


def test_a_stream_says_who_was_killed(tmp_path):
    """GIVEN the same into a pipe, where the killed ones' last events may be missing
    THEN the doubt stays, and the end stands beside the process."""
    support.bash('LD_PRELOAD=$LIB "$1" all 1022>&1 >/dev/null | cat > "$2"', REAPER,
                 tmp_path / "t")
    report = support.report(tmp_path / "t")
    warnings = " ".join(report["audit"]["warnings"])
    assert "ended by signal 11 (SIGSEGV)" in warnings and not report["audit"]["complete"]


def test_threads_that_are_cancelled_while_they_wait(tmp_path):
    """GIVEN threads that wait by each of the functions and are cancelled there
    THEN they are unwound through the library, run their handlers, and the trace goes on."""
    plain = support.run([REAPER, "cancel", "24"])
    done = support.trace([REAPER, "cancel", "24"], tmp_path / "t", tmp_path / "oracle")
    assert done.visible == plain.visible == (0, "cancelled 24 cleaned 24\n", "")
    whole = support.report(tmp_path / "t")
    support.assert_sound(whole["audit"])
    entries = support.leaks_of(whole["leaks"], "cancel_who_waits")
    assert sum(e["blocks"] for e in entries if e["bytes"] == e["blocks"] * 97 * 8) == 24


def test_a_child_that_was_left_behind_is_told_of_by_who_adopts_it(tmp_path):
    done = support.trace([REAPER, "left"], tmp_path / "t")
    assert done.returncode == 0 and "adopted 1 9 " in done.stdout, done
    of = own_block(support.report(tmp_path / "t"))
    assert (of(102)["end_how"], of(102)["signal"]) == ("signal", 9)


def test_who_says_nothing_and_is_told_of_by_nobody_is_named(tmp_path):
    """GIVEN a program that a signal killed, and a shell that is not traced
    THEN the audit names it, and does not doubt what was recorded."""
    done = support.trace([REAPER, "die"], tmp_path / "t")
    assert done.returncode in (-signal.SIGBUS, 128 + signal.SIGBUS)
    audit = support.report(tmp_path / "t")["audit"]
    assert audit["silent_processes"] == 1 and audit["complete"]
    assert any("no end in the trace" in line for line in audit["warnings"])
    assert any("(reaper die)" in line for line in audit["warnings"])


@pytest.mark.parametrize("sink", ["map", "write"])
def test_mlog_run_tells_the_trace_how_the_program_ended(tmp_path, sink):
    """GIVEN the program itself killed under mlog run
    THEN its trace knows by itself, whatever kind of trace it is, as does the line at the end."""
    env = support.clean_environment(MLOG_FILE=sink)
    done = support.run([support.MLOG, "run", "-o", tmp_path / "t", REAPER, "die"], env=env)
    assert done.returncode == 128 + signal.SIGBUS and "killed by SIGBUS" in done.stderr, done
    report = support.report(tmp_path / "t")
    assert [(p["end_how"], p["signal"]) for p in report["processes"]] == [("signal", 7)]
    text = support.analyze(tmp_path / "t", "--summary").stdout
    assert "ended by signal 7 (SIGBUS)" in text
    # nothing is told of a program twice, nor is one that ends in order called otherwise
    done = support.run([support.MLOG, "run", "-q", "-o", tmp_path / "u", REAPER, "all"], env=env)
    assert done.returncode == 0
    root = own_block(support.report(tmp_path / "u"))(99) if sink == "map" else \
        support.report(tmp_path / "u")["processes"][0]
    assert (root["end_how"], root["signal"], root["end_text"]) == ("exit", None, None)


def test_following_ends_when_the_killed_have_been_waited_for(tmp_path):
    """GIVEN --follow of a trace in which children were killed
    THEN they are not called running."""
    with open(tmp_path / "t", "wb"):
        pass
    follow = subprocess.Popen([support.ANALYZE, "--follow", "--interval", "0.1", "--json",
                               tmp_path / "t"], stdout=subprocess.PIPE,
                              env=support.clean_environment())
    support.trace([REAPER, "all"], tmp_path / "t")
    out, _ = follow.communicate(timeout=support.TIME_LIMIT)
    last = json.loads("{" + out.decode().rsplit("\n{", 1)[-1].removeprefix("{"))
    assert last["audit"]["running_processes"] == 0
    assert sum(p["end_how"] == "signal" for p in last["processes"]) == 3
