# SPDX-License-Identifier: MIT
"""A writer of the mlog trace format, for test vectors and for tests.

It builds a trace item by item with every choice of encoding open to the
caller. Beside the bytes it keeps the event lines that the caller meant,
without ever decoding what it wrote: `Trace.expected()` merges those lines, so
a reader is checked against the intention and not against another reader.
"""

from __future__ import annotations

import heapq
import struct
import zlib
from collections import deque
from typing import Any, Callable, Iterable

MAPPED, STREAM = 1, 2
EVENTS, DEFINITIONS = 1, 2
TRACE_HEADER, CHUNK_HEADER = 64, 48
MASK = (1 << 64) - 1

FUNCTIONS = ["malloc", "calloc", "realloc", "reallocarray", "free", "memalign", "posix_memalign",
             "aligned_alloc", "valloc", "pvalloc", "free_sized", "free_aligned_sized"]
ALIGNED = ("memalign", "posix_memalign", "aligned_alloc")

PROCESS, TEXT, MODULE, MODULE_END, STREAM_BEGIN, STREAM_END, CLOCK, PROCESS_END, LOSS, SYNC, \
    SAMPLING, STOP, TAKEN_OVER = range(1, 14)
MEMORY, MARK, COUNTERS, FILLED, EXEC, BYPASS, WINDOW = 0x20, 0x21, 0x22, 0x25, 0x26, 0x27, 0x28
SAVEPOINT, PRINT, CHILD_END, STACK, LIMIT = 0x29, 0x2a, 0x2b, 0x2c, 0x2d


# --- numbers ----------------------------------------------------------------------------------


def vu(value: int, size: int | None = None) -> bytes:
    """The shortest form, or one of `size` bytes."""
    if size is None:
        size = next((n for n in range(1, 9) if value < 1 << 7 * n), 9)
    if size == 9:
        return b"\0" + struct.pack("<Q", value)
    assert value < 1 << 7 * size
    return (value << size | 1 << size - 1).to_bytes(size, "little")


def vz(value: int) -> bytes:
    return vu(2 * value if value >= 0 else -2 * value - 1)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def string(value: bytes) -> bytes:
    return vu(len(value)) + value


def wrapped_difference(a: int, b: int) -> int:
    """a - b modulo 2^64, as a signed number."""
    difference = (a - b) & MASK
    return difference - (1 << 64) if difference >> 63 else difference


# --- headers ----------------------------------------------------------------------------------


def trace_header(layout: int, unit_log2: int, claimed: int = 0, reserved: int = 0, *,
                 major: int = 1, minor: int = 0, required: int = 0, optional: int = 0,
                 header_size: int = TRACE_HEADER) -> bytes:
    head = struct.pack("<8sHHBBHQQ", b"\x89mlog\r\n\x1a", major, minor, layout, unit_log2,
                       header_size, required, optional)
    return head + struct.pack("<IIQQQ", zlib.crc32(head), 0, claimed, reserved, 0)


def chunk_header(kind: int, size: int, process: int, stream: int, sequence: int, base_time: int,
                 *, flags: int = 0, position: int = 0, payload_crc: int = 0,
                 header_size: int = CHUNK_HEADER) -> bytes:
    head = struct.pack("<4sBBHIIQIIQI", b"mlck", kind, flags, header_size, size, position,
                       process, stream, sequence, base_time, payload_crc)
    return head + struct.pack("<I", zlib.crc32(head))


# --- a trace ----------------------------------------------------------------------------------


