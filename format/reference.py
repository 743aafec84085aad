#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The reference decoder of the mlog trace format: FORMAT.md a second time.

Plain, slow and independent of the C reader, so that each can be checked
against the other. It holds the whole trace in memory, decodes all definitions
before all events, and resolves stacks at the very end. Section numbers in the
comments are those of FORMAT.md.

    reference.py TRACE            merged events, one JSON object a line
    reference.py --raw TRACE      every item in the order of the trace
    reference.py --audit TRACE    what the trace cannot vouch for, one object

Invariant: no input makes it fail other than by FormatError; what it cannot
read it lists in the audit with file offset and reason.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Iterable, Iterator, NamedTuple

from reference_items import (
    ALIGNED_FUNCTIONS, Audit, BlockLayout, CHILD_ENDS, Chunk, ChunkDecoder, DEFINITIONS,
    DEPTH_MAX, ENDS, EVENTS, Event, FIRST_NODE, FREE, FUNCTIONS, FormatError, Item, LIMITS, MAPPED,
    MARKS, MASK, REALLOC, REASONS, RECORDS, TRACE_HEADER, WINDOWS, WINDOWS_BY, fields, find_chunks,
    hexadecimal)   # noqa: F401 (for tests)

SUM_FACTOR = 0x9e3779b97f4a7c15
UNFINISHED_MAX = 4096       # bytes behind its last item that a killed writer may leave in a chunk



def checksum(data: bytes) -> int:
    """The checksum of section 2."""
    def fold(lane: int, word: int) -> int:
        lane ^= word
        return (lane << 29 & MASK | lane >> 35) * SUM_FACTOR & MASK

    lanes = [1, 2, 3, 4]
    padded = data + bytes(-len(data) % 32)
    for number, (word,) in enumerate(struct.iter_unpack("<Q", padded)):
        lanes[number % 4] = fold(lanes[number % 4], word)
    result = len(data)
    for lane in lanes:
        result = fold(result, lane)
    return result ^ result >> 32 | 1 << 63


# --- the trace --------------------------------------------------------------------------------


class Node(NamedTuple):
    parent: int
    module: int
    offset: int


@dataclass
class Process:
    key: int
    order: int                                              # of appearance in the trace
    record: dict[str, Any] | None = None
    nodes: dict[int, Node] = field(default_factory=dict)
    biases: dict[int, int] = field(default_factory=dict)    # module id to load bias
    block: BlockLayout = field(default_factory=BlockLayout)

    def pid(self) -> int:
        return self.record["pid"] if self.record else 0


@dataclass
class Fill:
    """How far chunks are filled: as found, and as FILLED records say."""

    found: list[tuple[Chunk, int]] = field(default_factory=list)    # bytes of payload used
    said: dict[tuple[int, int, int, int], int] = field(default_factory=dict)
    sums: dict[tuple[int, int, int, int], tuple[int, int]] = field(default_factory=dict)

    def say(self, process: int, values: dict[str, Any]) -> None:
        key = process, values["of_stream"], values["of_kind"], values["of_sequence"]
        self.said[key] = max(values["bytes"], self.said.get(key, 0))
        if "checksum" in values and values["bytes"] > self.sums.get(key, (0, 0))[0]:
            self.sums[key] = values["bytes"], values["checksum"]

    def check(self, data: bytes, chunks: list[Chunk], audit: Audit) -> None:
        """Name bytes that were filled and are zero, and count chunks told of that are missing."""
        for chunk, used in self.found:
            payload = data[chunk.begin:chunk.end]
            zeros = len(payload[:used].rstrip(b"\0"))   # the last item may end in lost bytes
            last = max(zeros, len(payload.rstrip(b"\0")))
            if last - used > UNFINISHED_MAX:
                audit.skip(chunk.begin + zeros, chunk.begin + last, "zeros in the middle")
                used = zeros = last
                continue
            said = min(self.said.get((*chunk.key(), chunk.sequence), 0), len(payload))
            if used < said or last < said:
                audit.skip(chunk.begin + zeros, chunk.begin + said, "zeros where it was filled")
                continue
            size, told = self.sums.get((*chunk.key(), chunk.sequence), (0, 0))
            if 0 < size <= len(payload) and checksum(payload[:size]) != told:
                audit.changed.append((chunk.begin, chunk.begin + size))
        self.check_numbers(chunks, audit)

    def check_pieces(self, chunks: list[Chunk], audit: Audit) -> None:
        """Count chunks of a stream whose last pieces are missing."""
        ends: dict[tuple[int, int, int, int], int] = {}
        for chunk in chunks:
            whole = *chunk.key(), chunk.sequence
            ends[whole] = max(ends.get(whole, 0), chunk.position + chunk.end - chunk.begin)
        audit.missing_chunks += sum(whole in ends and ends[whole] < told
                                    for whole, told in self.said.items())

    def check_numbers(self, chunks: list[Chunk], audit: Audit) -> None:
        """Count chunks told of that are missing."""
        behind: dict[tuple[int, int, int], int] = {}
        for chunk in chunks:
            if chunk.position == 0:
                behind[chunk.key()] = max(behind.get(chunk.key(), 0), chunk.sequence + 1)
        for process, stream, kind, sequence in self.said:
            key = process, stream, kind
            if kind in (EVENTS, DEFINITIONS) and sequence >= behind.get(key, 0):
                audit.missing_chunks += sequence + 1 - behind.get(key, 0)
                behind[key] = sequence + 1


