# SPDX-License-Identifier: MIT
"""Live traces: --follow on files and streams, the merge of threads and
processes that sleep or were killed, and what a terminal is shown."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import zlib

import pytest

import support
from support import ANALYZE, PROGRAMS, ROOT

sys.path[:0] = [str(ROOT / "format" / "vectors")]

from trace_writer import Trace, chunk_header                # noqa: E402

SECOND = 1_000_000_000      # ticks: the clock of these traces counts nanoseconds
HEAP = 0x7f0000000000


def follow(*args, env=None, **kwargs):
    """mlog-analyze --follow, started."""
    environment = support.clean_environment(**(env or {}))
    return subprocess.Popen([ANALYZE, "--follow", "--interval", "0.1", "--no-symbols",
                             *map(str, args)], env=environment, start_new_session=True,
                            stdout=kwargs.pop("stdout", subprocess.PIPE),
                            stderr=subprocess.PIPE, **kwargs)


def until(process, condition, limit=support.TIME_LIMIT):
    """Read reports until the text so far fulfils the condition; that text."""
    text, end = "", time.monotonic() + limit
    while not condition(text):
        assert time.monotonic() < end, text[-300:]
        if select.select([process.stdout], [], [], 1)[0]:
            more = os.read(process.stdout.fileno(), 1 << 16)
            assert more, (text[-300:], process.stderr.read())
            text += more.decode()
    return text


def events_of(text):
    """The number of events, of each report."""
    return [int(n.replace(",", "")) for n in re.findall(r"^  events +([\d,]+)", text, re.M)]


def finished(process):
    out, err = process.communicate(timeout=support.TIME_LIMIT)
    return out.decode(), err.decode(), process.returncode


def start(trace, pid, when=0, threads=1):
    process = trace.process(pid)
    definitions = process.definitions(base_time=when)
    definitions.process_record(start=when, monotonic_ns=when)
    for stream in range(1, threads + 1):
        definitions.thread(stream, pid + stream - 1, time=when)
    definitions.write()
    return process


def pairs(process, when, n=10, stream=1):
    """n allocations, freed at once, from `when` on."""
    events = process.events(stream, when)
    for i in range(n):
        events.alloc(when + 2 * i, HEAP + 4096 * process.pid, 123 * 8, 0)
        events.free(when + 2 * i + 1, HEAP + 4096 * process.pid)
    events.write()


def sync(process, when, end=False):
    last = process.definitions(base_time=when)
    last.sync(when)
    if end:
        last.process_end(when, "exit", 1, 0)
    last.write()


def test_follow_a_file_until_the_program_ends(tmp_path):
    """GIVEN a program that waits in its middle, WHEN its file is followed,
    THEN reports come while it waits, and the last one is that of the whole."""
    path = tmp_path / "t"
    script = ('import sys; keep = [bytearray(1234 * 8) for _ in range(50)]; '
              'sys.stdin.read(1); keep += [bytearray(1234 * 8) for _ in range(50)]')
    env = support.clean_environment(LD_PRELOAD=support.LIBRARY, PYTHONMALLOC="malloc")
    program = subprocess.Popen(
        ["bash", "-c", 'exec "$0" -c "$1" 1022>"$2"', support.PYTHON, script, path],
        stdin=subprocess.PIPE, env=env)
    while not path.exists():
        time.sleep(0.02)
    followed = follow("--summary", path)
    before = until(followed, lambda text: text.count("===") >= 6)
    program.communicate(b"x", timeout=support.TIME_LIMIT)
    after, err, status = finished(followed)
    assert (status, err) == (0, ""), err
    reports = before + after
    assert re.search(r"^=== report 1, ", reports) and "=== last report, " in after
    assert events_of(reports)[-1] == support.summary(path)["events"] > events_of(before)[0]


@pytest.mark.parametrize("content", [b"", bytes(8192)])
def test_a_file_that_is_not_begun_is_waited_for(tmp_path, content):
    """GIVEN an empty file, or one whose space is reserved but not written."""
    support.trace([PROGRAMS / "churn", 100], tmp_path / "whole")
    (tmp_path / "t").write_bytes(content)
    followed = follow("--json", tmp_path / "t")
    with pytest.raises(subprocess.TimeoutExpired):
        followed.wait(0.3)
    os.replace(tmp_path / "whole", tmp_path / "t")
    out, err, status = finished(followed)
    assert (status, err) == (0, "") and json.loads(out)["summary"]["events"] == 203


def test_a_program_that_is_about_to_begin_is_not_missed(tmp_path):
    """GIVEN a stream in which a process executes two programs, of one of which it knows
    that the trace is closed to it, and no more
    WHEN it is followed
    THEN the first one is missed by the last report alone, the other at once."""
    trace = Trace()
    process = start(trace, 500)
    pairs(process, SECOND)
    told = process.definitions(base_time=2 * SECOND)
    told.executed(2 * SECOND, 501, 0, "/opt/begins")
    told.executed(2 * SECOND, 502, 1, "/opt/closed")
    told.sync(3 * SECOND)
    told.write()
    read, write = os.pipe()
    followed = follow("--summary", "-", stdin=read)
    os.close(read)
    os.write(write, trace.bytes())
    before = until(followed, lambda text: text.count("/opt/closed") >= 2)
    os.close(write)
    after, _, _ = finished(followed)
    assert "1 program was executed that is not in the trace" in before
    assert "/opt/begins" not in before.split("=== last")[0]
    assert "2 programs were executed" in after and "/opt/begins" in after


@pytest.fixture
def waiting(tmp_path):
    """A traced program that has begun and waits for a line, and its trace."""
    script = ('import sys; keep = [bytearray(1234 * 8) for _ in range(50)]; '
              'sys.stdin.readline(); keep += [bytearray(1234 * 8) for _ in range(50)]')
    env = support.clean_environment(LD_PRELOAD=support.LIBRARY, PYTHONMALLOC="malloc")
    program = subprocess.Popen(
        ["bash", "-c", 'exec "$0" -c "$1" 1022>"$2"', support.PYTHON, script, tmp_path / "t"],
        stdin=subprocess.PIPE, env=env)
    while not (tmp_path / "t").exists():
        time.sleep(0.02)
    yield program, tmp_path / "t"
    program.kill()
    program.communicate()


def has_leases(path):
    """Whether the file system tells that nobody writes to a file."""
    with open(path, "rb") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError:
            return False
        return True


def test_follow_ends_with_a_program_that_is_killed(waiting, tmp_path):
    program, path = waiting
    (tmp_path / "other").write_bytes(b"")
    if not has_leases(tmp_path / "other"):
        pytest.skip("no leases here")
    followed = follow("--summary", path)
    before = until(followed, lambda text: text.count("===") >= 10)
    assert "last report" not in before
    program.kill()
    program.wait()
    after, err, status = finished(followed)
    assert (status, err) == (0, "") and "=== last report, " in after
    assert events_of(after)[-1] == support.summary(path)["events"]


@pytest.mark.parametrize("what", ["deleted", "replaced"])
def test_the_file_that_was_opened_is_followed_whatever_its_name_becomes(waiting, tmp_path, what):
    program, path = waiting
    with open(path, "rb") as kept:
        followed = follow("--summary", path)
        before = until(followed, lambda text: text.count("===") >= 4)
        path.unlink()
        if what == "replaced":
            support.trace([PROGRAMS / "churn", 100], path)
        until(followed, lambda text: text.count("===") >= 6)
        program.communicate(b"\n", timeout=support.TIME_LIMIT)
        after, err, status = finished(followed)
        (tmp_path / "kept").write_bytes(kept.read())
    assert (status, err) == (0, "") and "=== last report, " in after
    assert events_of(after)[-1] == support.summary(tmp_path / "kept")["events"] \
        > events_of(before)[0]


def test_a_file_that_is_emptied_while_it_is_followed_is_told(tmp_path):
    """GIVEN a file that somebody could still write to, THEN it is followed until
    it is cut."""
    trace = Trace()
    process = start(trace, 1000)
    pairs(process, 10)
    sync(process, 100)
    with open(tmp_path / "t", "wb") as file:
        file.write(trace.bytes())
        file.flush()
        followed = follow("--summary", tmp_path / "t")
        until(followed, lambda text: text.count("===") >= 8)
        file.truncate(0)
        _, err, status = finished(followed)
    assert status == 1 and err == f"mlog-analyze: {tmp_path}/t: was emptied while it was followed\n"


def test_follow_a_stream_prints_what_has_happened_so_far():
    """GIVEN a stream that pauses, all that was promised shows up in the pause."""
    trace = Trace()
    process = start(trace, 1000)
    pairs(process, 10)
    sync(process, 100)
    half = trace.bytes()
    pairs(process, 200)
    sync(process, 300, end=True)
    followed = follow("--summary", "-", stdin=subprocess.PIPE)
    followed.stdin.write(half)
    followed.stdin.flush()
    until(followed, lambda text: 20 in events_of(text))
    after, err, status = finished_with(followed, trace.bytes()[len(half):])
    assert (status, err) == (0, "") and events_of(after)[-1] == 40


def without_end():
    trace = Trace()
    process = start(trace, 1000)
    pairs(process, 10)
    sync(process, 100)
    return trace.bytes()


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_a_process_that_goes_on_is_called_running(tmp_path, kind):
    """GIVEN a stream that has not ended, in a pipe or in a file that is written, WHEN it
    is followed, THEN its process is running and nothing is in doubt; at the end of the
    pipe it has no end."""
    with open(tmp_path / "t", "wb") as file:
        file.write(without_end())
        file.flush()
        source = subprocess.PIPE if kind == "pipe" else None
        followed = follow("--summary", "-" if kind == "pipe" else tmp_path / "t", stdin=source)
        if kind == "pipe":
            followed.stdin.write(without_end())
            followed.stdin.flush()
        text = until(followed, lambda text: "\n=== report 2" in text and 20 in events_of(text))
        if kind == "file":
            followed.send_signal(signal.SIGINT)
        after, err, status = finished_with(followed, b"" if kind == "pipe" else None)
    assert (status, err) == (0, "")
    assert "(pid 1000, running)" in text and "1 process is still running" in text, text
    assert "killed" not in text and "Warning" not in text, text
    assert "=== last report" in after and "running" not in after.split("=== last report")[1]


def test_a_stream_that_trickles_is_reported_on():
    """GIVEN a stream that never pauses and brings little, THEN reports come."""
    trace = Trace()
    process = start(trace, 1000)
    followed = follow("--summary", "-", stdin=subprocess.PIPE)
    sent, end = 0, threading.Event()

    def feed():
        nonlocal sent
        when = 0
        while not end.wait(0.02):
            when += 1
            pairs(process, when * SECOND)
            sync(process, when * SECOND + 100)
            followed.stdin.write(trace.bytes()[sent:])
            followed.stdin.flush()
            sent = len(trace.bytes())

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        until(followed, lambda text: len(set(events_of(text))) > 3)
    finally:
        end.set()
        feeder.join()
    _, err, status = finished_with(followed, b"")
    assert (status, err) == (0, "")


def finished_with(process, data):
    out, err = process.communicate(data, timeout=support.TIME_LIMIT)
    return out.decode(), err.decode(), process.returncode


def test_a_pipe_that_begins_with_something_else_is_told_at_once(tmp_path):
    """GIVEN a pipe that begins with neither a trace nor compressed data, and is left open,
    THEN one line says what is waited for; WHEN a trace follows, THEN it is reported."""
    support.trace([PROGRAMS / "churn", 100], tmp_path / "t")
    process = subprocess.Popen([ANALYZE, "-", "--summary", "--json", "--no-symbols"],
                               env=support.clean_environment(), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(b"hello, this is not a trace\n")
    process.stdin.flush()
    assert select.select([process.stderr], [], [], 60)[0], "nothing was said"
    said = os.read(process.stderr.fileno(), 4096).decode()
    assert said.startswith("mlog-analyze: standard input: begins with neither a trace nor zstd"), said
    assert said.count("\n") == 1 and "512 KiB" in said
    out, err = process.communicate((tmp_path / "t").read_bytes(), timeout=60)
    report = json.loads(out)
    assert report["summary"]["events"] == support.summary(tmp_path / "t")["events"]
    assert report["audit"]["skipped_bytes"] == 27 and process.returncode == 1
    assert "begins with neither" not in err.decode()


@pytest.mark.parametrize("silent", ["asleep or killed", "idle thread"])
def test_who_is_silent_does_not_hold_back_the_others(silent):
    """GIVEN a process that says nothing any more, or a thread without events,
    WHEN another goes on for 100 s of trace time, THEN its events are seen."""
    trace = Trace()
    busy = start(trace, 1000, threads=2)
    if silent != "idle thread":
        other = start(trace, 2000)
        pairs(other, 10)
        sync(other, 100)
    for when in range(1, 101):
        pairs(busy, when * SECOND)
        sync(busy, when * SECOND + 100)
    followed = follow("--summary", "-", stdin=subprocess.PIPE)
    followed.stdin.write(trace.bytes())
    followed.stdin.flush()
    expected = 2000 + 20 * (silent != "idle thread")
    until(followed, lambda text: expected in events_of(text))
    followed.send_signal(signal.SIGINT)
    after, err, status = finished(followed)
    assert (status, err) == (0, "") and events_of(after)[-1] == expected
    assert "last report" in after


def endless(megabytes, threads, with_killed):
    """Chunks of a stream with many threads of which half never do anything, and
    perhaps a second process that was killed early. All events chunks have one payload:
    times in it are relative."""
    trace = Trace()
    busy = start(trace, 1000, threads=threads)
    if with_killed:
        killed = start(trace, 2000)
        pairs(killed, 10)
        sync(killed, 100)
    yield trace.bytes()
    sample = Trace().process(1000).events(1, 0)
    for i in range(200):
        sample.record(0x3f, b"x" * 100)     # unknown, to be skipped: bulk
        sample.alloc(2 * i, HEAP, 123 * 8, 0)
        sample.free(2 * i + 1, HEAP)
    payload = bytes(sample.payload)
    crc = zlib.crc32(payload)
    sequence, made, when = [0] * (threads + 1), 0, SECOND
    while made < megabytes << 20:
        for stream in range(1, threads + 1, 2):
            yield chunk_header(1, 48 + len(payload), busy.key, stream, sequence[stream],
                               when + 1000 * stream, flags=1, payload_crc=crc) + payload
            sequence[stream] += 1
            made += len(payload)
        when += SECOND
        promise = b"\x0a" + bytes([19]) + b"\0" + struct.pack("<Q", when - 1)
        sequence[0] += 1
        yield chunk_header(2, 48 + len(promise), busy.key, 1, sequence[0], when, flags=1,
                           payload_crc=zlib.crc32(promise)) + promise
    end = b"\x08" + bytes([23]) + b"\0" + struct.pack("<Q", when) + b"\x03\x01"
    yield chunk_header(2, 48 + len(end), busy.key, 1, sequence[0] + 1, when, flags=1,
                       payload_crc=zlib.crc32(end)) + end


@pytest.mark.parametrize("way", ["file", "pipe"])
def test_a_filter_that_nothing_matches_is_told_when_the_trace_ends(tmp_path, way):
    """GIVEN --follow and a process that is not there THEN the status is 2, as without."""
    support.trace([PROGRAMS / "churn", 100], tmp_path / "t")
    given = ["-"] if way == "pipe" else [tmp_path / "t"]
    done = support.run([ANALYZE, "--follow", "--no-symbols", "--pid", "999999", *given],
                       input=(tmp_path / "t").read_bytes() if way == "pipe" else None)
    assert done.returncode == 2 and "nothing in the trace matches" in done.stderr, done


@pytest.mark.parametrize("option", ["--follow", "--summary"])
def test_memory_for_an_endless_stream_is_bounded(option):
    """GIVEN 100 threads, half of them idle (and, for --follow, a process that
    was killed), THEN much more is read than is held."""
    megabytes, bound = 80, 60
    followed = subprocess.Popen([ANALYZE, option, "--no-symbols", "--summary", "-"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=support.clean_environment())
    for piece in endless(megabytes, 100, option == "--follow"):
        followed.stdin.write(piece)
    followed.stdin.flush()
    with open(f"/proc/{followed.pid}/status") as status:
        peak = int(re.search(r"VmHWM:\s+(\d+)", status.read()).group(1)) // 1024
    followed.stdin.close()
    followed.stdin = None
    out, err, status = finished(followed)
    doubts = out.split("\nAudit\n")[-1].splitlines()
    if option == "--follow":
        assert doubts.pop(0).startswith("  1 process has no end in the trace: killed"), out
        assert doubts.pop(0).strip() == "process 2000", out
        assert doubts.pop().startswith("  Warning: ") and not doubts and status == 0, (out, err)
    else:
        assert status == 0 and "Complete: " in out and "Warning" not in out, (out, err)
    assert peak < bound, f"{peak} MiB"


def test_json_reports_follow_each_other(tmp_path):
    support.trace([PROGRAMS / "churn", 100], tmp_path / "t")
    followed = follow("--json", tmp_path / "t")
    out, err, status = finished(followed)
    assert (status, err) == (0, "")
    assert json.loads(out)["summary"]["events"] == 203


def test_followed_output_file_is_replaced_whole(tmp_path):
    trace = Trace()
    process = start(trace, 1000)
    pairs(process, 10)
    sync(process, 100)
    followed = follow("--json", "-o", tmp_path / "out", "-", stdin=subprocess.PIPE)
    followed.stdin.write(trace.bytes())
    followed.stdin.flush()
    events, end = 0, time.monotonic() + support.TIME_LIMIT
    while events != 20 and time.monotonic() < end:
        time.sleep(0.02)
        if (tmp_path / "out").exists():
            events = json.loads((tmp_path / "out").read_text())["summary"]["events"]
    out, err, status = finished_with(followed, b"")
    assert (out, err, status, events) == ("", "", 0, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("terminal", ["xterm", "dumb"])
def test_a_terminal_is_redrawn_unless_it_cannot(tmp_path, terminal):
    support.trace([PROGRAMS / "churn", 100], tmp_path / "t")
    master, slave = pty.openpty()
    followed = follow("--summary", tmp_path / "t", stdout=slave, stdin=slave,
                      env={"TERM": terminal, "NO_COLOR": "1"})
    os.close(slave)
    shown = b""
    while True:
        try:
            more = os.read(master, 1 << 16)
        except OSError:         # the other side is closed
            break
        if not more:
            break
        shown += more
    followed.wait(support.TIME_LIMIT)
    os.close(master)
    assert b"events" in shown
    assert (b"\033[H" in shown) == (terminal == "xterm")
    assert (b"=== last report" in shown) == (terminal == "dumb")
    assert b"\033[1m" not in shown


@pytest.mark.parametrize("terminal", ["xterm", "dumb", "pipe", "dump"])
def test_progress_is_for_terminals_only(terminal):
    """GIVEN an input that keeps the analyser waiting, THEN a terminal is told
    after two seconds; a pipe, a terminal that cannot redraw and one on which the
    events appear are not."""
    master, slave = pty.openpty()
    waiting = subprocess.Popen(
        [ANALYZE, "--dump=text" if terminal == "dump" else "--no-symbols", "-"],
        stdin=subprocess.PIPE, stdout=slave if terminal == "dump" else subprocess.DEVNULL,
        stderr=subprocess.PIPE if terminal == "pipe" else slave,
        env=support.clean_environment(TERM="dumb" if terminal == "dumb" else "xterm"))
    os.close(slave)
    trace = Trace()
    pairs(start(trace, 1000), 10)
    waiting.stdin.write(trace.bytes())
    waiting.stdin.flush()
    source = waiting.stderr.fileno() if terminal == "pipe" else master
    shown = b""
    end = time.monotonic() + (3 if terminal != "xterm" else support.TIME_LIMIT)
    while b"million" not in shown and (left := end - time.monotonic()) > 0:
        if select.select([source], [], [], left)[0]:
            shown += os.read(source, 4096)
    waiting.stdin.close()
    waiting.wait(support.TIME_LIMIT)
    os.close(master)
    assert (b"million a second" in shown) == (terminal == "xterm"), shown


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A trace that the analyser looks at the clock for many times, and its events."""
    path = tmp_path_factory.mktemp("large") / "t"
    support.trace([PROGRAMS / "handover", 4, 1_200_000], path)
    return path, support.summary(path)["events"]


