# SPDX-License-Identifier: MIT
"""Processes that are over are folded (ma_fold.h): reports say the same as if each kept
its books, and memory does not grow with their number. Where the heap over time is asked
for, nothing is folded, so the report beside it is what the other has to be equal to.
"""
import json
from collections import Counter

import pytest
from hostile import (EVENTS, KEY, MODULE, PROCESS_END, STREAM, alloc, definitions, free, piece,
                     program, record, root, string, thread, trace_header, u64, vu, vz)
from support import ANALYZE, PYTHON, run

SECOND = 10 ** 9
EXIT, EXEC = 1, 3
REPORTS = ["--json", "--summary", "--leaks", "--peak", "--allocations", "--top=1000000"]


def inner(module_id, offset):
    """The next node, called by the one before, with a new frame."""
    return b"\x44" + vu(module_id) + vu(offset)


def ending(ticks, how=EXIT):
    return record(PROCESS_END, vu(ticks), vu(how), vu(0))


def named(number, path):
    return record(MODULE, vu(number), vu(0), u64(0x10000 * number), vu(0), string(b""),
                  string(path), vu(0))


def image(number, begin, *, pid=None, stacks=3, over=None):
    """Definitions of a process: modules in another order in each, stacks of two frames."""
    ids = [1, 2] if number % 2 else [2, 1]
    defined = [item for i in range(stacks) for item in
               (root(16 + 2 * i, ids[0], 64 * i + 64), inner(ids[1], 32 * i + 32))]
    if over:
        defined.append(ending(over))
    return definitions([program(pid or 1000 + number, start=begin), thread(1, 1 + number),
                        named(ids[0], b"/bin/cc"), named(ids[1], b"/lib/libc")] + defined,
                       process=KEY + number)


class Chunk:
    """Of events; its number is given to it when the trace is written."""

    def __init__(self, items, base, process):
        self.payload, self.base, self.process = b"".join(items), base, process


def events(items, base, process=KEY):
    return Chunk(items, base, process)


def tree(path, chunks):
    numbers = Counter()
    with open(path, "wb") as out:
        out.write(trace_header(STREAM, 0))
        for chunk in chunks:
            if isinstance(chunk, Chunk):
                number = numbers[chunk.process]
                numbers[chunk.process] += 1
                chunk = piece(EVENTS, chunk.process, 1, number, chunk.base, chunk.payload)
            out.write(chunk)


def reports(path, *options):
    done = run([ANALYZE, path, "--no-symbols", *(options or REPORTS)])
    beside = run([ANALYZE, path, "--no-symbols", *(options or REPORTS),
                  f"--export=csv-timeline={path}.csv"])
    assert done.returncode == beside.returncode == 0, (done.stderr, beside.stderr)
    return done.stdout, beside.stdout


def works(number, begin, *, sizes=(123, 456, 789), keep=1, end=True, down=False):
    """One allocation a stack, of which all but the first `keep` are freed; `down`: with
    the stacks from the last to the first."""
    first, step = (15 + 2 * len(sizes), -2) if down else (17, 2)
    items = [alloc(0x10000 + 4096 * i, step if i else first, size, 1000)
             for i, size in enumerate(sizes)]
    items += [free(0x10000 + 4096 * i) for i in range(keep, len(sizes))]
    return events(items + ([ending(begin + 20000)] if end else []), base=begin,
                  process=KEY + number)


def test_reports_are_those_of_processes_that_keep_their_books(tmp_path):
    """GIVEN processes one after the other, beside one that lives throughout and met their
    stacks in another order: with leaks of equal and of different size, joint peaks before
    and after they are gone, one of them by a stack that has no part in the last, stacks that
    the trace does not define, and one that is over at the same moment as the trace."""
    chunks = [image(0, 0), works(0, 0, end=False, down=True)]
    for i in range(1, 40):
        begin = 2 * i * SECOND
        sizes = (123 * 8, 456 + 100 * (i % 3), 7890 if i in (7, 20) else 789)
        sizes += (5000,) * (i == 5)
        chunks += [image(i, begin, stacks=len(sizes)), works(i, begin, sizes=sizes, keep=i % 3)]
        if i % 10 == 0:
            chunks.append(events([alloc(0x90000, 999, 77, 1)], base=begin + 50, process=KEY + i))
        chunks.append(events([alloc(0x500000 + 64 * i, 17, 48, 1)], base=begin + SECOND,
                             process=KEY))
    tree(tmp_path / "t", chunks)
    folded, kept = reports(tmp_path / "t")
    assert folded == kept
    text, beside = reports(tmp_path / "t", "--summary", "--leaks", "--peak")
    assert text == beside
    report = json.loads(folded)
    assert len(report["processes"]) == 40
    assert report["audit"]["unknown_stacks"] > 0
    assert len(report["leaks"]) == 4 and report["leaks"][0]["processes"] > 9


