# SPDX-License-Identifier: MIT
"""The valid test vectors: here those of whole traces, in vectors_items.py those of
single items, in vectors_told.py of what later versions tell of programs and processes. Each
function builds one; `VALID` names them all.
"""

from __future__ import annotations

from typing import Callable

from trace_writer import EVENTS, MAPPED, MEMORY, Definitions, Events, Trace, u64, vu
from vectors_items import (EXE_BIAS, HEAP, LIBC_BIAS, SEGMENTS, addresses, flags, functions, nodes,
                           numbers, program, reallocs, stacks_and_sizes)
from vectors_told import (bypassing, executed, freed_by, limited, paused, places, reaped, refused,
                          said)


def worked_example() -> Trace:
    trace = Trace()
    process = trace.process(4242, key=0x1122334455667788)
    definitions = process.definitions(base_time=5000)
    definitions.process_record(start=5000, monotonic_ns=5000, parent_pid=4200)
    definitions.module(1, 0x400000, b"/a.out", time=5000, flags=1, build_id=b"\xab\xcd",
                       segments=[(0x1000, 0x200, 0x1000, 5)])
    definitions.thread(1, 4242, time=5000)
    definitions.node(1, 0x1040, parent=0)
    definitions.node(1, 0x1136)
    definitions.node(1, 0x1150, parent=16)
    definitions.write()
    events = process.events(1, 5000)
    events.alloc(5100, 0x4052a0, 100, 17)
    events.alloc(5130, 0x405310, 100, 17)
    events.alloc(5160, 0x405380, 8, 18)
    events.free(5200, 0x4052a0)
    events.realloc(5230, 5260, 0x405310, 0x4053a0, 300, 18)
    events.mark(5270, "point", "ready")
    events.write()
    last = process.definitions(base_time=5300)
    last.sync(5300)
    last.process_end(5300, "exit", 1, 0)
    last.write()
    return trace


def handover() -> Trace:
    """Two threads free each other's blocks; reuse of an address at the very same tick."""
    trace = Trace()
    process, definitions = program(trace)
    definitions.thread(2, 1001, time=5, name=b"worker")
    definitions.write()
    one = process.events(1, 10)
    two = process.events(2, 10)
    a, b, c = HEAP, HEAP + 0x1000, HEAP + 0x2000
    one.alloc(10, a, 100, 19)
    two.alloc(10, b, 200, 18)               # a tie of two allocations: stream number decides
    two.free(20, a, how="absolute")
    one.free(20, b, how="absolute")         # a tie of two frees
    one.alloc(30, a, 100, 19)
    two.free(40, a, how="absolute")
    one.alloc(40, a, 300, 18)               # the same tick: the free comes first
    two.alloc(50, c, 10, 17)
    one.free(50, a)                         # stream 2 has an allocation: the free comes first
    two.free(50, c)
    one.alloc(50, c, 11, 17)
    # A realloc's old address is free for others before its second time.
    one.realloc(60, 70, c, a, 500, 19)
    two.alloc(65, c, 12, 17)
    two.realloc(70, 80, c, c, 13, 17)
    one.free(80, a)
    two.free(90, c)
    one.write()
    two.write()
    more_one, more_two = process.events(1, 100), process.events(2, 100)
    for i in range(20):
        block = HEAP + 0x8000 + 64 * i
        more_one.alloc(100 + 2 * i, block, 48, 19)
        more_two.free(101 + 2 * i, block)
    more_two.write()
    more_one.write()
    return trace


def nested() -> Trace:
    """A signal handler allocates in the middle of recording: a second stream of one thread."""
    trace = Trace()
    process, definitions = program(trace)
    definitions.thread(2, 1000, flags=1)
    definitions.thread(3, 0, flags=2, name=b"")
    handler = definitions.node(1, 0x1500, parent=19, exact=True)
    definitions.write()
    main, inner, shared = process.events(1, 10), process.events(2, 12), process.events(3, 30)
    main.alloc(10, HEAP, 100, 19)
    inner.alloc(12, HEAP + 0x100, 10, handler)
    inner.free(13, HEAP + 0x100)
    main.free(20, HEAP)
    inner.failed(21, "malloc", 1 << 50, handler)
    shared.alloc(30, HEAP, 20, 1)
    for chunk in (inner, main, shared):
        chunk.write()
    return trace


