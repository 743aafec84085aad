# SPDX-License-Identifier: MIT
"""The analyser's replay against a plain one in Python: on every vector, and on
random traces of threads, process trees, lost frees and addresses used again.
"""
from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

FORMAT = Path(__file__).resolve().parents[2] / "format"
VECTORS = FORMAT / "vectors"
sys.path[:0] = [str(FORMAT), str(VECTORS), str(Path(__file__).parent)]

from reference_replay import Replay, by_stack               # noqa: E402
from trace_writer import MAPPED, STREAM, Trace              # noqa: E402
from vectors_valid import VALID                             # noqa: E402

SUMS = ("allocations", "frees", "reallocations", "allocated_bytes", "freed_bytes",
        "usable_bytes", "inherited_frees", "inherited_freed_bytes", "temporary", "events",
        "failed_calls")
AUDIT = ("unmatched_frees", "order_repairs", "unseen_frees", "unseen_ends")
OF_PROCESS = ("allocations", "allocated_bytes", "frees", "freed_bytes")


def report(data: bytes, *options: str) -> dict:
    analyze = Path(os.environ["MLOG_BUILD"]) / "analyzer" / "mlog-analyze"
    run = subprocess.run([analyze, "--json", "--no-symbols", "--top", "0", "--leaks", "--peak",
                          *options, "-"], input=data, capture_output=True, timeout=300)
    assert run.returncode == 0 or b"recording stopped" in run.stderr, run.stderr
    return json.loads(run.stdout)


def entries(rows: list[dict]) -> dict:
    """By addresses: rows that differ in generation or exactness become one."""
    sums: dict[tuple[str, ...], tuple[int, int]] = {}
    for row in rows:
        stack = tuple(frame["address"] for frame in row["stack"])
        size, blocks = sums.get(stack, (0, 0))
        sums[stack] = size + row["bytes"], blocks + row["blocks"]
    return sums


def totals(rows: list[dict]) -> tuple[int, int]:
    return sum(row["bytes"] for row in rows), sum(row["blocks"] for row in rows)


def totals_of(blocks: list) -> tuple[int, int]:
    return sum(block.size for block in blocks), len(blocks)


def assert_same(data: bytes) -> Replay:
    plain, got = Replay(data), report(data, "--per-process")
    summary = got["summary"]
    assert {k: summary[k] for k in SUMS} == {k: plain.sums[k] for k in SUMS}
    assert {k: got["audit"][k] for k in AUDIT} == {k: plain.sums[k] for k in AUDIT}
    assert {k: v for k, v in summary["calls"].items() if v} == dict(plain.calls)
    assert (summary["peak_bytes"], summary["peak_blocks"]) == plain.peak
    leaks = plain.leaks()
    assert summary["leaked_bytes"] == sum(b.size for b in leaks)
    assert summary["leaked_blocks"] == len(leaks)
    for order, process in enumerate(got["processes"]):
        sums = plain.by_process.get(order, {})
        assert {k: process[k] for k in OF_PROCESS} == {k: sums.get(k, 0) for k in OF_PROCESS}
        own = plain.leaks(order)
        assert (process["leaked_bytes"], process["leaked_blocks"]) == \
            (sum(b.size for b in own), len(own))
    for process in got["per_process"]:
        order = process["process"]
        size, blocks, at_peak = plain.own_peaks.get(order, (0, 0, []))
        assert (process["peak_bytes"], process["peak_blocks"]) == (size, blocks)
        assert totals(process["leaks"]) == totals_of(plain.leaks(order))
        assert totals(process["peak"]) == totals_of(at_peak)
    assert {p["process"] for p in got["per_process"]} == \
        {order for order, sums in plain.by_process.items() if sums["allocations"]}
    # A module that is loaded twice is one in a report, whatever its addresses.
    paths = [item.fields["path"] for items in plain.trace.items.values() for item in items
             if item.name == "MODULE"]
    if len(got["processes"]) == 1 and len(paths) == len(set(paths)) \
            and not got["audit"]["unknown_stacks"] and not got["audit"]["unknown_modules"]:
        assert entries(got["leaks"]) == by_stack(leaks)
        assert entries(got["peak"]) == by_stack(plain.at_peak)
    return plain


@pytest.mark.parametrize("name", sorted(VALID))
def test_vectors_replay_as_a_plain_replay_does(name: str):
    assert_same((VECTORS / f"{name}.mlog").read_bytes())


def test_ends_that_others_tell():
    """GIVEN ends of children that their parents tell of, some of which cannot be meant
    THEN each process has the end that the rules give it, and no other."""
    data = (VECTORS / "reaped.mlog").read_bytes()
    plain, got = Replay(data), report(data)
    ends = [(p["pid"], p["end_how"], p["signal"], p["core_dumped"]) for p in got["processes"]]
    assert ends == [(100, "signal", 15, False), (101, "signal", 11, True),
                    (102, "silent", None, False), (103, "exit", None, False),
                    (104, "signal", 9, False), (105, None, None, False),
                    (106, "exec", None, False)]
    assert {order for order, _ in enumerate(ends) if order in plain.reaped} == {0, 1, 2, 3, 4}


