# SPDX-License-Identifier: MIT
"""What reports and dumps must say under a filter, computed the dumb way: every
block of the trace's unfiltered --dump=json is asked whether it fits, and all is
counted one by one.

A Filter is made of keywords as options() types them; Expected are its numbers.
"""
import collections
import dataclasses
import fnmatch
import functools
import json
import re

from support import analyze, report


@dataclasses.dataclass(eq=False)
class Block:
    row: dict       # of the dump: that began it
    image: tuple    # pid, and which of its program images
    number: int     # of its thread's allocations
    stack: tuple
    accepted: bool = False


@dataclasses.dataclass
class Step:
    """A line of the dump. A realloc has both blocks, where both are known."""
    row: dict
    image: tuple
    old: Block | None = None
    new: Block | None = None


def moment(row):
    return row["begin_ticks" if row["type"] == "begin" else "ticks"]


def rows_of(path, *options):
    """The dump, with a "begin" where the old block of a realloc left its address."""
    rows = []
    for line in analyze(path, "--dump=json", *options).stdout.splitlines():
        row = json.loads(line)
        if row["type"] == "realloc":
            at = len(rows)
            # Of its own stream a sample of memory may have come in between, and no event.
            while at and moment(rows[at - 1]) > row["begin_ticks"] and \
                    (rows[at - 1]["stream"] != row["stream"] or rows[at - 1]["type"] == "memory"):
                at -= 1
            rows.insert(at, dict(row, type="begin"))
        rows.append(row)
    return rows


@functools.lru_cache(maxsize=None)
def steps_of(path):
    """All steps, once for all filters. A block that a fork copied is not known in
    the child: it is the parent's."""
    steps, live, moving = [], {}, {}
    count, images = collections.Counter(), collections.Counter()
    for row in rows_of(path):
        what, image = row["type"], (row["pid"], images[row["pid"]])
        step = Step(row, image)
        if what == "begin":
            moving[image, row["stream"]] = live.pop((image, row["old_address"]), None)
            continue
        if what == "free":
            step.old = live.pop((image, row["address"]), None)
        elif what == "realloc":
            step.old = moving.pop((image, row["stream"]), None)
        elif what == "process_end":
            images[row["pid"]] += 1
        if what in ("alloc", "realloc"):
            count[image, row["tid"]] += 1
            step.new = Block(row, image, count[image, row["tid"]], tuple(row["stack"]))
            assert (image, row["address"]) not in live, "the tests' programs run in order"
            live[image, row["address"]] = step.new
        steps.append(step)
    return steps


@functools.lru_cache(maxsize=None)
def places_of(path):
    """What is known of each return address: functions, inlined ones too, and modules."""
    places = collections.defaultdict(lambda: (set(), set()))
    for entry in report(path, "--allocations")["allocations"]:
        for frame in entry["stack"]:
            functions, modules = places[frame["address"]]
            functions.add(frame["function"] or "")
            modules.add(frame["module"] or "")
    return places


@functools.lru_cache(maxsize=None)
def functions_of(path):
    """What a return address is called: its functions, the innermost first."""
    functions = {}
    for entry in report(path, "--allocations")["allocations"]:
        at = []
        for frame in entry["stack"]:
            module = (frame["module"] or "").rpartition("/")[2]
            at.append(frame["function"] or (f"{module}+{frame['offset']}" if module
                                            else frame["address"]))
            if not frame["inlined"]:
                functions[frame["address"]], at = at, []
    return functions


@functools.lru_cache(maxsize=None)
def names_of(path):
    return {(row["pid"], row["tid"]): row["name"]
            for row in report(path, "--threads")["threads"]["threads"]}