def fork_and_exec() -> Trace:
    """fork: nodes, modules and blocks of the parent are known; then exec: none are."""
    trace = Trace()
    parent, definitions = program(trace, 1000)
    definitions.write()
    first = parent.events(1, 10)
    first.alloc(10, HEAP, 100, 19)
    first.alloc(11, HEAP + 0x100, 100, 18)
    child = trace.process(1001, parent=parent)
    grandchild = trace.process(1002, parent=child)
    child_definitions = child.definitions()
    child_definitions.process_record(start=22, fork_time=20, inherited_nodes=20,
                                     inherited_modules=3)
    child_definitions.thread(1, 1001, time=22)
    # Both sides define node 20 and module 3 of their own.
    child_definitions.module(3, LIBC_BIAS + 0x100000, b"/lib/child.so", time=23)
    child_node = child_definitions.node(3, 0x10, id=20, parent=19)
    child_leaf = child_definitions.node(2, 0x1905)
    child_definitions.write()
    later = parent.definitions()
    later.module(3, LIBC_BIAS + 0x200000, b"/lib/parent.so", time=24)
    parent_node = later.node(3, 0x20, id=20, parent=18)
    later.write()
    first.alloc(24, HEAP + 0x200, 100, parent_node)
    first.free(25, HEAP)
    first.write()
    child_events = child.events(1, 25)
    child_events.free(25, HEAP)             # inherited, and freed in the parent as well
    child_events.alloc(26, HEAP, 50, 19)
    child_events.alloc(27, HEAP + 0x200, 50, child_node)
    child_events.alloc(28, HEAP + 0x300, 50, child_leaf)
    child_events.realloc(29, 30, HEAP + 0x100, HEAP + 0x400, 60, 17)
    child_events.write()
    # The grandchild inherits across two generations, from below 22 and below 20.
    grandchild.biases, grandchild.stacks = dict(child.biases), dict(child.stacks)
    grand_definitions = grandchild.definitions()
    grand_definitions.process_record(start=41, fork_time=40, inherited_nodes=22,
                                     inherited_modules=4)
    grand_definitions.thread(1, 1002, time=41)
    grand_definitions.write()
    grand_events = grandchild.events(1, 41)
    grand_events.free(41, HEAP + 0x400)
    grand_events.alloc(42, HEAP + 0x600, 70, child_node)
    grand_events.alloc(43, HEAP + 0x700, 70, 19)
    grand_events.process_end(44, "exec", 3, 0)
    grand_events.write()
    # exec: the same pid, another process, nothing inherited.
    image = trace.process(1002, key=0x77)
    image.parent = grandchild
    image_definitions = image.definitions()
    image_definitions.process_record(start=50)
    image_definitions.module(1, 0x10000, b"/bin/true", flags=1)
    image_definitions.thread(1, 1002, time=50)
    image_node = image_definitions.node(1, 0x1111, parent=0)
    image_definitions.write()
    image_events = image.events(1, 51)
    image_events.alloc(51, HEAP, 80, image_node)
    image_events.process_end(52, "exit", 1, 3)
    image_events.write()
    return trace


