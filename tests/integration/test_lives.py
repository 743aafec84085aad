# SPDX-License-Identifier: MIT
"""Threads that come and go in every way: each of their events is in the trace."""
import json
import os
import struct

import pytest

import support
from support import PROGRAMS

TIMES = 10 if os.environ.get("MLOG_TEST_LONG") else 1


def lives(tmp_path, what, count, over=None):
    """Run lives.c traced; what it printed, and who allocated how much."""
    env = support.clean_environment(ORACLE_BLOCK_SIGNALS=1)
    if over:
        done = support.bash('LD_PRELOAD="$LIB $1" exec "$2" "$3" "$4" 1022>"$5"', over,
                            PROGRAMS / "lives", what, count * TIMES, tmp_path / "t")
    else:
        done = support.trace([PROGRAMS / "lives", what, count * TIMES], tmp_path / "t",
                             tmp_path / "oracle", env=env)
    assert (done.returncode, done.stderr) == (0, ""), done
    whole = support.report(tmp_path / "t", "--summary", "--allocations", "--leaks")
    support.assert_sound(whole["audit"])

    def calls(function):
        return sum(entry["calls"] for entry in support.leaks_of(whole["allocations"], function))
    return done.stdout, whole, calls


def test_a_thousand_short_threads(tmp_path):
    _, whole, calls = lives(tmp_path, "short", 1000)
    assert calls("thread") == 1000 * TIMES
    support.assert_equals_oracle(tmp_path / "t", tmp_path / "oracle", peak=False)
    # eight at a time: blocks of ended threads are used again, so memory is theirs
    assert whole["summary"]["threads"] == 1000 * TIMES + 1


def test_destructors_that_run_after_ours(tmp_path):
    _, whole, calls = lives(tmp_path, "late", 50)
    assert calls("destroy") == 50 * TIMES * 4
    support.assert_equals_oracle(tmp_path / "t", tmp_path / "oracle", peak=False)


@pytest.mark.parametrize("what, calls_each", [("tiny", 1), ("exited", 1), ("idle", 1)])
def test_threads_of_every_kind(tmp_path, what, calls_each):
    """A stack of 16 KiB; an end by the bare system call; all at a time."""
    _, whole, calls = lives(tmp_path, what, 64)
    assert calls("thread") == 64 * TIMES * calls_each
    support.assert_equals_oracle(tmp_path / "t", tmp_path / "oracle", peak=False)


def test_cancelled_threads(tmp_path):
    printed, whole, calls = lives(tmp_path, "cancel", 32)
    # the last pair of each was made and not counted
    assert calls("thread") == int(printed) + 32 * TIMES
    support.assert_equals_oracle(tmp_path / "t", tmp_path / "oracle", peak=False)


def test_threads_cancelled_at_any_instant(tmp_path):
    """Inside our hooks too, over an allocator that survives it: the others go on."""
    printed, whole, calls = lives(tmp_path, "asynchronous", 48, PROGRAMS / "bump.so")
    counted = int(printed)
    # Of each thread the pair under way was recorded or not.
    assert counted <= calls("thread") <= counted + 48 * TIMES
    assert 77 * 8 in [entry["bytes"] for entry in support.leaks_of(whole["leaks"], "main")]


def test_exec_while_other_threads_allocate(tmp_path):
    done = support.trace([PROGRAMS / "lives", "mixed", 4], tmp_path / "t")
    assert done.visible == (0, "", "")
    whole = support.report(tmp_path / "t", "--summary")
    support.assert_sound(whole["audit"])
    assert [p["executable"].rsplit("/", 1)[-1] for p in whole["processes"]] == ["lives", "true"]


@pytest.mark.parametrize("end", ["exits", "killed"])
def test_threads_of_one_request_share_their_definitions(tmp_path, end):
    """GIVEN a thread for each request, which makes two events WHEN the program ends, or is
    killed THEN each event is in the trace, and of its own thread, and a thread costs a small
    part of a page."""
    path, count = tmp_path / "t", 2000
    done = support.bash('LD_PRELOAD=$LIB exec "$1" $2 $3 1022>"$4"', PROGRAMS / "requests", count,
                "kill" if end == "killed" else "", path)
    assert done.returncode in (7, -9), done
    report = support.report(path, "--summary", "--leaks", "--threads")
    support.assert_sound(report["audit"])
    assert report["audit"]["complete"]
    assert report["summary"]["leaked_bytes"] >= 123 * 8 * count // 10
    assert report["summary"]["calls"]["malloc"] >= count
    claimed = struct.unpack_from("<Q", path.read_bytes()[:64], 40)[0]
    assert claimed < count // 10
    served = [t for t in report["threads"]["threads"] if t["allocated_bytes"] == 123 * 8]
    assert [t["allocations"] for t in served] == [1] * count
    assert sum(t["frees"] for t in served) == count - count // 10
    assert len({t["tid"] for t in served}) == count


def test_definitions_that_threads_share_are_missed(tmp_path):
    """GIVEN such a trace WHEN what a later thread wrote into the definitions that it took
    over is zeroed THEN the audit misses it."""
    path, text = tmp_path / "t", b""
    support.bash('LD_PRELOAD=$LIB exec "$1" 300 1022>"$2"', PROGRAMS / "requests", path)
    text = path.read_bytes()
    chunks = [at for at in range(4096, len(text), 4096)
              if text[at:at + 5] == b"mlck\x02" and text.count(b"requests", at, at + 4096) > 20]
    assert chunks
    for at in chunks[:-1]:
        damaged = bytearray(text)
        damaged[at + 2048:at + 4096] = bytes(2048)
        path.write_bytes(damaged)
        done = support.run([support.ANALYZE, path, "--json", "--summary"])
        assert not json.loads(done.stdout)["audit"]["complete"]
