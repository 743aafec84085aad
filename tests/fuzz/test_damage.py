# SPDX-License-Identifier: MIT
"""Damaged copies of real traces: the analyser, under AddressSanitizer and
UndefinedBehaviorSanitizer, neither crashes nor hangs nor asks for more memory
than MEMORY, tells the ranges it skipped, and reports every event outside the
damage. What is to be reported comes from the reference decoder.

MLOG_MUTANTS=5000 tries as many mutants of each trace instead of the usual few.
"""
import collections
import json
import os
import random
import subprocess
import zlib

import hostile
import mutate
import packed
import pytest
import reference
import support
from support import BUILD, PROGRAMS

SANITIZED = BUILD / "tests" / "fuzz" / "mlog-analyze-sanitized"
MUTANTS = int(os.environ.get("MLOG_MUTANTS", "0"))
FEW = len(mutate.MUTATIONS)         # whose events are compared
MANY = 4 * len(mutate.MUTATIONS)   # that are only run
MEMORY = 512                        # MiB, for any trace of this size
CORPUS = support.ROOT / "tests" / "fuzz" / "corpus"
PERL = '%h = map { $_ => [1 .. $_] } 1 .. 25; ' \
       'for (1, 2) { fork or do { $h{x} = "a" x 999; exit } } wait; wait'


@pytest.fixture(scope="session", autouse=True)
def built():
    assert SANITIZED.exists(), f"build it first: ninja -C {BUILD} sanitized"


def seeds(name, n):
    """As many in a row, so that each kind of mutation has its turn; others for each trace."""
    first = zlib.crc32(name.encode()) % 1000
    return range(first, first + n)


