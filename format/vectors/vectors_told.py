# SPDX-License-Identifier: MIT
"""The valid test vectors of what minor versions from 1.2 on tell of programs and processes: who
was executed, where a process runs, how it was paused, what it said, how it ended. Each function
builds one; vectors_valid.py names them.
"""

from __future__ import annotations

from trace_writer import Definitions, ProcessWriter, Trace
from vectors_items import EXE_BIAS, HEAP, addresses, flags, nodes, program


def executed() -> Trace:
    """Version 1.2: programs that are executed and not in the trace, in definitions and in
    events; one whose call failed."""
    trace = Trace(minor=2)
    process, definitions = program(trace)
    definitions.executed(8, 1007, 0, "/usr/bin/static")
    definitions.write()
    events = process.events(1, 9)
    events.executed(10, 1008, 1, "/usr/bin/child")
    events.executed(11, 1009, 2, "")
    events.executed(12, 1010, 3, "/usr/local/bin/absent")
    events.executed(13, 1010, 4, "")
    events.process_end(16, "exit", 1, 0)
    events.write()
    return trace


def places() -> Trace:
    """Version 1.3: one pid in two namespaces at once, on another machine, and again after an
    exec; and of a process that knows none of it."""
    trace = Trace(minor=3)
    nodes = []
    for key, place in enumerate(((4026531836, 500, 0xaa << 56), (4026532201, 510, 0xaa << 56),
                                 (4026531836, 500, 0xbb << 56), (4026532201, 510, 0xaa << 56),
                                 (0, 0, 0))):
        process = trace.process(7, key=key + 1)
        definitions = process.definitions(base_time=10 * key)
        definitions.process_record(start=10 * key, place=place,
                                   extra=b"" if key else b"later fields")
        definitions.thread(1, 7, time=10 * key)
        definitions.module(1, EXE_BIAS, b"/usr/bin/example", flags=1)
        nodes.append(definitions.node(1, 0x1040, parent=0))
        definitions.write()
        events = process.events(1, 10 * key)
        events.alloc(10 * key + 1, HEAP, 1000 * (key + 1), nodes[-1])
        if key == 3:
            events.free(10 * key + 2, HEAP)
            events.process_end(10 * key + 3, "exit", 1, 0)
        events.write()
    return trace


def bypassing() -> Trace:
    """Version 1.3: modules whose malloc is not the traced one, for each reason; one that
    could not be looked at, and a reason that is not known yet."""
    trace = Trace(minor=3)
    process, definitions = program(trace)
    definitions.bypass(8, 1, "/usr/lib/php/plug.so", "/usr/lib/libc.so.6")
    definitions.bypass(9, 2, "/usr/lib/libc.so.6", "/usr/lib/libc.so.6")
    definitions.bypass(10, 3, "/opt/own.so", "/opt/own.so")
    definitions.bypass(11, 4, "/opt/user.so", "/opt/own.so")
    definitions.bypass(12, 1, "", "")
    definitions.bypass(13, 9, "/opt/later.so", "")
    definitions.write()
    events = process.events(1, 14)
    events.process_end(16, "exit", 1, 0)
    events.write()
    return trace


def paused() -> Trace:
    """Version 1.3: a process that begins paused, records, pauses twice and ends so: what was
    born or freed meanwhile, addresses used again, and a child that was forked in a pause."""
    trace = Trace(minor=3)
    process, definitions = program(trace)
    definitions.write()
    events = process.events(1, 8)
    events.window(9, "pause", "start")
    events.window(20, "resume", "ctl")
    events.free(21, HEAP + 0x1000)              # born in the pause
    events.alloc(22, HEAP, 101, 19)
    events.alloc(23, HEAP + 0x200, 102, 19)
    events.alloc(24, HEAP + 0x400, 103, 19)
    events.alloc(25, HEAP + 0x600, 109, 19)
    events.window(30, "pause", "api")
    events.window(40, "resume", "api")
    events.alloc(41, HEAP, 104, 19)             # freed in the pause, and used again
    events.realloc(42, 43, HEAP + 0x2000, HEAP + 0x2100, 105, 18)     # an unseen block grows
    events.free(44, HEAP + 0x200)
    events.alloc(45, HEAP + 0x800, 106, 19)
    events.window(50, "pause", "ctl")
    events.write()
    child = trace.process(1008, parent=process, key=2)
    definitions = child.definitions(base_time=55)
    definitions.process_record(start=55, fork_time=54, inherited_nodes=20,
                               inherited_modules=3)
    definitions.thread(1, 1008, time=55)
    definitions.write()
    events = child.events(1, 56)
    events.window(56, "pause", "fork")
    events.window(57, "resume", "ctl")
    events.free(58, HEAP + 0x800)               # inherited
    events.free(59, HEAP + 0x3000)              # born unseen, in either
    events.process_end(60, "exit", 1, 0)
    events.write()
    return trace


def said() -> Trace:
    """Version 1.3: what a program says of itself: savepoints, of which one is asserted twice,
    one by a program that does not count, and one that was never set; and lines of text."""
    trace = Trace(minor=3)
    process, definitions = program(trace)
    node = definitions.node(1, 0x1234, parent=0)
    definitions.write()
    events = process.events(1, 4)
    events.savepoint(4, 1, 0, 0, "whole")
    events.print(5, "begin ☃ <&>\"'\n")
    events.savepoint(6, 2, 0, 0, "part")
    events.alloc(7, HEAP, 100, node)
    events.savepoint(8, 2, 3, 104, "part", "main.c:17")
    events.free(9, HEAP)
    events.savepoint(10, 2, 3, -104, "part", "main.c:19")
    events.savepoint(11, 1, 1, 0, "whole", "main.c:23")
    events.savepoint(12, 99, 1 | 0x80, 0, "", "")
    events.print(13, "")
    events.print(14, "x" * 1000)
    events.process_end(16, "exit", 1, 0)
    events.write()
    return trace


