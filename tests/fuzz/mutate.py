#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Damages traces, always in the same way for the same seed.

    mutate.py TRACE SEED [COPY]      what the seed stands for; with COPY, make it

A mutation is a function of the bytes and a source of chance; it returns the
damaged bytes and the ranges of the original that are damaged. Everything
outside those ranges is still there, if perhaps elsewhere: a reader has to
report it. Chunks are found by the reference decoder.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "format"))

import reference  # noqa: E402
from reference_items import Audit, Chunk, MAPPED, STREAM, TraceHeader, find_chunks  # noqa: E402

PAGE = 4096
Range = tuple[int, int]


class Original:
    """A trace with its chunks."""

    def __init__(self, data: bytes):
        self.data = data
        self.header: TraceHeader
        self.chunks: list[Chunk]
        self.header, self.chunks = find_chunks(data, Audit())
        self.mapped = self.header.layout == MAPPED
        self.unit = self.header.unit if self.mapped else 1
        self.first = self.unit if self.mapped else self.header.size
        self.end = max(chunk.end for chunk in self.chunks)
        self.closing: dict[int, int] = {}   # by chunk: where a FILLED at its end begins
        items = reference.Trace(data).items if self.mapped else {}
        for offset, of_chunk in items.items():
            if of_chunk and of_chunk[-1].name == "FILLED":
                self.closing[offset] = of_chunk[-1].offset

    def last_told(self, begin: int, end: int) -> int:
        """Behind the last byte in [begin, end) of which a reader can tell that it was there,
        in a mapped trace of programs that have ended: all that is not zero, but for a record at
        the end of a chunk that tells of another chunk. `begin`: there is none."""
        end = begin + len(self.data[begin:end].rstrip(b"\0"))
        for chunk in self.chunks:
            if chunk.offset <= begin < chunk.end and end > self.closing.get(chunk.offset, end):
                return max(begin, self.closing[chunk.offset])
        return end

    def is_anything_from(self, begin: int) -> bool:
        """Whether a reader can tell that something was there from `begin` to the end."""
        last = begin + len(self.data[begin:].rstrip(b"\0"))
        of = next((c.offset for c in self.chunks if c.offset < last <= c.end), None)
        return min(last, self.closing.get(of, last)) > begin


@dataclass
class Mutant:
    name: str
    data: bytes
    # Damaged bytes of the original; what overlaps no such range must be reported.
    damaged: list[Range] = field(default_factory=list)
    truncated: bool = False     # the end is missing
    told: bool = True           # a reader can, and so must, tell that something is wrong


Mutation = Callable[[Original, random.Random], Mutant]
MUTATIONS: list[Mutation] = []


def mutation(function: Mutation) -> Mutation:
    MUTATIONS.append(function)
    return function


def span(trace: Original, chance: random.Random) -> Chunk:
    return chance.choice(trace.chunks)


def noise(chance: random.Random, size: int) -> bytes:
    return chance.randbytes(size)