@pytest.mark.parametrize("name", ["pprof", "speedscope", "callgrind", "csv"])
def test_exports_of_stacks_are_those_of_processes_that_keep_their_books(tmp_path, name):
    """GIVEN processes whose modules lie elsewhere in each, the first of which lives longest."""
    chunks = [image(0, 0), works(0, 0, end=False, down=True)]
    for i in range(1, 12):
        chunks += [image(i, 2 * i * SECOND, stacks=3 + i % 3), works(i, 2 * i * SECOND, keep=i % 3),
                   events([alloc(0x500000 + 64 * i, 17, 48, 1)], base=(2 * i + 1) * SECOND)]
    tree(tmp_path / "t", chunks)
    made = []
    for beside in ([], [f"--export=csv-timeline={tmp_path / 'time'}"]):
        out = tmp_path / f"{len(made)}.{name}"
        done = run([ANALYZE, tmp_path / "t", "--no-symbols", f"--export={name}={out}", *beside])
        assert done.returncode == 0, done.stderr
        made.append(out.read_bytes())
    assert made[0] == made[1] and len(made[0]) > 100


def test_a_child_that_is_first_heard_of_when_its_parent_was_folded(tmp_path):
    """GIVEN a daemon: its parent ends, and it calls nothing for long. THEN its stacks, which
    its parent had defined, have their frames."""
    chunks = [image(0, 0, over=10 * SECOND), works(0, 0, end=False),
              image(1, SECOND, over=SECOND + 20000), works(1, SECOND, end=False)]
    for i in range(2, 9):
        chunks += [events([alloc(0x500000 + 64 * i, 17, 48, 1)], base=i * SECOND, process=KEY)]
    filler = [events([alloc(0x600000, 17, 48, 1), free(0x600000)], base=8 * SECOND + 1000 * i)
              for i in range(3000)]
    child = definitions([program(1002, parent=KEY + 1, start=9 * SECOND, fork=SECOND + 19999,
                                 nodes=22), thread(1, 3),
                         b"\x47" + vz(22 - 16) + vu(22) + vu(1) + vu(4096), inner(1, 8192)],
                        process=KEY + 2)
    own = events([alloc(0x70000, 17, 321, 1), alloc(0x71000, 6, 654, 1)], base=9 * SECOND,
                 process=KEY + 2)
    tree(tmp_path / "t", chunks + filler + [child, own])
    folded, kept = reports(tmp_path / "t")
    report = json.loads(folded)
    assert report["audit"]["unknown_stacks"] == 0
    assert folded == kept


def test_a_process_that_goes_on_after_it_was_folded(tmp_path):
    """THEN what it allocates is right, and the end of a block from before is an unmatched
    free of the audit; no other number is wrong."""
    chunks = [image(0, 0), works(0, 0, end=False), image(1, SECOND), works(1, SECOND)]
    chunks += [events([alloc(0x500000, 17, 48, 1)], base=2 * SECOND, process=KEY),
               events([alloc(0x500040, 17, 48, 1)], base=4 * SECOND, process=KEY),
               events([alloc(0x80000, 17, 99999, 1), free(0x10000), ending(6 * SECOND)],
                      base=5 * SECOND, process=KEY + 1),
               events([alloc(0x500080, 17, 48, 1)], base=7 * SECOND, process=KEY)]
    tree(tmp_path / "t", chunks)
    folded, kept = (json.loads(text) for text in reports(tmp_path / "t"))
    said = run([ANALYZE, tmp_path / "t", "--no-symbols"]).stdout
    assert "1 process went on long after the end that was told" in said
    assert folded["audit"]["unmatched_frees"] == 1 and kept["audit"]["unmatched_frees"] == 0
    assert folded["summary"]["peak_bytes"] == kept["summary"]["peak_bytes"] - 123
    assert folded["summary"]["leaked_bytes"] == kept["summary"]["leaked_bytes"] + 123
    first = folded["allocations"][0]
    assert first["own_peak_bytes"] == kept["allocations"][0]["own_peak_bytes"] - 123
    first["own_peak_bytes"] += 123
    assert folded["allocations"] == kept["allocations"]


def realloc(old, new, size, first, second):
    """With the times before and after the call; the stack is that of the event before."""
    return (b"\x40\x0f\x3e" + u64(old) + vu(first) + u64(new) + vz(0) + vu(size) + vu(second))