def told(*args, columns=0):
    """What a terminal of this width is told by mlog-analyze for which a second goes by
    whenever it looks at the clock (hasty_clock.c)."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = support.clean_environment(TERM="xterm", LD_PRELOAD=PROGRAMS / "hasty_clock.so")
    process = subprocess.Popen([ANALYZE, *map(str, args)], stderr=slave, env=env,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    os.close(slave)
    shown = b""
    try:
        while more := os.read(master, 1 << 16):
            shown += more
    except OSError:     # the other side is closed
        pass
    os.close(master)
    assert process.wait(support.TIME_LIMIT) == 0
    return shown.decode()


def test_percent_is_of_what_is_done_not_of_what_is_read_ahead(large):
    path, events = large
    shown = re.findall(r"(\d+) %, ([\d.]+) million events", told("--summary", path))
    assert len(shown) > 10
    for percent, millions in shown:
        assert abs(float(percent) - 100 * float(millions) * 1e6 / events) < 15, (shown, events)


@pytest.mark.parametrize("columns", [40, 12])
def test_progress_is_no_wider_than_the_terminal(large, columns):
    """A line that wraps would be followed by others, for none but the last can be redrawn."""
    path, _ = large
    shown = told(path, "--summary", "--no-symbols", "--jobs=1", columns=columns)
    lines = [line for line in shown.split("\r\x1b[K") if line]
    assert lines and all(0 < len(line) < columns for line in lines), shown
    assert columns < 40 or any(re.search(r"^mlog-analyze: \d+ %, \d+ s left$", line)
                               for line in lines), shown


def test_the_reading_before_the_reading_tells_its_progress(large):
    path, _ = large
    shown = told("--summary", "--from", "10%", path)
    assert re.search(r"mlog-analyze: looking ahead: \d+ %, .* events", shown), shown


def test_a_bundle_that_is_being_written_tells_its_progress(large, tmp_path):
    shown = told(large[0], "--bundle", tmp_path / "b.mlogz")
    assert re.search(r"mlog-analyze: writing: \d+ %, \d+ MiB, \d+ MiB a second", shown), shown


def test_the_first_reading_of_a_followed_file_tells_its_progress(large):
    path, _ = large
    assert "million events" in told("--follow", "--summary", path)


@pytest.mark.parametrize("wrong, word", [
    (["--follow", "--dump=json"], "--dump"), (["--interval", "1"], "--follow"),
    (["--follow", "--interval", "0"], "seconds"), (["--follow", "--interval", "x"], "seconds")])
def test_wrong_use_is_told(wrong, word):
    done = support.run([ANALYZE, *wrong, "x"])
    assert done.returncode == 2 and word in done.stderr, done
