# SPDX-License-Identifier: MIT
"""A program may end as it likes: with a file at 1022 every event is there."""
import os
import random
import signal
import struct
import subprocess
import time

import pytest

import support
from support import PROGRAMS


@pytest.mark.smoke
@pytest.mark.parametrize("end, status", [
    ("return", 7), ("exit", 7), ("_exit", 7), ("quick_exit", 7), ("abort", -signal.SIGABRT),
    ("segv", -signal.SIGSEGV), ("kill", -signal.SIGKILL), ("exec", 0)])
def test_every_end_keeps_every_event(tmp_path, end, status):
    done = support.trace([PROGRAMS / "churn", 1000, end], tmp_path / "t")
    assert done.visible == (status, "done\n", "")
    calls = support.summary(tmp_path / "t")["calls"]
    extra = {"malloc": 0, "free": 0}
    if end == "exec":  # /bin/true has events of its own
        other = support.trace(["/bin/true"], tmp_path / "true")
        assert other.returncode == 0
        extra.update(support.summary(tmp_path / "true")["calls"])
    assert calls["malloc"] == 1003 + extra["malloc"]
    assert calls["free"] == 1000 + extra["free"]


@pytest.mark.parametrize("end", ["return", "_exit", "quick_exit", "abort", "exec"])
def test_every_end_of_ones_own_keeps_every_event_in_a_pipe(tmp_path, end):
    script = '''mkfifo "$2"; cat "$2" >"$3" & LD_PRELOAD=$LIB "$1" 1000 "$4" 1022>"$2"
                wait'''
    support.bash(script, PROGRAMS / "churn", tmp_path / "fifo", tmp_path / "t", end)
    summary = support.summary(tmp_path / "t")
    if end == "exec":
        assert summary["calls"]["malloc"] >= 1003
    else:
        assert summary["calls"]["malloc"] == 1003
        assert summary["leaked_bytes"] == 3 * 123 * 8


@pytest.mark.smoke
@pytest.mark.parametrize("threads", [1, 4])
def test_sigkill_loses_at_most_the_event_under_way(tmp_path, threads):
    chance = random.Random(threads)
    for turn in range(6):
        trace, counts = tmp_path / f"t{turn}", tmp_path / f"counts{turn}"
        # GIVEN a program that counts its own calls, before and after each
        process = subprocess.Popen(
            ["bash", "-c", 'LD_PRELOAD=$1 exec "$2" "$3" "$4" 1022>"$5"', "bash",
             str(support.LIBRARY), str(PROGRAMS / "counted"), str(counts), str(threads),
             str(trace)], env=support.clean_environment())
        while not counts.exists() or counts.stat().st_size < 16 * threads \
                or struct.unpack("=Q", counts.read_bytes()[:8])[0] < 1000:
            assert process.poll() is None
            time.sleep(0.005)
        # WHEN it is killed at any instant
        time.sleep(chance.random() * 0.1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        # THEN each thread's events are all there, but for one under way
        pairs = list(struct.iter_unpack("=QQ", counts.read_bytes()))
        begun, done = sum(p[0] for p in pairs), sum(p[1] for p in pairs)
        assert 0 <= begun - done <= threads
        whole = support.report(trace, "--summary")
        calls = whole["summary"]["calls"]
        made = sum(calls.values())
        if threads > 1:  # pthread_create callocs once a thread
            made -= calls.get("calloc", 0)
        assert done <= made <= begun
        support.assert_sound(whole["audit"])


def test_output_captured_by_the_shell_is_the_programs_alone(tmp_path):
    done = support.bash('x=$(LD_PRELOAD=$LIB "$1" 10 1022>"$2"); echo "[$x]"',
                        PROGRAMS / "churn", tmp_path / "t")
    assert done.visible == (0, "[done]\n", "")
    assert support.summary(tmp_path / "t")["calls"]["malloc"] == 13