def test_a_realloc_during_which_its_process_was_folded(tmp_path):
    """GIVEN a realloc that had taken its block out of the live set when its process, whose
    end was told, was folded. THEN the old block was a leak by then and its end is unmatched,
    the new one is right, and no other number is wrong."""
    chunks = [image(0, 0), works(0, 0, end=False), image(1, SECOND, over=SECOND + 20000),
              works(1, SECOND, end=False),
              events([realloc(0x10000, 0x70000, 5000, 10, 5 * SECOND)], base=SECOND + 10000,
                     process=KEY + 1)]
    chunks += [events([alloc(0x500000 + 64 * i, 17, 48, 1)], base=(2 + i) * SECOND, process=KEY)
               for i in range(6)]
    tree(tmp_path / "t", chunks)
    folded, kept = (json.loads(text) for text in reports(tmp_path / "t"))
    assert folded["audit"]["unmatched_frees"] == 1 and kept["audit"]["unmatched_frees"] == 0
    assert folded["summary"]["leaked_bytes"] == kept["summary"]["leaked_bytes"] + 123
    assert folded["summary"]["leaked_blocks"] == kept["summary"]["leaked_blocks"] + 1
    assert folded["summary"]["frees"] == kept["summary"]["frees"] - 1
    assert folded["summary"]["reallocations"] == kept["summary"]["reallocations"] == 1
    assert folded["allocations"] == kept["allocations"]


@pytest.mark.parametrize("fails", [True, False])
def test_an_exec_that_may_have_failed(tmp_path, fails):
    """GIVEN an exec, and long after it events of the program that called it, or of the new
    one. THEN the former still has its blocks, as long as nothing is known of the latter."""
    chunks = [image(0, 0), works(0, 0, end=False), image(1, SECOND),
              works(1, SECOND, end=False),
              events([ending(SECOND + 30000, EXEC)], base=SECOND + 29000, process=KEY + 1),
              events([alloc(0x500000, 17, 48, 1)], base=2 * SECOND, process=KEY),
              events([alloc(0x500040, 17, 48, 1)], base=4 * SECOND, process=KEY)]
    if fails:
        chunks += [events([free(0x10000)], base=5 * SECOND, process=KEY + 1)]
    else:
        chunks += [image(2, 5 * SECOND, pid=1001), works(2, 5 * SECOND)]
    chunks += [events([alloc(0x500080, 17, 48, 1)], base=9 * SECOND, process=KEY)]
    tree(tmp_path / "t", chunks)
    folded, kept = reports(tmp_path / "t")
    assert folded == kept
    assert json.loads(folded)["audit"]["unmatched_frees"] == 0


# A process that is forked counts the memory of who forked it: let that be little.
SMALL = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[2:], stdin=open(sys.argv[1]), stdout=subprocess.DEVNULL)
assert done.returncode == 0
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
STACKS = 1000
FOR_EACH_PROCESS = 24 << 10     # bytes; one that keeps its books has 170 KiB here


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    """Traces of so many like processes, one after the other."""
    items = [alloc(0x10000 + 64 * i, 17 if i == 0 else 2, 100, 1) for i in range(STACKS)]
    items += [free(0x10000 + 64 * i) for i in range(1, STACKS)]
    paths = {n: tmp_path_factory.mktemp("alike") / str(n) for n in (500, 1500)}
    for n, path in paths.items():
        tree(path, (chunk for i in range(n) for chunk in
                    (image(i, i * 2 * SECOND, stacks=STACKS, over=i * 2 * SECOND + 10000),
                     events(items, i * 2 * SECOND, KEY + i))))
    return paths


def memory(path, options):
    """The most memory of a report, in bytes."""
    feed = '"$@" < "$0"' if "--follow" in options else 'cat "$0" | "$@"'
    done = run(["sh", "-c", feed, path, PYTHON, "-c", SMALL, "/dev/stdin", ANALYZE, "-",
                "--no-symbols", *options])
    assert done.returncode == 0, done.stderr
    return int(done.stdout) << 10


@pytest.mark.xdist_group("folding")
@pytest.mark.parametrize("options", [[], ["--follow"], ["--export=pprof=/dev/null"]],
                         ids=str)
def test_memory_does_not_grow_with_processes_that_are_over(alike, options):
    few, many = memory(alike[500], options), memory(alike[1500], options)
    mapped = alike[1500].stat().st_size if "--follow" in options else 0
    assert many - few < 1000 * FOR_EACH_PROCESS + mapped, (few, many, mapped)
