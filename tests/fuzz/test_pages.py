# SPDX-License-Identifier: MIT
"""Every page of a mapped trace, zeroed: no page is lost in silence. Either the
audit names byte ranges that cover what was in it, or nothing of the report has
changed. The one record with which a chunk ends that tells of another chunk
(FILLED) is told by none itself, and may be lost.
"""
import json

import mutate
import pytest
import reference
import support
from support import ANALYZE, PROGRAMS

PYTHON = """
import os, subprocess, threading, time
def work(started):
    kept = [bytes(1234 + (i & 63)) for i in range(1500)]
    started.set()
    time.sleep(600)
for _ in range(3):                      # still there when the program is replaced
    started = threading.Event()
    threading.Thread(target=work, args=(started,), daemon=True).start()
    started.wait()
if os.fork() == 0:
    kept = [bytes(777) for _ in range(500)]
    os._exit(3)
os.wait()
os.execv("%s", ["threads", "2", "500"])
""" % (PROGRAMS / "threads")
COMMANDS = {"threads": [PROGRAMS / "threads", 4, 1500], "tree": [support.PYTHON, "-c", PYTHON]}
COMPARED = 5                            # every so many-th page also with the reference decoder


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    root = tmp_path_factory.mktemp("pages")
    for name, command in COMMANDS.items():
        support.trace(command, root / name)
    return root


def read(path, way):
    """Exit status, audit, and all other numbers."""
    if way == "file":
        done = support.run([ANALYZE, path, "--json", "--no-symbols", "--top", "0"])
    else:
        done = support.run([ANALYZE, "-", "--json", "--no-symbols", "--top", "0"],
                           input=path.read_bytes())
    whole = json.loads(done.stdout)
    whole.pop("trace")
    return done.returncode, whole.pop("audit"), whole


def is_covered(begin, end, ranges):
    for one in sorted(ranges, key=lambda one: one["offset"]):
        if one["offset"] <= begin < one["offset"] + one["bytes"]:
            begin = one["offset"] + one["bytes"]
    return begin >= end


def zeroed_pages(data):
    """Of each page that is not zero: the trace without it, where it begins, and where
    what a reader must miss ends (where it begins: there is nothing)."""
    original = mutate.Original(data)
    for at in range(0, len(data), mutate.PAGE):
        page = data[at:at + mutate.PAGE]
        if any(page):
            yield data[:at] + bytes(len(page)) + data[at + len(page):], at, \
                original.last_told(at, at + len(page))


@pytest.mark.parametrize("way", ["file", "pipe"])
@pytest.mark.parametrize("name", COMMANDS)
def test_no_page_is_lost_in_silence(traces, tmp_path, name, way):
    data = (traces / name).read_bytes()
    status, audit, figures = read(traces / name, way)
    assert status == 0 and audit["complete"], audit
    path = tmp_path / "t"
    tried = told = 0
    for damaged, at, end in zeroed_pages(data):
        path.write_bytes(damaged)
        status, audit, got = read(path, way)
        tried += 1
        if audit["complete"]:
            assert got == figures and end == at and status == 0, (at, end)
            continue
        told += 1
        assert status == 1, (at, audit)
        assert is_covered(at, end, audit["skipped"] + audit["unwritten"]), (at, end, audit)
        if tried % COMPARED == 0 and way == "file":
            found = reference.Trace(damaged).audit
            assert [(a, b - a) for a, b, _ in sorted(found.skipped)] == \
                [(one["offset"], one["bytes"]) for one in audit["skipped"]]
            assert found.unwritten_units == audit["unwritten_units"]
            assert found.missing_chunks == audit["missing_chunks"]
    assert told > 20 and tried - told < 6


def test_text_names_the_bytes(traces, tmp_path):
    """GIVEN the last page of a thread's events zeroed, THEN the text report names them."""
    data = (traces / "threads").read_bytes()
    original = mutate.Original(data)
    chunk = max((c for c in original.chunks if c.kind == reference.EVENTS),
                key=lambda c: len(data[c.offset:c.end].rstrip(b"\0")))
    used = len(data[:chunk.end].rstrip(b"\0"))
    at = (used - 1) // mutate.PAGE * mutate.PAGE
    assert at > chunk.offset
    path = tmp_path / "t"
    path.write_bytes(data[:at] + bytes(mutate.PAGE) + data[at + mutate.PAGE:])
    end = original.last_told(at, at + mutate.PAGE)
    text = support.run([ANALYZE, path, "--no-symbols"])
    assert text.returncode == 1
    assert f"  bytes {at} to {end}: zeros where a chunk had been filled" in text.stdout, text


def test_a_lost_chunk_is_told_though_nothing_follows_it(traces, tmp_path):
    """GIVEN the last events chunk of a thread dropped, or its only one of definitions: that
    it was there is known from what the thread's other chunks say."""
    data = (traces / "threads").read_bytes()
    original = mutate.Original(data)
    last = {chunk.key(): chunk for chunk in original.chunks}
    path = tmp_path / "t"
    for chunk in last.values():
        path.write_bytes(data[:chunk.offset] + bytes(chunk.end - chunk.offset) + data[chunk.end:])
        status, audit, _ = read(path, "file")
        assert status == 1 and not audit["complete"]
        assert audit["missing_chunks"] == 1
        assert is_covered(chunk.offset, chunk.end, audit["unwritten"]), (chunk, audit)


def test_what_a_killed_program_leaves_is_no_damage(tmp_path):
    """GIVEN a program killed in the middle of its chunks, THEN nothing is said of the space
    that it never filled."""
    support.trace(["perl", "-e", "@a = map { 'x' x (100 + $_) } 1 .. 20000; kill 9, $$"],
                  tmp_path / "t")
    status, audit, whole = read(tmp_path / "t", "file")
    assert status == 0 and audit["complete"] and audit["skipped"] == [], audit
    assert whole["summary"]["allocations"] > 20000