def defined_again() -> Trace:
    """A path that its thread, another thread and a fork's child define anew under other ids."""
    trace = Trace()
    process, definitions = program(trace)
    definitions.thread(2, 1001, time=5)
    again = [definitions.node(1, 0x1234, parent=18)]            # the leaf alone
    definitions.write()
    other = process.definitions(2, base_time=20)
    other.node(1, 0x1040, id=30, parent=0)                      # all of it
    other.node(2, 0x1905)
    other.node(1, 0x1180)
    again.append(other.node(1, 0x1234))
    other.write()
    later = process.definitions(base_time=30)
    again.append(later.node(1, 0x1234, id=40, parent=32))       # under another thread's node
    again.append(later.node(1, 0x1234, parent=32))
    later.write()
    events = process.events(1, 10)
    for number, node in enumerate([19, *again, 19]):
        events.alloc(40 + number, HEAP + 0x100 * number, 100, node)
    events.free(46, HEAP + 0x100)
    events.write()
    child = trace.process(1001, parent=process)
    child_definitions = child.definitions(base_time=60)
    child_definitions.process_record(start=61, fork_time=60, inherited_nodes=42,
                                     inherited_modules=3)
    child_definitions.thread(1, 1001, time=61)
    child_leaf = child_definitions.node(1, 0x1234, id=42, parent=18)
    child_definitions.write()
    child_events = child.events(1, 62)
    child_events.alloc(62, HEAP + 0x800, 100, child_leaf)
    child_events.alloc(63, HEAP + 0x900, 100, 40)
    child_events.write()
    return trace


def reload() -> Trace:
    """A module is unloaded and another one loaded at the same address: two generations."""
    trace = Trace()
    process, definitions = program(trace)
    definitions.module(3, 0x7f0000000000, b"/lib/plugin-a.so", time=5, build_id=b"\x0a" * 20,
                       segments=SEGMENTS)
    in_a = definitions.node(3, 0x1100, parent=18)
    definitions.write()
    events = process.events(1, 10)
    events.alloc(10, HEAP, 10, in_a)
    events.write()
    later = process.definitions(base_time=20)
    later.module_end(3, 20)
    later.module(4, 0x7f0000000000, b"/lib/plugin-b.so", time=21, build_id=b"\x0b" * 20,
                 segments=SEGMENTS)
    in_b = later.node(4, 0x1100, parent=18, id=in_a + 1)
    later.module_end(4, 30)
    later.module(5, 0x7f0000001000, b"/lib/plugin-a.so", time=31, build_id=b"\x0a" * 20)
    in_a_again = later.node(5, 0x1100, parent=18)
    later.write()
    events = process.events(1, 21)
    events.alloc(22, HEAP + 0x100, 10, in_b)
    events.alloc(32, HEAP + 0x200, 10, in_a_again)
    events.alloc(33, HEAP + 0x300, 10, in_a)
    events.write()
    return trace


def pieces() -> Trace:
    """A stream trace in pieces that alternate, with SYNC, and a header that recurs."""
    trace = Trace()
    process, definitions = program(trace)
    definitions.thread(2, 1001)
    definitions.write()
    one, two = process.events(1, 10), process.events(2, 10)
    one.alloc(10, HEAP, 100, 19)
    one.alloc(11, HEAP + 112, 100, 19, how="next")
    two.alloc(10, HEAP + 0x1000, 60, 18)
    one.write()
    two.write()
    definitions.sync(12)                    # a definitions chunk in pieces, too
    definitions.write()
    one.free(12, HEAP)
    one.alloc(13, HEAP, 100, 19, stack_how="ring")      # ring and last live on
    one.write()
    leaf = definitions.node(1, 0x1234, parent=16)       # a frame of the first piece
    definitions.write()
    two.alloc(14, HEAP + 0x2000, 60, leaf)
    two.free(15, HEAP + 0x1000)
    two.write()
    trace.raw(trace.header())
    other, other_definitions = program(trace, 2000)
    other_definitions.write()
    trace.raw(trace.header() + trace.header())
    third = other.events(1, 11)
    third.alloc(11, HEAP, 70, 19)
    third.write()
    following = process.events(1, 20)       # the next chunk: delta state begins anew
    following.alloc(20, HEAP, 100, 19, how="absolute", stack_how="explicit")
    following.write()
    third.free(22, HEAP)
    third.write()
    end = process.definitions(base_time=30)
    end.sync(30)
    end.thread_end(2, 30, b"renamed")
    end.write()
    return trace


