# SPDX-License-Identifier: MIT
"""Readers that are slow, stop, or go away; what is dropped is counted; what is
compressed reads as what is not."""
import os
import pty
import select
import socket
import subprocess
import threading
import time

import pytest

import oracle
import support
from support import LIBRARY, ORACLE, PROGRAMS, bash
from test_sinks import check_churn, same_output

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def pipe_ends():
    read, write = os.pipe()
    return os.fdopen(read, "rb", 0), os.fdopen(write, "wb", 0)


def unix_ends():
    ours, theirs = socket.socketpair()
    return ours.makefile("rb", 0), theirs


def tcp_ends():
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
        ours, _ = server.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    return ours.makefile("rb", 0), theirs


ENDS = {"pipe": pipe_ends, "unix": unix_ends, "tcp": tcp_ends}


def start(argv, sink, preload=str(LIBRARY), **env):
    """The program with 1022 the file or socket `sink`, which is then closed here."""
    process = subprocess.Popen(
        ["bash", "-c", 'exec 1022>&"$1"; eval "exec $1>&-"; export LD_PRELOAD=$2; shift 2; '
                       'exec "$@"', "bash", str(sink.fileno()), preload, *map(str, argv)],
        pass_fds=[sink.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=support.clean_environment(**env))
    sink.close()
    return process


def read_all(source, path):
    with source, open(path, "wb") as file:
        while data := source.read(65536):
            file.write(data)


def is_blocked(process):
    """All threads sleep, and in the kernel's writing."""
    states = []
    for task in os.listdir(f"/proc/{process.pid}/task"):
        try:
            with open(f"/proc/{process.pid}/task/{task}/stat", encoding="ascii") as file:
                states.append(file.read().rsplit(")", 1)[1].split()[0])
        except (FileNotFoundError, ProcessLookupError):     # a thread that has ended
            return False
    return all(state == "S" for state in states)


def wait_until_blocked(process):
    quiet = 0
    while quiet < 5:
        assert process.poll() is None, "it was to wait for its reader"
        time.sleep(0.02)
        quiet = quiet + 1 if is_blocked(process) else 0


@pytest.mark.parametrize("compress", ["none", "zstd"])
@pytest.mark.parametrize("kind", ENDS)
def test_reader_that_stops_loses_nothing(tmp_path, kind, compress):
    """The default: the program waits."""
    source, sink = ENDS[kind]()
    process = start([PROGRAMS / "churn", 2000000 if compress == "zstd" else 400000], sink,
                    MLOG_COMPRESS=compress + ":1" * (compress == "zstd"))
    wait_until_blocked(process)
    read_all(source, tmp_path / "t")
    out, err = process.communicate()
    assert (process.returncode, out, err) == (7, b"done\n", b"")
    whole = support.report(tmp_path / "t", "--summary")
    assert whole["summary"]["leaked_blocks"] == 3
    assert whole["summary"]["calls"]["free"] == (2000000 if compress == "zstd" else 400000)
    support.assert_sound(whole["audit"])


@pytest.mark.parametrize("on_full", ["block", "drop"])
@pytest.mark.parametrize("kind", ENDS)
def test_reader_that_goes_away_while_the_program_writes(kind, on_full):
    source, sink = ENDS[kind]()
    process = start([PROGRAMS / "stalls", 3, 400000], sink, MLOG_ON_FULL=on_full)
    if on_full == "block":
        wait_until_blocked(process)
    else:
        assert process.stdout.readline() == b"half\n"
    source.close()
    out, err = process.communicate(b"\n", timeout=support.TIME_LIMIT)
    assert (process.returncode, out.replace(b"half\n", b""), err) == (7, b"done\n", b"")


def opening_libzstd(tmp_path):
    """The events that the oracle sees and the trace, rightly, has not."""
    support.trace([PROGRAMS / "churn", 10], tmp_path / "little", tmp_path / "little-oracle",
                  env=support.clean_environment(MLOG_COMPRESS="zstd"))
    calls, _ = oracle.total(oracle.read(tmp_path / "little-oracle"))
    hidden = sum(calls.values()) - sum(support.summary(tmp_path / "little")["calls"].values())
    assert 0 < hidden < 100
    return hidden


@pytest.mark.parametrize("compress", ["none", "zstd"])
@pytest.mark.parametrize("kind", ENDS)
def test_drop_never_waits_and_counts_what_it_drops(tmp_path, kind, compress):
    # GIVEN a reader that reads nothing while four threads, of which two end,
    # fill pipe and buffers many times over
    source, sink = ENDS[kind]()
    process = start([PROGRAMS / "stalls", 4, 300000], sink, f"{LIBRARY} {ORACLE}",
                    MLOG_ON_FULL="drop", MLOG_COMPRESS=compress, ORACLE_OUT=tmp_path / "oracle")
    # WHEN it comes to its pause, by itself, and goes on while somebody reads
    assert process.stdout.readline() == b"half\n"
    reader = threading.Thread(target=read_all, args=(source, tmp_path / "t"))
    reader.start()
    out, err = process.communicate(b"\n", timeout=support.TIME_LIMIT)
    reader.join()
    assert (process.returncode, out, err) == (7, b"done\n", b"")
    # THEN recorded and lost events are all there were, by the oracle's count
    whole = support.report(tmp_path / "t", "--summary")
    calls, _ = oracle.total(oracle.read(tmp_path / "oracle"))
    audit = whole["audit"]
    assert audit["lost_events"] > 100000
    assert sum(whole["summary"]["calls"].values()) + audit["lost_events"] == \
        sum(calls.values()) - (opening_libzstd(tmp_path) if compress == "zstd" else 0)
    # by thread, too: each of the four that ran while nobody read has its own
    assert {loss["reason"] for loss in audit["losses"]} == {"choice"}
    assert sum(loss["events"] for loss in audit["losses"]) == audit["lost_events"]
    assert len({loss["tid"] for loss in audit["losses"] if loss["tid"]}) >= 4
    # and nothing else is wrong with the trace
    for name in ("bad_chunks", "skipped_bytes", "unknown_stacks", "unknown_processes",
                 "missing_chunks"):
        assert audit[name] == 0, (name, audit)
    text = support.analyze(tmp_path / "t", "--summary").stdout
    assert "lost while recording" in text and "choice" in text


def test_drop_with_a_reader_that_never_reads(tmp_path):
    """Neither the program nor its children wait, and they end."""
    source, sink = pipe_ends()
    process = start([PROGRAMS / "fork_threads", 10], sink, MLOG_ON_FULL="drop")
    out, err = process.communicate(timeout=support.TIME_LIMIT)
    assert (process.returncode, out, err) == (0, b"", b"")
    # What went into the pipe is a trace, cut at some point.
    os.set_blocking(source.fileno(), False)
    (tmp_path / "t").write_bytes(source.read(1 << 20))
    source.close()
    summary = support.run([support.ANALYZE, tmp_path / "t", "--summary"]).stdout
    assert "fork_threads" in summary


@pytest.mark.parametrize("kind", ENDS)
def test_drop_with_a_reader_that_comes_late(tmp_path, kind):
    """GIVEN a program that fills pipe and buffers while nobody reads; WHEN the reader comes
    after its end; THEN recorded and lost events are all there were."""
    source, sink = ENDS[kind]()
    process = start([PROGRAMS / "churn", 200000], sink, f"{LIBRARY} {ORACLE}",
                    MLOG_ON_FULL="drop", ORACLE_OUT=tmp_path / "oracle")
    out, err = process.communicate(timeout=support.TIME_LIMIT)
    assert (process.returncode, out, err) == (7, b"done\n", b"")
    read_all(source, tmp_path / "t")
    whole = support.report(tmp_path / "t", "--summary")
    calls, _ = oracle.total(oracle.read(tmp_path / "oracle"))
    assert whole["audit"]["lost_events"] > 10000
    assert sum(whole["summary"]["calls"].values()) + whole["audit"]["lost_events"] == \
        sum(calls.values())
    assert whole["audit"]["unended_processes"] == whole["audit"]["skipped_bytes"] == 0


def test_drop_with_a_reader_that_is_fast_enough_drops_nothing(tmp_path):
    done = bash('''mkfifo "$2"; cat "$2" >"$3" & LD_PRELOAD=$LIB "$1" 4000 1022>"$2"
                   status=$?; wait; exit $status''', PROGRAMS / "churn", tmp_path / "fifo",
                tmp_path / "t", env=support.clean_environment(MLOG_ON_FULL="drop"))
    same_output(done)
    whole = support.report(tmp_path / "t", "--summary")
    assert whole["summary"]["calls"]["free"] == 4000
    support.assert_sound(whole["audit"])


def test_drop_means_nothing_to_a_file(tmp_path):
    for way in ("map", "write"):
        env = support.clean_environment(MLOG_ON_FULL="drop", MLOG_FILE=way)
        same_output(bash('LD_PRELOAD=$LIB exec "$1" 20000 1022>"$2"', PROGRAMS / "churn",
                         tmp_path / way, env=env))
        check_churn(tmp_path / way)


def test_slow_tcp_peer(tmp_path):
    source, sink = tcp_ends()
    process = start([PROGRAMS / "churn", 60000], sink)
    with source, open(tmp_path / "t", "wb") as file:
        while data := source.read(3000):
            file.write(data)
            time.sleep(0.001)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (7, b"done\n", b"")
    summary = support.report(tmp_path / "t", "--summary")["summary"]
    assert summary["calls"]["free"] == 60000


@pytest.mark.parametrize("on_full", ["block", "drop"])
def test_socket_without_a_peer(on_full):
    """Never connected; and one whose peer has reset it."""
    reset_by, reset = tcp_ends()
    os.write(reset.fileno(), b"x")
    reset_by.close()  # with a byte unread: a reset
    for sink in (socket.socket(), reset):
        process = start([PROGRAMS / "churn", 20000], sink, MLOG_ON_FULL=on_full)
        out, err = process.communicate(timeout=support.TIME_LIMIT)
        assert (process.returncode, out, err) == (7, b"done\n", b"")


def test_terminal_is_refused():
    """A trace on somebody's screen is of no use to anybody."""
    ours, theirs = pty.openpty()
    process = start([PROGRAMS / "churn", 20000], os.fdopen(theirs, "wb", 0))
    out, err = process.communicate(timeout=support.TIME_LIMIT)
    assert (process.returncode, out) == (7, b"done\n")
    assert len(err.splitlines()) == 1 and b"terminal" in err
    if select.select([ours], [], [], 0)[0]:
        with pytest.raises(OSError):  # closed at the other end, and nothing came
            os.read(ours, 1)
    os.close(ours)


@pytest.mark.parametrize("debug", ["", "1"])
def test_only_debug_speaks_when_a_trace_ends_early(debug):
    done = bash('LD_PRELOAD=$LIB exec "$1" 20000 1022>/dev/full', PROGRAMS / "churn",
                env=support.clean_environment(MLOG_DEBUG=debug))
    assert (done.returncode, done.stdout) == (7, "done\n")
    assert len(done.stderr.splitlines()) == (1 if debug else 0), done


@pytest.mark.parametrize("name, value", [
    ("MLOG_ON_FULL", "never"), ("MLOG_COMPRESS", "zstd:20"), ("MLOG_COMPRESS", "zstd:"),
    ("MLOG_COMPRESS", "gzip"), ("MLOG_COMPRESS", "zstd:3x"), ("MLOG_FILE", "mmap"),
    ("MLOG_UNWIND", "dwarf")])
@pytest.mark.parametrize("debug", ["0", "1"])
def test_values_that_mean_nothing(tmp_path, name, value, debug):
    """The default holds; the reason is said with MLOG_DEBUG alone."""
    done = bash('LD_PRELOAD=$LIB exec "$1" 20000 1022>"$2"', PROGRAMS / "churn", tmp_path / "t",
                env=support.clean_environment(MLOG_DEBUG=debug, **{name: value}))
    assert (done.returncode, done.stdout) == (7, "done\n")
    lines = done.stderr.splitlines()
    assert len(lines) == int(debug) and all(name in line and value in line for line in lines)
    check_churn(tmp_path / "t")


@pytest.mark.smoke
@pytest.mark.parametrize("level", ["", ":1", ":19"])
@pytest.mark.parametrize("way", ["file", "pipe", "fifo", "analyzer's input"])
def test_compressed(tmp_path, way, level):
    script = {
        "file": 'LD_PRELOAD=$LIB exec "$1" 20000 1022>"$2"',
        "pipe": '''mkfifo "$3"; cat "$3" >/dev/null & LD_PRELOAD=$LIB "$1" 20000 \
                   1022> >(cat >"$2"; echo >"$3"); status=$?; wait; exit $status''',
        "fifo": '''mkfifo "$3"; cat "$3" >"$2" & LD_PRELOAD=$LIB "$1" 20000 1022>"$3"
                   status=$?; wait; exit $status''',
        "analyzer's input": '''mkfifo "$3"; "$4" - --json --summary <"$3" >"$2" &
                   LD_PRELOAD=$LIB "$1" 20000 1022>"$3"; status=$?; wait; exit $status''',
    }[way]
    same_output(bash(script, PROGRAMS / "churn", tmp_path / "t", tmp_path / "fifo",
                     support.ANALYZE, env=support.clean_environment(MLOG_COMPRESS="zstd" + level)))
    if way == "analyzer's input":
        assert '"never freed"' in (tmp_path / "t").read_text() or \
            '"leaked_blocks": 3' in (tmp_path / "t").read_text()
        return
    # To the block: opening libzstd is not among the program's events.
    check_churn(tmp_path / "t")
    assert (tmp_path / "t").read_bytes()[:4] == ZSTD_MAGIC
    # What zstd itself makes of it reads the same, and is larger.
    subprocess.run(["zstd", "-qdf", tmp_path / "t", "-o", tmp_path / "plain"], check=True)
    check_churn(tmp_path / "plain")
    assert (tmp_path / "plain").stat().st_size > 5 * (tmp_path / "t").stat().st_size


def test_compressed_process_tree(tmp_path):
    done = support.trace([PROGRAMS / "fork_threads", 20], tmp_path / "t", tmp_path / "oracle",
                         env=support.clean_environment(MLOG_COMPRESS="zstd"))
    assert done.visible == (0, "", "")
    whole = support.report(tmp_path / "t", "--leaks", "--summary")
    assert len(whole["processes"]) == 21
    assert sum(e["blocks"] for e in support.leaks_of(whole["leaks"], "leak_in_child")) == 20
    support.assert_sound(whole["audit"])


@pytest.mark.parametrize("what", ["missing", "wrong"])
def test_without_a_libzstd_that_serves(tmp_path, what):
    """Frames then hold their bytes as they are."""
    folder = tmp_path / "libraries"
    folder.mkdir()
    if what == "wrong":  # a library without one of the functions
        subprocess.run(["gcc", "-shared", "-o", folder / "libzstd.so.1", "-xc", "/dev/null"],
                       check=True)
    else:                # a file that is no library stops the search
        (folder / "libzstd.so.1").write_bytes(b"nothing")
    for debug in ("0", "1"):
        env = support.clean_environment(MLOG_COMPRESS="zstd", LD_LIBRARY_PATH=folder,
                                        MLOG_DEBUG=debug)
        done = bash('LD_PRELOAD=$LIB exec "$1" 20000 1022>"$2"', PROGRAMS / "churn",
                    tmp_path / "t", env=env)
        assert (done.returncode, done.stdout) == (7, "done\n")
        if what == "wrong":
            assert len(done.stderr.splitlines()) == int(debug)
            assert done.stderr == "" or "libzstd" in done.stderr
        check_churn(tmp_path / "t")
        assert (tmp_path / "t").read_bytes()[:4] == ZSTD_MAGIC


def test_compressed_and_killed(tmp_path):
    done = bash('LD_PRELOAD=$LIB "$1" 300000 kill 1022>"$2"; exit $?', PROGRAMS / "churn",
                tmp_path / "t", env=support.clean_environment(MLOG_COMPRESS="zstd"))
    assert done.returncode == 128 + 9
    summary = support.report(tmp_path / "t", "--summary")["summary"]
    assert 300000 - 30000 < summary["calls"]["malloc"] <= 300003


@pytest.mark.parametrize("left", [1, 3, 100, 900, 2000])
def test_process_killed_in_the_middle_of_a_frame(tmp_path, left):
    """It costs that frame: what its neighbours wrote behind it is read."""
    env = support.clean_environment(MLOG_COMPRESS="zstd")
    for name in ("killed", "other"):
        same_output(bash('LD_PRELOAD=$LIB exec "$1" 100000 1022>"$2"', PROGRAMS / "churn",
                         tmp_path / name, env=env))
    killed, other = ((tmp_path / name).read_bytes() for name in ("killed", "other"))
    last = killed.rindex(ZSTD_MAGIC)
    before = killed.rindex(ZSTD_MAGIC, 0, last)
    left = min(left, last - before - 1)  # frames differ in size from run to run
    # GIVEN all frames but the last two, and a piece of the one before that
    (tmp_path / "t").write_bytes(killed[:before + left] + other)
    # WHEN read THEN it is said, and the other process is whole
    done = support.run([support.ANALYZE, tmp_path / "t", "--json", "--summary", "--top", "0"])
    assert done.returncode == 1 and "zstd" in done.stderr, done
    whole = support.json.loads(done.stdout)
    assert len(whole["processes"]) == 2
    rows = sorted(whole["processes"], key=lambda row: row["allocations"])
    assert rows[1]["allocations"] == 100003 and rows[1]["leaked_blocks"] == 3
    # AND the cut one lacks no more than its tail
    assert rows[0]["allocations"] > 100000 - 30000
    # cut at the very end, likewise
    (tmp_path / "t").write_bytes(killed[:before + left])
    done = support.run([support.ANALYZE, tmp_path / "t", "--json", "--summary"])
    assert done.returncode == 1 and "zstd" in done.stderr, done
    assert support.json.loads(done.stdout)["summary"]["calls"]["malloc"] > 100000 - 30000
