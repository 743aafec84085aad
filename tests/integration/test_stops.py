# SPDX-License-Identifier: MIT
"""What ends tracing before the program ends, and what must not: a stop is in the
trace with its reason, whichever thread meets it, and a healthy file stops nobody."""
import errno
import json
import os
import platform
import shutil
import subprocess

import pytest

import support
from support import BUILD, LIBRARY, PROGRAMS, bash
from test_sinks_disk import run_cut

INJECT = BUILD / "tests" / "faults" / "inject"

DELAYS = "--inject=fstat:delay_exit=300000:when=2"


def can_delay():
    return shutil.which("strace") is not None and subprocess.run(
        ["strace", "-f", "-o", "/dev/null", "--trace=fstat", DELAYS, "true"],
        capture_output=True).returncode == 0


@pytest.mark.skipif(not can_delay(), reason="no strace, or no right to trace a process with it")
def test_threads_that_begin_at_once_do_not_end_tracing(tmp_path):
    """GIVEN 64 threads each of which sleeps between asking for the file's size and
    using it WHEN others make the file grow meanwhile THEN it is not taken for cut."""
    done = bash('strace -f -o /dev/null --trace=fstat "$1" env LD_PRELOAD="$2" '
                'bash -c \'exec "$0" 64 300 1022>"$1"\' "$3" "$4"',
                DELAYS, LIBRARY, PROGRAMS / "threads", tmp_path / "t")
    assert done.returncode == 0, done
    audit = support.report(tmp_path / "t", "--summary")["audit"]
    assert audit["stopped"] is None
    support.assert_sound(audit)
    assert audit["events"] > 64 * 300


def audit_of(path):
    """The audit of a trace that may be cut; a stop is told to people too."""
    done = support.run([support.ANALYZE, path, "--json", "--summary"])
    audit = json.loads(done.stdout)["audit"]
    said = " ".join(audit["warnings"])
    assert ("Recording stopped" in said) == (audit["stopped"] is not None), said
    return audit


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the tracer knows x86-64's registers")
@pytest.mark.parametrize("call, error", [("mmap", errno.ENOMEM), ("fallocate", errno.ENOSPC)])
@pytest.mark.parametrize("sink", ["file", "pipe"])
def test_whoever_is_refused_says_that_tracing_ended(tmp_path, call, error, sink):
    """GIVEN a thread beside the first WHEN any of the library's calls and all after it
    are refused, those for its first chunk too THEN the trace has every event, or says
    that it ends before the program and why."""
    whole, told = None, set()
    rounds = 400 if call == "mmap" else 40000
    for first in range(40 if call == "mmap" else 12):
        path = tmp_path / f"{first}"
        to = {"file": '1022>"$6"', "pipe": '1022> >(cat >"$6")'}[sink]
        done = bash(f'''LIB=$LIB "$1" "$2" {"-1" if first == 0 else 1000000} "$3" "$4" "$5" \\
                    bash -c 'LD_PRELOAD=$LIB exec "$0" 1 {rounds} {to.replace("$6", "$1")}' \\
                    "$7" "$6"; status=$?; {"sleep 0.1;" if sink == "pipe" else ""} exit $status''',
                    INJECT, first, error, tmp_path / "count", call, path, PROGRAMS / "threads")
        assert done.returncode == 0, done
        if done.stderr:
            assert "not tracing" in done.stderr
            continue
        audit = audit_of(path)
        events, reason = audit["events"], audit["stopped"]
        whole = events if whole is None else whole
        told.add(reason)
        assert reason or events == whole, (first, events, whole)
    assert told - {None} or (call, sink) == ("fallocate", "pipe")


@pytest.mark.parametrize("size", [4096, 5000])
def test_a_file_that_is_cut_behind_its_header_says_so(tmp_path, size):
    """GIVEN a mapped file WHEN somebody makes it shorter and leaves its header THEN the
    trace says that recording ended with it."""
    run_cut(tmp_path, lambda path: os.truncate(path, size))
    assert audit_of(tmp_path / "t")["stopped"] == "sink gone"
    text = support.run([support.ANALYZE, tmp_path / "t"]).stdout
    assert "the trace's file or reader went away" in text
    assert "give each run a file of its own" in text and "sink gone" not in text