class Trace:
    """The bytes of a trace under construction, and the lines they mean."""

    def __init__(self, layout: int = STREAM, unit_log2: int = 12, **header: Any):
        self.layout = layout
        self.unit_log2 = unit_log2 if layout == MAPPED else 0
        self.unit = 1 << self.unit_log2
        self.header_fields = header
        self.body = bytearray()             # all after the first header
        self.processes: list[ProcessWriter] = []
        self.lines: dict[tuple[int, int, int], list[dict[str, Any]]] = {}

    def at(self) -> int:
        """The file offset of what is appended next."""
        return (self.unit if self.layout == MAPPED else TRACE_HEADER) + len(self.body)

    def process(self, pid: int = 1000, **fields: Any) -> "ProcessWriter":
        return ProcessWriter(self, pid, **fields)

    def raw(self, data: bytes) -> None:
        self.body += data

    def header(self) -> bytes:
        claimed = len(self.body) // self.unit if self.layout == MAPPED else 0
        fields = {"claimed": claimed, "reserved": (claimed + 1) * self.unit
                  if self.layout == MAPPED else 0, **self.header_fields}
        return trace_header(self.layout, self.unit_log2, **fields)

    def bytes(self) -> bytes:
        head = self.header()
        if self.layout == MAPPED:
            head = head.ljust(self.unit, b"\0")
        return head + bytes(self.body)

    def expected(self) -> list[dict[str, Any]]:
        """The lines of all streams merged (FORMAT.md section 7 and the order of heads)."""
        def keyed(key: tuple[int, int, int]) -> Iterable[tuple[Any, dict[str, Any]]]:
            for line in self.lines[key]:
                yield (line["ticks"], line["type"] != "free", *key), line
        streams = [keyed(key) for key in self.lines]
        return [line for _, line in heapq.merge(*streams, key=lambda pair: pair[0])]


class ProcessWriter:
    """One process: its key, its modules and nodes, the state of its streams."""

    def __init__(self, trace: Trace, pid: int, *, key: int | None = None,
                 parent: "ProcessWriter | None" = None, block: tuple[int, int, int] = (8, 16, 24)):
        self.trace = trace
        self.pid = pid
        self.key = key if key is not None else 0x1000000000000000 + pid
        self.place = 0, 0, 0
        self.order = len(trace.processes)
        trace.processes.append(self)
        self.parent = parent
        self.elsewhere = False              # another process has its pid in another place
        self.block_header, self.block_grain, self.smallest = block
        # What a fork inherits: copies, for both sides go on defining their own.
        self.biases: dict[int, int] = dict(parent.biases) if parent else {0: 0}
        self.stacks: dict[int, list[int]] = dict(parent.stacks) if parent else \
            {root: [] for root in range(16)}
        self.sequences: dict[tuple[int, int], int] = {}

    def definitions(self, stream: int = 1, base_time: int = 0) -> "Definitions":
        return Definitions(self, stream, base_time)

    def events(self, stream: int = 1, base_time: int = 0) -> "Events":
        return Events(self, stream, base_time)

    def default_usable(self, size: int) -> int:
        grain = self.block_grain
        rounded = (size + self.block_header + grain - 1) // grain * grain
        return max(self.smallest, rounded - self.block_header)


def sum_of(data: bytes) -> int:
    """The checksum of FORMAT.md section 2, lane by lane."""
    def fold(lane: int, word: int) -> int:
        word ^= lane
        return (word << 29 | word >> 35) % (1 << 64) * 0x9e3779b97f4a7c15 % (1 << 64)

    data_of_blocks = data + bytes(-len(data) % 32)
    total = len(data)
    for number in range(4):
        lane = number + 1
        for at in range(8 * number, len(data_of_blocks), 32):
            lane = fold(lane, int.from_bytes(data_of_blocks[at:at + 8], "little"))
        total = fold(total, lane)
    return total ^ total >> 32 | 1 << 63


