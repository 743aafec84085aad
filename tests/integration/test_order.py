# SPDX-License-Identifier: MIT
"""Order of events across threads: an address that one thread frees is another's
a moment later, and the replay must see them in this order.

MLOG_STRESS=N makes it N times as long.
"""
import json
import os

import pytest

from support import LIBRARY, PROGRAMS, analyze, bash, clean_environment, report, trace

ROUNDS = 60000 * int(os.environ.get("MLOG_STRESS", "1"))
SHARED = "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"


@pytest.mark.parametrize("tunables", [SHARED, ""], ids=["shared", "cached"])
def test_addresses_handed_from_thread_to_thread_replay_in_order(tmp_path, tunables):
    """
    GIVEN eight threads that free each other's blocks and get them again
    WHEN  the trace is replayed
    THEN  every free meets its block, and no address is given out twice
    """
    path = tmp_path / "trace"
    env = clean_environment(GLIBC_TUNABLES=tunables) if tunables else None
    done = trace([PROGRAMS / "handover", "8", ROUNDS], path, env=env)
    assert done.returncode == 0, done
    whole = report(path, "--summary")
    summary, audit = whole["summary"], whole["audit"]
    assert summary["calls"]["malloc"] >= 8 * ROUNDS
    assert summary["reallocations"] > ROUNDS / 2
    assert audit["unmatched_frees"] == 0, audit
    assert audit["late_events"] == 0, audit
    assert audit["order_repairs"] <= summary["events"] // 1_000_000, audit


@pytest.mark.parametrize("sink", ["file", "pipe"])
def test_a_thread_that_alone_records_shares_stamps(tmp_path, sink):
    """
    GIVEN a main thread that records alone beside one that waits, until that records, too
    WHEN  the stamps of the main thread's events are counted
    THEN  many share one as long as it is alone, nearly none after; the other's allocation
          lies between both, and nothing is out of order
    """
    path = tmp_path / "trace"
    script = {"file": 'LD_PRELOAD=$LIB "$2" 1022>"$1"',
              "pipe": '{ LD_PRELOAD=$LIB "$2" 1022>&1 >&2; } | cat >"$1"; exit ${PIPESTATUS[0]}'}
    assert bash(script[sink], path, PROGRAMS / "stamps").returncode == 0
    rows = [json.loads(line) for line in analyze(path, "--dump=json").stdout.splitlines()]
    allocations = [row for row in rows if row["type"] == "alloc"]
    ticks = {size: [row["ticks"] for row in allocations if row["size"] == size]
             for size in (7 * 8, 9 * 8, 11 * 8)}
    alone, (handed,), later = ticks[7 * 8], ticks[9 * 8], ticks[11 * 8]
    assert len(alone) == len(later) == 10000
    assert len(set(alone)) < len(alone) / 2 < len(set(later))
    assert alone[-1] <= handed <= later[0]
    audit = report(path, "--summary")["audit"]
    assert audit["unmatched_frees"] == audit["late_events"] == audit["order_repairs"] == 0, audit


@pytest.mark.parametrize("first", ["clock", "library"])
def test_a_clock_that_stands_still_keeps_nobody_waiting(tmp_path, first):
    """
    GIVEN a program whose clock_gettime never moves, as tools that fake the time make it
    WHEN  it is traced while it sleeps for 0.2 s between two allocations
    THEN  it runs to its end, and the trace has the kernel's time
    """
    path = tmp_path / "trace"
    preload = [PROGRAMS / "still_clock.so", LIBRARY]
    preload = " ".join(map(str, preload if first == "clock" else reversed(preload)))
    done = bash('trace=$1 preload=$2; shift 2; LD_PRELOAD=$preload exec "$@" 1022>"$trace"', path,
                preload, "perl", "-e", 'my @kept = (1) x 12345; select(undef, undef, undef, 0.2);'
                'push @kept, (2) x 54321; print "done\\n"; exit 7')
    assert (done.returncode, done.stdout) == (7, "done\n"), done
    whole = report(path, "--summary")
    assert whole["summary"]["duration_ns"] > 200_000_000, whole["summary"]
    assert whole["audit"]["unmatched_frees"] == 0
