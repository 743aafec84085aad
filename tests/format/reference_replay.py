# SPDX-License-Identifier: MIT
"""The replay a second time, plainly: what analyzer/REPORT.md says of blocks,
processes and peaks, over the events that format/reference.py decodes. A fork
copies a dictionary, every sum is taken anew where that is simplest. Compared
with mlog-analyze by test_replay.py; shares no code and no structure with it.
"""
from __future__ import annotations

from collections import Counter, deque
from typing import Any, NamedTuple

import reference

REPAIR_NS = 20000
RANKS = {"fork": 0, "start": 0, "free": 1, "begin": 1}


class Block(NamedTuple):
    size: int
    stack: tuple[str, ...]
    thread: tuple[int, int]     # process and stream
    owner: int                  # order of the process that allocated it
    time: int


def operations(trace: reference.Trace):
    """(time, kind, process, stream, line) of all streams in merged order."""
    heads: dict[tuple[int, int, int], deque] = {}
    for chunk in trace.chunks:
        process = trace.processes[chunk.process]
        queue = heads.setdefault((process.order, chunk.stream, -chunk.kind), deque())
        for stream, item in trace.of_streams(chunk):
            if item.name == "PROCESS" and item.fields is process.record:
                how = "fork" if process.record["how"] == 1 else "start"
                time = process.record["fork_time" if how == "fork" else "start"]
                queue.append((time, how, process, stream, process.record))
                continue
            line = trace.line(process, stream, item)
            if line is None:
                continue
            if line["type"] == "realloc":
                queue.append((line["begin_ticks"], "begin", process, stream, line))
            queue.append((line["ticks"], line["type"], process, stream, line))
    heads = {key: queue for key, queue in heads.items() if queue}
    while heads:
        key = min(heads, key=lambda k: (heads[k][0][0], RANKS.get(heads[k][0][1], 2), *k))
        yield heads[key].popleft()
        if not heads[key]:
            del heads[key]


