# SPDX-License-Identifier: MIT
"""Damages compressed traces and bundles (FORMAT.md sections 2 and 11), always in
the same way for the same seed, as mutate.py does with plain ones.

A mutant's ranges are those of the trace that its bytes hold: what was compressed
in damaged bytes, and behind them in the same frame. Frames and their blocks are
found by their headers; what they hold is what libzstd makes of them.
"""

from __future__ import annotations

import ctypes
import random
from dataclasses import dataclass
from typing import Callable

from mutate import Mutant, Original, Range, noise

MAGIC = b"\x28\xb5\x2f\xfd"
SYMBOLS = b"\x5b\x2a\x4d\x18"
BUNDLE_HEADER = 16

_zstd = ctypes.CDLL("libzstd.so.1")
_zstd.ZSTD_createDStream.restype = ctypes.c_void_p
_zstd.ZSTD_decompressStream.restype = ctypes.c_size_t


class _Buffer(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), ("size", ctypes.c_size_t), ("pos", ctypes.c_size_t)]


def unpack(data: bytes) -> tuple[bytes, bool]:
    """What the beginning of one frame holds, as far as it goes and is sound; whether that is
    all of it."""
    stream = ctypes.c_void_p(_zstd.ZSTD_createDStream())
    source, room = ctypes.create_string_buffer(data, len(data)), ctypes.create_string_buffer(1 << 17)
    given = _Buffer(ctypes.cast(source, ctypes.c_void_p), len(data), 0)
    made, whole = [], False
    while True:
        got = _Buffer(ctypes.cast(room, ctypes.c_void_p), len(room), 0)
        left = _zstd.ZSTD_decompressStream(stream, ctypes.byref(got), ctypes.byref(given))
        if _zstd.ZSTD_isError(ctypes.c_size_t(left)):
            break
        made.append(room.raw[:got.pos])
        whole = left == 0
        if whole or (given.pos == given.size and got.pos < got.size):
            break
    _zstd.ZSTD_freeDStream(stream)
    return b"".join(made), whole


@dataclass
class Frame:
    offset: int
    end: int
    blocks: list[int]           # where each begins; of one to skip: none
    begin: int                  # of what it holds, in the trace
    holds: bytes = b""

    @property
    def behind(self) -> int:
        return self.begin + len(self.holds)


def find_blocks(data: bytes, at: int) -> tuple[list[int], int]:
    """Of the frame at `at`: where its blocks begin, and where it ends."""
    about = data[at + 4]
    single, sizes = about >> 5 & 1, about >> 6
    begin = at + 5 + (not single) + (0, 1, 2, 4)[about & 3] + ((single, 2, 4, 8)[sizes])
    blocks, last = [], 0
    while not last:
        blocks.append(begin)
        head = int.from_bytes(data[begin:begin + 3], "little")
        last, kind, size = head & 1, head >> 1 & 3, head >> 3
        begin += 3 + (1 if kind == 1 else size)
    return blocks, begin + 4 * (about >> 2 & 1)


class Packed:
    """A compressed trace with its frames, and the trace in it."""

    def __init__(self, data: bytes):
        self.data = data
        self.frames: list[Frame] = []
        at = begin = 0
        while at < len(data):
            if data[at:at + 4] == SYMBOLS:
                end = at + 8 + int.from_bytes(data[at + 4:at + 8], "little")
                self.frames.append(Frame(at, end, [], begin))
            else:
                assert data[at:at + 4] == MAGIC
                blocks, end = find_blocks(data, at)
                self.frames.append(Frame(at, end, blocks, begin, unpack(data[at:end])[0]))
            at, begin = end, self.frames[-1].behind
        assert at == len(data)
        self.bundle = not self.frames[0].blocks
        self.trace = Original(b"".join(frame.holds for frame in self.frames))

    def lost(self, begin: int, end: int) -> list[Range]:
        """Of the trace, what bytes [begin, end) and those behind them in their frames hold."""
        return [(frame.begin + self.before(frame, begin), frame.behind) for frame in self.frames
                if frame.offset < end and begin < frame.end and frame.holds]

    def before(self, frame: Frame, at: int) -> int:
        """How many bytes the blocks of a frame hold that lie before `at`."""
        block = max((b for b in frame.blocks[1:] if b <= at), default=None)
        return len(unpack(self.data[frame.offset:block])[0]) if block else 0

    def changed(self, name: str, data: bytes, begin: int, end: int) -> Mutant:
        """The mutant with bytes [begin, end) damaged. Symbols are said to be damaged if they
        are read; what stands in front of them may make them another's."""
        header = BUNDLE_HEADER if self.bundle else 0
        lost = [one for one in self.lost(begin, end) if one[0] < one[1]]
        return Mutant(name, data, lost, told=data != self.data and begin >= header)


PackedMutation = Callable[[Packed, random.Random], Mutant]
MUTATIONS: list[PackedMutation] = []