class Trace:
    """A whole trace: header, processes, items by chunk, audit."""

    def __init__(self, data: bytes):
        self.data = data
        self.audit = Audit()
        self.processes: dict[int, Process] = {}
        self.header, self.chunks = find_chunks(data, self.audit)
        for chunk in self.chunks:
            self.processes.setdefault(chunk.process, Process(chunk.process, len(self.processes)))
        # In a mapped trace a definition may stand behind the event that needs it.
        self.items: dict[int, list[Item]] = {chunk.offset: [] for chunk in self.chunks}
        self.streams: dict[tuple[int, int, int], int] = {}      # of chunks that come in pieces
        self.fill = Fill()
        self.decode_all(DEFINITIONS)
        self.decode_all(EVENTS)
        if self.header.layout == MAPPED:
            self.fill.check(data, self.chunks, self.audit)
        else:
            self.fill.check_pieces(self.chunks, self.audit)
            self.fill.check_numbers(self.chunks, self.audit)
        self.audit.unknown_processes = sum(p.record is None for p in self.processes.values())

    def decode_all(self, kind: int) -> None:
        decoders: dict[tuple[int, int, int], ChunkDecoder] = {}
        for chunk in self.chunks:
            if chunk.kind != kind:
                continue
            process = self.processes[chunk.process]
            decoder = decoders.get(chunk.key())
            if chunk.position == 0:
                expected = decoder.sequence + 1 if decoder else 0
                if chunk.sequence > expected:
                    self.audit.missing_chunks += chunk.sequence - expected
                decoder = decoders[chunk.key()] = ChunkDecoder(chunk, process.block)
            elif decoder is None or decoder.sequence != chunk.sequence \
                    or decoder.position != chunk.position or decoder.broken is not None:
                if decoder is not None and decoder.sequence == chunk.sequence:
                    decoder.broken = decoder.broken or "piece missing"
                self.audit.skip(chunk.offset, chunk.end, "after a missing or bad piece")
                continue
            for item in decoder.items(self.data, chunk, self.audit):
                self.items[chunk.offset].append(item)
                self.define(process, item)
            if decoder.broken is None and not chunk.cut:
                self.fill.found.append((chunk, decoder.used))

    def define(self, process: Process, item: Item) -> None:
        values = item.fields
        if item.name == "NODE":
            process.nodes[values["id"]] = Node(values["parent"], values["module"],
                                               values["offset"])
        elif item.name == "MODULE":
            process.biases[values["module"]] = values["bias"]
        elif item.name == "PROCESS":
            process.record = values
            process.block.header = values["block_header"]
            process.block.grain = values["block_grain"] or 1
            process.block.smallest = values["smallest_usable"]
        elif item.name == "FILLED":
            self.fill.say(process.key, values)

    # Inheritance: an id below the limit that a fork recorded is the parent's (section 5).

    def owner(self, process: Process | None, number: int, limit: str) -> Process | None:
        seen = set()
        while process is not None and process.record is not None \
                and number < process.record[limit]:
            if process.key in seen:
                return None
            seen.add(process.key)
            process = self.processes.get(process.record["parent"])
        return process

    def stack(self, process: Process, stack_id: int) -> list[str]:
        """Absolute addresses, innermost first, up to the root or a node that is not defined."""
        addresses: list[str] = []
        while stack_id >= FIRST_NODE and len(addresses) < DEPTH_MAX:
            owner = self.owner(process, stack_id, "inherited_nodes")
            node = owner.nodes.get(stack_id) if owner else None
            if node is None:
                self.audit.unknown_nodes += 1
                break
            bias = 0
            if node.module:
                of_module = self.owner(process, node.module, "inherited_modules")
                if of_module is None or node.module not in of_module.biases:
                    self.audit.unknown_modules += 1
                else:
                    bias = of_module.biases[node.module]
            addresses.append(hexadecimal(bias + node.offset & MASK))
            stack_id = node.parent
        return addresses

    def is_elsewhere(self, process: Process) -> bool:
        """Whether the pid is that of another process, too, of another namespace or machine,
        which appeared before it."""
        first = next((p for p in self.processes.values() if p.record is not None
                      and p.record["pid"] == process.pid()), process)
        return process.record is not None and first is not process and any(
            0 not in (a := [p.record.get(key, 0) for p in (first, process)]) and a[0] != a[1]
            for key in ("pid_namespace", "machine"))

    def of_streams(self, chunk: Chunk) -> Iterator[tuple[int, Item]]:
        """The items of a chunk, each with the stream it is of: one chunk may be of several
        threads, one after another."""
        stream = chunk.stream if chunk.position == 0 else self.streams.get(chunk.key(),
                                                                           chunk.stream)
        for item in self.items[chunk.offset]:
            if item.name == "TAKEN_OVER":
                stream = item.fields["stream"]
            yield stream, item
        self.streams[chunk.key()] = stream

    # Output lines.

    def line(self, process: Process, stream: int, item: Item) -> Event | None:
        """The event line of an item, or None if it is no event."""
        values = item.fields
        kind = LINE_TYPES.get(item.name)
        if kind is None:
            return None
        line: Event = {"type": kind, "ticks": values["time"]}
        if "begin" in values:
            line["begin_ticks"] = values["begin"]
        line["pid"] = process.pid()
        if self.is_elsewhere(process):
            line["process"] = process.order
        line["stream"] = stream
        if "function" in values:
            line["function"] = FUNCTIONS[values["function"]]
        if "address" in values:
            line["address"] = hexadecimal(values["address"])
        if "old" in values:
            line["old_address"] = hexadecimal(values["old"])
        for name in ("size", "usable", "alignment"):
            if name in values:
                line[name] = values[name]
        if "stack" in values:
            line["stack_id"] = values["stack"]
            line["stack"] = self.stack(process, values["stack"])
        if item.name == "MARK":
            line["kind"] = MARKS.get(values["kind"], "unknown")
            line["name"] = values["name"]
        elif item.name == "WINDOW":
            line["what"] = WINDOWS.get(values["what"], "unknown")
            line["by"] = WINDOWS_BY.get(values["by"], "unknown")
        elif item.name == "LOSS":
            line["of_stream"] = values["of_stream"]
            line["lost"] = values["lost"]
            line["reason"] = REASONS.get(values["reason"], "unknown")
        elif item.name == "STOP":
            line["reason"] = REASONS.get(values["reason"], "unknown")
            line["errno"] = values["errno"]
            if values.get("limit"):
                line.update({key: values[key] for key in ("limit_bytes", "held_bytes",
                                                          "asked_bytes")},
                            limit=LIMITS.get(values["limit"], "unknown"))
        elif item.name == "PROCESS_END":
            line["how"] = ENDS.get(values["how"], "unknown")
            line["status"] = values["status"]
        elif item.name == "MEMORY":
            line.update(virtual=values["virtual"], resident=values["resident"],
                        shared=values["shared"])
        elif item.name == "CLOCK":
            line.update(monotonic_ns=values["monotonic_ns"], realtime_ns=values["realtime_ns"])
        elif item.name == "STACK":
            line["of"] = {1: "free", 2: "abort"}.get(values["what"], "unknown")
        elif item.name == "EXEC":
            line.update(executing_pid=values["pid"], state=values["state"], path=values["path"])
        elif item.name == "CHILD_END":
            line.update(child_pid=values["pid"], how=CHILD_ENDS.get(values["how"], "unknown"),
                        status=values["status"], core_dumped=bool(values["flags"] & 1))
        elif item.name == "BYPASS":
            line.update(why=values["why"], path=values["path"], target=values["target"])
        elif item.name == "SAVEPOINT":
            line.update(number=values["number"], asserted=bool(values["flags"] & 1),
                        name=values["name"], place=values["place"])
            if values["flags"] & 2:
                line["growth"] = values["growth"]
        elif item.name == "PRINT":
            line["text"] = values["text"]
        elif item.name == "LIMIT":
            line.update(kind=values["kind"], bytes=values["bytes"])
        elif item.name == "COUNTERS":
            line["counters"] = values["counters"]
        return line

    def events(self) -> Iterator[Event]:
        """The events of all streams, merged: always the smallest head first."""
        heads: dict[tuple[int, int, int], deque[Event]] = {}
        for chunk in self.chunks:
            process = self.processes[chunk.process]
            # Timed records of definitions chunks make streams of their own.
            key = process.order, chunk.stream, -chunk.kind
            for stream, item in self.of_streams(chunk):
                line = self.line(process, stream, item)
                if line is not None:
                    heads.setdefault(key, deque()).append(line)
        while heads:
            key = min(heads, key=lambda k: (*merge_key(heads[k][0]), *k))
            yield heads[key].popleft()
            if not heads[key]:
                del heads[key]

    def raw(self) -> Iterator[Event]:
        """Every item in the order of the trace, chunk headers included."""
        for chunk in self.chunks:
            yield {"item": "CHUNK", "at": chunk.offset,
                   "kind": "events" if chunk.kind == EVENTS else "definitions",
                   "process": hexadecimal(chunk.process), "stream": chunk.stream,
                   "sequence": chunk.sequence, "position": chunk.position,
                   "base_time": chunk.base_time}
            for item in self.items[chunk.offset]:
                yield {"item": item.name, "at": item.offset, **item.fields}