class ChunkWriter:
    """The payload of one chunk; `write` appends it to the trace, whole or in pieces."""

    kind = 0

    def __init__(self, process: ProcessWriter, stream: int, base_time: int):
        self.process = process
        self.trace = process.trace
        self.stream = self.of_stream = stream
        self.base_time = base_time
        key = (stream, self.kind)
        self.sequence = process.sequences.get(key, -1) + 1
        process.sequences[key] = self.sequence
        self.payload = bytearray()
        self.written = 0                    # bytes of the payload in the trace already
        self.lines = self.trace.lines.setdefault((process.order, stream, -self.kind), [])

    def raw(self, data: bytes) -> int:
        """Append bytes; the offset within the payload at which they begin."""
        self.payload += data
        return len(self.payload) - len(data)

    def record(self, tag: int, *parts: bytes) -> int:
        payload = b"".join(parts)
        return self.raw(bytes([tag]) + vu(len(payload)) + payload)

    def line(self, type: str, ticks: int, /, **values: Any) -> None:
        line = {"type": type, "ticks": ticks}
        if "begin_ticks" in values:
            line["begin_ticks"] = values.pop("begin_ticks")
        line.update(pid=self.process.pid, stream=self.of_stream)
        if self.process.elsewhere:
            line["process"] = self.process.order
        line.update((name, value) for name, value in values.items() if value is not None)
        self.lines.append(line)

    def write(self, *, size: int | None = None, corrupt: Callable[[bytearray], None] | None = None,
              **header: Any) -> int:
        """Append what is not yet written, as a chunk or as the next piece of one.

        Returns the file offset of its header. `corrupt` may alter the payload after its CRC
        was taken; `size` and `header` overrule fields of the header.
        """
        payload = self.payload[self.written:]
        at = self.trace.at()
        if self.trace.layout == MAPPED:
            payload += bytes(-(CHUNK_HEADER + len(payload)) % self.trace.unit)
            fields: dict[str, Any] = {}
        else:
            fields = {"flags": 1, "position": self.written,
                      "payload_crc": zlib.crc32(bytes(payload))}
        fields.update(header)
        if size is None:
            size = CHUNK_HEADER + len(payload)
        kind = fields.pop("kind", self.kind)
        key = fields.pop("process", self.process.key)
        head = chunk_header(kind, size, key, self.stream, self.sequence, self.base_time, **fields)
        if corrupt is not None:
            corrupt(payload)
        self.trace.raw(head + bytes(payload))
        self.written = len(self.payload)
        return at

    # Timed records that may stand in either kind of chunk.

    def loss(self, ticks: int, of_stream: int, lost: int, reason: int) -> None:
        names = {1: "no memory", 2: "sink full", 3: "sink gone", 4: "signal nesting", 5: "choice"}
        self.record(LOSS, vu(ticks), vu(of_stream), vu(lost), vu(reason))
        self.line("loss", ticks, of_stream=of_stream, lost=lost, reason=names[reason])

    def memory(self, ticks: int, virtual: int, resident: int, shared: int) -> None:
        self.record(MEMORY, vu(ticks), vu(virtual), vu(resident), vu(shared))
        self.line("memory", ticks, virtual=virtual, resident=resident, shared=shared)

    def stop(self, ticks: int, reason: str, number: int, errno: int,
             met: tuple[int, str, int, int, int] | None = None) -> None:
        """met: of version 1.3, number and name of a limit, what it is, was held, was asked."""
        more = {} if met is None else {"limit": met[1], "limit_bytes": met[2],
                                       "held_bytes": met[3], "asked_bytes": met[4]}
        self.record(STOP, vu(ticks), vu(number), vu(errno),
                    *(vu(v) for v in (met or ())[:1] + (met or ())[2:]))
        self.line("stop", ticks, reason=reason, errno=errno, **more)

    def process_end(self, ticks: int, how: str, number: int, status: int) -> None:
        self.record(PROCESS_END, vu(ticks), vu(number), vu(status))
        self.line("process_end", ticks, how=how, status=status)

    def clock(self, ticks: int, monotonic_ns: int, realtime_ns: int) -> None:
        self.record(CLOCK, vu(ticks), vu(monotonic_ns), vu(realtime_ns))
        self.line("clock", ticks, monotonic_ns=monotonic_ns, realtime_ns=realtime_ns)

    def counters(self, ticks: int, values: dict[int, int]) -> None:
        self.record(COUNTERS, vu(ticks), *(vu(k) + vu(v) for k, v in values.items()))
        self.line("counters", ticks, counters={str(k): v for k, v in values.items()})

    def executed(self, ticks: int, pid: int, state: int, path: str) -> None:
        self.record(EXEC, vu(ticks), vu(pid), vu(state), string(path.encode()))
        self.line("exec", ticks, executing_pid=pid, state=state, path=path)

    def limit(self, ticks: int, kind: int, size: int) -> None:
        self.record(LIMIT, vu(ticks), vu(kind), vu(size))
        self.line("limit", ticks, kind=kind, bytes=size)

    def bypass(self, ticks: int, why: int, path: str, target: str) -> None:
        self.record(BYPASS, vu(ticks), vu(why), string(path.encode()), string(target.encode()))
        self.line("bypass", ticks, why=why, path=path, target=target)

    def child_end(self, ticks: int, pid: int, how: str, status: int, core: bool = False) -> None:
        self.record(CHILD_END, vu(ticks), vu(pid), vu({"exited": 1, "killed": 2}[how]),
                    vu(status), vu(core))
        self.line("child_end", ticks, child_pid=pid, how=how, status=status, core_dumped=core)

    def filled(self, of: "ChunkWriter", *, checksum: bool = False) -> int:
        """Say how far a chunk is filled by now; of version 1.3, with the checksum."""
        payload = bytes(of.payload.rstrip(b"\0"))
        return self.record(FILLED, vu(of.stream), vu(of.kind), vu(of.sequence),
                           vu(len(payload)), u64(sum_of(payload)) if checksum else b"")