class Writer:
    """A process that is being written: what it believes to be live, its open chunks."""

    def __init__(self, trace: Trace, pid: int, time: int, parent: "Writer | None" = None):
        self.process = trace.process(pid, key=1000 + len(trace.processes),
                                     parent=parent.process if parent else None)
        self.live = list(parent.live) if parent else []
        self.nodes = list(parent.nodes) if parent else [0]
        definitions = self.process.definitions(base_time=time)
        inherited = max(self.nodes) + 1 if parent else 0
        definitions.process_record(start=time + 1 if parent else time, fork_time=time,
                                   inherited_nodes=inherited,
                                   inherited_modules=2 if parent else 0, monotonic_ns=time)
        if not parent:
            definitions.module(1, 0x400000, b"/bin/x", flags=1)
        for stream in (1, 2, 3):
            definitions.thread(stream, pid + stream, time=time)
        for i in range(12):
            self.nodes.append(definitions.node(1, len(self.nodes) * 64 + pid % 7,
                                               parent=self.nodes[len(self.nodes) // 2],
                                               id=inherited if parent and i == 0 else None))
        definitions.write()
        self.chunks = {stream: self.process.events(stream, time) for stream in (1, 2, 3)}

    def chunk(self, stream: int, time: int):
        if len(self.chunks[stream].payload) > 3000:
            self.chunks[stream].write()
            self.chunks[stream] = self.process.events(stream, time)
        return self.chunks[stream]

    def close(self) -> None:
        for chunk in self.chunks.values():
            chunk.write()


def random_trace(seed: int, layout: int, forks: int) -> bytes:
    rng = random.Random(seed)
    trace = Trace(layout)
    writers = [Writer(trace, 100, 1000)]
    alive = list(writers)
    time = 1000
    for _ in range(2500):
        time += rng.choice((1, 1, 7, 300, 30000))
        writer = rng.choice(alive)
        stream = rng.choice((1, 1, 2, 3))
        chunk = writer.chunk(stream, time)
        live, what = writer.live, rng.random()
        if len(writers) <= forks and what < 0.02:
            time += 5
            pid = rng.choice((100 + len(writers), writer.process.pid)) if len(alive) > 3 \
                else 100 + len(writers)
            child = Writer(trace, pid, time, writer)
            writers.append(child)
            alive.append(child)
            time += 5
        elif len(alive) > 1 and what < 0.025:
            chunk.process_end(time, "exit", 1, 0)
            alive.remove(writer)
        elif live and what < 0.42:
            at = rng.randrange(len(live))
            address = live[at]
            if rng.random() < 0.97:     # else it will be freed twice
                del live[at]
            if rng.random() < 0.97:     # else its free is lost
                chunk.free(time, address)
        elif live and what < 0.5:
            begin, time = time, time + rng.randrange(40)
            old = live.pop(rng.randrange(len(live)))
            new = rng.choice((old, 0x1000000 + 16 * rng.randrange(600)))
            chunk.realloc(begin, time, old, new, rng.randrange(1 << 12), rng.choice(writer.nodes))
            live.append(new)
        elif what < 0.52:
            chunk.failed(time, "malloc", 1 << 50, rng.choice(writer.nodes))
        else:
            address = rng.choice((0x1000000, 0xff00000001000000, 0)) + 16 * rng.randrange(400)
            size = rng.choice((0, 8, 24, 100, rng.randrange(1 << rng.randrange(1, 40))))
            chunk.alloc(time, address, size, rng.choice(writer.nodes),
                        usable=rng.choice((None, size, size + (1 << 21))))
            live.append(address)
    for writer in writers:
        writer.close()
    return trace.bytes()


@pytest.mark.parametrize("layout", [MAPPED, STREAM])
@pytest.mark.parametrize("seed,forks", [(1, 0), (2, 0), (3, 0), (4, 3), (5, 8), (6, 8), (7, 30)])
def test_random_traces_replay_as_a_plain_replay_does(seed: int, forks: int, layout: int):
    plain = assert_same(random_trace(seed, layout, forks))
    # The trace is one that puts the replay to the test.
    assert plain.sums["order_repairs"] > 5 and plain.sums["unmatched_frees"] > 5
    assert plain.sums["temporary"] > 5 and plain.peak[0] > 1 << 32
    assert not forks or plain.sums["inherited_frees"] > 5


def two_clocks(shift: int) -> bytes:
    trace = Trace(STREAM)
    for pid, ticks in ((100, 0), (101, shift)):
        process = trace.process(pid)
        definitions = process.definitions()
        definitions.process_record(start=5, tick_shift=ticks)
        definitions.thread(1, pid)
        definitions.write()
        chunk = process.events(1, 5)
        chunk.alloc(10 + pid, 0x1000, 123, 0)
        chunk.process_end(20 + pid, "exit", 1, 0)
        chunk.write()
    return trace.bytes()


def test_processes_of_different_clocks_are_told_apart():
    """No writer makes them; what cannot be known is said."""
    audit = report(two_clocks(4))["audit"]
    assert audit["foreign_clocks"] == 1 and not audit["complete"]
    audit = report(two_clocks(0))["audit"]
    assert audit["foreign_clocks"] == 0 and audit["complete"]


@pytest.mark.parametrize("freed,repairs", [(1999, 0), (2001, 0), (2002, 1)])
def test_what_a_thread_frees_while_its_process_forks(freed: int, repairs: int):
    """
    GIVEN a fork between the time 2000 in the parent and 2001 in the child
    WHEN  a thread of the parent frees a block around it, and the child is given its address
    THEN  that is an error only if the child must have had the block
    """
    trace = Trace(MAPPED)
    parent = Writer(trace, 100, 1000)
    parent.chunk(1, 1100).alloc(1100, 0x1000000, 984, parent.nodes[3])
    if freed < 2000:
        parent.chunk(2, freed).free(freed, 0x1000000)
    child = Writer(trace, 101, 2000, parent)
    if freed > 2000:
        parent.chunk(2, freed).free(freed, 0x1000000)
    child.chunk(1, 3000).alloc(3000, 0x1000000, 24, child.nodes[3])
    parent.close()
    child.close()
    audit = report(trace.bytes(), "--summary")["audit"]
    assert (audit["order_repairs"], audit["unmatched_frees"]) == (repairs, 0), audit