def environment():
    return support.clean_environment(
        ASAN_OPTIONS=f"hard_rss_limit_mb={MEMORY}:max_allocation_size_mb={MEMORY}:"
                     "allocator_may_return_null=1:exitcode=99",
        UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")


def analyze(path, *args, names=False):
    """No crash, no sanitizer's complaint, an end; its output parsed. `names`: those that
    there are without any file."""
    how = ["--sysroot", "/nowhere"] if names else ["--no-symbols"]
    done = support.run([SANITIZED, path, *how, *args], env=environment())
    assert done.returncode in (0, 1), (path, args, done)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, (path, done)
    assert len(done.stderr.splitlines()) == done.returncode, (path, done)
    return done


def in_sequence(chunks):
    """With numbers that rise, as they come from traces that all begin at 0."""
    numbers = collections.Counter()
    for chunk in chunks:
        head = bytearray(chunk[:44])
        stream = bytes(head[4:5] + head[16:28])
        head[28:32] = numbers[stream].to_bytes(4, "little")
        numbers[stream] += 1
        yield bytes(head) + zlib.crc32(head).to_bytes(4, "little") + chunk[48:]


class Traces(dict):
    """By name and layout, as the fixture says; those of i386 when they are first asked for,
    which may skip the test."""

    def __init__(self, root, ports):
        self.root, self.ports = root, ports

    def __missing__(self, kind):
        name, layout = kind
        assert name == "i386", kind
        port = self.ports("i386")
        path = self.root / f"i386-{layout}"
        redirect = {"mapped": '1022>"$trace"',
                    "stream": '1022>&1 >/dev/null | cat >"$trace"'}[layout]
        done = port.trace([port.program("threads"), "6", "300"], path, redirect=redirect)
        assert done.returncode == 0, done
        self[kind] = path
        return path


@pytest.fixture(scope="module")
def traces(tmp_path_factory, ports):
    """The same programs as mapped traces and as streams: one thread, six threads, these also
    of 32 bits, and perl with two forks; and a stream of everything that is seldom recorded."""
    root = tmp_path_factory.mktemp("traces")
    commands = {"threads": [PROGRAMS / "threads", 6, 300], "perl": ["perl", "-e", PERL],
                "alone": [PROGRAMS / "churn", 2000]}
    made = Traces(root, ports)
    records = [hostile.definitions([hostile.program(), hostile.thread(1, 1)])] + \
        [chunk for name in ("marks", "texts", "threads_that_lost", "reallocs", "times",
                            "processes_forking", "processes_ending", "stack_ids")
         for chunk in hostile.TRACES[name](48)]
    made["records", "stream"] = root / "records"
    made["records", "stream"].write_bytes(
        hostile.trace_header(hostile.STREAM, 0) + b"".join(in_sequence(records)))
    for name, command in commands.items():
        path = root / f"{name}-mapped"
        support.trace(command, path)
        made[name, "mapped"] = path
        path = root / f"{name}-stream"
        support.bash('out=$1; shift; mkfifo "$out.fifo"; cat "$out.fifo" >"$out" & '
                     'LD_PRELOAD=$LIB "$@" 1022>"$out.fifo"; wait', path, *command)
        made[name, "stream"] = path
    return made


KINDS = [(name, layout) for name in ("threads", "perl", "alone")
         for layout in ("mapped", "stream")] + [("records", "stream")] + \
    [pytest.param("i386", layout, marks=pytest.mark.xdist_group("port-i386"))
     for layout in ("mapped", "stream")]
EVENTS = {"alloc", "free", "realloc", "failed"}


def key(line):
    return line["type"], line["ticks"], line.get("size", 0)


def expected_events(trace, damaged):
    """What the reference decoder finds outside the damaged ranges, and behind
    no damaged piece of the same chunk."""
    bad, broken, pieces = collections.Counter(), set(), collections.Counter()
    for chunk in trace.original.chunks:
        whole = (chunk.key(), chunk.sequence)
        if any(a < chunk.end and chunk.offset < b for a, b in damaged):
            broken.add(whole)
        if whole in broken:
            bad[chunk.offset] = 1
    for process, stream, offset, item in trace.items:
        if not bad[offset]:
            line = trace.reference.line(process, stream, item)
            if line and line["type"] in EVENTS:
                pieces[key(line)] += 1
    return pieces


class Known:
    """A whole trace as the reference decoder sees it."""

    def __init__(self, data):
        self.original = mutate.Original(data)
        self.reference = reference.Trace(data)
        self.items = [(self.reference.processes[chunk.process], chunk.stream, chunk.offset, item)
                      for chunk in self.reference.chunks
                      for item in self.reference.items[chunk.offset]]


def check_ranges(audit, size):
    """Ranges lie in the file, do not overlap, and sum up."""
    end = 0
    for one in audit["skipped"]:
        assert one["bytes"] > 0 and one["reason"]
        assert one["offset"] >= end, audit["skipped"]
        end = one["offset"] + one["bytes"]
    assert end <= size, (audit["skipped"], size)
    if len(audit["skipped"]) < 256:
        assert sum(one["bytes"] for one in audit["skipped"]) == audit["skipped_bytes"]


def reported(path):
    lines = (json.loads(line) for line in analyze(path, "--dump=json").stdout.splitlines())
    return collections.Counter(key(line) for line in lines if line["type"] in EVENTS)


@pytest.mark.parametrize("name, layout", KINDS)
def test_all_that_is_not_damaged_is_reported(traces, tmp_path, name, layout):
    known = Known(traces[name, layout].read_bytes())
    path = tmp_path / "t"
    for seed in seeds(f"{name} {layout}", MUTANTS or FEW):
        mutant = mutate.mutant(known.original, seed)
        where = f"seed {seed}: {mutant.name}, {mutant.damaged}"
        path.write_bytes(mutant.data)
        done = analyze(path, "--json")
        missing = expected_events(known, mutant.damaged) - reported(path)
        assert not missing, (where, sum(missing.values()), done.stderr)
        whole = json.loads(done.stdout)
        check_ranges(whole["audit"], len(mutant.data))
        if mutant.told:
            assert done.returncode == 1 and not whole["audit"]["complete"], (where, done)


@pytest.mark.parametrize("name, layout", KINDS)
def test_no_mutant_crashes_the_analyser(traces, tmp_path, name, layout):
    """Many more of them, in one process, through every report and every dump;
    those of compressed traces are damaged before or after compression."""
    original = mutate.Original(traces[name, layout].read_bytes())
    for seed in range(10000, 10000 + (MUTANTS or MANY)):
        mutant = mutate.mutant(original, seed)
        (tmp_path / f"{seed}").write_bytes(mutant.data)
    done = support.run([BUILD / "tests/fuzz/replay-trace", tmp_path], env=environment())
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == f"{MUTANTS or MANY} inputs\n"


@pytest.mark.parametrize("layout", ["mapped", "stream"])
def test_no_damage_to_zstd_crashes_the_analyser(traces, tmp_path, layout):
    data = traces["threads", layout].read_bytes()
    packed = subprocess.run(["zstd", "-q", "-c"], input=data, check=True,
                            stdout=subprocess.PIPE).stdout
    for seed in range(MUTANTS or MANY):
        (tmp_path / f"{seed}").write_bytes(mutate.damage_bytes(packed, seed))
    done = support.run([BUILD / "tests/fuzz/replay-zstd", tmp_path], env=environment())
    assert done.returncode == 0, done.stderr[-4000:]


PACKED = ["threads in a file", "threads in a pipe", "perl in a file", "perl in a pipe",
          "bundle of mapped", "bundle of stream"]
FEW_PACKED = len(packed.MUTATIONS)


@pytest.fixture(scope="module")
def compressed(traces, tmp_path_factory):
    """Traces that the library compressed, in frames of its own; and bundles, which are the
    symbols and one frame, of several blocks."""
    root = tmp_path_factory.mktemp("compressed")
    environ = support.clean_environment(MLOG_COMPRESS="zstd")
    made = {}
    for name, command in (("threads", [PROGRAMS / "threads", 6, 2000]), ("perl", ["perl", "-e", PERL])):
        made[f"{name} in a file"], made[f"{name} in a pipe"] = root / f"{name}-f", root / f"{name}-p"
        support.trace(command, root / f"{name}-f", env=environ)
        support.bash('out=$1; shift; { LD_PRELOAD=$LIB "$@" 1022>&1 >/dev/null; } | cat >"$out"',
                     root / f"{name}-p", *command, env=environ)
    support.trace([PROGRAMS / "threads", 6, 2000], root / "mapped")
    support.run(["zstd", "-dqo", root / "stream", root / "threads-p"])
    for layout in ("mapped", "stream"):
        made[f"bundle of {layout}"] = root / f"{layout}.mlogz"
        support.analyze(root / layout, "--bundle", made[f"bundle of {layout}"])
    return made


@pytest.mark.parametrize("name", PACKED)
def test_all_that_is_not_in_damaged_frames_is_reported(compressed, tmp_path, name):
    """Of a damaged frame what lies before the damaged block, and all of the others."""
    original = packed.Packed(compressed[name].read_bytes())
    assert len(original.frames) > 3 or (original.bundle and len(original.frames[1].blocks) > 1)
    known = Known(original.trace.data)
    path = tmp_path / "t"
    for seed in seeds(name, MUTANTS or FEW_PACKED):
        mutant = packed.mutant(original, seed)
        where = f"seed {seed}: {mutant.name}, {mutant.damaged}"
        path.write_bytes(mutant.data)
        done = analyze(path, "--json", names=True)
        missing = expected_events(known, mutant.damaged) - reported(path)
        assert not missing, (where, sum(missing.values()), done.stderr)
        audit = json.loads(done.stdout)["audit"] if done.stdout else None
        if audit:
            check_ranges(audit, 2 * len(original.trace.data) + len(mutant.data))
        if mutant.told:
            assert done.returncode == 1 and not (audit and audit["complete"]), (where, done)


@pytest.mark.parametrize("size", [0x0f000000, 0x7fffffff, 800_000, 7])
def test_a_bundle_whose_symbols_have_a_wrong_size(compressed, tmp_path, size):
    """GIVEN a bundle larger than any buffer, whose first frame says that it is larger or
    smaller than it is, THEN that is said, and the trace behind it is read whole."""
    whole = compressed["bundle of mapped"].read_bytes()
    path = tmp_path / "t"
    path.write_bytes(whole[:4] + size.to_bytes(4, "little") + whole[8:] +
                     b"\x50\x2a\x4d\x18" + (700_000).to_bytes(4, "little") + bytes(700_000))
    assert reported(path) == reported(compressed["bundle of mapped"])
    done = analyze(path, names=True)
    assert done.returncode == 1 and "damaged near compressed byte 0" in done.stderr, done


@pytest.mark.parametrize("name", PACKED)
def test_no_damage_to_what_mlog_compressed_crashes_the_analyser(compressed, tmp_path, name):
    original = packed.Packed(compressed[name].read_bytes())
    for seed in range(10000, 10000 + (MUTANTS or MANY)):
        (tmp_path / f"{seed}").write_bytes(packed.mutant(original, seed).data)
    done = support.run([BUILD / "tests/fuzz/replay-zstd", tmp_path], env=environment())
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == f"{MUTANTS or MANY} inputs\n"


def whole_chunks(original):
    """Chunks of events whose place in the file tells nothing: in a stream, those that came in
    one piece."""
    numbers = collections.Counter((chunk.key(), chunk.sequence) for chunk in original.chunks)
    return [chunk for chunk in original.chunks
            if numbers[chunk.key(), chunk.sequence] == 1 and chunk.kind == 1]


@pytest.mark.parametrize("name, layout", KINDS)
def test_what_came_twice_is_counted_and_left_out(traces, tmp_path, name, layout):
    """Each chunk a second time, right behind itself: the report is the same but for the audit,
    which counts and names each."""
    original = mutate.Original(traces[name, layout].read_bytes())
    data = original.data
    twice = data[:original.first] + b"".join(
        data[chunk.offset:chunk.end] * 2 for chunk in original.chunks)
    (tmp_path / "t").write_bytes(twice)
    whole, again = (json.loads(analyze(path, "--json", "--leaks", "--peak", "--summary").stdout)
                    for path in (traces[name, layout], tmp_path / "t"))
    assert again["summary"] == whole["summary"]
    assert [stack["bytes"] for stack in again["leaks"]] == \
        [stack["bytes"] for stack in whole["leaks"]]
    assert reported(tmp_path / "t") == reported(traces[name, layout])
    audit = again["audit"]
    assert audit["duplicate_chunks"] == len(original.chunks) and not audit["complete"]
    assert audit["skipped_bytes"] == sum(chunk.end - chunk.offset for chunk in original.chunks)
    assert {one["reason"] for one in audit["skipped"]} == {"a chunk seen before"}


@pytest.mark.parametrize("name, layout", KINDS)
def test_the_order_of_chunks_changes_nothing(traces, tmp_path, name, layout):
    """Whole chunks of events of one stream change places: numbers put them right again."""
    original = mutate.Original(traces[name, layout].read_bytes())
    by_stream = collections.defaultdict(list)
    for chunk in whole_chunks(original):
        by_stream[chunk.key()].append(chunk)
    data, chance = original.data, random.Random(1)
    places = {}
    for chunks in by_stream.values():
        for place, chunk in zip(chunks, chance.sample(chunks, len(chunks))):
            places[place.offset] = chunk
    moved = data[:original.first] + b"".join(
        data[one.offset:one.end]
        for one in (places.get(chunk.offset, chunk) for chunk in original.chunks))
    (tmp_path / "t").write_bytes(moved)
    whole, again = (json.loads(analyze(path, "--json", "--summary").stdout)
                    for path in (traces[name, layout], tmp_path / "t"))
    assert again["summary"] == whole["summary"]
    assert again["audit"]["missing_chunks"] == whole["audit"]["missing_chunks"]
    assert reported(tmp_path / "t") == reported(traces[name, layout])


@pytest.mark.parametrize("target", ["trace", "zstd", "elf", "pack", "text"])
def test_nothing_found_by_fuzzing_comes_back(target):
    folders = [CORPUS / target] + ([support.ROOT / "format" / "vectors"] * (target == "trace"))
    done = support.run([BUILD / f"tests/fuzz/replay-{target}", *folders], env=environment())
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout.split()[0]) >= 5