LINE_TYPES = {"ALLOC": "alloc", "FREE": "free", "FREE_BY": "free", "REALLOC": "realloc",
              "FAILED": "failed", "MARK": "mark", "LOSS": "loss", "STOP": "stop",
              "PROCESS_END": "process_end", "MEMORY": "memory", "CLOCK": "clock",
              "COUNTERS": "counters", "EXEC": "exec", "BYPASS": "bypass",
              "WINDOW": "window", "CHILD_END": "child_end", "STACK": "stack",
              "SAVEPOINT": "savepoint", "PRINT": "print", "LIMIT": "limit"}


def merge_key(line: Event) -> tuple[int, bool]:
    """Time, and at the same time frees before everything else."""
    return line["ticks"], line["type"] != "free"


def read_trace(path: str) -> Trace:
    """The trace in a file, or from standard input where path is "-"."""
    if path == "-":
        return Trace(sys.stdin.buffer.read())
    with open(path, "rb") as file:
        return Trace(file.read())


def write_lines(lines: Iterable[Event]) -> None:
    for line in lines:
        print(json.dumps(line))


def main() -> int:
    parser = argparse.ArgumentParser(description="Decode an mlog trace, slowly and plainly.")
    parser.add_argument("trace", metavar="TRACE", help='file, or "-" for standard input')
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--raw", action="store_true", help="every item in the order of the trace")
    output.add_argument("--audit", action="store_true",
                        help="one object: ranges skipped, definitions missing")
    options = parser.parse_args()
    try:
        trace = read_trace(options.trace)
    except FormatError as error:
        print(f"{options.trace}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{options.trace}: {error.strerror}", file=sys.stderr)
        return 1
    try:
        if options.audit:
            for _ in trace.events():        # resolving stacks completes the audit
                pass
            print(json.dumps(trace.audit.as_json()))
            return 0
        write_lines(trace.raw() if options.raw else trace.events())
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    for begin, end, reason in sorted(trace.audit.skipped):
        print(f"{options.trace}: skipped bytes {begin} to {end}: {reason}", file=sys.stderr)
    for begin, end in sorted(trace.audit.changed):
        print(f"{options.trace}: bytes {begin} to {end} were changed", file=sys.stderr)
    if trace.audit.truncated is not None:
        print(f"{options.trace}: truncated at {trace.audit.truncated}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