def records() -> Trace:
    """Every record; longer ones than known; unknown optional records and chunks."""
    trace = Trace()
    process = trace.process(1000)
    definitions = process.definitions(base_time=1)
    definitions.process_record(start=1, extra=b"later fields")
    definitions.text(1, b"/usr/bin/")
    definitions.text(1, b"example")         # texts of one kind are concatenated
    definitions.text(2, b"/home/me")
    definitions.text(3, b"example\0two words\0\0")
    definitions.text(4, b"00400000-00401000 r-xp 00000000 00:00 0 /usr/bin/example\n")
    definitions.text(5, b"exa<&>\"\n\xff")  # every name is hostile
    definitions.text(6, b"host")
    definitions.text(7, b"1.0.0")
    definitions.text(8, b"01234567-89ab-cdef-0123-456789abcdef")
    definitions.text(99, b"of a later version")
    definitions.text(4, b"x" * 3000)
    definitions.module(1, EXE_BIAS, b"/usr/bin/example", flags=1, build_id=b"\x01" * 64,
                       segments=[(4096 * i, 4096, 4096 * i, 4) for i in range(64)],
                       extra=b"later fields")
    definitions.module(2, 0x7fff00000000, b"", flags=2)
    definitions.thread(1, 1000)
    definitions.thread(2, 1001, time=2, name=b"a thread")
    definitions.record(0x23, b"unknown and optional")
    definitions.record(0x3f)
    node = definitions.node(1, 0x1234, parent=0)
    definitions.write()
    empty = process.events(2, 2)            # an empty chunk
    empty.write()
    unknown = process.events(1, 3)          # a chunk of a kind to be skipped
    process.sequences.pop((1, EVENTS))
    unknown.raw(b"\x1f\xff\xff")
    unknown.write(kind=0x80)
    events = process.events(1, 3)
    events.clock(3, 3000, 1_700_000_000_000_003_000)
    events.alloc(4, HEAP, 100, node)
    events.memory(5, 1 << 30, 5 << 20, 1 << 20)
    events.mark(6, "begin", "request ☃ <&>\"'\n")
    events.record(0x24, bytes(70))          # 70 takes a vu of one byte, 200 of two
    events.record(0x24, bytes(200))
    events.alloc(7, HEAP + 112, 100, node)
    events.mark(8, "point", "")
    events.mark(9, "end", "request ☃ <&>\"'\n")
    events.counters(10, {1: 2, 2: 0, 3: 1 << 40, 6: 1, 8: 3, 99: 4})
    events.loss(11, 2, 17, 4)
    events.loss(12, 1, 1, 5)
    events.record(MEMORY, vu(13), vu(1), vu(2), vu(3), b"later fields")
    events.line("memory", 13, virtual=1, resident=2, shared=3)
    events.free(14, HEAP)
    events.stop(15, "sink full", 2, 28)
    events.process_end(16, "abort", 4, 134)
    events.write()
    end = process.definitions(base_time=20)
    end.module_end(2, 20)
    end.thread_end(2, 20, b"late name")
    end.sync(20)
    end.write()
    return trace


def sampled() -> Trace:
    """Sampling: recorded allocations stand for more than themselves."""
    trace = Trace()
    process, definitions = program(trace)
    definitions.sampling(512 << 10)
    definitions.write()
    events = process.events(1, 10)
    events.alloc(10, HEAP, 1000, 19)
    events.alloc(20, HEAP + 0x1000, 1 << 20, 18)
    events.free(30, HEAP)
    events.write()
    return trace


def other_blocks() -> Trace:
    """Allocators unlike glibc's: default usable sizes of other headers and grains."""
    trace = Trace()
    for pid, block in ((1, (4, 8, 12)), (2, (0, 1, 0)), (3, (16, 48, 100))):
        process = trace.process(pid, block=block)
        definitions = process.definitions()
        definitions.process_record(pointer_bytes=4 if pid == 1 else 8, clock=pid, tick_shift=4,
                                   counts_per_second=2_000_000_000)
        definitions.thread(1, pid)
        definitions.write()
        events = process.events(1, 10)
        at = 0x8000
        for size in (0, 1, 12, 13, 24, 25, 100, 101, 4096):
            events.alloc(at, at, size, 0)
            at = events.next
        events.write()
    return trace


