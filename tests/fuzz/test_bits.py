# SPDX-License-Identifier: MIT
"""Single bits of a mapped trace, flipped: none makes other numbers in silence. Every bit
that a checksum covers is told by its chunk, and what no checksum covers of a program that
ended is one record.
"""
import json
import random

import pytest
import support
from mutate import reference
from support import ANALYZE, PROGRAMS

FLIPS = {"file": 100, "pipe": 20}
WORK = """
import os, threading
def work(n):
    kept = [bytes(1234 + n + (i & 63)) for i in range(700)]
threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if os.fork() == 0:
    os._exit(len([bytes(777) for _ in range(300)]) & 3)
os.wait()
"""
COMMANDS = {"threads": [PROGRAMS / "threads", 4, 1500], "python": [support.PYTHON, "-c", WORK]}


@pytest.fixture(scope="module", params=COMMANDS)
def path(request, tmp_path_factory):
    """A mapped trace of a program whose processes have ended."""
    path = tmp_path_factory.mktemp("bits") / request.param
    support.trace(COMMANDS[request.param], path)
    return path


def read(trace, way="file"):
    """Exit status, audit, and all other numbers."""
    command = [ANALYZE, trace if way == "file" else "-", "--json", "--no-symbols", "--top", "0"]
    data = trace.read_bytes() if way == "pipe" else None
    done = support.run(command, input=data)
    whole = json.loads(done.stdout)
    whole.pop("trace")
    return done.returncode, whole.pop("audit"), whole


def parts(data):
    """Offsets of the bytes of payloads that checksums cover, and of those that none does."""
    trace = reference.Trace(data)
    covered, bare = [], []
    for chunk in trace.chunks:
        size, _ = trace.fill.sums.get((*chunk.key(), chunk.sequence), (0, 0))
        used = len(data[chunk.begin:chunk.end].rstrip(b"\0"))
        covered += range(chunk.begin, chunk.begin + size)
        bare += range(chunk.begin + size, chunk.begin + used)
    return covered, bare


def flip(data, at, bit):
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


@pytest.mark.parametrize("way", FLIPS)
def test_every_bit_is_told(path, tmp_path, way):
    """GIVEN a bit of what a chunk was filled with, flipped, THEN the audit tells it, and the
    chunk, if all of it could be read."""
    data = path.read_bytes()
    covered, _ = parts(data)
    status, audit, _ = read(path, way)
    assert status == 0 and audit["complete"] and audit["changed"] == [], audit
    chance = random.Random(1234)
    named = 0
    for at in chance.sample(covered, FLIPS[way]):
        (tmp_path / "t").write_bytes(flip(data, at, chance.randrange(8)))
        status, audit, _ = read(tmp_path / "t", way)
        assert status == 1 and not audit["complete"], at
        ranges = audit["changed"] + audit["skipped"]
        assert any(one["offset"] <= at < one["offset"] + one["bytes"] for one in ranges) \
            or audit["bad_chunks"] + audit["changed_chunks"], (at, audit)
        named += any(one["offset"] <= at < one["offset"] + one["bytes"]
                     for one in audit["changed"])
    assert named > FLIPS[way] // 2


def test_what_no_checksum_covers_makes_no_events(path, tmp_path):
    """GIVEN bits of the records that no checksum covers, flipped: one record of each process.
    THEN none makes other numbers in a report that is called complete."""
    data = path.read_bytes()
    _, bare = parts(data)
    _, _, figures = read(path)
    assert 0 < len(bare) < 40 * len(figures["processes"])
    bits = [(at, bit) for at in bare for bit in range(8)]
    for at, bit in random.Random(99).sample(bits, min(len(bits), 50)):
        (tmp_path / "t").write_bytes(flip(data, at, bit))
        status, audit, got = read(tmp_path / "t")
        assert not audit["complete"] or got == figures, (at, bit)
        assert status == int(not audit["complete"])


def test_the_text_and_a_bundle_name_the_chunk(path, tmp_path):
    """GIVEN a bit of a stack's or a size's number flipped, so that all of its chunk can be
    read, THEN report, bundle and reference decoder name the same bytes."""
    data = path.read_bytes()
    covered, _ = parts(data)
    trace, chance = tmp_path / "t", random.Random(77)
    for _ in range(200):
        trace.write_bytes(flip(data, chance.choice(covered), 5))
        _, audit, _ = read(trace)
        if audit["changed_chunks"] == 1 and not audit["skipped"]:
            break
    one = audit["changed"][0]
    begin, end = one["offset"], one["offset"] + one["bytes"]
    assert reference.Trace(trace.read_bytes()).audit.changed == [(begin, end)]
    text = support.run([ANALYZE, trace, "--no-symbols"])
    assert text.returncode == 1
    assert "1 chunk was changed after it was written" in text.stdout
    assert f"  bytes {begin} to {end}: {one['kind']} of thread {one['tid']}, process" \
        in text.stdout
    bundle = tmp_path / "t.mlogz"
    support.run([ANALYZE, trace, "--bundle", bundle])
    _, again, _ = read(bundle)
    assert again["changed"] == audit["changed"] and not again["complete"]


def test_a_killed_program_leaves_chunks_without_one(tmp_path):
    """GIVEN a program that was killed, so that its open chunks have no checksum, THEN nothing
    is said of them."""
    support.trace(["perl", "-e", "@a = map { 'x' x (100 + $_) } 1 .. 20000; kill 9, $$"],
                  tmp_path / "t")
    status, audit, _ = read(tmp_path / "t")
    assert status == 0 and audit["complete"] and audit["changed_chunks"] == 0, audit
