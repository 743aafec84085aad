# SPDX-License-Identifier: MIT
"""The invalid test vectors, and what a reader makes of each.

An expectation is one object: "error" (the trace is refused: offset and
reason), or "skipped" (ranges [from, to, reason]), "truncated" (the offset from
which on nothing could be used, or null), "events" (how many come through) and,
if there are any, "changed" (ranges [from, to] with another checksum).
`invalid()` builds them all by name.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Callable, Iterable

from trace_writer import (CHUNK_HEADER, MAPPED, MARK, MASK, MEMORY, MODULE, STREAM, TRACE_HEADER,
                          Events, ProcessWriter, Trace, string, u64, vu, vz)
from vectors_items import HEAP, program
from vectors_valid import checked_program


class Bad:
    """An invalid trace and what a reader makes of it."""

    def __init__(self, data: bytes, *, error: tuple[int, str] | None = None,
                 skipped: Iterable[tuple[int, int, str]] = (), truncated: int | None = None,
                 changed: Iterable[tuple[int, int]] = (), events: int = 0):
        self.data = data
        self.expect: dict[str, Any]
        if error is not None:
            self.expect = {"error": {"offset": error[0], "reason": error[1]}}
        else:
            self.expect = {"skipped": [list(range_) for range_ in skipped],
                           "truncated": truncated, "events": events}
            if changed:
                self.expect["changed"] = [list(range_) for range_ in changed]


def refused(data: bytes, offset: int, reason: str) -> Bad:
    return Bad(data, error=(offset, reason))


def traced_program(layout: int) -> tuple[Trace, ProcessWriter, int]:
    """A trace, its process, and a stack; without definitions where a chunk takes a unit."""
    trace = Trace(layout)
    if layout == MAPPED:
        return trace, trace.process(0), 0
    process, definitions = program(trace)
    definitions.write()
    return trace, process, 19


def three_chunks(middle: Callable[[Events], Any] = lambda events: None, layout: int = STREAM,
                 reason: str = "", bad_from: int | None = None, survivors: int = 0,
                 whole: bool = False, truncated: int | None = None, **write: Any) -> Bad:
    """Good events, a middle chunk with a fault made by the caller, good events.

    `middle` returns the payload offset at which the faulty item begins (`bad_from` overrules);
    with `whole` all of the middle chunk is lost. Of its events `survivors` come through.
    """
    trace, process, stack = traced_program(layout)
    first = process.events(1, 10)
    first.alloc(10, HEAP, 100, stack)
    first.write()
    events = process.events(1, 20)
    events.alloc(20, HEAP + 0x100, 100, stack)
    fault = middle(events)
    if layout == STREAM:
        events.raw(b"\xbe" + u64(HEAP) + vu(1))     # never reached
    begin = events.write(**write)
    end = trace.at()
    last = process.events(1, 30)
    last.free(30, HEAP)
    last.write()
    start = begin if whole else begin + CHUNK_HEADER + (fault if bad_from is None else bad_from)
    return Bad(trace.bytes(), skipped=[(start, end, reason)], truncated=truncated,
               events=2 + (0 if whole else 1 + survivors))


def faulty_item(item: bytes, reason: str, **options: Any) -> Bad:
    return three_chunks(lambda events: events.raw(item), reason=reason, **options)


def faulty_definition(item: bytes, reason: str, extra_nodes: int = 1) -> Bad:
    """A definitions chunk with a fault; the events go on, with a stack that is not known."""
    trace = Trace()
    process, definitions = program(trace)
    definitions.write()
    second = process.definitions()
    second.node(1, 0x1999, id=20, parent=18)
    fault = second.raw(item)
    second.node(1, 0x1888)
    begin = second.write()
    end = trace.at()
    events = process.events(1, 10)
    events.alloc(10, HEAP, 100, 20)
    events.alloc(11, HEAP + 112, 100, 21)
    events.write()
    return Bad(trace.bytes(), skipped=[(begin + CHUNK_HEADER + fault, end, reason)], events=2)


def altered(data: bytes, at: int, patch: bytes, recompute_crc: bool = False) -> bytes:
    """The trace with `patch` written at `at` of its header."""
    changed = bytearray(data)
    changed[at:at + len(patch)] = patch
    if recompute_crc:
        changed[32:36] = struct.pack("<I", zlib.crc32(bytes(changed[:32])))
    return bytes(changed)


def flip(index: int) -> Callable[[bytearray], None]:
    def corrupt(payload: bytearray) -> None:
        payload[index] ^= 0x10
    return corrupt


def chunk_header_crc(layout: int) -> Bad:
    good = three_chunks(layout=layout, reason="CRC of the chunk header", bad_from=0)
    begin, end, reason = good.expect["skipped"][0]
    begin -= CHUNK_HEADER
    return Bad(altered(good.data, begin + 13, b"\x40"), skipped=[(begin, end, reason)], events=2)


def chunk_header_magic() -> Bad:
    good = three_chunks(reason="chunk magic", bad_from=0)
    begin, end, reason = good.expect["skipped"][0]
    begin -= CHUNK_HEADER
    return Bad(altered(good.data, begin, b"mlcx"), skipped=[(begin, end, reason)], events=2)


def garbage_between() -> Bad:
    """Bytes of another program in a stream trace, a chunk's magic among them."""
    trace = Trace()
    process, definitions = program(trace)
    definitions.write()
    begin = trace.at()
    trace.raw(b"warning: mlck is not a chunk\n" + bytes(100) + b"mlck")
    end = trace.at()
    events = process.events(1, 10)
    events.alloc(10, HEAP, 100, 19)
    events.write()
    return Bad(trace.bytes(), skipped=[(begin, end, "chunk magic")], events=1)