class Definitions(ChunkWriter):
    """A definitions chunk."""

    kind = DEFINITIONS

    def __init__(self, process: ProcessWriter, stream: int, base_time: int):
        super().__init__(process, stream, base_time)
        self.last_id = 15
        self.frames: list[tuple[int, int]] = []

    def process_record(self, *, start: int = 0, fork_time: int = 0, inherited_nodes: int = 0,
                       inherited_modules: int = 0, clock: int = 3, tick_shift: int = 0,
                       counts_per_second: int = 10 ** 9, monotonic_ns: int = 0,
                       realtime_ns: int = 1_700_000_000_000_000_000, page_size: int = 4096,
                       pointer_bytes: int = 8, parent_pid: int = 1,
                       place: tuple[int, int, int] | None = None, extra: bytes = b"") -> int:
        """place: of version 1.3, the pid namespace, the birth, the machine. The first process
        of a pid is to be described first."""
        process = self.process
        if place:
            process.place = place
            first = next(p for p in process.trace.processes if p.pid == process.pid)
            process.elsewhere = any(0 not in pair and pair[0] != pair[1] for pair in
                                    list(zip(first.place, place))[::2])
            extra = vu(place[0]) + vu(place[1]) + u64(place[2]) + extra
        parent = process.parent
        forked = parent is not None and inherited_nodes + inherited_modules > 0
        return self.record(
            PROCESS, vu(process.pid), vu(parent.pid if parent else parent_pid),
            u64(parent.key if parent else 0), vu(int(forked)), vu(start), vu(fork_time),
            vu(inherited_nodes), vu(inherited_modules), vu(clock), vu(tick_shift),
            vu(counts_per_second), vu(monotonic_ns), vu(realtime_ns), vu(process.block_header),
            vu(process.block_grain), vu(process.smallest), vu(page_size), vu(pointer_bytes), extra)

    def text(self, what: int, value: bytes) -> int:
        return self.record(TEXT, vu(what), value)

    def module(self, module: int, bias: int, path: bytes, *, time: int = 0, flags: int = 0,
               build_id: bytes = b"", segments: Iterable[tuple[int, int, int, int]] = (),
               extra: bytes = b"") -> int:
        self.process.biases[module] = bias
        segments = list(segments)
        return self.record(MODULE, vu(module), vu(time), u64(bias), vu(flags), string(build_id),
                           string(path), vu(len(segments)),
                           *(vu(n) for segment in segments for n in segment), extra)

    def module_end(self, module: int, time: int) -> int:
        return self.record(MODULE_END, vu(module), vu(time))

    def thread(self, stream: int, tid: int, *, time: int = 0, flags: int = 0,
               name: bytes = b"main") -> int:
        return self.record(STREAM_BEGIN, vu(stream), vu(tid), vu(time), vu(flags), string(name))

    def thread_end(self, stream: int, time: int, name: bytes = b"") -> int:
        return self.record(STREAM_END, vu(stream), vu(time), string(name))

    def sync(self, time: int) -> int:
        return self.record(SYNC, vu(time))

    def sampling(self, interval: int) -> int:
        return self.record(SAMPLING, vu(interval))

    def node(self, module: int, offset: int, *, parent: int | None = None, id: int | None = None,
             exact: bool = False, repeat: bool | None = None, long: bool = False) -> int:
        """Define a node and return its id.

        Without `parent` it is the node before; `repeat` forces a frame from the list or a new
        one; `long` writes id and parent even where they follow from the node before.
        """
        node_id = self.last_id + 1 if id is None else id
        parent_id = self.last_id if parent is None else parent
        frame = (module, offset)
        if repeat is None:
            repeat = frame in self.frames
        tag, operands = 0x40, b""
        if long or node_id != self.last_id + 1:
            tag |= 1
            operands += vz(node_id - (self.last_id + 1))
        if long or parent_id != self.last_id:
            tag |= 2
            operands += vu(node_id - parent_id)
        if repeat:
            operands += vu(self.frames[::-1].index(frame) + 1)
        else:
            tag |= 4
            operands += vu(module) + vu(offset)
            self.frames.append(frame)
        self.raw(bytes([tag | (8 if exact else 0)]) + operands)
        self.last_id = node_id
        address = self.process.biases[module] + offset & MASK
        self.process.stacks[node_id] = [address] + self.process.stacks[parent_id]
        return node_id


