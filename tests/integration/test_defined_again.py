# SPDX-License-Identifier: MIT
"""A writer that forgets paths defines them again under other ids: no report, export or
dump of such a trace differs from that of one whose writer forgets nothing. The vector
defined-again is held against the reference decoder by tests/format.
"""
import json
import random
import re
import sys

import pytest

import support
from support import analyze

sys.path[:0] = [str(support.ROOT / "format" / "vectors")]

from trace_writer import Trace  # noqa: E402

EXE, HEAP, SECOND = 0x400000, 0x10000000, 10**9
REPORTS = [
    ["--summary", "--leaks", "--peak", "--allocations"], ["--temporary", "--churn", "--reallocs"],
    ["--timeline", "--sizes", "--lifetimes", "--threads", "--per-process"],
    ["--snapshots=time:0.3"], ["--snapshots=churn:20000"], ["--tree"], ["--tree=bottom-up"],
    ["--flamegraph=leaks"], ["--flamegraph=peak"], ["--export=csv"], ["--export=massif"],
    ["--export=heaptrack"], ["--dump=text"],
    ["--leaks", "--from=0.5", "--to=1.5"], ["--allocations", "--min-size=200"],
]


class Writer:
    """The definitions of one process; `forgets`: each path anew for every event."""

    def __init__(self, process, forgets):
        self.process, self.forgets, self.known, self.next = process, forgets, {}, 16

    def node(self, *offsets, at):
        if self.forgets or offsets not in self.known:
            chunk = self.process.definitions(base_time=at)
            parent, missing = 0, 0
            if not self.forgets:
                while missing < len(offsets) and offsets[:missing + 1] in self.known:
                    missing += 1
                parent = self.known[offsets[:missing]] if missing else 0
            for i in range(missing, len(offsets)):
                parent = chunk.node(1, offsets[i], id=self.next, parent=parent)
                self.known[offsets[:i + 1]] = parent
                self.next += 1
            chunk.write()
        return self.known[offsets]


def make(path, forgets):
    """Two seconds of a leak, a cache, temporary blocks, blocks that grow, and a child that
    goes on with them; two threads."""
    trace, rng = Trace(), random.Random(5)
    parent = trace.process(1000)
    begin = parent.definitions()
    begin.process_record()
    begin.module(1, EXE, b"/usr/bin/forgets", flags=1)
    begin.thread(1, 1000)
    begin.thread(2, 1001)
    begin.write()
    writer = Writer(parent, forgets)
    address, cache, grown = HEAP, [], {1: None, 2: None}

    def turn(process, writer, stream, time):
        nonlocal address
        events = process.events(stream, time)
        events.alloc(time + 1, address, 123 * 8, writer.node(0x10, 0x20, 0x30, at=time))
        events.alloc(time + 2, address + 0x1000, 321, writer.node(0x10, 0x21, 0x31, at=time))
        cache.append(address + 0x1000)
        events.alloc(time + 3, address + 0x2000, 77, writer.node(0x10, 0x22, at=time))
        events.free(time + 4, address + 0x2000)
        if len(cache) > 8:
            events.free(time + 5, cache.pop(rng.randrange(8)))
        where = writer.node(0x10, 0x23, 0x33, 0x43, at=time)
        if grown[stream]:
            events.realloc(time + 6, time + 7, grown[stream], address + 0x3000, 500 + rng.randrange(99),
                           where)
        else:
            events.alloc(time + 7, address + 0x3000, 400, where)
        grown[stream] = address + 0x3000
        address += 0x10000
        events.write()

    for i in range(200):
        turn(parent, writer, 1 + i % 2, i * SECOND // 100)
    child = trace.process(1002, parent=parent)
    begin = child.definitions(base_time=2 * SECOND)
    begin.process_record(start=2 * SECOND + 1, fork_time=2 * SECOND, inherited_nodes=writer.next,
                         inherited_modules=2)
    begin.thread(1, 1002, time=2 * SECOND + 1)
    begin.write()
    its = Writer(child, forgets)
    its.next, its.known = writer.next, dict(writer.known)
    cache.clear()
    grown[1] = None
    for i in range(100):
        turn(child, its, 1, 2 * SECOND + 10 + i * SECOND // 100)
    path.write_bytes(trace.bytes())


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    root = tmp_path_factory.mktemp("again")
    for forgets in (False, True):
        make(root / f"{forgets}", forgets)
    return root / "False", root / "True"


@pytest.mark.parametrize("options", REPORTS, ids=" ".join)
def test_what_is_defined_again_is_one_stack(traces, options):
    """
    GIVEN two traces of the same events: one defines each path once, one for every event
    WHEN  both are asked for the same
    THEN  they answer the same, to the byte
    """
    answers = []
    for path in traces:
        said = analyze(path, *options, "--top", "0").stdout
        answers.append(re.sub(re.escape(str(path)), "TRACE", said))
    assert answers[0] == answers[1]
    assert answers[0].count("\n") >= 3


def test_json_is_the_same_too(traces):
    """GIVEN these traces; WHEN asked for JSON; THEN it is the same but for names of files and
    for the audit's bytes; the leak is growing, and one stack."""
    once, again = (support.report(path, "--leaks", "--allocations", "--peak") for path in traces)
    for name in ("leaks", "allocations", "peak", "summary", "verdict"):
        assert once.get(name) == again.get(name), name
    (leak,) = [entry for entry in again["leaks"] if entry["bytes"] == 300 * 123 * 8]
    assert leak["kind"] == "growing" and leak["blocks"] == 300


def test_traces_differ_in_definitions_alone(traces):
    """GIVEN these traces; WHEN they are compared; THEN nothing changed, and of a dump the
    numbers of nodes are all that differs."""
    diff = support.run([support.ANALYZE, "--diff", *traces, "--json"])
    assert diff.returncode == 0, diff
    for what in json.loads(diff.stdout)["changes"].values():
        assert not any(kind["stacks"] for kind in what.values()), diff
    rows = [[json.loads(line) for line in analyze(path, "--dump=json").stdout.splitlines()]
            for path in traces]
    ids = [{row["stack_id"] for row in one if "stack_id" in row} for one in rows]
    assert len(ids[0]) == 4 and len(ids[1]) > 1000
    for row in rows[0] + rows[1]:
        row.pop("stack_id", None)
    assert rows[0] == rows[1]
