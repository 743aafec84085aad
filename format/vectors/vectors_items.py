# SPDX-License-Identifier: MIT
"""Valid test vectors of single items: between them every way to write an event or
a node. Each function builds one; vectors_valid.py names them.
"""

from __future__ import annotations

from typing import Any

from trace_writer import MASK, Definitions, ProcessWriter, Trace, u64, vu

HEAP = 0x55d0c0de0000
EXE_BIAS = 0x55d000000000
LIBC_BIAS = 0x7f8000000000
SEGMENTS = [(0, 0x1000, 0, 4), (0x1000, 0x2000, 0x1000, 5), (0x4000, 0x1000, 0x3000, 6)]


def program(trace: Trace, pid: int = 1000, **fields: Any) -> tuple[ProcessWriter, Definitions]:
    """A process with its usual first definitions; its nodes 16 to 19 are a whole stack."""
    process = trace.process(pid, **fields)
    definitions = process.definitions()
    definitions.process_record()
    definitions.text(1, b"/usr/bin/example")
    definitions.text(3, b"example\0--fast\0")
    definitions.module(1, EXE_BIAS, b"/usr/bin/example", flags=1, build_id=bytes(range(20)),
                       segments=SEGMENTS)
    definitions.module(2, LIBC_BIAS, b"/lib/libc.so.6", build_id=bytes(range(20, 40)),
                       segments=SEGMENTS[:2])
    definitions.thread(1, pid)
    definitions.node(1, 0x1040, parent=0)       # 16 _start
    definitions.node(2, 0x1905)                 # 17 __libc_start_main
    definitions.node(1, 0x1180)                 # 18 main
    definitions.node(1, 0x1234)                 # 19 a function
    return process, definitions


def addresses() -> Trace:
    """Every address code, distances 1, 60, 61, 256 among them; the far end of the stack ring."""
    trace = Trace()
    process, definitions = program(trace)
    definitions.write()
    events = process.events(1, 100)
    time = 100
    events.alloc(time, HEAP, 100, 19, how="absolute")
    events.alloc(time + 1, HEAP + 112, 100, 19, how="next")
    events.alloc(time + 2, HEAP + 0x1000, 100, 19, how="delta")
    events.alloc(time + 3, HEAP + 0x800, 100, 19, how="delta")
    events.free(time + 4, HEAP + 0x800, how="near")             # distance 1
    events.alloc(time + 5, HEAP + 0x800, 100, 19, how="ring")   # k = 0
    events.free(time + 6, HEAP, how="delta")
    events.alloc(time + 7, HEAP, 100, 19, how="ring")
    events.free(time + 8, HEAP + 0x10000, how="delta")
    events.free(time + 9, 0x7f1234567008, how="absolute")       # no multiple of 16, no block
    events.alloc(time + 10, 8, 1, 19, how="absolute")           # an odd address, near 0
    events.alloc(time + 11, 8 - 32 & MASK, 1, 19, how="delta")  # arithmetic wraps
    events.alloc(time + 12, 40 & MASK, 1, 19, how="delta")
    events.free(time + 13, 8 - 32 & MASK, how="near")
    events.write()
    ring = process.events(1, 1000)          # nothing of the chunk before is known
    ring.alloc(1000, 0, 1, 19, how="next")  # next = 0 and last = 0 at the start
    blocks = [HEAP + 0x20000 + 32 * i for i in range(256)]
    for i, block in enumerate(blocks):
        ring.alloc(1001 + i, block, 8, 16 + i if i < 4 else 0)
    ring.alloc(1500, ring.addresses[255], 8, 19, how="ring")                # k = 255
    assert ring.stacks.index((17, 8)) == 255
    ring.alloc(1501, ring.addresses[255], 8, 17, how="ring", stack_how="ring")
    ring.alloc(1502, ring.addresses[255], 9, 18, how="ring", stack_how="resize")
    for time, distance in enumerate((256, 255, 61, 60, 2, 1), start=2000):
        address = ring.addresses[distance - 1]
        ring.free(time, address, how="near" if distance <= 60 else "ring")
    ring.free_by(2010, ring.addresses[255], "free_sized", how="ring")
    ring.free_by(2011, ring.addresses[0], "free_sized", how="near")         # and again
    ring.realloc(2012, 2013, ring.addresses[255], HEAP, 16, 19, old_how="ring")
    ring.write()
    start = process.events(1, 3000)
    start.free(3000, 160, how="delta")              # last = 0 at the start
    start.alloc(3001, 0, 0, 0, how="delta")
    start.free(3002, 0xffffffffffffffff, how="absolute")
    start.write()
    return trace


