# SPDX-License-Identifier: MIT
"""The trace format's vectors against both readers.

Each vector is decoded by the reference decoder and by `mlog-analyze
--dump=json`, and both are compared with the lines that the vector's writer
meant. MLOG_BUILD names the build directory that holds analyzer/mlog-analyze.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FORMAT = Path(__file__).resolve().parents[2] / "format"
VECTORS = FORMAT / "vectors"
sys.path[:0] = [str(FORMAT), str(VECTORS)]

import generate                                             # noqa: E402
import reference                                            # noqa: E402
from vectors_invalid import invalid                         # noqa: E402
from vectors_items import HEAP                              # noqa: E402
from vectors_valid import VALID, large_units                # noqa: E402
from trace_writer import MAPPED, Trace                      # noqa: E402

Lines = list[dict[str, Any]]
VALID_NAMES = sorted(VALID)
INVALID_NAMES = sorted(invalid())


def expected_lines(name: str) -> Lines:
    return [json.loads(line) for line in (VECTORS / f"{name}.jsonl").read_text().splitlines()]


def expectation(name: str) -> dict[str, Any]:
    return json.loads((VECTORS / f"{name}.expect").read_text())


def reference_lines(data: bytes) -> Lines:
    return list(reference.Trace(data).events())


# --- the vectors themselves -------------------------------------------------------------------


def test_vectors_are_what_generate_writes():
    files = generate.all_files()
    present = {path.name for path in VECTORS.iterdir()
               if path.suffix in (".mlog", ".jsonl", ".bad", ".expect")}
    assert present == set(files), "run format/vectors/generate.py, or remove what it no longer has"
    for name, contents in files.items():
        assert (VECTORS / name).read_bytes() == contents, f"{name}: run format/vectors/generate.py"


def test_worked_example_in_the_document_is_the_vector():
    rows = re.findall(r"^    ([0-9a-f]{4})  ([0-9a-f ]+?) +; ", (FORMAT / "FORMAT.md").read_text(),
                      re.MULTILINE)
    data = b""
    for offset, row in rows:
        assert int(offset, 16) == len(data)
        data += bytes.fromhex(row)
    assert data == (VECTORS / "worked-example.mlog").read_bytes()


def test_functions_are_those_of_the_shared_header():
    rows = re.findall(r"X\((\d+), (\w+), (\d)\)", (FORMAT / "mlf_format.h").read_text())
    assert [name for _, name, _ in rows] == reference.FUNCTIONS
    assert [int(number) for number, _, _ in rows] == list(range(len(rows)))
    assert {int(number) for number, _, aligned in rows if aligned == "1"} == \
        reference.ALIGNED_FUNCTIONS


def test_between_them_the_vectors_use_every_tag():
    """Every record, node tag, address code and ALLOC flag, by the items as they stand."""
    node_tags, event_tags, records = set(), set(), set()
    for name in VALID_NAMES:
        data = (VECTORS / f"{name}.mlog").read_bytes()
        trace = reference.Trace(data)
        for chunk in trace.chunks:
            for item in trace.items[chunk.offset]:
                tag = data[item.offset]
                (records if tag < 0x40 else node_tags if chunk.kind == reference.DEFINITIONS
                 else event_tags).add(tag)
    assert records >= set(reference.RECORDS)
    assert node_tags == set(range(0x40, 0x50))
    assert event_tags >= {0x40, 0x41, 0x42, 0x80, 0x80 | 59, 0x80 | 60, 0x80 | 61, 0x80 | 62}
    assert {tag & 0x3f for tag in event_tags if tag >= 0xc0} == \
        {flags for flags in range(64) if flags & 12 != 4}


# --- the reference decoder --------------------------------------------------------------------


@pytest.mark.parametrize("name", VALID_NAMES)
def test_reference_reads_valid(name: str):
    trace = reference.Trace((VECTORS / f"{name}.mlog").read_bytes())
    assert list(trace.events()) == expected_lines(name)
    assert trace.audit.skipped == []
    assert trace.audit.truncated is None
    assert trace.audit.missing_chunks == trace.audit.unknown_nodes == 0
    assert trace.audit.unknown_modules == trace.audit.unknown_processes == 0


@pytest.mark.parametrize("name", INVALID_NAMES)
def test_reference_reads_invalid(name: str):
    data = (VECTORS / f"{name}.bad").read_bytes()
    found: dict[str, Any]
    try:
        trace = reference.Trace(data)
        events = len(list(trace.events()))
        found = {"skipped": [list(entry) for entry in sorted(trace.audit.skipped)],
                 "truncated": trace.audit.truncated, "events": events}
        if trace.audit.changed:
            found["changed"] = [list(entry) for entry in sorted(trace.audit.changed)]
    except reference.FormatError as error:
        found = {"error": {"offset": error.offset, "reason": error.reason}}
    assert found == expectation(name)


@pytest.mark.parametrize("unit_log2", [12, 14, 15, 16])
def test_reference_reads_every_unit(unit_log2: int):
    trace = large_units(unit_log2)
    assert reference_lines(trace.bytes()) == trace.expected() != []


def streams(lines: Lines) -> dict[tuple[int, int], list[str]]:
    by_stream: dict[tuple[int, int], list[str]] = {}
    for line in lines:
        by_stream.setdefault((line["pid"], line["stream"]), []).append(line["type"])
    return by_stream


@pytest.mark.parametrize("name", ["worked-example", "pieces", "handover", "reload"])
def test_a_cut_at_any_byte_loses_only_what_follows(name: str):
    data = (VECTORS / f"{name}.mlog").read_bytes()
    whole = reference_lines(data)
    counts = []
    for length in range(reference.TRACE_HEADER, len(data) + 1):
        trace = reference.Trace(data[:length])
        lines = list(trace.events())
        counts.append(len(lines))
        full = streams(whole)
        for stream, types in streams(lines).items():
            if stream[0]:                   # the PROCESS record has come through
                assert full[stream][:len(types)] == types
        assert not trace.audit.skipped
        if length < len(data) and trace.audit.truncated is not None:
            assert trace.audit.truncated <= length
    assert counts == sorted(counts) and counts[-1] == len(whole)


@pytest.mark.parametrize("name", ["worked-example", "functions", "nodes"])
def test_any_wrong_byte_is_survived_and_told(name: str):
    data = (VECTORS / f"{name}.mlog").read_bytes()
    whole = reference_lines(data)
    rng = random.Random(123)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= rng.randrange(1, 256)
        try:
            trace = reference.Trace(bytes(changed))
            lines = list(trace.events())
        except reference.FormatError:
            continue
        if not (36 <= at < 64):             # the unused or changing part of the header
            assert trace.audit.skipped or trace.audit.truncated is not None
        assert len(lines) <= len(whole)


def test_wrong_bytes_of_a_mapped_trace_are_survived():
    """There is no CRC over events there: whatever it means, it must not fail otherwise."""
    data = (VECTORS / "mapped.mlog").read_bytes()
    rng = random.Random(456)
    for _ in range(500):
        changed = bytearray(data)
        for _ in range(rng.randrange(1, 30)):
            at = rng.randrange(len(data)) if rng.random() < 0.2 else \
                4096 * rng.randrange(1, 9) + rng.randrange(120)
            changed[at] = rng.randrange(256)
        try:
            reference_lines(bytes(changed))
        except reference.FormatError:
            pass


def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(FORMAT / "reference.py"), *arguments],
                          capture_output=True, text=True, timeout=300, **options)


def test_reference_as_a_command():
    path = VECTORS / "handover.mlog"
    run = command(str(path))
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == path.with_suffix(".jsonl").read_text()
    with path.open("rb") as file:
        assert command("-", stdin=file).stdout == run.stdout

    raw = [json.loads(line) for line in command("--raw", str(path)).stdout.splitlines()]
    assert [item["item"] for item in raw[:3]] == ["CHUNK", "PROCESS", "TEXT"]
    assert [item["at"] for item in raw] == sorted(item["at"] for item in raw)

    run = command("--audit", str(VECTORS / "payload-crc.bad"))
    audit = json.loads(run.stdout)
    assert audit["missing_chunks"] == 1
    assert [entry["reason"] for entry in audit["skipped"]] == ["CRC of the payload"]
    run = command(str(VECTORS / "payload-crc.bad"))
    assert run.returncode == 0 and "skipped bytes" in run.stderr

    for bad in ("empty-file.bad", "text-file.bad", "missing", "."):
        run = command(str(VECTORS / bad))
        assert run.returncode == 1 and run.stdout == "" and run.stderr.count("\n") == 1


# --- the C reader -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def analyze() -> str:
    build = os.environ.get("MLOG_BUILD")
    if not build:
        pytest.fail("MLOG_BUILD is not set: it must name the build directory whose "
                    "analyzer/mlog-analyze these tests compare with the reference decoder")
    path = Path(build) / "analyzer" / "mlog-analyze"
    if not path.exists():
        pytest.fail(f"{path} does not exist: build it first (meson compile)")
    return str(path)


# What the C reader adds to each line.
ADDED = ("time_ns", "begin_time_ns", "tid")


def comparable(lines: Lines) -> Lines:
    return [{key: value for key, value in line.items() if key not in ADDED}
            for line in lines]


def dump(analyze: str, data: bytes | Path) -> tuple[Lines, subprocess.CompletedProcess[bytes]]:
    """The analyser's lines for a file, or for bytes on its standard input."""
    if isinstance(data, Path):
        run = subprocess.run([analyze, "--dump=json", str(data)], capture_output=True, timeout=300)
    else:
        run = subprocess.run([analyze, "--dump=json", "-"], input=data, capture_output=True,
                             timeout=300)
    return [json.loads(line) for line in run.stdout.splitlines()], run