def to_unit(trace: Original, size: int) -> int:
    return -(-size // trace.unit) * trace.unit


@mutation
def cut(trace: Original, chance: random.Random) -> Mutant:
    at = chance.randrange(trace.first + 1, trace.end)
    return Mutant("cut", trace.data[:at], [(at, len(trace.data))], truncated=True)


@mutation
def bit_in_chunk(trace: Original, chance: random.Random) -> Mutant:
    """In a mapped trace it may go unnoticed behind what the checksum of a chunk covers."""
    chunk = span(trace, chance)
    at = chance.randrange(chunk.offset, chunk.end)
    data = bytearray(trace.data)
    data[at] ^= 1 << chance.randrange(8)
    return Mutant("bit", bytes(data), [(at, at + 1)], told=not trace.mapped)


@mutation
def bit_in_chunk_header(trace: Original, chance: random.Random) -> Mutant:
    chunk = span(trace, chance)
    at = chance.randrange(chunk.offset, chunk.begin)
    data = bytearray(trace.data)
    data[at] ^= 1 << chance.randrange(8)
    return Mutant("bit in a chunk header", bytes(data), [(at, at + 1)])


@mutation
def zeroed_page(trace: Original, chance: random.Random) -> Mutant:
    at = chance.randrange(trace.first, trace.end) // PAGE * PAGE
    at = max(at, trace.first)
    end = min(at + PAGE, trace.end)
    data = trace.data[:at] + bytes(end - at) + trace.data[end:]
    changed = data != trace.data
    return Mutant("zeroed page", data, [(at, end)] if changed else [],
                  told=changed and (not trace.mapped or trace.last_told(at, end) > at))


@mutation
def overwritten(trace: Original, chance: random.Random) -> Mutant:
    at = chance.randrange(trace.first, trace.end)
    size = min(chance.choice([1, 8, 100, 5000]), trace.end - at)
    filler = chance.choice([noise(chance, size), b"\xff" * size, b"mlck" * (size // 4 + 1)])[:size]
    data = trace.data[:at] + filler + trace.data[at + size:]
    return Mutant("overwritten", data, [(at, at + size)] if data != trace.data else [],
                  told=data != trace.data and not trace.mapped)


@mutation
def dropped_chunk(trace: Original, chance: random.Random) -> Mutant:
    chunk = span(trace, chance)
    return Mutant("dropped chunk", trace.data[:chunk.offset] + trace.data[chunk.end:],
                  [(chunk.offset, chunk.end)], told=trace.mapped)  # the last of a stream: who knows


@mutation
def duplicated_chunk(trace: Original, chance: random.Random) -> Mutant:
    chunk = span(trace, chance)
    body = trace.data[chunk.offset:chunk.end]
    return Mutant("duplicated chunk", trace.data[:chunk.end] + body + trace.data[chunk.end:])


@mutation
def swapped_chunks(trace: Original, chance: random.Random) -> Mutant:
    """Two chunks change places. Of chunks that came in pieces the parts no
    longer fit together: those of both streams count as damaged."""
    one, two = sorted(chance.sample(trace.chunks, 2), key=lambda chunk: chunk.offset)
    data = trace.data
    swapped = data[:one.offset] + data[two.offset:two.end] + data[one.end:two.offset] \
        + data[one.offset:one.end] + data[two.end:]
    moved = {(chunk.key(), chunk.sequence) for chunk in (one, two)}
    pieces = [] if trace.mapped else \
        [(chunk.offset, chunk.end) for chunk in trace.chunks
         if (chunk.key(), chunk.sequence) in moved]
    return Mutant("swapped chunks", swapped, pieces, told=False)


@mutation
def noise_behind(trace: Original, chance: random.Random) -> Mutant:
    return Mutant("noise behind", trace.data + noise(chance, chance.choice([1, 47, 5000])),
                  told=not trace.mapped)


@mutation
def noise_in_front(trace: Original, chance: random.Random) -> Mutant:
    return Mutant("noise in front", noise(chance, to_unit(trace, chance.choice([1, 64, 9000])))
                  + trace.data)


@mutation
def noise_between(trace: Original, chance: random.Random) -> Mutant:
    at = span(trace, chance).offset
    return Mutant("noise between", trace.data[:at]
                  + noise(chance, to_unit(trace, chance.choice([1, 100, 20000])))
                  + trace.data[at:])


@mutation
def lost_bytes(trace: Original, chance: random.Random) -> Mutant:
    """Some bytes within a chunk are gone, and what follows has moved up."""
    chunk = span(trace, chance)
    at = chance.randrange(chunk.offset, chunk.end - 1)
    size = min(chance.choice([1, 3, 64]), chunk.end - at)
    if trace.mapped:    # no unit is where it was any more
        return Mutant("lost bytes", trace.data[:at] + trace.data[at + size:],
                      [(at, len(trace.data))], told=trace.is_anything_from(at))
    return Mutant("lost bytes", trace.data[:at] + trace.data[at + size:], [(at, at + size)])


@mutation
def trace_header(trace: Original, chance: random.Random) -> Mutant:
    """Magic or CRC: all others are refused by name, as they ask for something."""
    data = bytearray(trace.data)
    at = chance.choice([*range(8), *range(32, 36)])
    data[at] ^= 1 << chance.randrange(8)
    return Mutant("trace header", bytes(data))


@mutation
def counter(trace: Original, chance: random.Random) -> Mutant:
    """The counter of claimed units says anything at all."""
    data = bytearray(trace.data)
    data[40:48] = noise(chance, 8) if chance.random() < 0.5 else b"\xff" * 8
    return Mutant("counter", bytes(data), told=False)


@mutation
def lost_head(trace: Original, chance: random.Random) -> Mutant:
    """The trace header and some chunks are gone from the front."""
    chunk = chance.choice(trace.chunks[:max(1, len(trace.chunks) // 2)])
    if trace.mapped:
        return Mutant("lost head", bytes(chunk.offset) + trace.data[chunk.offset:],
                      [(0, chunk.offset)])
    return Mutant("lost head", trace.data[chunk.offset:], [(0, chunk.offset)])


def damage_bytes(data: bytes, seed: int) -> bytes:
    """Damage to bytes of which nothing is known, such as compressed ones."""
    chance = random.Random(seed)
    at = chance.randrange(len(data))
    size = min(chance.choice([1, 4, 500]), len(data) - at)
    return [lambda: data[:at],
            lambda: data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1:],
            lambda: data[:at] + noise(chance, size) + data[at + size:],
            lambda: data[:at] + data[at + size:],
            lambda: data[:at] + data[at:at + size] * 2 + data[at + size:],
            lambda: data + noise(chance, size),
            lambda: data[:at] + data][seed % 7]()


def mutant(trace: Original, seed: int) -> Mutant:
    """The mutant of a seed: kinds take turns."""
    return MUTATIONS[seed % len(MUTATIONS)](trace, random.Random(seed))


def main() -> int:
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    made = mutant(Original(Path(sys.argv[1]).read_bytes()), int(sys.argv[2]))
    print(made.name, f"({len(made.data)} bytes)", *(f"{a}-{b}" for a, b in made.damaged))
    if len(sys.argv) == 4:
        Path(sys.argv[3]).write_bytes(made.data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