def bytes_lost() -> Bad:
    """The middle of a chunk went missing on the way: the next one begins too early."""
    good = three_chunks(lambda events: events.raw(b"".join(
        b"\xbe" + u64(HEAP) + vu(1) for _ in range(30))), bad_from=0)
    begin, end, _ = good.expect["skipped"][0]
    data = good.data[:begin + 40] + good.data[begin + 60:]
    return Bad(data, skipped=[(begin - CHUNK_HEADER, end - 20, "CRC of the payload")], events=2)


def bytes_lost_at_end() -> Bad:
    """The same, so close to the end that the chunk seems to run past it."""
    good = three_chunks(lambda events: events.raw(b"".join(
        b"\xbe" + u64(HEAP) + vu(1) for _ in range(60))), bad_from=0)
    begin, end, _ = good.expect["skipped"][0]
    data = good.data[:begin + 40] + good.data[begin + 440:]
    return Bad(data, skipped=[(begin - CHUNK_HEADER, end - 400, "chunk runs past the next one")],
               events=2)


def position_gap() -> Bad:
    """A piece in the middle of a chunk is missing; the next chunk is whole."""
    trace = Trace()
    process, definitions = program(trace)
    definitions.write()
    events = process.events(1, 10)
    events.alloc(10, HEAP, 100, 19)
    events.write()
    lost = trace.at()
    events.alloc(11, HEAP + 0x100, 100, 19)
    events.write()
    del trace.body[lost - TRACE_HEADER:]
    begin = trace.at()
    for time in (12, 13):                   # both pieces after the gap are lost
        events.alloc(time, HEAP + 0x100 * time, 100, 19)
        events.write()
        if time == 12:
            middle = trace.at()
    end = trace.at()
    following = process.events(1, 20)
    following.free(20, HEAP)
    following.write()
    reason = "after a missing or bad piece"
    return Bad(trace.bytes(), skipped=[(begin, middle, reason), (middle, end, reason)], events=2)


def first_piece_missing() -> Bad:
    trace = Trace()
    process, definitions = program(trace)
    definitions.write()
    events = process.events(1, 10)
    lost = trace.at()
    events.alloc(10, HEAP, 100, 19)
    events.write()
    del trace.body[lost - TRACE_HEADER:]
    events.alloc(12, HEAP + 0x100, 100, 19)
    events.write()
    end = trace.at()
    following = process.events(1, 20)
    following.free(20, HEAP)
    following.write()
    return Bad(trace.bytes(), skipped=[(lost, end, "after a missing or bad piece")], events=1)