def ended_as_told(run: subprocess.CompletedProcess[bytes], damaged: bool) -> None:
    """A damaged trace is read as far as it goes, with one line about it and status 1."""
    assert run.returncode == int(damaged), run.stderr
    assert run.stderr.count(b"\n") == int(damaged), run.stderr


@pytest.mark.parametrize("name", VALID_NAMES)
def test_analyzer_reads_valid(analyze: str, name: str):
    path = VECTORS / f"{name}.mlog"
    lines, run = dump(analyze, path)
    assert run.returncode == 0, run.stderr
    assert comparable(lines) == comparable(expected_lines(name))
    assert dump(analyze, path.read_bytes())[0] == lines      # the same through a pipe


@pytest.mark.parametrize("unit_log2", [12, 14, 15, 16])
def test_analyzer_reads_every_unit(analyze: str, tmp_path: Path, unit_log2: int):
    trace = large_units(unit_log2)
    path = tmp_path / "large.mlog"
    path.write_bytes(trace.bytes())
    assert comparable(dump(analyze, path)[0]) == comparable(trace.expected())


@pytest.mark.parametrize("name", INVALID_NAMES)
def test_analyzer_reads_invalid(analyze: str, name: str):
    path = VECTORS / f"{name}.bad"
    expect = expectation(name)
    lines, run = dump(analyze, path)
    if "error" in expect:
        assert run.returncode == 1 and lines == []
        assert run.stderr.count(b"\n") == 1
        return
    ended_as_told(run, bool(expect["skipped"]) or expect["truncated"] is not None
                  or "changed" in expect)
    assert comparable(lines) == comparable(reference_lines(path.read_bytes()))
    report = subprocess.run([analyze, "--json", "--summary", str(path)], capture_output=True,
                            timeout=300)
    audit = json.loads(report.stdout)["audit"]
    ranges = sorted((entry["offset"], entry["offset"] + entry["bytes"])
                    for entry in audit["skipped"])
    assert [[entry["offset"], entry["offset"] + entry["bytes"]] for entry in audit["changed"]] \
        == expect.get("changed", [])
    assert audit["changed_chunks"] == len(audit["changed"])
    assert len(ranges) == len(expect["skipped"])
    for (begin, end), (expected_begin, expected_end, reason) in zip(ranges, expect["skipped"]):
        # Where a piece of a chunk is missing, those after it are counted with header or without.
        assert begin - expected_begin in ((0, 48) if "missing" in reason else (0,))
        assert end == expected_end