def shares_pid(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """One pid, unless it is that of two namespaces or machines (0 or none: not known)."""
    return a["pid"] == b["pid"] and all(
        a.get(key, 0) in (0, b.get(key, 0)) or not b.get(key, 0)
        for key in ("pid_namespace", "machine"))


class Replay:
    def __init__(self, data: bytes):
        self.trace = reference.Trace(data)
        self.sums: Counter = Counter()
        self.calls: Counter = Counter()
        self.by_process: dict[int, Counter] = {}
        self.live: dict[int, dict[str, Block]] = {}     # by order of the process, by address
        self.books: dict[int, dict[int, Block]] = {}    # own blocks, until their end is told
        self.book_of: dict[tuple[int, str], int] = {}   # number of the block in books
        self.next_number = 0
        self.born: dict[int, int] = {}
        self.loose: set[int] = set()
        self.unseen_before: dict[int, float] = {}       # of blocks from before, ends were missed
        self.moving: dict[tuple[int, int], tuple[int, Block] | None] = {}
        self.last: dict[tuple[int, int], str | None] = {}
        self.repairs: deque = deque(maxlen=16)
        self.wrong: list[dict[str, Any]] = []           # unmatched frees, kept as long as tied
        self.early_until = -1
        self.ties: list[dict[str, Any]] = []
        self.pids: list[tuple[dict[str, Any], int]] = []    # records and orders, latest first
        self.ending: list[int] = []
        self.gone: set[int] = set()
        self.told: dict[int, str] = {}          # how the process says it ends
        self.reaped: dict[int, Any] = {}        # what another says of it
        self.peak = (0, 0)
        self.at_peak: list[Block] = []
        self.own_peaks: dict[int, tuple[int, int, list[Block]]] = {}
        self.thread_of = self.threads()
        for time, kind, process, stream, line in operations(self.trace):
            self.apply(time, kind, process, stream, line)
        for tie in self.ties:
            found = None if tie["good"] else self.live[tie["order"]].get(tie["address"])
            number = self.book_of.get((tie["order"], tie["address"]))
            if found is not None and number is not None and self.born[number] == tie["tied"]:
                self.make_good(tie)
                self.sums["order_repairs"] += 1
                self.end(tie["order"], *self.take(tie["order"], tie["address"]))

    # --- frees that come before their block, by clocks that differ

    def window(self, process: Any) -> int:
        record = process.record or {}
        rate = record.get("counts_per_second") or 10 ** 9
        return (REPAIR_NS * rate // 10 ** 9) >> record.get("tick_shift", 0)

    def make_good(self, tie: dict[str, Any]) -> None:
        tie["good"] = True
        self.sums["unmatched_frees"] -= 1

    def tie(self, time: int, process: Any, thread: tuple[int, int], address: str) -> None:
        for one in self.wrong[:-17:-1]:
            if one["order"] == process.order and one["address"] == address \
                    and one["thread"] != thread and one["tied"] is None \
                    and 0 <= time - one["time"] <= self.window(process) and len(self.ties) < 64:
                one["tied"] = time
                self.ties.append(one)
                return

    def threads(self) -> dict[tuple[int, int], int]:
        """For nested streams: the stream of the thread that was interrupted."""
        found: dict[tuple[int, int], int] = {}
        ordinary: dict[tuple[int, int], int] = {}       # process and tid to the latest
        for chunk in self.trace.chunks:
            order = self.trace.processes[chunk.process].order
            for item in self.trace.items[chunk.offset]:
                if item.name != "STREAM":
                    continue
                key = order, item.fields["tid"]
                if not item.fields["flags"] & 1:
                    ordinary[key] = item.fields["number"]
                elif key in ordinary:
                    found[order, item.fields["number"]] = ordinary[key]
        return found

    # --- blocks

    def joint(self) -> list[Block]:
        return [b for order, books in self.books.items() if order not in self.gone
                for b in books.values()]

    def look_for_peak(self, order: int) -> None:
        own = list(self.books[order].values())
        size = sum(b.size for b in own)
        if size > self.own_peaks.get(order, (0,))[0]:
            self.own_peaks[order] = size, len(own), own
        blocks = self.joint()
        size = sum(b.size for b in blocks)
        if size > self.peak[0]:
            self.peak = size, len(blocks)
            self.at_peak = blocks

    def count(self, order: int, **values: int) -> None:
        self.sums.update(values)
        self.by_process[order].update(values)

    def end(self, order: int, number: int | None, block: Block) -> None:
        """A block's end in the sums; an inherited one has no number."""
        self.count(order, frees=1, freed_bytes=block.size)
        if number is None:
            self.sums.update(inherited_frees=1, inherited_freed_bytes=block.size)
        else:
            del self.books[order][number]

    def take(self, order: int, address: str) -> tuple[int | None, Block] | None:
        block = self.live[order].pop(address, None)
        if block is None:
            return None
        return (self.book_of.pop((order, address)) if block.owner == order else None), block

    def begin(self, time: int, process: Any, stream: int, line: dict[str, Any]) -> None:
        order, address = process.order, line["address"]
        former = self.take(order, address)
        if former is not None:
            self.end(order, *former)
            if former[0] is None and order in self.loose:
                pass
            elif former[1].time < self.unseen_before.get(order, 0):
                self.sums["unseen_ends"] += 1
            else:
                self.sums["order_repairs"] += 1
                early = next((t for t in self.ties if not t["good"] and t["order"] == order
                              and t["address"] == address and former[0] is not None
                              and self.born[former[0]] == t["tied"]), None)
                if early is not None:
                    self.make_good(early)
                else:
                    self.repairs.append([order, address, time, stream, True])
        self.gone.discard(order)
        thread = order, self.thread_of.get((order, stream), stream)
        block = Block(line["size"], tuple(line["stack"]), thread, order, time)
        self.next_number += 1
        self.live[order][address] = block
        self.books[order][self.next_number] = block
        self.book_of[order, address] = self.next_number
        self.born[self.next_number] = time
        if time <= self.early_until:
            self.tie(time, process, thread, address)
        self.count(order, allocations=1, allocated_bytes=line["size"])
        self.sums["usable_bytes"] += line["usable"]
        self.last[thread] = address

    def made_up_for(self, time: int, process: Any, stream: int, address: str) -> bool:
        record = process.record or {}
        rate = record.get("counts_per_second") or 10 ** 9
        window = (REPAIR_NS * rate // 10 ** 9) >> record.get("tick_shift", 0)
        # Within the window of the latest repair, any of the last sixteen.
        if not self.repairs or time > self.repairs[-1][2] + window:
            return False
        for repair in self.repairs:
            order, at, since, by, open_ = repair
            if open_ and order == process.order and at == address and by != stream \
                    and time >= since:
                repair[4] = False
                return True
        return False

    # --- events

    def apply(self, time: int, kind: str, process: Any, stream: int, line: Any) -> None:
        order = process.order
        for name in (self.live, self.books):
            name.setdefault(order, {})
        self.by_process.setdefault(order, Counter())
        leaving = [o for o in self.ending if o != order]
        self.ending = [o for o in self.ending if o == order]
        self.gone.update(leaving)
        if kind in ("alloc", "free", "realloc", "failed"):
            self.sums["events"] += 1
        if kind in ("alloc", "free", "realloc"):
            self.calls[line["function"]] += 1
        getattr(self, "on_" + kind, lambda *_: None)(time, process, stream, line)

    def on_start(self, time: int, process: Any, stream: int, record: Any) -> None:
        former = next((of for other, of in self.pids if shares_pid(record, other)), None)
        if former is not None and former != process.order and former not in self.ending:
            self.ending.append(former)
        self.pids.insert(0, (record, process.order))

    def on_fork(self, time: int, process: Any, stream: int, record: Any) -> None:
        parent = self.trace.processes.get(record["parent"])
        if parent is None or parent.order >= process.order:
            self.loose.add(process.order)
        else:
            if parent.order in self.loose:
                self.loose.add(process.order)
            if parent.order in self.unseen_before:
                self.unseen_before.setdefault(process.order, self.unseen_before[parent.order])
            self.live[process.order] = dict(self.live.setdefault(parent.order, {}))
        self.on_start(time, process, stream, record)

    def on_alloc(self, time: int, process: Any, stream: int, line: Any) -> None:
        self.begin(time, process, stream, line)
        self.look_for_peak(process.order)

    def on_free(self, time: int, process: Any, stream: int, line: Any) -> None:
        order, address = process.order, line["address"]
        if self.made_up_for(time, process, stream, address):
            return
        found = self.take(order, address)
        if found is None:
            self.unmatched(process, stream, time, address)
            return
        self.end(order, *found)
        if found[0] is not None and self.last.get(found[1].thread) == address:
            self.sums["temporary"] += line["function"] != "realloc"
            self.last[found[1].thread] = None

    def unmatched(self, process: Any, stream: int, time: int, address: str,
                  resized: bool = False) -> None:
        order = process.order
        if order in self.loose:
            self.count(order, frees=1)
            self.sums["inherited_frees"] += 1
            return
        if order in self.unseen_before:
            self.sums["unseen_frees"] += 1
            return
        self.sums["unmatched_frees"] += 1
        thread = order, self.thread_of.get((order, stream), stream)
        self.wrong.append({"order": order, "address": address, "time": time, "thread": thread,
                           "tied": None, "good": False})
        self.early_until = time + self.window(process)
        number = self.book_of.get((order, address))
        if resized and number is not None and self.born[number] >= time:
            self.tie(self.born[number], process, self.live[order][address].thread, address)

    def on_begin(self, time: int, process: Any, stream: int, line: Any) -> None:
        self.moving[process.order, stream] = self.take(process.order, line["old_address"])

    def on_realloc(self, time: int, process: Any, stream: int, line: Any) -> None:
        self.sums["reallocations"] += 1
        moved = self.moving.pop((process.order, stream), None)
        if moved is None:
            self.unmatched(process, stream, line["begin_ticks"], line["old_address"], True)
        else:
            self.end(process.order, *moved)
        self.begin(time, process, stream, line)
        self.look_for_peak(process.order)

    def on_window(self, time: int, process: Any, stream: int, line: Any) -> None:
        if line["what"] == "pause":
            self.unseen_before[process.order] = float("inf")
        elif line["what"] == "resume" and process.order in self.unseen_before:
            self.unseen_before[process.order] = time

    def on_failed(self, time: int, process: Any, stream: int, line: Any) -> None:
        self.sums["failed_calls"] += 1

    def on_process_end(self, time: int, process: Any, stream: int, line: Any) -> None:
        self.told[process.order] = line["how"]
        if process.order not in self.ending:
            self.ending.append(process.order)

    def on_child_end(self, time: int, process: Any, stream: int, line: Any) -> None:
        """Whoever waits tells of the latest process with the pid, if it can be that one."""
        waiter = process.record
        found = None if waiter is None else next(
            (of for of in self.pids if shares_pid({**waiter, "pid": line["child_pid"]}, of[0])),
            None)
        if found is None:
            return
        record, order = found
        parent = next((of for other, of in self.pids
                       if shares_pid({**record, "pid": record["parent_pid"]}, other)), None)
        over = parent is not None and (parent in self.told or parent in self.reaped)
        mine = record["pid"] == waiter["pid"] and (
            0 in (record.get("birth", 0), waiter.get("birth", 0))
            or record["birth"] == waiter["birth"])
        if order in self.reaped or self.told.get(order) == "exec" or record["start"] > time \
                or not (mine or record["pid"] != waiter["pid"]
                        and (over or record["parent_pid"] == waiter["pid"])):
            return
        self.reaped[order] = line
        if order not in self.ending:
            self.ending.append(order)

    # --- results

    def leaks(self, order: int | None = None) -> list[Block]:
        return [b for o, books in self.books.items() if order in (None, o)
                for b in books.values() if b.time >= self.unseen_before.get(o, 0)]


def by_stack(blocks: list[Block]) -> dict[tuple[str, ...], tuple[int, int]]:
    sums: dict[tuple[str, ...], list[int]] = {}
    for block in blocks:
        entry = sums.setdefault(block.stack, [0, 0])
        entry[0] += block.size
        entry[1] += 1
    return {stack: (size, n) for stack, (size, n) in sums.items()}