def stacks_and_sizes() -> Trace:
    """Stacks, sizes and usable sizes in all ways; the ids that are no nodes."""
    trace = Trace()
    process, definitions = program(trace)
    for offset in range(300):
        definitions.node(1, 0x1240 + offset, parent=1)      # 20 to 319
    definitions.write()
    events = process.events(1, 0)
    at = HEAP
    for root in (0, 1, 2, 3, 4, 5, 15):
        events.alloc(at - HEAP, at, 24, root)
        at += 32
    events.alloc(at - HEAP, at, 24, 319, stack_how="explicit")
    at += 32
    events.alloc(at - HEAP, at, 40, 19, stack_how="explicit")   # a negative difference
    at += 48
    events.alloc(at - HEAP, at, 40, 19, stack_how="ring")
    events.alloc(at - HEAP + 1, at + 48, 56, 19, stack_how="resize")
    at += 0x1000
    for size in (0, 1, 23, 24, 25, 40, 41, 127, 128, 16383, 16384, (1 << 32) + 1, 1 << 47):
        events.alloc(at - HEAP, at, size, 19)
        at += 0x1000
    events.alloc(at - HEAP, at, 100, 19, usable=100)
    events.alloc(at - HEAP + 1, at + 108, 100, 19, usable=4000)
    events.alloc(at - HEAP + 2, at + 108 + 4008, 100, 19, long=True)
    events.write()
    return trace


def functions() -> Trace:
    """Every function, with its alignment where it has one, and calls that fail."""
    trace = Trace()
    process, definitions = program(trace)
    definitions.write()
    events = process.events(1, 10)
    events.alloc(11, HEAP, 100, 19, long=True)
    events.alloc(12, HEAP + 0x100, 800, 19, function="calloc")
    events.alloc(13, HEAP + 0x500, 64, 19, function="realloc")          # of a null pointer
    events.alloc(14, HEAP + 0x600, 96, 18, function="reallocarray")
    events.alloc(15, HEAP + 0x800, 100, 18, function="memalign", alignment=64)
    events.alloc(16, HEAP + 0x1000, 100, 18, function="posix_memalign", alignment=4096)
    events.alloc(17, HEAP + 0x2000, 128, 18, function="aligned_alloc", alignment=1)
    events.alloc(18, HEAP + 0x100000, 1, 18, function="memalign", alignment=1 << 20)
    events.alloc(19, HEAP + 0x3000, 10, 18, function="valloc")
    events.alloc(20, HEAP + 0x4000, 4096, 18, function="pvalloc")
    for time, (offset, function) in enumerate(
            [(0, "free"), (0x100, "free_sized"), (0x500, "realloc"), (0x600, "reallocarray"),
             (0x800, "free_aligned_sized"), (0x1000, "free")], start=21):
        if function == "free":
            events.free(time, HEAP + offset)
        else:
            events.free_by(time, HEAP + offset, function)
    events.free_by(27, HEAP + 0x2000, "free", how="delta")
    events.free_by(28, HEAP + 0x3000, "free_sized", how="absolute")
    for time, (function, size) in enumerate(
            [("malloc", 1 << 62), ("calloc", MASK), ("realloc", 1 << 40),
             ("reallocarray", 0), ("posix_memalign", 33), ("aligned_alloc", 48)], start=30):
        events.failed(time, function, size, 19 if time % 2 else 16)
    events.alloc(40, HEAP, 100, 17, stack_how="explicit")   # against the stack of the FAILED
    events.write()
    return trace


def reallocs() -> Trace:
    """realloc in place, moved, shrunk, of null, to 0, failing, with every kind of operand."""
    trace = Trace()
    process, definitions = program(trace)
    definitions.write()
    events = process.events(1, 10)
    events.alloc(10, HEAP, 100, 19)
    events.realloc(11, 12, HEAP, HEAP, 104, 19)                         # in place
    events.realloc(13, 13, HEAP, HEAP + 0x1000, 5000, 19)               # moved, no time between
    events.realloc(14, 20, HEAP + 0x1000, HEAP, 50, 18, how="absolute")
    events.realloc(21, 22, HEAP, HEAP + 64, 50, 18, how="next")
    events.realloc(23, 24, HEAP + 64, HEAP + 0x2000, 60, 18, how="delta", usable=8000)
    events.realloc(25, 26, HEAP + 0x2000, HEAP + 0x2000, 60, 18, long=True)
    events.realloc(27, 28, HEAP + 0x2000, HEAP + 0x5000, 640, 17, function="reallocarray")
    events.realloc(29, 30, 0x7f0000000010, HEAP + 0x6000, 1, 17)        # a block never seen
    events.realloc(31, 32, HEAP + 0x5000, HEAP + 0x5000, 0, 17)         # size 0, not freed
    events.alloc(33, HEAP + 0x7000, 10, 16, function="realloc")         # of null
    events.free_by(34, HEAP + 0x7000, "realloc")                        # to 0: null
    events.failed(35, "realloc", 1 << 60, 16)
    events.free(36, HEAP + 0x6000)
    events.write()
    return trace