def bad_recurring_header() -> Bad:
    trace = Trace()
    process, definitions = program(trace)
    definitions.write()
    begin = trace.at()
    trace.raw(altered(trace.header(), 16, b"\x01", recompute_crc=True))
    events = process.events(1, 10)
    end = trace.at()
    events.alloc(10, HEAP, 100, 19)
    events.write()
    return Bad(trace.bytes(), skipped=[(begin, end, "unknown required features 0x1")],
               events=1)


def unknown_process() -> Bad:
    """Events of a process and nodes that nothing defines: no error."""
    trace = Trace()
    process = trace.process(0)
    events = process.events(1, 10)
    process.stacks[99] = []
    events.alloc(10, HEAP, 100, 99)
    events.alloc(11, HEAP + 112, 100, 99, how="next")   # with the block layout of glibc
    events.write()
    return Bad(trace.bytes(), events=2)


def lost_fill(of: str) -> Bad:
    """A program whose chunks tell how far others are filled, and zeros at the end of one that
    was: of the first of two, of the last of events, or of the last of definitions."""
    trace = Trace(MAPPED, minor=1)
    process = trace.process(0)
    definitions = process.definitions()
    definitions.thread(1, 1000)
    first = process.events(1, 10)
    first.alloc(10, HEAP, 100, 0)
    within_item = first.raw(b"") + 1
    first.alloc(11, HEAP + 112, 100, 0)
    first.alloc(12, HEAP + 224, 100, 0)
    second = process.events(1, 20)
    second.filled(first)
    at_item = second.raw(b"")
    second.free(20, HEAP)
    at_record = definitions.raw(b"")
    definitions.process_end(30, "exit", 1, 0)
    filled = {"first": len(first.payload), "last": len(second.payload)}
    definitions.filled(second)
    filled["definitions"] = len(definitions.payload)
    second.filled(definitions)
    at = {"definitions": definitions.write() + CHUNK_HEADER}
    at["first"] = first.write() + CHUNK_HEADER
    at["last"] = second.write() + CHUNK_HEADER
    begin = at[of] + {"first": within_item, "last": at_item, "definitions": at_record}[of]
    data = bytearray(trace.bytes())
    data[begin:at[of] + 4096 - CHUNK_HEADER] = bytes(at[of] + 4096 - CHUNK_HEADER - begin)
    # Of the item that begins before the zeros a reader makes what it can.
    events = {"first": 2 + 1 + 1, "last": 3 + 1, "definitions": 3 + 1}[of]
    return Bad(bytes(data), events=events,
               skipped=[(begin, at[of] + filled[of], "zeros where it was filled")])


def changed_bit(of: str) -> Bad:
    """A program whose chunks tell the checksums of others, and a bit of one that was flipped:
    of the size of a block in the first of two chunks, or in the last of events, or of a path
    in the definitions. Every item can be read."""
    trace, definitions, first, second = checked_program()
    told = len(definitions.payload) - 1 - 1 - 4 - 8     # the record behind what is told of it
    at = {"definitions": definitions.write() + CHUNK_HEADER}
    at["first"] = first.write() + CHUNK_HEADER
    at["last"] = second.write() + CHUNK_HEADER
    chunks = {"definitions": definitions, "first": first, "last": second}
    data = bytearray(trace.bytes())
    sought = {"definitions": b"/usr/bin", "first": vu(1000), "last": vu(2000)}[of]
    where = bytes(chunks[of].payload).index(sought) + 1
    data[at[of] + where] ^= 4
    size = told if of == "definitions" else len(chunks[of].payload)
    return Bad(bytes(data), changed=[(at[of], at[of] + size)], events=4 + 1)


def zeros_in_middle() -> Bad:
    """A page of a chunk of three is zero, and nothing tells how far the chunk was filled."""
    trace = Trace(MAPPED)
    process = trace.process(0)
    events = process.events(1, 10)
    events.alloc(10, HEAP, 100, 0)
    for _ in range(20):
        events.record(0x30, b"x" * 500)
    events.free(11, HEAP)
    begin = events.write()
    data = bytearray(trace.bytes())
    data[begin + 4096:begin + 8192] = bytes(4096)
    end = begin + CHUNK_HEADER + len(events.payload)
    return Bad(bytes(data), skipped=[(begin + 4096, end, "zeros in the middle")], events=1)


