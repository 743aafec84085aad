# SPDX-License-Identifier: MIT
"""Traces made to hurt, as long as one asks for: each is little that a reader has
to do much for, or should not. A function takes a length and yields chunks of a
stream trace; nothing here is damaged.
"""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path
from typing import Callable, Iterator

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "format" / "vectors"))

from trace_writer import (DEFINITIONS, EVENTS, LOSS, MARK, MODULE, PROCESS, PROCESS_END,  # noqa: E402
                          STREAM, STREAM_BEGIN, SYNC, TEXT, chunk_header, string, trace_header,
                          u64, vu, vz)

KEY = 0x1000
LARGEST = (1 << 64) - 1
Chunks = Iterator[bytes]
TRACES: dict[str, Callable[[int], Chunks]] = {}


def trace(make: Callable[[int], Chunks]) -> Callable[[int], Chunks]:
    TRACES[make.__name__] = make
    return make


def piece(kind: int, process: int, stream: int, sequence: int, base: int, payload: bytes) -> bytes:
    return chunk_header(kind, 48 + len(payload), process, stream, sequence, base, flags=1,
                        payload_crc=zlib.crc32(payload)) + payload


def events(items: list[bytes], base: int = 0, process: int = KEY, stream: int = 1) -> bytes:
    return piece(EVENTS, process, stream, 0, base, b"".join(items))


def definitions(items: list[bytes], process: int = KEY) -> bytes:
    return piece(DEFINITIONS, process, 1, 0, 0, b"".join(items))


def record(tag: int, *parts: bytes) -> bytes:
    payload = b"".join(parts)
    return bytes([tag]) + vu(len(payload)) + payload


def program(pid: int = 1000, *, parent: int = 0, start: int = 0, fork: int = 0,
            nodes: int = 0) -> bytes:
    return record(PROCESS, vu(pid), vu(1), u64(parent), vu(int(parent != 0)), vu(start), vu(fork),
                  vu(nodes), vu(2 * (nodes > 0)), vu(3), vu(0), vu(10 ** 9), vu(0),
                  vu(17 * 10 ** 17), vu(8), vu(16), vu(24), vu(4096), vu(8))


def module(number: int) -> bytes:
    return record(MODULE, vu(number), vu(0), u64(0), vu(0), string(b""),
                  string(b"/lib/%d" % number), vu(0))


def thread(stream: int, tid: int, flags: int = 0) -> bytes:
    return record(STREAM_BEGIN, vu(stream), vu(tid), vu(0), vu(flags), string(b"t"))


def root(node: int, module_id: int, offset: int) -> bytes:
    """The next node, with no parent and a new frame."""
    return b"\x46" + vu(node) + vu(module_id) + vu(offset)


def alloc(address: int, stack_more: int = 0, size: int = 100, ticks: int = 1) -> bytes:
    return b"\xcf" + u64(address) + vz(stack_more) + vu(size) + vu(ticks)


def free(address: int) -> bytes:
    return b"\xbe" + u64(address) + vu(1)


def unmix(hash: int) -> int:
    """The key that a fixed mixing of bits, as ma_map.h once had it, brings there."""
    mask, inverse = (1 << 64) - 1, pow(0xe9846af9b1a615d, -1, 1 << 64)
    key = (hash ^ hash >> 28 ^ hash >> 56) * inverse & mask
    key = (key ^ key >> 32) * inverse & mask
    return key ^ key >> 32