def later_minor() -> Trace:
    """A later minor version, optional features, and unused bits that are set."""
    trace = Trace(minor=7, optional=1 << 63 | 5)
    process, definitions = program(trace)
    definitions.write()
    events = process.events(1, 10)
    events.alloc(10, HEAP, 100, 19)
    # REALLOC with the unused bits 6 and 7 of its flags set
    events.raw(bytes([0x40, 0xc0 | 1, 0]) + vu(1) + b"\0" + vu(1))
    events.time = 12
    address = events.next
    events.push_address(HEAP)
    events.push_block(address, 100, 19, 104)
    events.line("realloc", 12, begin_ticks=11, function="realloc", address=f"0x{address:x}",
                old_address=f"0x{HEAP:x}", size=100, usable=104, **events.stack_fields(19))
    events.write()
    return trace


def mapped() -> Trace:
    """A mapped trace as a killed writer leaves it: holes, an unfinished item, a long tail."""
    trace = Trace(MAPPED)
    process = trace.process(1000)
    definitions = process.definitions()
    definitions.process_record()
    definitions.module(1, EXE_BIAS, b"/usr/bin/example", flags=1)
    definitions.thread(1, 1000)
    definitions.write()
    events = process.events(1, 10)          # stands before the node that it names
    later = process.definitions(base_time=11)
    node = later.node(1, 0x1234, parent=0)
    for i in range(3):
        events.alloc(11 + i, HEAP + 112 * i, 100, node)
    events.raw(b"\0" + u64(HEAP) + b"\x03\x03")     # the next item, its tag not yet stored
    events.write()
    trace.raw(bytes(trace.unit))            # claimed, and killed before the header was written
    later.write()
    big = process.events(1, 50)             # a chunk of two units, the first one full
    for time in range(50, 60):
        big.free(time, HEAP + 112 * (time - 50), how="absolute")
        big.record(0x30, bytes(500))
    big.write()
    last = process.events(1, 20000)
    last.free(20001, HEAP + 112)
    last.write()
    claimed = len(trace.body) // trace.unit
    trace.header_fields = {"claimed": claimed, "reserved": 1 << 30}
    trace.raw(bytes(2 * trace.unit))        # space reserved and not claimed
    return trace


def checked_program() -> tuple[Trace, Definitions, Events, Events]:
    """A mapped trace of version 1.3 of a program that ended, with the chunks that it has yet to
    get: of definitions, and two of events, which tell each other's checksums."""
    trace = Trace(MAPPED, minor=3)
    process = trace.process(1000)
    definitions = process.definitions()
    definitions.process_record()
    definitions.module(1, EXE_BIAS, b"/usr/bin/example", flags=1)
    definitions.thread(1, 1000)
    first = process.events(1, 10)
    for i in range(3):
        first.alloc(10 + i, HEAP + 1008 * i, 1000, 0)
    second = process.events(1, 20)
    second.filled(first, checksum=True)
    second.alloc(20, HEAP + 8192, 2000, 0)
    definitions.process_end(30, "exit", 1, 0)
    second.filled(definitions, checksum=True)
    definitions.filled(second, checksum=True)
    return trace, definitions, first, second


def checked() -> Trace:
    """Chunks that tell the checksums of others."""
    trace, *chunks = checked_program()
    for chunk in chunks:
        chunk.write()
    return trace


def taken_over() -> Trace:
    """Version 1.3: a chunk that three threads have one after another, a block that the first
    made and the second frees; then a chunk of the third one's own. The same in pieces is in
    taken-over-pieces."""
    return takes_over(Trace(MAPPED, minor=3), lambda chunk: None)