def cut_trace(layout: int) -> tuple[bytes, dict[str, int]]:
    """A trace to be cut, and the offsets of its parts."""
    trace, process, stack = traced_program(layout)
    at = {"definitions": TRACE_HEADER}
    events = process.events(1, 10)
    events.alloc(10, HEAP, 100, stack)
    item = events.raw(b"")
    events.alloc(11, HEAP + 0x1230, 100, stack)
    record = events.raw(b"")
    events.mark(12, "point", "a mark")
    end = events.raw(b"")
    at["events"] = events.write()
    for name, offset in (("item", item), ("record", record), ("payload end", end)):
        at[name] = at["events"] + CHUNK_HEADER + offset
    more = process.events(1, 20)
    more.alloc(20, HEAP, 100, stack)
    at["more"] = more.write()
    at["last item"] = at["more"] + CHUNK_HEADER
    at["end"] = trace.at()
    return trace.bytes(), at


def cuts() -> dict[str, Bad]:
    data, at = cut_trace(STREAM)

    def cut(offset: int, truncated: int | None, events: int) -> Bad:
        return Bad(data[:offset], truncated=truncated, events=events)
    bad = {
        "cut-in-magic": refused(data[:5], 5, "truncated trace header"),
        "cut-in-trace-header": refused(data[:63], 63, "truncated trace header"),
        "cut-in-first-chunk-header": cut(at["definitions"] + 3, at["definitions"], 0),
        "cut-in-definitions": cut(at["events"] - 1, at["events"] - 4, 0),
        "cut-in-chunk-header": cut(at["events"] + 47, at["events"], 0),
        "cut-after-chunk-header": cut(at["events"] + 48, at["events"] + 48, 0),
        "cut-between-items": cut(at["item"], at["item"], 1),
        "cut-in-item": cut(at["record"] - 1, at["item"], 1),
        "cut-in-record": cut(at["payload end"] - 2, at["record"], 2),
        "cut-after-magic-of-chunk": cut(at["more"] + 4, at["more"], 3),
        "cut-last-byte": cut(at["end"] - 1, at["last item"], 3),
    }
    data, at = cut_trace(MAPPED)
    bad.update({
        "cut-mapped-in-item": cut(at["record"] - 1, at["item"], 1),
        "cut-mapped-between-items": cut(at["record"], at["record"], 2),
        "cut-mapped-after-items": cut(at["payload end"] + 3, at["payload end"] + 3, 3),
        "cut-mapped-in-chunk-header": cut(at["more"] + 20, at["more"], 3),
        "cut-mapped-at-unit": cut(at["more"], at["more"], 3),
    })
    return bad