@pytest.mark.parametrize("layout", ["mapped", "stream"])
def test_two_traces_one_after_the_other(traces, tmp_path, layout):
    """`cat a b`: of streams both are reported; of mapped traces, whose second
    header is no chunk, too, and the header is told as skipped."""
    one, two = (traces[name, layout] for name in ("threads", "perl"))
    path = tmp_path / "t"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    done = analyze(path, "--json")
    got = reported(path)
    for name in (one, two):
        assert not expected_events(Known(name.read_bytes()), []) - got
    assert done.returncode == (layout == "mapped"), done


def test_a_hole_in_the_middle_of_a_file(traces, tmp_path):
    """GIVEN a mapped trace with a hole of 3 GiB, as a copy that went wrong
    leaves it: what lies behind the hole is read, in no time."""
    data = traces["threads", "mapped"].read_bytes()
    known = Known(data)
    at = known.original.chunks[4].offset
    path = tmp_path / "t"
    with open(path, "wb") as file:
        file.write(data[:at])
        file.seek(at + (3 << 30))
        file.write(data[at:known.original.end])
    assert not expected_events(known, []) - reported(path)


def test_the_audit_names_range_and_reason(traces, tmp_path):
    """GIVEN a stream with one byte of a chunk flipped, the audit in text and
    JSON names that chunk, from its first byte to its last, and why."""
    known = Known(traces["threads", "stream"].read_bytes())
    chunk = max(known.original.chunks, key=lambda c: c.end - c.offset)
    data = bytearray(known.original.data)
    data[chunk.begin + 99] ^= 4
    path = tmp_path / "t"
    path.write_bytes(data)
    done = analyze(path, "--json")
    first = json.loads(done.stdout)["audit"]["skipped"][0]
    assert first == {"offset": chunk.offset, "bytes": chunk.end - chunk.offset,
                     "reason": "the CRC of a chunk's payload is wrong"}
    text = analyze(path).stdout
    assert f"bytes {chunk.offset} to {chunk.end}: the CRC of a chunk's payload is wrong" in text


@pytest.mark.parametrize("name, layout", KINDS)
@pytest.mark.parametrize("size", [1, 64, 5000])
def test_a_trace_behind_something_else(traces, tmp_path, name, layout, size):
    """`cat note.txt trace`: both readers find it, wherever its units lie."""
    data = traces[name, layout].read_bytes()
    path = tmp_path / "t"
    path.write_bytes(b"a note".ljust(size, b".")[:size] + data)
    expected = expected_events(Known(data), [])
    assert reported(path) == expected
    found = reference.Trace(path.read_bytes())
    assert found.audit.skipped == [(0, size, found.audit.skipped[0][2])]
    lines = collections.Counter(key(line) for line in found.events() if line["type"] in EVENTS)
    assert lines == expected
    first = json.loads(analyze(path, "--json").stdout)["audit"]["skipped"]
    assert first == [{"offset": 0, "bytes": size,
                      "reason": "the trace begins behind something else"}]