@trace
def processes_unknown(n: int) -> Chunks:
    """None of which has a PROCESS record."""
    for i in range(n // 8):
        yield events([b"\xce\x03\x01\x01\x01"], base=i, process=KEY + i)


@trace
def processes_forking(n: int) -> Chunks:
    """Each the child of the one before, and with a stack of the first."""
    yield definitions([program(), thread(1, 1), module(1), root(16, 1, 64)])
    for i in range(1, n // 12):
        yield definitions([program(1000 + i, parent=KEY + i - 1, start=i, fork=i, nodes=17)],
                          process=KEY + i)
        yield events([alloc(0x1000, 16)], base=i, process=KEY + i)


@trace
def processes_ending(n: int) -> Chunks:
    """Two that end and go on, again and again, one with many stacks."""
    yield definitions([program(), thread(1, 1)])
    yield definitions([program(1001), thread(1, 1)], process=KEY + 1)
    many = [alloc(0x100000 + 64 * i, 1, ticks=0) for i in range(n)]
    again = [item for i in range(n) for item in
             (record(PROCESS_END, vu(10 + 10 * i), vu(1), vu(0)), alloc(0x1000, ticks=10))]
    yield events(many + again)
    yield events([alloc(0x1000, ticks=10)] * n, base=5, process=KEY + 1)


@trace
def threads(n: int) -> Chunks:
    for i in range(n // 4):
        yield events([b"\xce\x03\x01\x01\x01"], base=i, stream=i + 1)


@trace
def threads_nested(n: int) -> Chunks:
    """Of interrupted threads that there are not."""
    yield definitions([program()] + [thread(2 + i, 5, flags=1) for i in range(n)])


@trace
def threads_that_lost(n: int) -> Chunks:
    yield definitions([program()] + [record(LOSS, vu(1), vu(2 + i), vu(1), vu(1))
                                     for i in range(n)])


@trace
def modules(n: int) -> Chunks:
    items = [item for i in range(n) for item in (module(i + 1), root(16 + i, i + 1, 64))]
    yield definitions([program(), thread(1, 1)] + items)
    yield events([alloc(0x1000 + 64 * i, 1 if i else 16) for i in range(n)])


@trace
def frames_that_collide(n: int) -> Chunks:
    keys = (unmix(i << 32) for i in range(1, 1 << 30))
    even = [next(key for key in keys if key % 2 == 0) for _ in range(n)]
    yield definitions([program(), thread(1, 1), module(1)] +
                      [root(16 + i, 1, key >> 1) for i, key in enumerate(even)])
    yield events([alloc(0x1000 + 64 * i, 1 if i else 16) for i in range(n)])


@trace
def nodes(n: int) -> Chunks:
    """One stack, as deep as can be said."""
    yield definitions([program(), thread(1, 1), module(1), root(16, 1, 64)] + [b"\x40\x03"] * n)
    yield events([alloc(0x1000, 16 + n)])


@trace
def stack_ids(n: int) -> Chunks:
    """All over 32 bits, and none defined."""
    yield definitions([program(), thread(1, 1)])
    yield events([alloc(0x1000 + 64 * i, (1 << 32) // n - 1) for i in range(n)])


@trace
def blocks_of_a_parent(n: int) -> Chunks:
    """One address, again and again, in a parent whose child was born later; and an
    older child that frees it, again and again."""
    late, sync = 1 << 40, record(SYNC, vu(1 << 62))
    yield definitions([program(), thread(1, 1), sync])
    for i, fork in ((1, 1), (2, late)):
        yield definitions([program(1000 + i, parent=KEY, start=1, fork=fork), sync],
                          process=KEY + i)
    for base in (late, late + 5000):    # more than is read ahead
        for i in range(5000):
            yield piece(EVENTS, KEY + 2, 1, base + i & 0xffff, base + i, alloc(0x77000))
        if base == late:
            yield events([alloc(0x1000), free(0x1000)] * n, base=5)
    yield events([free(0x1000)] * n, base=2 * late, process=KEY + 1)


@trace
def headers(n: int) -> Chunks:
    """Chunks of the largest size, each of which holds all that follow; no CRC is right."""
    for i in range(n // 10):
        yield chunk_header(EVENTS, 1 << 24, KEY, 1, i, 0, flags=1, payload_crc=1)
    yield bytes(1 << 24)


@trace
def reallocs(n: int) -> Chunks:
    """One block that grows to 2^64 - 1 and shrinks."""
    yield definitions([program(), thread(1, 1)])
    grow = [b"\x40\x0f\x3e" + u64(0x1000 + 64 * i) + vu(1) + u64(0x1040 + 64 * i) + vz(0) +
            vu(7 if i % 2 else LARGEST) + vu(1) for i in range(n)]
    yield events([alloc(0x1000)] + grow)


@trace
def times(n: int) -> Chunks:
    """That jump by 2^63 and back."""
    yield definitions([program(), thread(1, 1)])
    for i in range(n // 8):
        yield piece(EVENTS, KEY, 1, i, (i % 2) << 63 | i, alloc(0x1000 + 64 * i, size=100 + i))


@trace
def marks(n: int) -> Chunks:
    yield definitions([program(), thread(1, 1)])
    yield events([record(MARK, vu(i), vu(2 + i // n), string(b"m%d" % (i % n)))
                  for i in range(2 * n)])


@trace
def texts(n: int) -> Chunks:
    yield definitions([program(), thread(1, 1)] +
                      [record(TEXT, vu(1 + i % 8), b"x%d" % i) for i in range(n)])


def write(path: Path, name: str, n: int) -> int:
    """Write the trace; its size."""
    with open(path, "wb") as file:
        file.write(trace_header(STREAM, 0))
        for chunk in TRACES[name](n):
            file.write(chunk)
        return file.tell()


def bomb(blocks: int, byte: int) -> bytes:
    """A zstd frame that says it holds 2^50 bytes: a trace header, then a byte over and over,
    in blocks of 128 KiB that take four bytes."""
    first = trace_header(STREAM, 0)
    again = struct.pack("<I", 1 << 20 | 1 << 1)[:3] + bytes([byte])
    return struct.pack("<IBBQ", 0xfd2fb528, 0xc0, 7 << 3, 1 << 50) + \
        struct.pack("<I", len(first) << 3)[:3] + first + again * blocks + b"\x01\0\0"