def invalid() -> dict[str, Bad]:
    good, _ = cut_trace(STREAM)
    good_mapped, _ = cut_trace(MAPPED)
    alloc = b"\xcf" + u64(HEAP) + vz(0) + vu(100)
    bad = {
        # the trace header
        "empty-file": refused(b"", 0, "empty"),
        "text-file": refused(b"# PID 1234\n" * 10, 0, "not an mlog trace (magic)"),
        "magic": Bad(altered(good, 5, b"\n"), events=4,
                     skipped=[(0, TRACE_HEADER, "not an mlog trace (magic)")]),
        "magic-alone": refused(altered(good[:TRACE_HEADER], 5, b"\n"), 0,
                               "not an mlog trace (magic)"),
        "major-version": refused(altered(good, 8, b"\2", True), 8, "unsupported major version 2"),
        "major-version-0": refused(altered(good, 8, b"\0", True), 8,
                                   "unsupported major version 0"),
        "required-feature": refused(altered(good, 16, b"\x10", True), 16,
                                    "unknown required features 0x10"),
        "header-crc": Bad(altered(good, 10, b"\1"), events=4,
                          skipped=[(0, TRACE_HEADER, "CRC of the trace header")]),
        "header-crc-mapped": Bad(altered(good_mapped, 10, b"\1"), events=4,
                                 skipped=[(0, 4096, "CRC of the trace header")]),
        "header-crc-alone": refused(altered(good[:TRACE_HEADER], 10, b"\1"), 32,
                                    "CRC of the trace header"),
        "layout": refused(altered(good, 12, b"\3", True), 12, "reserved layout 3"),
        "unit-of-stream": refused(altered(good, 13, b"\x0c", True), 13, "reserved unit 2^12"),
        "unit-too-small": refused(altered(good_mapped, 13, b"\x0b", True)[:4096], 13,
                                  "reserved unit 2^11"),
        "unit-too-large": refused(altered(good_mapped, 13, b"\x11", True)[:4096], 13,
                                  "reserved unit 2^17"),
        "header-size": refused(altered(good, 14, b"\x3f", True), 14, "trace header of 63 bytes"),
        "recurring-header": bad_recurring_header(),
        # chunk headers
        "chunk-magic": chunk_header_magic(),
        "chunk-crc": chunk_header_crc(STREAM),
        "chunk-crc-mapped": chunk_header_crc(MAPPED),
        "chunk-size-0": three_chunks(reason="chunk size 0 with a header of 48", whole=True,
                                     size=0),
        "chunk-size-mapped": three_chunks(reason="chunk size 4097 is not a multiple of the unit",
                                          whole=True, layout=MAPPED, size=4097),
        "chunk-size-limit": three_chunks(reason="chunk size 16777217 above the limit",
                                         whole=True, size=(1 << 24) + 1),
        "chunk-header-size": three_chunks(reason="chunk size 66 with a header of 47",
                                          whole=True, header_size=47, size=66),
        "chunk-flags": three_chunks(reason="reserved chunk flags 0x3", whole=True, flags=3),
        "chunk-kind": three_chunks(reason="unknown chunk kind 3", whole=True, kind=3),
        "chunk-process-0": three_chunks(reason="process key 0", whole=True, process=0),
        "chunk-piece-mapped": three_chunks(reason="piece in a mapped trace", whole=True,
                                           layout=MAPPED, position=16),
        "chunk-without-crc": three_chunks(reason="no payload CRC", whole=True, flags=0,
                                          payload_crc=0),
        "payload-crc": three_chunks(reason="CRC of the payload", whole=True, corrupt=flip(5)),
        "garbage-between": garbage_between(),
        "bytes-lost": bytes_lost(),
        "bytes-lost-at-end": bytes_lost_at_end(),
        "piece-missing": position_gap(),
        "first-piece-missing": first_piece_missing(),
        # records
        "record-unknown-required": faulty_item(b"\x1f" + vu(0), "unknown required record 0x1f"),
        "record-long": faulty_item(b"\x20" + vu(100) + vu(1),
                                   "item runs past the end of the chunk"),
        "record-optional-long": faulty_item(b"\x3f" + vu(1 << 62),
                                            "record above the limit"),
        "record-short": faulty_item(bytes([MEMORY]) + string(vu(21) + vu(1)),
                                    "MEMORY record too short"),
        "record-name-long": faulty_item(bytes([MARK]) + string(vu(21) + vu(1) + vu(9) + b"short"),
                                        "MARK record too short"),
        "record-vu-past-end": faulty_item(bytes([MARK]) + string(vu(21) + b"\x80\1"),
                                          "MARK record too short"),
        "record-length-limit": faulty_item(bytes([MARK]) + vu(65536),
                                           "record above the limit"),
        "module-build-id": faulty_definition(
            bytes([MODULE]) + string(vu(9) + vu(0) + u64(0) + vu(0) + string(bytes(65)) +
                                     string(b"/x") + vu(0)), "limit exceeded in MODULE"),
        "module-segments": faulty_definition(
            bytes([MODULE]) + string(vu(9) + vu(0) + u64(0) + vu(0) + string(b"") +
                                     string(b"/x") + vu(65) + vu(1) * 260),
            "limit exceeded in MODULE"),
        # nodes
        "node-tag": faulty_definition(b"\x50", "reserved tag 0x50"),
        "node-parent-own-id": faulty_definition(b"\x46" + vu(0) + vu(1) + vu(1),
                                                "parent id not below its child's"),
        "node-parent-later": faulty_definition(b"\x45" + vz(-3) + vu(1) + vu(1),
                                               "parent id not below its child's"),
        "node-parent-negative": faulty_definition(b"\x46" + vu(22) + vu(1) + vu(1),
                                                  "parent id not below its child's"),
        "node-id-known": faulty_definition(b"\x47" + vz(-6) + vu(1) + vu(1) + vu(1),
                                           "node id out of range"),
        "node-id-limit": faulty_definition(b"\x45" + vz(1 << 32) + vu(1) + vu(1),
                                           "node id out of range"),
        "node-frame-distance": faulty_definition(b"\x40" + vu(2), "frame distance beyond the list"),
        "node-frame-distance-0": faulty_definition(b"\x40" + vu(0),
                                                   "frame distance beyond the list"),
        "node-module-limit": faulty_definition(b"\x44" + vu(1 << 32) + vu(1),
                                               "module id out of range"),
        # events
        "event-tag": faulty_item(b"\x43", "reserved tag 0x43"),
        "event-tag-7f": faulty_item(b"\x7f", "reserved tag 0x7f"),
        "address-distance": faulty_item(b"\x81" + vu(1), "address distance beyond the pushes"),
        "address-distance-ring": faulty_item(b"\xbc\0" + vu(1),
                                             "address distance beyond the pushes"),
        "address-distance-257": faulty_item(b"\xbc\xc4" + vu(1),
                                            "address distance beyond the ring"),
        "address-code-63": faulty_item(b"\xbf" + vu(1), "reserved address code 63"),
        "alloc-address-distance": faulty_item(b"\xc0\1\0" + vu(1),
                                              "address distance beyond the pushes"),
        "alloc-stack-distance": faulty_item(b"\xc1\1" + vu(1),
                                            "stack distance beyond the pushes"),
        "alloc-size-missing": faulty_item(b"\xc5" + vz(0) + vu(1),
                                          "size of a stack ring entry with an explicit stack"),
        "alloc-function": faulty_item(b"\xe1\x0c\0" + vu(1), "reserved function 12"),
        "alloc-alignment": faulty_item(b"\xe1\5\x40\0" + vu(1), "alignment out of range"),
        "alloc-stack-negative": faulty_item(b"\xcd" + vz(-20) + vu(1) + vu(1),
                                            "stack id out of range"),
        "alloc-stack-limit": faulty_item(b"\xcd" + vz(1 << 32) + vu(1) + vu(1),
                                         "stack id out of range"),
        "realloc-old-distance": faulty_item(b"\x40\1\1" + vu(1) + b"\0" + vu(1),
                                            "address distance beyond the pushes"),
        "free-by-function": faulty_item(b"\x41\x0c\0" + vu(1), "reserved function 12"),
        "failed-function": faulty_item(b"\x42\xff" + vu(1) + vz(0) + vu(1),
                                       "reserved function 255"),
        "time-overflow": faulty_item(b"\x80" + vu(MASK), "time out of range"),
        "unknown-process": unknown_process(),
        # zeros
        "zeros-in-middle": zeros_in_middle(),
        "zeros-behind-first": lost_fill("first"),
        "zeros-behind-last": lost_fill("last"),
        "zeros-behind-definitions": lost_fill("definitions"),
        "changed-first": changed_bit("first"),
        "changed-last": changed_bit("last"),
        "changed-definitions": changed_bit("definitions"),
    }
    # A number that goes on past the end of its chunk, in each layout.
    bad["vu-past-end"] = stream_end(alloc + b"\x80\0\0\0\0\0\0",
                                    "item runs past the end of the chunk")
    bad["vu-past-end-9"] = stream_end(alloc + b"\0\0\0\0\0", "item runs past the end of the chunk")
    bad["operand-past-end"] = stream_end(b"\xbe\0\0\0", "item runs past the end of the chunk")
    bad["record-past-end"] = stream_end(bytes([MARK]) + vu(5) + b"1234",
                                        "item runs past the end of the chunk")
    bad["event-tag-mapped"] = faulty_item(b"\x44", "reserved tag 0x44", layout=MAPPED)
    bad.update(cuts())
    return bad


def stream_end(item: bytes, reason: str) -> Bad:
    """The faulty item is the last one of its chunk, and other chunks follow."""
    trace = Trace()
    process, definitions = program(trace)
    definitions.write()
    events = process.events(1, 10)
    events.alloc(10, HEAP, 100, 19)
    fault = events.raw(item)
    begin = events.write() + CHUNK_HEADER + fault
    end = trace.at()
    last = process.events(1, 30)
    last.free(30, HEAP)
    last.write()
    return Bad(trace.bytes(), skipped=[(begin, end, reason)], events=2)
