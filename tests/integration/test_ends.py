# SPDX-License-Identifier: MIT
"""A program may end as it likes: with a file at 1022 every event is there."""
import json
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


def test_killed_between_the_claim_of_space_and_its_reservation(tmp_path):
    """What was claimed and never reserved held nothing: the file is not cut."""
    done = support.bash('LD_PRELOAD=$LIB "$1" 1000 1022>"$2"', PROGRAMS / "churn", tmp_path / "t")
    assert done.returncode == 7, done
    data = bytearray((tmp_path / "t").read_bytes())
    whole = support.report(tmp_path / "t", "--summary")
    (reserved,) = struct.unpack_from("<Q", data, 48)
    assert reserved == len(data)
    # GIVEN a writer that had claimed 16 units behind the file's end, and no more
    struct.pack_into("<Q", data, 40, len(data) // 4096 - 1 + 16)
    (tmp_path / "t").write_bytes(data)
    late = support.report(tmp_path / "t", "--summary")
    assert late["summary"] == whole["summary"]
    support.assert_sound(late["audit"])
    # A file that had been longer than it is now is cut all the same, and so is
    # one that never told how long it was.
    (tmp_path / "t").write_bytes(data[:-4096])
    done = support.analyze(tmp_path / "t", "--summary", status=1)
    assert f"truncated at byte {len(data) - 4096}" in done.stderr, done
    struct.pack_into("<Q", data, 48, 0)
    (tmp_path / "t").write_bytes(data)
    done = support.analyze(tmp_path / "t", "--summary", status=1)
    assert f"truncated at byte {len(data)}" in done.stderr, done


def test_killed_before_anything_is_recorded(tmp_path):
    """Its space had been reserved: what is no trace is not damaged either."""
    (tmp_path / "t").write_bytes(bytes(256 << 10))
    support.refused(support.run([support.ANALYZE, tmp_path / "t"]), "begins with zeros", "killed")


def test_killed_before_the_first_event_of_a_chunk(tmp_path):
    """What stands in the chunks before is all there."""
    process = subprocess.Popen(
        ["bash", "-c", 'LD_PRELOAD=$1 exec "$2" "$3" 1 1022>"$4"', "bash", str(support.LIBRARY),
         str(PROGRAMS / "counted"), str(tmp_path / "counts"), str(tmp_path / "t")],
        env=support.clean_environment())
    while not (tmp_path / "t").exists() or (tmp_path / "t").stat().st_size < 2_000_000:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = support.report(tmp_path / "t", "--summary")["summary"]["events"]
    data, newest, at = bytearray((tmp_path / "t").read_bytes()), None, 4096
    while at < len(data):
        size = 4096
        if data[at:at + 4] == b"mlck":
            (size,) = struct.unpack_from("<I", data, at + 8)
            newest = (at, min(size, len(data) - at)) if data[at + 4] == 1 else newest
        at += size
    at, size = newest
    data[at + 48:at + size] = bytes(size - 48)
    (tmp_path / "t").write_bytes(data)
    assert before / 2 < support.report(tmp_path / "t", "--summary")["summary"]["events"] <= before


def test_output_captured_by_the_shell_is_the_programs_alone(tmp_path):
    done = support.bash('x=$(LD_PRELOAD=$LIB "$1" 10 1022>"$2"); echo "[$x]"',
                        PROGRAMS / "churn", tmp_path / "t")
    assert done.visible == (0, "[done]\n", "")
    assert support.summary(tmp_path / "t")["calls"]["malloc"] == 13


def ends(tmp_path, sink, *args):
    """Run ends.c into a file or through a pipe; what the user saw, the report."""
    run = 'trace=$1; shift; LD_PRELOAD=$LIB "$@" 1022>"$trace"'
    if sink == "pipe":
        run = 'trace=$1; shift; mkfifo "$trace.fifo"; cat "$trace.fifo" >"$trace" & ' \
              'LD_PRELOAD=$LIB "$@" 1022>"$trace.fifo"; status=$?; wait; exit $status'
    done = support.bash(run, tmp_path / "t", PROGRAMS / "ends", *args)
    whole = support.report(tmp_path / "t", "--summary", "--leaks")
    support.assert_sound(whole["audit"])
    made = {entry["bytes"] // entry["blocks"]: entry["blocks"]
            for entry in support.leaks_of(whole["leaks"], "make")}
    return done, whole, made


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """What a program may execute: a static binary, a script, something that is
    neither, a file that is not there, a program with set-user-ID."""
    root = tmp_path_factory.mktemp("images")
    support.compiled(root, "static", "int main(void) { return 4; }\n", "-static")
    (root / "script").write_text("#!/bin/sh\nexit 4\n")
    (root / "noise").write_bytes(b"\x7fELF nothing of the kind")
    support.compiled(root, "setuid", "int main(void) { return 4; }\n")
    if os.geteuid() == 0:  # else it gains nothing, and is traced like any other
        os.chown(root / "setuid", 65534, 65534)
    (root / "setuid").chmod(0o4755)
    for name in ("script", "noise"):
        (root / name).chmod(0o755)
    return root


@pytest.mark.parametrize("sink", ["file", "pipe"])
@pytest.mark.parametrize("image, status", [("static", 4), ("script", 4), ("setuid", 4),
                                           ("noise", 9), ("missing", 9)])
def test_exec_into_anything(tmp_path, images, sink, image, status):
    how = "execveat" if image == "static" else "exec"
    done, whole, made = ends(tmp_path, sink, how, images / image)
    assert done.visible == (status, "", "")
    # a program that could not be executed goes on, and is still traced
    assert made == ({17 * 8: 3, 19 * 8: 5} if status == 9 else {17 * 8: 3})
    assert whole["summary"]["calls"]["malloc"] >= 1000
    names = [process["executable"].rsplit("/", 1)[-1] for process in whole["processes"]]
    assert names[0] == "ends"
    assert len(names) in {"script": [2], "setuid": [1, 2]}.get(image, [1]), names


@pytest.mark.parametrize("sink", ["file", "pipe"])
@pytest.mark.parametrize("how, status, leaks", [("thread", 6, {17 * 8: 3}),
                                                ("last", 0, {17 * 8: 3, 19 * 8: 5})])
def test_ends_by_threads(tmp_path, sink, how, status, leaks):
    done, whole, made = ends(tmp_path, sink, how)
    assert done.visible == (status, "", "")
    assert made == leaks
    assert whole["audit"]["complete"]


def test_the_bare_system_call(tmp_path):
    done, whole, made = ends(tmp_path, "file", "raw")
    assert done.visible == (6, "", "") and made == {17 * 8: 3}
    assert whole["summary"]["calls"] | {"calloc": 0} == \
        whole["summary"]["calls"] | {"malloc": 1000, "free": 997, "calloc": 0}


@pytest.mark.parametrize("sink", ["file", "pipe"])
def test_no_memory_left(tmp_path, sink):
    """The address space is full: calls fail as they would, tracing may stop, and
    then the trace says so; the program goes on."""
    run = '''case $1 in
             file) LD_PRELOAD=$LIB "$2" memory 1022>"$3";;
             *) mkfifo "$3.fifo"; cat "$3.fifo" >"$3" &
                LD_PRELOAD=$LIB "$2" memory 1022>"$3.fifo"; status=$?; wait; exit $status
             esac'''
    done = support.bash(run, sink, PROGRAMS / "ends", tmp_path / "t")
    assert done.visible == (6, "", "")
    read = support.run([support.ANALYZE, tmp_path / "t", "--summary", "--json"])
    whole = json.loads(read.stdout)
    made = whole["summary"]["calls"]["malloc"]
    if sink == "pipe":  # its buffers are there already
        assert (read.returncode, made) == (0, 1000 + 500 * 1000)
        assert whole["summary"]["failed_calls"] == 1000
    else:
        assert read.returncode == 1 and whole["audit"]["stopped"] == "no memory"
        assert 1000 < made < 501000


def test_killed_for_want_of_memory(tmp_path):
    """By the kernel, for a memory cgroup that is full: as after any SIGKILL all is
    there, and the trace's pages, which are the cgroup's too, do no harm."""
    script = '''for root in /sys/fs/cgroup /sys/fs/cgroup/memory; do
                    [ -w $root/cgroup.procs ] || continue
                    group=$root/mlog-test-$$
                    mkdir $group 2>/dev/null || continue
                    echo 24M >$group/memory.max 2>/dev/null ||
                        echo 24M >$group/memory.limit_in_bytes 2>/dev/null ||
                        { rmdir $group; continue; }
                    (echo $BASHPID >$group/cgroup.procs || exit 66
                     LD_PRELOAD=$LIB exec "$1" hog 1022>"$2")
                    status=$?; rmdir $group; exit $status
                done; exit 66'''
    done = support.bash(script, PROGRAMS / "ends", tmp_path / "t")
    if done.returncode == 66:
        pytest.skip("no memory cgroup to be had here")
    assert done.returncode == 128 + signal.SIGKILL, done
    whole = support.report(tmp_path / "t", "--summary", "--leaks")
    support.assert_sound(whole["audit"])
    assert 5 << 20 < whole["summary"]["leaked_bytes"] < 24 << 20


def test_a_trace_cut_anywhere_opens(tmp_path):
    """As after a power failure: the file ends anywhere, or its last pages are zero."""
    done = support.trace([PROGRAMS / "churn", 3000, "return"], tmp_path / "t")
    assert done.returncode == 7
    data = (tmp_path / "t").read_bytes()
    used = len(data.rstrip(b"\0"))
    chance = random.Random(5)
    for turn in range(12):
        at = chance.randrange(8192, used)
        cut = data[:at] if turn % 2 else data[:at & ~4095] + bytes(len(data) - (at & ~4095))
        (tmp_path / "cut").write_bytes(cut)
        read = support.run([support.ANALYZE, tmp_path / "cut", "--summary", "--json"])
        assert read.returncode in (0, 1), read
        whole = json.loads(read.stdout)
        assert 0 <= whole["summary"]["calls"]["malloc"] <= 3003
        if turn % 2:
            assert whole["audit"]["bad_chunks"] == 0
        for lost in whole["audit"]["skipped"]:  # nothing but what is gone is missed
            assert lost["offset"] + lost["bytes"] > (at if turn % 2 else at & ~4095)
