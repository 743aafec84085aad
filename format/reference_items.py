# SPDX-License-Identifier: MIT
"""The first half of the reference decoder: headers, chunks and items.

Bytes to chunks to items, by the sections of FORMAT.md named in the comments;
reference.py makes a trace of them. Invariant: no input makes it fail other
than by FormatError; what it cannot read it lists in an Audit.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, NamedTuple

TRACE_MAGIC = b"\x89mlog\r\n\x1a"
TRACE_HEADER = 64
CHUNK_MAGIC = b"mlck"
CHUNK_HEADER = 48
CHUNK_MAX = 1 << 24
RECORD_MAX = 65535
BUILD_ID_MAX = 64
SEGMENTS_MAX = 64
DEPTH_MAX = 65535
RECOVERY_SPAN = 64 << 20    # that far a chunk is sought behind a damaged trace header
FIRST_NODE = 16
MAPPED, STREAM = 1, 2
EVENTS, DEFINITIONS = 1, 2
RING = 256
MASK = (1 << 64) - 1

FUNCTIONS = ["malloc", "calloc", "realloc", "reallocarray", "free", "memalign", "posix_memalign",
             "aligned_alloc", "valloc", "pvalloc", "free_sized", "free_aligned_sized"]
ALIGNED_FUNCTIONS = {5, 6, 7}
MALLOC, REALLOC, FREE = 0, 2, 4

CLOCKS = {1: "TSC", 2: "CNTVCT", 3: "CLOCK_MONOTONIC"}
REASONS = {1: "no memory", 2: "sink full", 3: "sink gone", 4: "signal nesting", 5: "choice",
           6: "sandboxed", 7: "asked"}
CHILD_ENDS = {1: "exited", 2: "killed"}
LIMITS = {1: "RLIMIT_AS", 2: "RLIMIT_DATA", 3: "RLIMIT_FSIZE", 4: "RLIMIT_MEMLOCK", 5: "space",
          6: "quota"}
ENDS = {1: "exit", 2: "_exit", 3: "exec", 4: "abort", 5: "quick_exit"}
MARKS = {1: "point", 2: "begin", 3: "end"}
WINDOWS = {1: "pause", 2: "resume"}
WINDOWS_BY = {1: "start", 2: "fork", 3: "ctl", 4: "api"}

Event = dict[str, Any]


class FormatError(Exception):
    """A value that a reader refuses, and the file offset of the item it stands in."""

    def __init__(self, offset: int, reason: str):
        super().__init__(f"offset {offset}: {reason}")
        self.offset = offset
        self.reason = reason


class DamagedHeader(FormatError):
    """The magic or the CRC of the trace header is wrong."""


class PastEnd(Exception):
    """A read went past the end of what contains it."""


class Cursor:
    """Reads numbers (section 2) from data[at:end]; at is a file offset."""

    def __init__(self, data: bytes, at: int, end: int):
        self.data, self.at, self.end = data, at, end

    def left(self) -> int:
        return self.end - self.at

    def bytes(self, count: int) -> bytes:
        if count > self.left():
            raise PastEnd
        self.at += count
        return self.data[self.at - count:self.at]

    def fixed(self, count: int) -> int:
        return int.from_bytes(self.bytes(count), "little")

    def u8(self) -> int:
        return self.fixed(1)

    def u64(self) -> int:
        return self.fixed(8)

    def vu(self) -> int:
        if self.left() < 1:
            raise PastEnd
        first = self.data[self.at]
        if first == 0:
            value = int.from_bytes(self.bytes(9)[1:], "little")
            return value
        trailing_zeros = 0
        while not first >> trailing_zeros & 1:
            trailing_zeros += 1
        return self.fixed(trailing_zeros + 1) >> (trailing_zeros + 1)

    def vz(self) -> int:
        image = self.vu()
        return -(image + 1 >> 1) if image & 1 else image >> 1

    def string(self) -> bytes:
        return self.bytes(self.vu())


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def hexadecimal(value: int) -> str:
    return f"0x{value:x}"


# --- headers (sections 3 and 4) ---------------------------------------------------------------


class TraceHeader(NamedTuple):
    major: int
    minor: int
    layout: int
    unit: int
    size: int
    claimed: int
    reserved: int


class Chunk(NamedTuple):
    """One chunk of a mapped trace, or one piece of a chunk of a stream trace."""

    offset: int     # of its header in the file
    kind: int
    process: int
    stream: int
    sequence: int
    position: int
    base_time: int
    begin: int      # file offsets of the payload
    end: int        # that far the file goes, at most
    cut: bool       # the file ends before the payload does

    def key(self) -> tuple[int, int, int]:
        return self.process, self.stream, self.kind


def parse_trace_header(data: bytes, at: int) -> TraceHeader:
    head = data[at:at + TRACE_HEADER]
    if not head:
        raise FormatError(at, "empty")
    if head[:8] != TRACE_MAGIC[:len(head)]:
        raise DamagedHeader(at, "not an mlog trace (magic)")
    if len(head) < TRACE_HEADER:
        raise FormatError(at + len(head), "truncated trace header")
    major, minor, layout, unit_log2, size, required, _optional, crc = \
        struct.unpack_from("<HHBBHQQI", head, 8)
    claimed, reserved = struct.unpack_from("<QQ", head, 40)
    if major != 1:
        raise FormatError(at + 8, f"unsupported major version {major}")
    if crc != zlib.crc32(head[:32]):
        raise DamagedHeader(at + 32, "CRC of the trace header")
    if required:
        raise FormatError(at + 16, f"unknown required features {required:#x}")
    if layout not in (MAPPED, STREAM):
        raise FormatError(at + 12, f"reserved layout {layout}")
    if layout == MAPPED and not 12 <= unit_log2 <= 16 or layout == STREAM and unit_log2 != 0:
        raise FormatError(at + 13, f"reserved unit 2^{unit_log2}")
    if size < TRACE_HEADER:
        raise FormatError(at + 14, f"trace header of {size} bytes")
    return TraceHeader(major, minor, layout, 1 << unit_log2, size, claimed, reserved)


def parse_chunk_header(data: bytes, at: int, header: TraceHeader) -> tuple[Chunk, int]:
    """The chunk whose header begins at `at`, and its whole size; the payload is not looked at."""
    head = data[at:at + CHUNK_HEADER]
    if head[:4] != CHUNK_MAGIC[:len(head)]:
        raise FormatError(at, "chunk magic")
    if len(head) < CHUNK_HEADER:
        raise PastEnd
    if struct.unpack_from("<I", head, 44)[0] != zlib.crc32(head[:44]):
        raise FormatError(at, "CRC of the chunk header")
    kind, flags, header_size, size, position, process, stream, sequence, base_time = \
        struct.unpack_from("<BBHIIQIIQ", head, 4)
    if flags & ~1:
        raise FormatError(at, f"reserved chunk flags {flags:#x}")
    if not CHUNK_HEADER <= header_size <= size:
        raise FormatError(at, f"chunk size {size} with a header of {header_size}")
    if size > CHUNK_MAX:
        raise FormatError(at, f"chunk size {size} above the limit")
    if process == 0:
        raise FormatError(at, "process key 0")
    if header.layout == MAPPED:
        if size % header.unit:
            raise FormatError(at, f"chunk size {size} is not a multiple of the unit")
        if position:
            raise FormatError(at, "piece in a mapped trace")
    end = min(at + size, len(data))
    return Chunk(at, kind, process, stream, sequence, position, base_time,
                 min(at + header_size, end), end, end < at + size), size


def chunk_header_begins(data: bytes, at: int, header: TraceHeader) -> bool:
    """A chunk header that holds, or (stream) a trace header, begins here."""
    try:
        if header.layout == STREAM and data.startswith(TRACE_MAGIC, at):
            return parse_trace_header(data, at).layout == STREAM
        parse_chunk_header(data, at, header)
        return True
    except (FormatError, PastEnd):
        return False


# --- the audit --------------------------------------------------------------------------------


@dataclass
class Audit:
    """What the trace cannot vouch for."""

    skipped: list[tuple[int, int, str]] = field(default_factory=list)   # from, to, reason
    truncated: int | None = None        # file offset of the first byte that could not be used
    changed: list[tuple[int, int]] = field(default_factory=list)    # from, to: another checksum
    unwritten_units: int = 0            # mapped: claimed, and never given a chunk
    missing_chunks: int = 0             # gaps in sequence numbers
    unknown_nodes: int = 0              # stacks that name a node without definition
    unknown_modules: int = 0            # frames that name a module without definition
    unknown_processes: int = 0          # process keys without PROCESS record

    def skip(self, begin: int, end: int, reason: str) -> None:
        if end > begin:
            self.skipped.append((begin, end, reason))

    def as_json(self) -> dict[str, Any]:
        return {**vars(self),
                "skipped": [{"from": a, "to": b, "reason": why}
                            for a, b, why in sorted(self.skipped)]}


# --- finding chunks ---------------------------------------------------------------------------


def recover(data: bytes, error: FormatError) -> tuple[TraceHeader, int, int]:
    """The trace header behind something else, or what a damaged one may have said; where it
    is to be counted from; and where the first thing that holds begins."""
    guess = TraceHeader(1, 0, STREAM, 1, TRACE_HEADER, 0, 0)
    at = -1
    while True:
        found = [f for f in (data.find(CHUNK_MAGIC, at + 1, RECOVERY_SPAN),
                             data.find(TRACE_MAGIC, at + 1, RECOVERY_SPAN)) if f >= 0]
        if not found:
            raise error
        at = min(found)
        try:
            return parse_trace_header(data, at), at, at
        except FormatError:
            pass
        if chunk_header_begins(data, at, guess):
            if data[at + 5] & 1:
                return guess, 0, at
            return guess._replace(layout=MAPPED, unit=4096), at % 4096, at


def find_chunks(data: bytes, audit: Audit) -> tuple[TraceHeader, list[Chunk]]:
    """All chunks whose header (and CRC, if any) holds, in the order of the trace.

    Raises FormatError if the trace header itself is refused.
    """
    try:
        header, origin, at = parse_trace_header(data, 0), 0, 0
    except DamagedHeader as error:
        header, origin, at = recover(data, error)
        audit.skip(0, at, error.reason)
    if data.startswith(TRACE_MAGIC, at):
        at += header.unit if header.layout == MAPPED else header.size
    chunks: list[Chunk] = []
    step = header.unit if header.layout == MAPPED else 1
    claimed_end = origin + (1 + header.claimed) * header.unit

    def next_header(after: int) -> int:
        while after < len(data) and not chunk_header_begins(data, after, header):
            if step == 1:       # nothing but speed: leap to the next candidate
                found = [f for f in (data.find(CHUNK_MAGIC, after + 1),
                                     data.find(TRACE_MAGIC, after + 1)) if f >= 0]
                after = min(found, default=len(data))
            else:
                after += step
        return min(after, len(data))

    while at < len(data):
        if header.layout == MAPPED and not any(data[at:at + CHUNK_HEADER]):
            if at < claimed_end:
                audit.unwritten_units += 1
            at += header.unit
            continue
        if header.layout == STREAM and data.startswith(TRACE_MAGIC, at):
            try:
                again = parse_trace_header(data, at)
                if again.layout != STREAM:
                    raise FormatError(at + 12, "mapped header within a stream trace")
                at += again.size
            except FormatError as error:
                if at + TRACE_HEADER > len(data):
                    audit.truncated = at
                    break
                begin, at = at, next_header(at + 1)
                audit.skip(begin, at, error.reason)
            continue
        try:
            chunk, size = parse_chunk_header(data, at, header)
        except PastEnd:
            audit.truncated = at
            break
        except FormatError as error:
            begin, at = at, next_header(at + step)
            if begin + CHUNK_HEADER > len(data) and TRACE_MAGIC.startswith(data[begin:begin + 8]):
                audit.truncated = begin     # a recurring trace header, cut
            else:
                audit.skip(begin, at, error.reason)
            continue
        if chunk.kind not in (EVENTS, DEFINITIONS):
            if not chunk.kind & 0x80:
                audit.skip(at, chunk.end, f"unknown chunk kind {chunk.kind}")
            at += size
            continue
        has_crc = data[at + 5] & 1
        if header.layout == STREAM and not has_crc:
            audit.skip(at, chunk.end, "no payload CRC")
            at += size
            continue
        inner = next_header(at + 1) if chunk.cut and step == 1 else len(data)
        if inner < len(data):       # bytes are missing within: the next header lies too near
            audit.skip(at, inner, "chunk runs past the next one")
            at = inner
            continue
        crc = int.from_bytes(data[at + 40:at + 44], "little")
        if has_crc and not chunk.cut and zlib.crc32(data[chunk.begin:chunk.end]) != crc:
            begin, at = at, next_header(at + 1) if step == 1 else at + size
            audit.skip(begin, at, "CRC of the payload")
            continue
        chunks.append(chunk)
        at += size
    if header.layout == MAPPED and audit.truncated is None and len(data) < claimed_end:
        audit.truncated = len(data)
    return header, chunks


# --- records (section 5) ----------------------------------------------------------------------


def fields(*readers: tuple[str, str], later: tuple[tuple[str, str], ...] = ()
           ) -> Callable[[Cursor], dict[str, Any]]:
    """A record's decoder from (field name, kind of number) pairs; `later` ones are absent from
    traces before the minor version that has them."""
    def decode(cursor: Cursor) -> dict[str, Any]:
        values = {}
        for name, kind in readers + later:
            if later[:1] == ((name, kind),) and not cursor.left():
                break
            value = getattr(cursor, kind)()
            values[name] = text(value) if kind == "string" else value
        return values
    return decode


def decode_text(cursor: Cursor) -> dict[str, Any]:
    return {"what": cursor.vu(), "bytes": text(cursor.bytes(cursor.left()))}


def decode_module(cursor: Cursor) -> dict[str, Any]:
    module: dict[str, Any] = {"module": cursor.vu(), "time": cursor.vu(), "bias": cursor.u64(),
                              "flags": cursor.vu()}
    build_id = cursor.string()
    module["path"] = text(cursor.string())
    count = cursor.vu()
    if len(build_id) > BUILD_ID_MAX or count > SEGMENTS_MAX:
        raise ValueError("limit exceeded in MODULE")
    module["build_id"] = build_id.hex()
    module["segments"] = [{"address": cursor.vu(), "size": cursor.vu(), "offset": cursor.vu(),
                           "flags": cursor.vu()} for _ in range(count)]
    return module


def decode_counters(cursor: Cursor) -> dict[str, Any]:
    time = cursor.vu()
    counters = {}
    while cursor.left():
        counter = cursor.vu()
        counters[str(counter)] = cursor.vu()
    return {"time": time, "counters": counters}


# tag: name, where it may stand (D definitions, E events), decoder
RECORDS: dict[int, tuple[str, str, Callable[[Cursor], dict[str, Any]]]] = {
    0x01: ("PROCESS", "D", fields(
        ("pid", "vu"), ("parent_pid", "vu"), ("parent", "u64"), ("how", "vu"), ("start", "vu"),
        ("fork_time", "vu"), ("inherited_nodes", "vu"), ("inherited_modules", "vu"),
        ("clock", "vu"), ("tick_shift", "vu"), ("counts_per_second", "vu"),
        ("monotonic_ns", "vu"), ("realtime_ns", "vu"), ("block_header", "vu"),
        ("block_grain", "vu"), ("smallest_usable", "vu"), ("page_size", "vu"),
        ("pointer_bytes", "vu"),
        later=(("pid_namespace", "vu"), ("birth", "vu"), ("machine", "u64")))),
    0x02: ("TEXT", "D", decode_text),
    0x03: ("MODULE", "D", decode_module),
    0x04: ("MODULE_END", "D", fields(("module", "vu"), ("time", "vu"))),
    0x05: ("STREAM", "D", fields(("number", "vu"), ("tid", "vu"), ("time", "vu"),
                                 ("flags", "vu"), ("thread", "string"))),
    0x06: ("STREAM_END", "D", fields(("number", "vu"), ("time", "vu"), ("thread", "string"))),
    0x07: ("CLOCK", "DE", fields(("time", "vu"), ("monotonic_ns", "vu"), ("realtime_ns", "vu"))),
    0x08: ("PROCESS_END", "DE", fields(("time", "vu"), ("how", "vu"), ("status", "vu"))),
    0x09: ("LOSS", "DE", fields(("time", "vu"), ("of_stream", "vu"), ("lost", "vu"),
                                ("reason", "vu"))),
    0x0a: ("SYNC", "D", fields(("time", "vu"))),
    0x0b: ("SAMPLING", "D", fields(("interval", "vu"))),
    0x0c: ("STOP", "DE", fields(("time", "vu"), ("reason", "vu"), ("errno", "vu"),
                                later=(("limit", "vu"), ("limit_bytes", "vu"),
                                       ("held_bytes", "vu"), ("asked_bytes", "vu")))),
    0x0d: ("TAKEN_OVER", "E", fields(("stream", "vu"))),
    0x20: ("MEMORY", "DE", fields(("time", "vu"), ("virtual", "vu"), ("resident", "vu"),
                                  ("shared", "vu"))),
    0x21: ("MARK", "E", fields(("time", "vu"), ("kind", "vu"), ("name", "string"))),
    0x22: ("COUNTERS", "DE", decode_counters),
    0x25: ("FILLED", "DE", fields(("of_stream", "vu"), ("of_kind", "vu"), ("of_sequence", "vu"),
                                  ("bytes", "vu"), later=(("checksum", "u64"),))),
    0x26: ("EXEC", "DE", fields(("time", "vu"), ("pid", "vu"), ("state", "vu"),
                                ("path", "string"))),
    0x27: ("BYPASS", "D", fields(("time", "vu"), ("why", "vu"), ("path", "string"),
                                 ("target", "string"))),
    0x28: ("WINDOW", "E", fields(("time", "vu"), ("what", "vu"), ("by", "vu"))),
    0x2b: ("CHILD_END", "DE", fields(("time", "vu"), ("pid", "vu"), ("how", "vu"),
                                     ("status", "vu"), ("flags", "vu"))),
    0x2c: ("STACK", "E", fields(("what", "vu"), ("stack", "vu"))),
    0x29: ("SAVEPOINT", "E", fields(("time", "vu"), ("number", "vu"), ("flags", "vu"),
                                    ("growth", "vz"), ("name", "string"), ("place", "string"))),
    0x2a: ("PRINT", "E", fields(("time", "vu"), ("text", "string"))),
    0x2d: ("LIMIT", "D", fields(("time", "vu"), ("kind", "vu"), ("bytes", "vu"))),
}


# --- items (sections 4, 6 and 7) --------------------------------------------------------------


class Item(NamedTuple):
    """One decoded item: its file offset, its name, its fields."""

    offset: int
    name: str
    fields: dict[str, Any]


class ChunkDecoder:
    """Decodes the items of one chunk; its delta state lives on from piece to piece."""

    def __init__(self, chunk: Chunk, block: "BlockLayout"):
        self.kind = chunk.kind
        self.sequence = chunk.sequence
        self.position = 0
        self.broken: str | None = None      # why the rest of this chunk cannot be read
        self.used = 0                       # bytes of the payload before its first zero tag
        self.block = block
        # section 6
        self.last_id = FIRST_NODE - 1
        self.frames: list[tuple[int, int]] = []
        # section 7
        self.time = chunk.base_time
        self.last = 0
        self.next = 0
        self.addresses: deque[int] = deque(maxlen=RING)
        self.stacks: deque[tuple[int, int]] = deque(maxlen=RING)
        self.explicit_stack = 0

    def items(self, data: bytes, chunk: Chunk, audit: Audit) -> Iterator[Item]:
        """The items of one piece, up to its end or to the first that is refused."""
        cursor = Cursor(data, chunk.begin, chunk.end)
        self.position += chunk.end - chunk.begin
        while cursor.left():
            start = cursor.at
            self.used = start - chunk.begin
            tag = cursor.u8()
            if tag == 0:
                return
            try:
                item = self.item(tag, cursor, start)
                if item is not None:
                    yield item
            except PastEnd:
                if chunk.cut:
                    audit.truncated = start
                    return
                self.broken = "item runs past the end of the chunk"
            except ValueError as error:
                self.broken = str(error)
            if self.broken is not None:
                audit.skip(start, chunk.end, self.broken)
                return
        self.used = chunk.end - chunk.begin
        if chunk.cut:
            audit.truncated = chunk.end

    def item(self, tag: int, cursor: Cursor, start: int) -> Item | None:
        if tag < 0x40:
            return self.record(tag, cursor, start)
        if self.kind == DEFINITIONS:
            return Item(start, "NODE", self.node(tag, cursor))
        return Item(start, *self.event(tag, cursor))

    def record(self, tag: int, cursor: Cursor, start: int) -> Item | None:
        length = cursor.vu()
        if length > RECORD_MAX:
            raise ValueError("record above the limit")
        payload = Cursor(cursor.data, cursor.at, cursor.at + length)
        cursor.bytes(length)
        name, where, decode = RECORDS.get(tag, ("", "", None))
        if decode is None or ("D" if self.kind == DEFINITIONS else "E") not in where:
            if tag < 0x20:
                raise ValueError(f"unknown required record {tag:#x}")
            return Item(start, "unknown", {"tag": tag, "length": length})
        try:
            values = decode(payload)
            if name == "STACK":     # at its place in the stream
                values = {"time": self.time, "what": values["what"],
                          "stack": values["stack"] if values["stack"] < 1 << 32 else 0}
            return Item(start, name, values)
        except PastEnd:
            raise ValueError(f"{name} record too short") from None

    def node(self, tag: int, cursor: Cursor) -> dict[str, Any]:
        if tag > 0x4f:
            raise ValueError(f"reserved tag {tag:#x}")
        node_id = self.last_id + 1 + (cursor.vz() if tag & 1 else 0)
        parent = node_id - cursor.vu() if tag & 2 else self.last_id
        if not FIRST_NODE <= node_id < 1 << 32:
            raise ValueError("node id out of range")
        if not 0 <= parent < node_id:
            raise ValueError("parent id not below its child's")
        if tag & 4:
            module = cursor.vu()
            frame = (module, cursor.vu())
            if module >= 1 << 32:
                raise ValueError("module id out of range")
            self.frames.append(frame)
        else:
            distance = cursor.vu()
            if not 1 <= distance <= len(self.frames):
                raise ValueError("frame distance beyond the list")
            frame = self.frames[-distance]
        self.last_id = node_id
        return {"id": node_id, "parent": parent, "module": frame[0], "offset": frame[1],
                "exact": bool(tag & 8)}

    # Events. Each of the functions below reads one group of operands.

    def event(self, tag: int, cursor: Cursor) -> tuple[str, dict[str, Any]]:
        if tag >= 0xc0:
            block = self.new_block(tag & 0x3f, MALLOC, cursor)
            self.advance(cursor)
            self.push(block)
            return "ALLOC", {"time": self.time, **block}
        if tag >= 0x80:
            address = self.old_address(tag & 0x3f, cursor)
            self.advance(cursor)
            self.push_address(address)
            return "FREE", {"time": self.time, "function": FREE, "address": address}
        if tag == 0x40:
            flags = cursor.u8()
            old = self.old_address(cursor.u8(), cursor)
            self.advance(cursor)
            begin = self.time
            self.push_address(old)
            block = self.new_block(flags & 0x3f, REALLOC, cursor)
            self.advance(cursor)
            self.push(block)
            return "REALLOC", {"begin": begin, "time": self.time, "old": old, **block}
        if tag == 0x41:
            function = self.function(cursor)
            address = self.old_address(cursor.u8(), cursor)
            self.advance(cursor)
            self.push_address(address)
            return "FREE_BY", {"time": self.time, "function": function, "address": address}
        if tag == 0x42:
            function = self.function(cursor)
            size = cursor.vu()
            stack = self.next_explicit_stack(cursor)
            self.advance(cursor)
            return "FAILED", {"time": self.time, "function": function, "size": size,
                              "stack": stack}
        raise ValueError(f"reserved tag {tag:#x}")

    def advance(self, cursor: Cursor) -> None:
        self.time += cursor.vu()
        if self.time > MASK:
            raise ValueError("time out of range")

    def function(self, cursor: Cursor) -> int:
        function = cursor.u8()
        if function >= len(FUNCTIONS):
            raise ValueError(f"reserved function {function}")
        return function

    def next_explicit_stack(self, cursor: Cursor) -> int:
        stack = self.explicit_stack + cursor.vz()
        if not 0 <= stack < 1 << 32:
            raise ValueError("stack id out of range")
        self.explicit_stack = stack
        return stack

    def pushed(self, distance: int) -> int:
        if distance > len(self.addresses):
            raise ValueError("address distance beyond the pushes")
        return self.addresses[-distance]

    def old_address(self, code: int, cursor: Cursor) -> int:
        if code < 60:
            return self.pushed(code + 1)
        if code == 60:
            k = cursor.u8()
            if k > 195:
                raise ValueError("address distance beyond the ring")
            return self.pushed(61 + k)
        if code == 61:
            return self.last + 16 * cursor.vz() & MASK
        if code == 62:
            return cursor.u64()
        raise ValueError(f"reserved address code {code}")

    def new_block(self, flags: int, function: int, cursor: Cursor) -> dict[str, Any]:
        block: dict[str, Any] = {"function": function}
        if flags & 32:
            block["function"] = self.function(cursor)
            if block["function"] in ALIGNED_FUNCTIONS:
                log2 = cursor.u8()
                if log2 > 63:
                    raise ValueError("alignment out of range")
                block["alignment"] = 1 << log2
        how = flags & 3
        if how == 0:
            block["address"] = self.pushed(cursor.u8() + 1)
        elif how == 1:
            block["address"] = self.next
        elif how == 2:
            block["address"] = self.last + 16 * cursor.vz() & MASK
        else:
            block["address"] = cursor.u64()
        if flags & 4:
            if not flags & 8:
                raise ValueError("size of a stack ring entry with an explicit stack")
            block["stack"] = self.next_explicit_stack(cursor)
            entry_size = 0
        else:
            distance = cursor.u8() + 1
            if distance > len(self.stacks):
                raise ValueError("stack distance beyond the pushes")
            block["stack"], entry_size = self.stacks[-distance]
        block["size"] = cursor.vu() if flags & 8 else entry_size
        if flags & 16:
            block["usable"] = block["size"] + cursor.vu() & MASK
        else:
            block["usable"] = self.block.default_usable(block["size"])
        return block

    def push_address(self, address: int) -> None:
        self.addresses.append(address)
        self.last = address

    def push(self, block: dict[str, Any]) -> None:
        self.push_address(block["address"])
        self.stacks.append((block["stack"], block["size"]))
        self.next = block["address"] + block["usable"] + self.block.header & MASK


@dataclass
class BlockLayout:
    """H, G and M of a PROCESS record; glibc's where there is none."""

    header: int = 8
    grain: int = 16
    smallest: int = 24

    def default_usable(self, size: int) -> int:
        rounded = size + self.header + self.grain - 1
        rounded -= rounded % self.grain
        return max(self.smallest, rounded - self.header) & MASK