def mutation(function: PackedMutation) -> PackedMutation:
    MUTATIONS.append(function)
    return function


@mutation
def cut(packed: Packed, chance: random.Random) -> Mutant:
    at = chance.randrange(packed.frames[0].offset + 1, len(packed.data))
    whole = any(frame.offset == at for frame in packed.frames)
    made = packed.changed("cut", packed.data[:at], at, len(packed.data))
    made.told = not whole or packed.trace.mapped
    return made


@mutation
def bit(packed: Packed, chance: random.Random) -> Mutant:
    at = chance.randrange(len(packed.data))
    data = bytearray(packed.data)
    data[at] ^= 1 << chance.randrange(8)
    return quiet(packed, packed.changed("bit", bytes(data), at, at + 1), at)


@mutation
def bit_in_a_header(packed: Packed, chance: random.Random) -> Mutant:
    """Of a frame, or of a block."""
    frame = chance.choice(packed.frames)
    at = chance.choice([frame.offset, *frame.blocks])
    at += chance.randrange(6 if at == frame.offset else 3)
    data = bytearray(packed.data)
    data[at] ^= 1 << chance.randrange(8)
    return quiet(packed, packed.changed("bit in a header", bytes(data), at, at + 1), at)


def quiet(packed: Packed, made: Mutant, at: int) -> Mutant:
    """Some bits mean nothing: the frame holds what it held."""
    for frame in packed.frames:
        if frame.holds and frame.offset <= at < frame.end and \
                unpack(made.data[frame.offset:frame.end]) == (frame.holds, True):
            made.told, made.damaged = False, []
    return made


@mutation
def overwritten(packed: Packed, chance: random.Random) -> Mutant:
    at = chance.randrange(len(packed.data))
    size = min(chance.choice([1, 8, 100, 5000]), len(packed.data) - at)
    filler = chance.choice([noise(chance, size), bytes(size), MAGIC * (size // 4 + 1)])[:size]
    data = packed.data[:at] + filler + packed.data[at + size:]
    made = packed.changed("overwritten", data, at, at + size)
    return quiet(packed, made, at) if size == 1 else made


@mutation
def lost_bytes(packed: Packed, chance: random.Random) -> Mutant:
    """As far as the end of a frame at most, as a process leaves it that was killed."""
    frame = chance.choice(packed.frames)
    at = chance.randrange(frame.offset + 1, frame.end)
    end = chance.choice([frame.end, min(frame.end, at + chance.choice([1, 3, 64]))])
    return packed.changed("lost bytes", packed.data[:at] + packed.data[end:], at, end)


@mutation
def dropped_frame(packed: Packed, chance: random.Random) -> Mutant:
    frame = chance.choice(packed.frames)
    made = packed.changed("dropped frame", packed.data[:frame.offset] + packed.data[frame.end:],
                          frame.offset, frame.end)
    made.told = False
    return made


@mutation
def duplicated_frame(packed: Packed, chance: random.Random) -> Mutant:
    frame = chance.choice(packed.frames)
    return Mutant("duplicated frame", packed.data[:frame.end] + packed.data[frame.offset:],
                  told=any(frame.begin <= chunk.offset < frame.behind
                           for chunk in packed.trace.chunks))


@mutation
def swapped_frames(packed: Packed, chance: random.Random) -> Mutant:
    """Of chunks whose pieces lie in both and elsewhere the parts no longer fit together; of a
    bundle, whose symbols come too late, nothing but those is missing."""
    one, two = sorted(chance.sample(packed.frames, 2), key=lambda frame: frame.offset)
    data = packed.data
    swapped = data[:one.offset] + data[two.offset:two.end] + data[one.end:two.offset] \
        + data[one.offset:one.end] + data[two.end:]
    moved = {(chunk.key(), chunk.sequence) for frame in (one, two)
             for chunk in packed.trace.chunks if frame.begin <= chunk.offset < frame.behind}
    pieces = [(chunk.offset, chunk.end) for chunk in packed.trace.chunks
              if (chunk.key(), chunk.sequence) in moved] if not packed.bundle else []
    return Mutant("swapped frames", swapped, pieces, told=False)


@mutation
def noise_behind(packed: Packed, chance: random.Random) -> Mutant:
    return Mutant("noise behind", packed.data + noise(chance, chance.choice([1, 47, 5000])))


@mutation
def noise_in_front(packed: Packed, chance: random.Random) -> Mutant:
    return Mutant("noise in front", noise(chance, chance.choice([1, 64, 9000])) + packed.data)


@mutation
def noise_between(packed: Packed, chance: random.Random) -> Mutant:
    at = chance.choice(packed.frames).offset
    return Mutant("noise between", packed.data[:at] + noise(chance, chance.choice([1, 100, 20000]))
                  + packed.data[at:])


def mutant(packed: Packed, seed: int) -> Mutant:
    """The mutant of a seed: kinds take turns."""
    return MUTATIONS[seed % len(MUTATIONS)](packed, random.Random(seed))