def takes_over(trace: Trace, deliver: Callable[[Events], object]) -> Trace:
    process, definitions = program(trace)
    for stream in (2, 3, 4):
        definitions.thread(stream, 1000 + stream, time=10 * stream, name=b"request")
        definitions.thread_end(stream, 10 * stream + 9)
    if trace.layout != MAPPED:
        definitions.write()
    chunk = process.events(2, 20)
    chunk.alloc(21, HEAP, 2000, 17)
    chunk.alloc(22, HEAP + 0x1000, 2001, 18)
    deliver(chunk)
    chunk.taken_over(3)
    chunk.free(30, HEAP)
    deliver(chunk)
    chunk.alloc(31, HEAP, 3000, 18)
    chunk.taken_over(4)
    chunk.alloc(40, HEAP + 0x2000, 4000, 17)
    chunk.free(41, HEAP + 0x1000)
    last = process.events(4, 42)
    if trace.layout == MAPPED:
        last.filled(chunk, checksum=True)
    last.alloc(43, HEAP + 0x3000, 4001, 18)
    last.free(44, HEAP)
    if trace.layout == MAPPED:
        definitions.filled(last, checksum=True)
        definitions.write()
    chunk.write()
    last.write()
    return trace


def filled() -> Trace:
    """A mapped trace of version 1.1 whose chunks tell how far others are filled: the one before,
    and at the end of a thread and of the program its last ones, a thread's that goes on among
    them. A killed program's say nothing."""
    trace = Trace(MAPPED, minor=1)
    process, definitions = program(trace)
    definitions.thread(2, 1001, time=5, name=b"worker")
    definitions.text(3, b"an argument\0\0")         # zeros at the end do not count
    definitions.write()
    more = process.definitions(base_time=10)
    more.filled(definitions)
    node = more.node(1, 0x4321, id=20, parent=18)
    first, worker = process.events(1, 11), process.events(2, 12)
    first.alloc(11, HEAP, 100, node)
    worker.alloc(12, HEAP + 0x1000, 100, node)
    first.write()
    second = process.events(1, 20)
    second.filled(first)
    second.free(21, HEAP)
    second.filled(worker)                       # and goes on
    worker.free(23, HEAP + 0x1000)
    worker.write()
    more.thread_end(1, 30)
    more.process_end(31, "exit", 1, 0)
    more.filled(second)
    second.filled(more)
    more.write()
    second.write()
    killed = trace.process(2000)
    definitions = killed.definitions(base_time=40)
    definitions.process_record(start=40)
    definitions.thread(1, 2000, time=40)
    definitions.write()
    events = killed.events(1, 41)
    events.alloc(41, HEAP, 200, 0)
    events.write()
    return trace


def large_units(unit_log2: int = 13) -> Trace:
    """Units other than 4 KiB (tests try the largest, which are too large to keep)."""
    trace = Trace(MAPPED, unit_log2)
    process, definitions = program(trace)
    definitions.write()
    events = process.events(1, 10)
    events.alloc(10, HEAP, 100, 19)
    events.free(11, HEAP)
    events.write()
    return trace


VALID: dict[str, Callable[[], Trace]] = {
    "worked-example": worked_example, "addresses": addresses, "stacks-and-sizes": stacks_and_sizes,
    "functions": functions, "reallocs": reallocs, "flags": flags, "nodes": nodes,
    "numbers": numbers,
    "handover": handover, "nested": nested, "fork-and-exec": fork_and_exec, "reload": reload,
    "defined-again": defined_again,
    "pieces": pieces, "records": records, "sampled": sampled, "other-blocks": other_blocks,
    "later-minor": later_minor, "mapped": mapped, "filled": filled, "checked": checked, "executed": executed,
    "places": places, "bypassing": bypassing, "paused": paused, "limited": limited, "reaped": reaped,
    "refused": refused, "taken-over": taken_over, "freed-by": freed_by, "said": said,
    "taken-over-pieces": lambda: takes_over(Trace(minor=3), Events.write),
    "large-units": large_units,
    "empty-stream": lambda: Trace(), "empty-mapped": lambda: Trace(MAPPED),
}