@dataclasses.dataclass
class Filter:
    path: object
    since: int | None = None    # ns
    until: int | None = None
    pids: tuple = ()
    tids: tuple = ()            # numbers, and globs
    least: int = 0
    most: int | None = None
    age: int = 0                # ns
    function: tuple = ()
    module: tuple = ()
    exclude: tuple = ()
    judged: dict = dataclasses.field(default_factory=dict, repr=False)

    def options(self):
        typed = []
        for name, value in (("from", self.since), ("to", self.until)):
            typed += [f"--{name}={value}ns"] if value is not None else []
        typed += [f"--pid={pid}" for pid in self.pids] + [f"--tid={tid}" for tid in self.tids]
        typed += [f"--min-size={self.least}"] if self.least else []
        typed += [f"--max-size={self.most}"] if self.most is not None else []
        typed += [f"--min-age={self.age}ns"] if self.age else []
        for name in ("function", "module", "exclude"):
            typed += [f"--{name}={pattern}" for pattern in getattr(self, name)]
        return typed

    def accepts(self, row):
        """A row that begins a block, or is of a call that failed."""
        time, size = row["time_ns"], row["size"]
        whole = report_of(self.path)["summary"]["duration_ns"]
        end = min(whole, self.until if self.until is not None else whole)
        return ((self.since or 0) <= time and self.least <= size and
                (self.most is None or size <= self.most) and
                (not self.age or time <= end - self.age) and
                (not self.pids or row["pid"] in self.pids) and
                (not self.tids or self.accepts_thread(row)) and self.accepts_stack(row["stack"]))

    def accepts_thread(self, row):
        name = names_of(self.path).get((row["pid"], row["tid"]), "")
        return any(row["tid"] == tid if isinstance(tid, int) else
                   fnmatch.fnmatchcase(name, tid) for tid in self.tids)

    def accepts_stack(self, stack):
        if not (self.function or self.module or self.exclude):
            return True
        stack = tuple(stack)
        if stack not in self.judged:
            self.judged[stack] = self.judge(stack)
        return self.judged[stack]

    def judge(self, stack):
        known = places_of(self.path)
        functions = set().union(*(known[address][0] for address in stack))
        modules = set().union(*(known[address][1] for address in stack))

        def has(patterns, texts):
            return any(text and re.search(p, text) for p in patterns for text in texts)

        return ((not self.function or has(self.function, functions)) and
                (not self.module or has(self.module, modules)) and
                not has(self.exclude, functions | modules))


@functools.lru_cache(maxsize=None)
def report_of(path):
    return report(path, "--summary")