@pytest.mark.parametrize("name, every", [("worked-example", 1), ("pieces", 5)])
def test_analyzer_reads_every_cut(analyze: str, name: str, every: int):
    data = (VECTORS / f"{name}.mlog").read_bytes()
    for length in range(reference.TRACE_HEADER, len(data), every):
        lines, run = dump(analyze, data[:length])
        trace = reference.Trace(data[:length])
        ended_as_told(run, trace.audit.truncated is not None)
        assert comparable(lines) == comparable(list(trace.events())), length


@pytest.mark.parametrize("seed", range(4))
def test_analyzer_agrees_on_wrong_bytes(analyze: str, seed: int):
    """Damage behind the trace header: both readers find the same events."""
    names = ["worked-example", "functions", "pieces", "fork-and-exec", "handover"]
    rng = random.Random(seed)
    for _ in range(25):
        data = bytearray((VECTORS / f"{rng.choice(names)}.mlog").read_bytes())
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(reference.TRACE_HEADER, len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            at = rng.randrange(reference.TRACE_HEADER, len(data))
            del data[at:at + rng.randrange(1, 60)]
        lines, run = dump(analyze, bytes(data))
        assert run.returncode in (0, 1), run.stderr
        assert comparable(lines) == comparable(reference_lines(bytes(data)))


@pytest.mark.parametrize("layout", [MAPPED, 2])
@pytest.mark.parametrize("seed", range(3))
def test_readers_agree_on_random_traces(analyze: str, tmp_path: Path, seed: int, layout: int):
    """Threads at random, with every encoding that the writer would choose itself."""
    rng = random.Random(seed)
    trace = Trace(layout)
    process = trace.process(77)
    definitions = process.definitions()
    definitions.process_record()
    definitions.module(1, 0x400000, b"/bin/x", flags=1)
    nodes = [0]
    for stream in (1, 2, 3):
        definitions.thread(stream, 76 + stream)
    for _ in range(200):
        nodes.append(definitions.node(1, rng.randrange(1 << 16), parent=rng.choice(nodes)))
    definitions.write()
    chunks = {stream: process.events(stream, 100) for stream in (1, 2, 3)}
    live: list[int] = []
    time, top = 100, HEAP
    for _ in range(3000):
        time += rng.choice((0, 1, 5, 300, 100000))
        stream = rng.choice((1, 1, 1, 2, 3))
        chunk = chunks[stream]
        if len(chunk.payload) > 3000:
            chunk.write()
            chunk = chunks[stream] = process.events(stream, time)
        if live and rng.random() < 0.45:
            chunk.free(time, live.pop(rng.randrange(-min(len(live), 100), 0)))
            continue
        size = rng.choice((8, 24, 100, rng.randrange(1 << rng.randrange(1, 40))))
        stack = rng.choice(nodes[:20] if rng.random() < 0.8 else nodes)
        address = top + 16 * rng.randrange(3)
        top += size + 64 & ~15
        if live and rng.random() < 0.2:
            begin, time = time, time + rng.randrange(50)
            old = live.pop(rng.randrange(len(live)))
            chunk.realloc(begin, time, old, rng.choice((old, address)), size, stack)
            live.append(int(chunk.lines[-1]["address"], 16))
            continue
        function = rng.choice(("malloc",) * 8 + ("calloc", "memalign"))
        chunk.alloc(time, address, size, stack, function=function,
                    alignment=64 if function == "memalign" else None,
                    usable=rng.choice((None, None, size + 3)))
        live.append(address)
    for chunk in chunks.values():
        chunk.write()
    data = trace.bytes()
    assert reference_lines(data) == trace.expected()
    path = tmp_path / "random.mlog"
    path.write_bytes(data)
    assert comparable(dump(analyze, path)[0]) == comparable(trace.expected())