def nodes() -> Trace:
    """Every combination of a node's bits, roots, module 0, ids out of order, a deep stack."""
    trace = Trace()
    process, definitions = program(trace)
    used = []
    used.append(definitions.node(1, 0x1300))                            # 20: tag 44
    used.append(definitions.node(1, 0x1300))                            # 21: tag 40, distance 1
    used.append(definitions.node(1, 0x1040, parent=18))                 # 22: tag 42, distance 5
    used.append(definitions.node(1, 0x1310, parent=18))                 # 23: tag 46
    used.append(definitions.node(1, 0x1320, id=40))                     # tag 45
    used.append(definitions.node(1, 0x1320, id=39, parent=23))          # tag 43, backwards
    used.append(definitions.node(1, 0x1330, id=41, parent=40))          # tag 47
    used.append(definitions.node(1, 0x1330, id=43))                     # tag 41
    used.append(definitions.node(1, 0x1340, id=44, parent=43, long=True, repeat=False))
    for exact_frame in (0x1350, 0x1350):                                # tags 4c, 48
        used.append(definitions.node(1, exact_frame, exact=True))
    used.append(definitions.node(0, 0xdeadbeef, parent=46, exact=True))     # in no module
    for root in (0, 1, 2, 3, 4, 5, 15):
        used.append(definitions.node(2, 0x1400 + root, parent=root))
    used.append(definitions.node(2, 0x1400, parent=0, repeat=False))    # the same, a second time
    used.append(definitions.node(1, (1 << 64) - EXE_BIAS + 0x1000, parent=0))   # address wraps
    for tag in range(16):                                               # every tag there is
        parent = 19 if tag & 2 else definitions.last_id
        node_id = definitions.last_id + (3 if tag & 1 else 1)
        used.append(definitions.node(1, 0x1500 + tag if tag & 4 else 0x1310, parent=parent,
                                     id=node_id, exact=bool(tag & 8), repeat=not tag & 4))
    definitions.node(1, 0x1360, id=(1 << 32) - 1, parent=19)
    used.append(definitions.last_id)
    definitions.write()
    deep = process.definitions()            # another chunk: the list of frames is empty again
    deep.node(1, 0x1040, id=1000, parent=0)
    for depth in range(299):
        deep.node(1, 0x2000 + depth % 7)
    used.append(deep.last_id)
    deep.write()
    events = process.events(1, 0)
    for number, node in enumerate(used):
        events.alloc(number, HEAP + 32 * number, 1, node)
    events.write()
    return trace


def numbers() -> Trace:
    """vu of every length, and forms longer than the shortest."""
    trace = Trace()
    process, definitions = program(trace)
    definitions.write()
    events = process.events(1, 0)
    time = 0
    for bits in range(1, 64, 3):
        for size in (1 << bits, (1 << bits) - 1):
            time += 1
            events.failed(time, "malloc", size, 19)
    for length in range(1, 10):             # the time delta in each form
        time += 100
        events.time = time
        events.raw(bytes([0xbe]) + u64(HEAP) + vu(100, length))
        events.push_address(HEAP)
        events.line("free", time, function="free", address=f"0x{HEAP:x}")
    events.free(time + (1 << 60), HEAP)
    events.write()
    late = process.events(1, (1 << 63) + 5)
    late.free((1 << 63) + 5, HEAP)
    late.free((1 << 64) - 1, HEAP)
    late.write()
    return trace


def flags() -> Trace:
    """Every combination of the flags of ALLOC, and of REALLOC."""
    trace = Trace()
    process, definitions = program(trace)
    definitions.write()
    events = process.events(1, 0)
    events.alloc(0, HEAP, 100, 16)
    base, old = HEAP, HEAP
    for time, bits in enumerate((b for b in range(64) if b & 12 != 4), start=1):
        base += 0x1000
        how = ("ring", "next", "delta", "absolute")[bits & 3]
        address = {"ring": HEAP, "next": events.next}.get(how, base)
        stack, size = {0: (16, 100), 8: (16, 100 + time), 12: (16 + time % 2, 50 + time)}[bits & 12]
        choices: dict[str, Any] = {
            "how": how, "stack_how": {0: "ring", 8: "resize", 12: "explicit"}[bits & 12],
            "usable": process.default_usable(size) + 16 if bits & 16 else None}
        before = len(events.payload)
        events.alloc(10 * time, address, size, stack,
                     function="calloc" if bits & 32 else "malloc", **choices)
        assert events.payload[before] == 0xc0 | bits
        address = events.next if how == "next" else address
        before = len(events.payload)
        events.realloc(10 * time + 3, 10 * time + 5, old, address, size, stack,
                       function="reallocarray" if bits & 32 else "realloc", **choices)
        assert events.payload[before:before + 2] == bytes([0x40, bits])
        old = address
        if bits & 12 == 12:
            events.alloc(10 * time + 6, HEAP, 100, 16, how="ring", stack_how="explicit")
    events.write()
    return trace