def freed_by() -> Trace:
    """Version 1.3: stacks of frees, of one that matches nothing, of the abort after it, of
    something that is not known yet; and one beyond all ids."""
    trace = Trace(minor=3)
    process, definitions = program(trace)
    nodes = [16, 17, 18, 19]
    definitions.write()
    events = process.events(1, 14)
    events.alloc(15, HEAP, 123 * 8, nodes[0])
    events.free(16, HEAP)
    events.stack_of(1, nodes[1])
    events.alloc(17, HEAP, 124 * 8, nodes[0])
    events.stack_of(9, nodes[1])
    events.free(18, HEAP)
    events.stack_of(1, 0)
    events.free(19, HEAP)
    events.stack_of(1, nodes[2])
    events.free(20, HEAP + 4096)
    events.stack_of(2, nodes[3])
    events.free(21, HEAP + 8192)
    events.stack_of(1, (1 << 32) + nodes[0])
    events.write()
    return trace


def reaped() -> Trace:
    """Version 1.3: ends of children that their parents tell of, in definitions and in events:
    a signal, an exit without a word, one of a process that told its own, of a child left
    behind, told by who adopted it; of another process that had the pid again, of an image that
    was replaced, of nobody. And one that tells from outside of the process itself."""
    trace = Trace(minor=3)
    home = (4026531836, 500, 0xaa << 56)
    node = 16

    def begin(pid: int, key: int, start: int, parent_pid: int, birth: int) -> Definitions:
        definitions = trace.process(pid, key=key).definitions(base_time=start)
        definitions.process_record(start=start, parent_pid=parent_pid,
                                   place=(home[0], birth, home[2]))
        definitions.thread(1, pid, time=start)
        definitions.module(1, EXE_BIAS, b"/usr/bin/example", flags=1)
        definitions.node(1, 0x1040, parent=0)
        return definitions

    def block(process: ProcessWriter, time: int, size: int, *ends: tuple[int, str, int]) -> None:
        events = process.events(1, time)
        events.alloc(time, HEAP, size, node)
        for end in ends:
            events.process_end(*end, 0)
        events.write()

    root = begin(100, 1, 1, 1, 500)
    root.write()
    block(root.process, 2, 1000)
    for key, (pid, start, parent, ends) in enumerate((
            (101, 10, 100, ()),                     # killed
            (102, 20, 100, ()),                     # silent
            (103, 30, 100, ((32, "exit", 1),)),     # its own word
            (104, 40, 103, ()),                     # left behind by 103
            (105, 50, 999, ()),                     # of a parent that is not in the trace
            (106, 60, 100, ((62, "exec", 3),)),     # replaced by what is not in the trace
    ), 2):
        child = begin(pid, key, start, parent, 500 + start)
        child.write()
        block(child.process, start + 1, 100 * key, *ends)
    later = root.process.definitions(base_time=70)
    later.child_end(70, 101, "killed", 11, True)
    later.child_end(71, 102, "exited", 3)
    later.child_end(72, 103, "exited", 0)
    later.write()
    events = root.process.events(1, 73)
    events.child_end(73, 104, "killed", 9)
    events.child_end(74, 105, "killed", 6)
    events.child_end(75, 106, "killed", 11)
    events.child_end(76, 107, "exited", 1)
    events.child_end(77, 101, "exited", 5)
    events.alloc(78, HEAP + 0x1000, 3000, node)
    events.write()
    outside = root.process.definitions(stream=0xffffffff, base_time=90)
    outside.child_end(90, 100, "killed", 15)
    outside.write()
    return trace


def refused() -> Trace:
    """Version 1.3: stops that name the limit that was met, one not known yet among them."""
    trace = Trace(minor=3)
    for key, (reason, number, errno, met) in enumerate((
            ("no memory", 1, 12, (1, "RLIMIT_AS", 200 << 20, 199 << 20, 2 << 20)),
            ("no memory", 1, 12, (2, "RLIMIT_DATA", 100 << 20, 99 << 20, 3 << 20)),
            ("sink full", 2, 27, (3, "RLIMIT_FSIZE", 1 << 20, 1 << 20, 4096)),
            ("no memory", 1, 11, (4, "RLIMIT_MEMLOCK", 64 << 10, 0, 8192)),
            ("sink full", 2, 28, (5, "space", 0, 12 << 20, 4 << 20)),
            ("sink full", 2, 122, (6, "quota", 0, 0, 0)),
            ("no memory", 1, 12, (77, "unknown", 5, 6, 7))), 1):
        process = trace.process(10 + key, key=key)
        definitions = process.definitions(base_time=10 * key)
        definitions.process_record(start=10 * key)
        definitions.thread(1, 10 + key, time=10 * key)
        definitions.write()
        events = process.events(1, 10 * key)
        events.stop(10 * key + 1, reason, number, errno, met)
        events.write()
    return trace


def limited() -> Trace:
    """Version 1.3: a process whose memory is limited by a control group, near that at its
    end, which is not told; one of a machine; and a kind that is not known yet."""
    trace = Trace(minor=3)
    process, definitions = program(trace)
    definitions.limit(8, 1, 64 << 20)
    definitions.memory(9, 90 << 20, 60 << 20, 1 << 20)
    definitions.limit(10, 2, 8 << 30)
    definitions.limit(11, 7, 1)
    definitions.write()
    events = process.events(1, 14)
    events.alloc(15, HEAP, 50 << 20, 0)
    events.write()
    return trace
