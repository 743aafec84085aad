# SPDX-License-Identifier: MIT
"""Decoding ahead on a second processor changes when events are decoded, and
nothing that one can see: reports and dumps are the same to the byte, whatever
the trace is read from. One processor, or --jobs 1, has no second thread."""
import array
import fcntl
import json
import os
import select
import signal
import subprocess
import termios
import time

import pytest

from support import (ANALYZE, LIBRARY, PROGRAMS, TIME_LIMIT, bash, clean_environment, report, run,
                     trace)

PROCESSORS = len(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    """Traces larger than a second thread is worth: of threads that hand blocks over and
    reallocate, and of processes side by side."""
    folder = tmp_path_factory.mktemp("jobs")
    programs = {
        "threads": [PROGRAMS / "threads", 8, 120_000],
        "handover": [PROGRAMS / "handover", 3, 500_000],
        "processes": ["bash", "-c", 'for i in 1 2 3; do "$0" 2 120000 & "$1" 2 60000 & done; wait',
                      PROGRAMS / "handover", PROGRAMS / "threads"],
    }
    for name, argv in programs.items():
        done = trace(argv, folder / name)
        assert done.returncode == 0, done
        assert (folder / name).stat().st_size > 6 << 20, name
    return folder


def digest(path, way, *args):
    """Of all that is printed; the trace read in one of the ways."""
    read = {"file": '"$1" "$2" "${@:3}"', "pipe": 'cat "$2" | "$1" - "${@:3}"',
            "zstd": 'zstd -1 -qc "$2" | "$1" - "${@:3}"'}[way]
    done = bash(f'set -o pipefail; {{ {read}; }} 2>&1 | sha256sum', ANALYZE, path, *args)
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.parametrize("way", ["file", "pipe", "zstd"])
@pytest.mark.parametrize("name", ["threads", "handover", "processes"])
def test_reports_do_not_depend_on_processors(traces, name, way):
    for look in (["--no-symbols"], ["--no-symbols", "--json", "--top", "0"]):
        assert digest(traces / name, way, "--jobs", "1", *look) == \
            digest(traces / name, way, *look), (name, way, look)


def test_dumps_do_not_depend_on_processors(traces):
    dump = "threads", "file", "--dump=text", "--no-symbols"
    assert digest(traces / dump[0], *dump[1:], "--jobs", "1") == digest(traces / dump[0], *dump[1:])


def test_a_cut_trace_ends_the_same(traces, tmp_path):
    """GIVEN a trace of threads, cut in the midst of their chunks, or with zeros in it."""
    whole = (traces / "threads").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:len(whole) // 2 + 12345])
    at = len(whole) * 2 // 3 // 4096 * 4096
    while 0 in (whole[at], whole[at + 4095], whole[at + 8191]):
        at += 4096      # room that no event has come to
    (tmp_path / "zeros").write_bytes(whole[:at] + bytes(4096) + whole[at + 4096:])
    flipped = bytearray(whole)
    for at in range(len(whole) // 3, len(whole) - 1, 777_777):
        flipped[at] ^= 0x55
    (tmp_path / "flipped").write_bytes(flipped)
    for name in ("cut", "zeros", "flipped"):
        one, more = (run([ANALYZE, tmp_path / name, "--no-symbols", "--json", "--top", "0", *jobs])
                     for jobs in (["--jobs", "1"], []))
        assert one.visible == more.visible, name
        assert not json.loads(one.stdout)["audit"]["complete"], name


def unread(pipe):
    size = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, size)
    return size[0]


def threads_at_work(argv, data):
    """The threads of a mlog-analyze that has read all of data and waits for more."""
    process = subprocess.Popen([*map(str, argv), "-", "--no-symbols", "--summary"],
                               stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env=clean_environment())
    process.stdin.write(data)
    process.stdin.flush()
    end, state = time.monotonic() + TIME_LIMIT, ""
    while unread(process.stdin) or state != "S":
        assert time.monotonic() < end
        time.sleep(0.01)
        with open(f"/proc/{process.pid}/stat") as stat:
            state = stat.read().rpartition(")")[2].split()[0]
    n = len(os.listdir(f"/proc/{process.pid}/task"))
    process.stdin.close()
    process.wait(TIME_LIMIT)
    return n


def test_a_second_thread_is_for_a_second_processor(traces):
    data = (traces / "threads").read_bytes()
    one = str(min(os.sched_getaffinity(0)))
    assert threads_at_work([ANALYZE, "--jobs", "1"], data) == 1
    assert threads_at_work(["taskset", "-c", one, ANALYZE], data) == 1
    assert threads_at_work([ANALYZE], data[:2 << 20]) == 1
    for jobs in ([], ["--jobs", "0"], ["--jobs", "2"]):
        assert threads_at_work([ANALYZE, *jobs], data) == min(PROCESSORS, 2), jobs


def whole_reports(text):
    """The JSON reports with which a text begins, each in full."""
    decoder, reports, at = json.JSONDecoder(), [], 0
    while (at := text.find("{", at)) >= 0:
        try:
            found, at = decoder.raw_decode(text, at)
        except ValueError:      # it is still being written
            break
        reports.append(found)
    return reports


@pytest.mark.parametrize("jobs", [["--jobs", "1"], []])
def test_a_trace_that_grows_is_followed(tmp_path, jobs):
    """GIVEN threads whose trace grows while it is read, until they are killed, THEN
    every report is sound, and the last is that of the whole."""
    path = tmp_path / "t"
    program = subprocess.Popen(
        ["bash", "-c", 'LD_PRELOAD=$0 exec "$1" 3 1000000000000 1022>"$2"', LIBRARY,
         PROGRAMS / "handover", path], env=clean_environment())
    try:
        while not path.exists() or path.stat().st_size < 8 << 20:
            assert program.poll() is None
            time.sleep(0.01)
        followed = subprocess.Popen([ANALYZE, "--follow", "--interval", "0.1", "--no-symbols",
                                     "--json", "--summary", *jobs, path], stdout=subprocess.PIPE,
                                    env=clean_environment())
        out, end = "", time.monotonic() + TIME_LIMIT
        while (different := len({one["summary"]["events"] for one in whole_reports(out)})) < 3:
            assert time.monotonic() < end, out[-300:]
            # Where the analyser is the slower one, the program waits for it.
            far = path.stat().st_size > 24 + 24 * different << 20
            program.send_signal(signal.SIGSTOP if far else signal.SIGCONT)
            if select.select([followed.stdout], [], [], 0.1)[0]:
                more = os.read(followed.stdout.fileno(), 1 << 16)
                assert more, followed.wait(TIME_LIMIT)
                out += more.decode()
    finally:
        program.kill()
        program.wait()
    out += followed.communicate(timeout=TIME_LIMIT)[0].decode()
    assert followed.returncode == 0
    reports = whole_reports(out)
    events = [one["summary"]["events"] for one in reports]
    assert events == sorted(events)
    for one in reports:
        assert one["audit"]["unmatched_frees"] == one["audit"]["skipped_bytes"] == 0, one["audit"]
    whole = report(path, "--summary", "--jobs", "1")
    assert reports[-1]["summary"] == whole["summary"]