class Expected:
    """The numbers of one filter."""

    def __init__(self, path, wanted):
        self.wanted = wanted
        self.within = 2                                 # of --temporary
        self.totals = collections.Counter()
        self.calls = collections.Counter()
        self.rows = []                                  # of the filtered dump
        self.by_stack = collections.defaultdict(collections.Counter)
        self.by_image = collections.defaultdict(collections.Counter)
        self.by_thread = collections.defaultdict(collections.Counter)
        self.handed_over = collections.defaultdict(collections.Counter)
        self.sizes = collections.defaultdict(collections.Counter)
        self.lives = collections.Counter()              # power of ten of ns, or None
        self.joint, self.live = 0, {}
        self.peak = self.peak_blocks = self.peak_time = 0
        self.at_peak = {}
        self.at_its_peak = False                        # now; what it holds is not noted yet
        self.images = set()                             # that begin or end a block
        self.made = collections.Counter()               # by thread, whatever is accepted
        self.ending, self.gone = set(), set()
        for step in steps_of(path):
            self.take(step)
        self.note_peak()
        for block in self.live.values():
            self.by_stack[block.stack].update(leaked=block.row["size"], leaked_blocks=1)
            self.lives[None] += 1
        self.leaked = sum(block.row["size"] for block in self.live.values())

    def take(self, step):
        row, wanted = step.row, self.wanted
        told = wanted.until is None or row["time_ns"] < wanted.until
        if step.new:
            self.made[step.image, row["tid"]] += 1
        if told:
            for image in self.ending - {step.image}:
                self.note_peak()
                self.gone.add(image)
                self.ending.discard(image)
                self.joint -= sum(b.row["size"] for b in self.live.values() if b.image == image)
        if row["type"] == "process_end":
            self.ending.add(step.image)
        if not told:
            return
        if row["type"] == "failed":
            if wanted.accepts(row):
                self.totals.update(failed_calls=1, events=1)
                self.rows.append(row)
            return
        ends = step.old is not None and step.old.accepted
        if step.new:
            step.new.accepted = wanted.accepts(row)
        begins = step.new is not None and step.new.accepted
        if ends:
            self.end(step.old, row, step.image)
        if begins:
            self.begin(step.new)
        if begins or ends:
            self.calls[row["function"]] += 1
            self.images.add(step.image)
            self.totals.update(events=1, reallocations=begins and ends)
            whole = row["type"] != "realloc" or (begins and ends)
            self.rows.append(row if whole else part_of(row, begins))
        elif row["type"] not in ("alloc", "free", "realloc") and \
                row["time_ns"] >= (wanted.since or 0) and \
                (not wanted.pids or row["pid"] in wanted.pids):
            self.rows.append(row)
        if self.joint > self.peak:
            self.peak, self.peak_time, self.at_its_peak = self.joint, row["time_ns"], True

    def note_peak(self):
        """Before something changes but for the better."""
        if not self.at_its_peak:
            return
        self.at_its_peak = False
        alive = [b for b in self.live.values() if b.image not in self.gone]
        self.peak_blocks, self.at_peak = len(alive), collections.Counter()
        for block in alive:
            self.at_peak[block.stack] += block.row["size"]

    def begin(self, block):
        size, slack = block.row["size"], block.row["usable"] - block.row["size"]
        if size == 0:
            self.note_peak()
        self.live[id(block)] = block
        self.joint += size
        both = {"allocations": 1, "allocated_bytes": size}
        self.totals.update(both, usable_bytes=block.row["usable"])
        self.by_stack[block.stack].update(both)
        self.by_image[block.image].update(both)
        thread = self.by_thread[block.row["pid"], block.row["tid"]]
        thread.update(both)
        thread["live"] += size
        thread["peak_bytes"] = max(thread["peak_bytes"], thread["live"])
        self.sizes[size.bit_length()].update(calls=1, bytes=size, live=1, slack=max(slack, 0))

    def end(self, block, row, image):
        size = block.row["size"]
        self.note_peak()
        del self.live[id(block)]
        if block.image not in self.gone:
            self.joint -= size
        both = {"frees": 1, "freed_bytes": size}
        self.totals.update(both)
        self.by_stack[block.stack].update(both)
        self.by_image[block.image].update(both)
        owner, by = (block.row["pid"], block.row["tid"]), (row["pid"], row["tid"])
        self.by_thread[by].update(both)
        self.by_thread[owner]["live"] -= size
        if owner != by:
            self.handed_over[owner, by].update(blocks=1, bytes=size)
        self.sizes[size.bit_length()]["live"] -= 1
        life = max(0, row["time_ns"] - block.row["time_ns"])
        self.lives[next((i for i in range(9) if life < 10 ** (i + 3)), 9)] += 1
        later = self.made[block.image, block.row["tid"]] - block.number
        if row["function"] != "realloc":
            self.by_stack[block.stack].update(temporary=later == 0, near=later <= self.within)
            self.totals.update(temporary=later == 0, near=later <= self.within)


def neighbours(right, function, step):
    """Who calls a function (step 1) or what it calls (-1), None being nobody or the
    allocator, with [leaked, at the peak, allocated, calls] of the stacks that have it so;
    and the same of all stacks that have it, with their number."""
    functions, table, total = functions_of(right.wanted.path), {}, [0] * 5
    for stack, counts in right.by_stack.items():
        path = [name for address in stack for name in functions[address]]
        at = [i for i, name in enumerate(path) if name == function]
        costs = [counts["leaked"], right.at_peak.get(stack, 0), counts["allocated_bytes"],
                 counts["allocations"], 1]
        for name in {path[i + step] if 0 <= i + step < len(path) else None for i in at}:
            table[name] = [a + b for a, b in zip(table.get(name, [0] * 4), costs)]
        if at:
            total = [a + b for a, b in zip(total, costs)]
    return table, total


def part_of(row, begins):
    """A realloc of which one block fits, as the dump tells it."""
    left = dict(row, type="alloc" if begins else "free")
    del left["old_address"]
    if begins:
        del left["begin_ticks"]
    else:
        left["address"] = row["old_address"]
        for name in ("size", "usable", "stack_id", "stack"):
            del left[name]
    return left