class Events(ChunkWriter):
    """An events chunk. Without further word each item takes its shortest encoding."""

    kind = EVENTS

    def __init__(self, process: ProcessWriter, stream: int, base_time: int):
        super().__init__(process, stream, base_time)
        self.time = base_time
        self.last = 0
        self.next = 0
        self.addresses: deque[int] = deque(maxlen=256)      # newest first
        self.stacks: deque[tuple[int, int]] = deque(maxlen=256)
        self.explicit_stack = 0

    def taken_over(self, stream: int) -> int:
        """Of version 1.3: from here on the chunk is another thread's."""
        self.of_stream = stream
        return self.record(TAKEN_OVER, vu(stream))

    def delta(self, time: int) -> bytes:
        assert time >= self.time
        delta, self.time = time - self.time, time
        return vu(delta)

    def push_address(self, address: int) -> None:
        self.addresses.appendleft(address)
        self.last = address

    def explicit_stack_operand(self, stack: int) -> bytes:
        difference, self.explicit_stack = stack - self.explicit_stack, stack
        return vz(difference)

    def stack_fields(self, stack: int) -> dict[str, Any]:
        return {"stack_id": stack, "stack": [f"0x{a:x}" for a in self.process.stacks[stack]]}

    def old_address(self, address: int, how: str | None) -> tuple[int, bytes]:
        """Code and operands: how is "near" (0-59), "ring" (60), "delta", "absolute"."""
        distance = self.addresses.index(address) + 1 if address in self.addresses else 0
        offset = wrapped_difference(address, self.last)
        if how is None:
            how = "near" if 1 <= distance <= 60 else "ring" if distance else \
                "delta" if offset % 16 == 0 and abs(offset) < 1 << 50 else "absolute"
        if how == "near":
            assert 1 <= distance <= 60
            return distance - 1, b""
        if how == "ring":
            assert 61 <= distance <= 256
            return 60, bytes([distance - 61])
        if how == "delta":
            assert offset % 16 == 0
            return 61, vz(offset // 16)
        assert how == "absolute"
        return 62, u64(address)

    def new_block(self, address: int, size: int, stack: int, *, default_function: str,
                  function: str, alignment: int | None, usable: int | None, how: str | None,
                  stack_how: str | None, long: bool) -> tuple[int, bytes, int]:
        """Flags, operands and usable size of an ALLOC or the new block of a REALLOC.

        how: "ring", "next", "delta", "absolute"; stack_how: "ring" (stack and size), "resize"
        (stack from the ring, explicit size), "explicit"; long: usable and function explicit.
        """
        flags, operands = 0, b""
        if long or function != default_function:
            flags |= 32
            operands += bytes([FUNCTIONS.index(function)])
            if function in ALIGNED:
                assert alignment is not None
                operands += bytes([alignment.bit_length() - 1])
        offset = wrapped_difference(address, self.last)
        if how is None:
            how = "next" if address == self.next else "ring" if address in self.addresses else \
                "delta" if offset % 16 == 0 and abs(offset) < 1 << 50 else "absolute"
        if how == "ring":
            operands += bytes([self.addresses.index(address)])
        elif how == "next":
            assert address == self.next
            flags |= 1
        elif how == "delta":
            assert offset % 16 == 0
            flags |= 2
            operands += vz(offset // 16)
        else:
            assert how == "absolute"
            flags |= 3
            operands += u64(address)
        stacks_alone = [entry[0] for entry in self.stacks]
        if stack_how is None:
            stack_how = "ring" if (stack, size) in self.stacks else \
                "resize" if stack in stacks_alone else "explicit"
        if stack_how == "ring":
            operands += bytes([self.stacks.index((stack, size))])
        elif stack_how == "resize":
            flags |= 8
            operands += bytes([stacks_alone.index(stack)]) + vu(size)
        else:
            assert stack_how == "explicit"
            flags |= 12
            operands += self.explicit_stack_operand(stack) + vu(size)
        default = self.process.default_usable(size)
        if usable is None:
            usable = default
        if long or usable != default:
            flags |= 16
            operands += vu(usable - size)
        return flags, operands, usable

    def push_block(self, address: int, size: int, stack: int, usable: int) -> None:
        self.push_address(address)
        self.stacks.appendleft((stack, size))
        self.next = address + usable + self.process.block_header & MASK

    def alloc(self, time: int, address: int, size: int, stack: int, *, function: str = "malloc",
              alignment: int | None = None, usable: int | None = None, how: str | None = None,
              stack_how: str | None = None, long: bool = False) -> None:
        flags, operands, usable = self.new_block(
            address, size, stack, default_function="malloc", function=function,
            alignment=alignment, usable=usable, how=how, stack_how=stack_how, long=long)
        self.raw(bytes([0xc0 | flags]) + operands + self.delta(time))
        self.push_block(address, size, stack, usable)
        self.line("alloc", time, function=function, address=f"0x{address:x}", size=size,
                  usable=usable, alignment=alignment, **self.stack_fields(stack))

    def realloc(self, begin: int, time: int, old: int, address: int, size: int, stack: int, *,
                function: str = "realloc", usable: int | None = None, old_how: str | None = None,
                how: str | None = None, stack_how: str | None = None, long: bool = False) -> None:
        code, old_operands = self.old_address(old, old_how)
        head = bytes([code]) + old_operands + self.delta(begin)
        self.push_address(old)
        flags, operands, usable = self.new_block(
            address, size, stack, default_function="realloc", function=function, alignment=None,
            usable=usable, how=how, stack_how=stack_how, long=long)
        self.raw(bytes([0x40, flags]) + head + operands + self.delta(time))
        self.push_block(address, size, stack, usable)
        self.line("realloc", time, begin_ticks=begin, function=function, address=f"0x{address:x}",
                  old_address=f"0x{old:x}", size=size, usable=usable, **self.stack_fields(stack))

    def free(self, time: int, address: int, *, how: str | None = None) -> None:
        code, operands = self.old_address(address, how)
        self.raw(bytes([0x80 | code]) + operands + self.delta(time))
        self.push_address(address)
        self.line("free", time, function="free", address=f"0x{address:x}")

    def free_by(self, time: int, address: int, function: str, *, how: str | None = None) -> None:
        code, operands = self.old_address(address, how)
        self.raw(bytes([0x41, FUNCTIONS.index(function), code]) + operands + self.delta(time))
        self.push_address(address)
        self.line("free", time, function=function, address=f"0x{address:x}")

    def failed(self, time: int, function: str, size: int, stack: int) -> None:
        self.raw(bytes([0x42, FUNCTIONS.index(function)]) + vu(size) +
                 self.explicit_stack_operand(stack) + self.delta(time))
        self.line("failed", time, function=function, size=size, **self.stack_fields(stack))

    def stack_of(self, what: int, stack: int) -> None:
        """Of the item before it; it has no time of its own."""
        self.record(STACK, vu(what), vu(stack))
        known = self.stack_fields(stack) if stack in self.process.stacks else \
            {"stack_id": stack if stack < 1 << 32 else 0, "stack": []}
        self.line("stack", self.time, of={1: "free", 2: "abort"}.get(what, "unknown"), **known)

    def mark(self, time: int, kind: str, name: str) -> None:
        self.record(MARK, vu(time), vu(("point", "begin", "end").index(kind) + 1),
                    string(name.encode()))
        self.line("mark", time, kind=kind, name=name)

    def window(self, time: int, what: str, by: str) -> None:
        self.record(WINDOW, vu(time), vu(("pause", "resume").index(what) + 1),
                    vu(("start", "fork", "ctl", "api").index(by) + 1))
        self.line("window", time, what=what, by=by)

    def savepoint(self, time: int, number: int, flags: int, growth: int, name: str,
                  place: str = "") -> None:
        self.record(SAVEPOINT, vu(time), vu(number), vu(flags), vz(growth), string(name.encode()),
                    string(place.encode()))
        self.line("savepoint", time, number=number, asserted=bool(flags & 1),
                  growth=growth if flags & 2 else None, name=name, place=place)

    def print(self, time: int, text: str) -> None:
        self.record(PRINT, vu(time), string(text.encode()))
        self.line("print", time, text=text)
