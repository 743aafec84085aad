# SPDX-License-Identifier: MIT
"""SIGBUS: somebody cuts the mapped trace under a program that is at work, which goes
on; and each SIGBUS of the program's own is as untraced, and so is what it is told."""
import os
import subprocess
import time

import pytest

import support
from support import LIBRARY, PROGRAMS, bash
from test_stops import audit_of

ACTIONS = ["inherit", "default", "ignore", "plain", "info", "once", "signal"]


def run_bus(tmp_path, action, way, preload, cut=None):
    """Exit status, output, and the trace; `cut(path)` is called while it makes events."""
    path = tmp_path / f"{action}-{way}-{preload}"
    process = subprocess.Popen(
        ["bash", "-c", 'ulimit -c 0; LD_PRELOAD=$1 exec "$2" "$3" "$4" 1022>"$5"', "bash",
         str(LIBRARY) if preload else "", str(PROGRAMS / "bus"), action, way, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=support.clean_environment())
    first = process.stdout.readline()
    if cut:
        cut(path)
    out, err = process.communicate(b"\n", timeout=support.TIME_LIMIT)
    return process.returncode, first + out, err


@pytest.mark.parametrize("way", ["none", "fault", "sent", "queued"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_signal_of_the_programs_own_is_its_own(tmp_path, action, way):
    """GIVEN a program with this action for SIGBUS WHEN it meets one THEN it fares, and is
    told, as untraced."""
    untraced = run_bus(tmp_path, action, way, False)
    assert run_bus(tmp_path, action, way, True) == untraced


@pytest.mark.parametrize("action", sorted({*ACTIONS} - {"ignore"}))
def test_a_trace_that_is_cut_at_work_harms_nobody(tmp_path, action):
    """GIVEN a program that makes events all the time WHEN a second run of the same name
    cuts its trace, and once more THEN it ends as untraced, and has caught nothing."""
    def second_run(path):
        for _ in range(3):
            time.sleep(0.05)
            assert bash(': 1022>"$1"', path).returncode == 0
        time.sleep(0.05)
    untraced = run_bus(tmp_path, action, "none", False)
    assert untraced[0] == 7 and b"caught 0" in untraced[1]
    assert run_bus(tmp_path, action, "none", True, second_run) == untraced


def test_threads_whose_trace_is_cut_go_on(tmp_path):
    """GIVEN threads at work WHEN their trace is cut, again and again, at any moment THEN
    they go on to their end."""
    for i in range(5):
        path = tmp_path / f"{i}"
        process = subprocess.Popen(
            ["bash", "-c", 'LD_PRELOAD=$1 exec "$2" 4 100000 1022>"$3"', "bash", str(LIBRARY),
             str(PROGRAMS / "threads"), str(path)], env=support.clean_environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while process.poll() is None and not (path.exists() and path.stat().st_size > 1 << 20):
            time.sleep(0.001)
        while process.poll() is None:
            os.truncate(path, 0)
        out, err = process.communicate()
        assert (process.returncode, out, err) == (0, b"", b"")


def test_what_is_stored_beyond_a_cut_is_not_called_complete(tmp_path):
    """GIVEN a trace that is cut behind its first chunks, and made as long as before at
    once WHEN the program goes on in what was cut off THEN the trace says that it ended."""
    def cut_and_grow(path):
        time.sleep(0.2)
        size = path.stat().st_size
        with open(path, "r+b") as file:
            os.ftruncate(file.fileno(), 9 * 4096)
            time.sleep(0.02)
            os.ftruncate(file.fileno(), size)
        time.sleep(0.3)
    assert run_bus(tmp_path, "inherit", "none", True, cut_and_grow)[0] == 7
    assert audit_of(tmp_path / "inherit-none-True")["stopped"] == "sink gone"
