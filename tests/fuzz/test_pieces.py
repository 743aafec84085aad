# SPDX-License-Identifier: MIT
"""Every piece of a stream trace dropped, doubled, and made its end: no piece is lost in
silence, and one that comes twice costs no other. FILLED records and the ends of processes
tell of what is lost behind all that came.
"""
import json

import mutate
import pytest
import reference
import support
from support import ANALYZE, PROGRAMS

PYTHON = """
import os, threading
kept = [bytes(600 + (i & 63)) for i in range(9000)]
def work():
    kept.append([bytes(1234 + (i & 63)) for i in range(3000)])
for _ in range(3):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
if os.fork() == 0:
    kept = [bytes(777) for _ in range(500)]
    os._exit(3)
os.wait()
kept += [bytes(888) for _ in range(3000)]
os.execv("%s", ["threads", "2", "500"])
""" % (PROGRAMS / "threads")
COMMANDS = {"threads": [PROGRAMS / "threads", 4, 1500], "tree": [support.PYTHON, "-c", PYTHON]}


EVERY, MANY = 2, 100                    # of so many pieces and more every so many-th is dropped
COMPARED = 9                            # every so many-th piece also with the reference decoder


@pytest.fixture(scope="module", params=COMMANDS)
def original(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("pieces") / request.param
    support.bash('out=$1; shift; { PYTHONMALLOC=malloc LD_PRELOAD=$LIB "$@" 1022>&1 >/dev/null; }'
                 ' | cat >"$out"', path, *COMMANDS[request.param])
    original = mutate.Original(path.read_bytes())
    events = [chunk for chunk in original.chunks if chunk.kind == reference.EVENTS]
    if request.param == "tree":     # pieces and chunks that others of their stream follow
        assert any(chunk.position for chunk in events) and any(chunk.sequence for chunk in events)
    return original


def read(path, data):
    """Exit status, audit, and all other numbers."""
    path.write_bytes(data)
    done = support.run([ANALYZE, path, "--json", "--no-symbols"])
    whole = json.loads(done.stdout)
    whole.pop("trace")
    return done.returncode, whole.pop("audit"), whole


def test_no_piece_is_dropped_in_silence(original, tmp_path):
    """All but the pieces of the stream that orders the others (SYNC) hold numbers."""
    data = original.data
    _, whole_audit, figures = read(tmp_path / "t", data)
    assert whole_audit["complete"], whole_audit
    told = 0
    for i, chunk in enumerate(original.chunks):
        if i % EVERY and len(original.chunks) > MANY:
            continue
        lacking = data[:chunk.offset] + data[chunk.end:]
        status, audit, got = read(tmp_path / "t", lacking)
        if i % COMPARED == 0:
            assert reference.Trace(lacking).audit.missing_chunks == audit["missing_chunks"], chunk
        if audit["complete"]:
            assert got == figures and status == 0, chunk
        else:
            told += 1
    assert told >= len(original.chunks) // (3 if len(original.chunks) <= MANY else 3 * EVERY)


def test_no_end_is_cut_off_in_silence(original, tmp_path):
    """But between programs, of which one was over before the next began."""
    data = original.data
    _, _, figures = read(tmp_path / "t", data)
    told = 0
    for i, chunk in enumerate(original.chunks[1:], 1):
        _, audit, got = read(tmp_path / "t", data[:chunk.offset])
        told += not audit["complete"]
        cut = {one.process for one in original.chunks[:i]} & \
            {one.process for one in original.chunks[i:]}
        assert got == figures or not audit["complete"] or not cut, chunk
    assert told > len(original.chunks) // 2


def test_a_piece_that_comes_again_costs_no_other(original, tmp_path):
    """GIVEN a piece a second time, when all others have come, or all of them: THEN every
    number is as it was, and the audit counts what came twice."""
    data = original.data
    _, _, figures = read(tmp_path / "t", data)
    for chunk in original.chunks[::EVERY if len(original.chunks) > MANY else 1]:
        _, audit, got = read(tmp_path / "t", data + data[chunk.offset:chunk.end])
        assert got == figures, chunk
        assert audit["skipped_bytes"] == chunk.end - chunk.offset and not audit["complete"]
    _, audit, got = read(tmp_path / "t", data + data)
    assert got == figures and audit["missing_chunks"] == 0


def test_who_is_killed_leaves_no_end_in_a_stream(tmp_path):
    """GIVEN a program that kills itself: a stream lacks its end, and what it had not
    delivered; a file lacks neither."""
    script = "/bin/true; kill -9 $$"
    support.trace(["bash", "-c", script], tmp_path / "file")
    support.bash('{ LD_PRELOAD=$LIB bash -c "$2" 1022>&1 >/dev/null; } | cat >"$1"',
                 tmp_path / "stream", script)
    of_file, of_stream = (json.loads(support.run([ANALYZE, path, "--json"]).stdout)["audit"]
                          for path in (tmp_path / "file", tmp_path / "stream"))
    assert of_file["complete"] and of_file["unended_processes"] == 0, of_file
    assert not of_stream["complete"] and of_stream["unended_processes"] == 1, of_stream
    text = support.run([ANALYZE, tmp_path / "stream", "--summary"]).stdout
    assert "1 process has no end in the trace: killed, or the trace is cut" in text


def test_a_child_that_stands_before_who_forked_it(tmp_path):
    """GIVEN a mapped trace whose chunks were put in another order, the child's first: what
    it inherits is not known, and the audit says so."""
    path = tmp_path / "t"
    support.trace(["perl", "-e", '%h = map { $_ => [1 .. $_] } 1 .. 25; '
                                 'fork or do { $h{x} = "a" x 999; exit } ; wait'], path)
    original = mutate.Original(path.read_bytes())
    parent = original.chunks[0].process
    order = sorted(original.chunks, key=lambda chunk: chunk.process == parent)
    assert order[0].process != parent
    data = original.data
    _, audit, _ = read(path, data[:original.first] +
                       b"".join(data[chunk.offset:chunk.end] for chunk in order))
    assert audit["late_forks"] == 1 and not audit["complete"], audit
