# SPDX-License-Identifier: MIT
"""A program that the kernel kills for want of memory says nothing; its trace does: the limit,
how near it came, and what its heap held then."""
import json
import os
import sys
from pathlib import Path

import pytest

import support
from support import ANALYZE, MLOG, ROOT, report, run

sys.path[:0] = [str(ROOT / "format" / "vectors")]

from trace_writer import Trace                              # noqa: E402

MIB = 1 << 20
HEAP = 0x7f0000000000


def written(path, samples, limits=((1, 64 * MIB),), ended=False, later=0):
    """A trace with these samples of resident memory, in MiB, of which 2 are shared."""
    trace = Trace(minor=3)
    process = trace.process(4242)
    definitions = process.definitions(base_time=0)
    definitions.process_record()
    for kind, size in limits:
        definitions.limit(7, kind, size)
    definitions.thread(1, 4242)
    for i, resident in enumerate(samples):
        definitions.memory(100 + i, 99 * MIB, resident * MIB, 2 * MIB)
    definitions.write()
    events = process.events(1, 50)
    events.alloc(60, HEAP, 40 * MIB, 0)
    if later:
        events.alloc(200, HEAP + 48 * MIB, later * MIB, 0)
    if ended:
        events.process_end(300, "exit", 1, 0)
    events.write()
    path.write_bytes(trace.bytes())
    return path


def killed(path):
    return report(path)["verdict"]["killed_for_memory"]


def test_within_a_tenth_of_the_limit(tmp_path):
    path = written(tmp_path / "t", [20, 58])
    told = killed(path)
    assert (told["pid"], told["resident_bytes"], told["limit_bytes"], told["limit_of"],
            told["live_bytes"], told["live_blocks"]) == \
        (4242, 58 * MIB, 64 * MIB, "control group", 40 * MIB, 1)
    text = run([ANALYZE, path]).stdout.splitlines()
    assert text[1].startswith("  KILLED, most likely for memory") and \
        "58.0 MiB were resident of the control group's 64.0 MiB" in text[1]
    assert text[2].split() == "held then 40.0 MiB in 1 block of its heap".split()
    brief = json.loads(run([ANALYZE, path, "--brief", "--json"]).stdout)["brief"]
    assert brief["killed"] == told["sentence"]


def test_what_the_heap_grew_by_since_the_last_sample_counts(tmp_path):
    assert killed(written(tmp_path / "t", [20, 50])) is None
    assert killed(written(tmp_path / "u", [20, 50], later=9))["resident_bytes"] == 59 * MIB


def test_a_machine_has_a_limit_too_and_unknown_kinds_none(tmp_path):
    told = killed(written(tmp_path / "t", [58], limits=[(2, 64 * MIB)]))
    assert told["limit_of"] == "machine" and "of the machine's 64.0 MiB" in told["sentence"]
    assert killed(written(tmp_path / "t", [58], limits=[(9, 64 * MIB)])) is None
    assert killed(written(tmp_path / "t", [58], limits=[])) is None


def test_who_ended_was_not_killed(tmp_path):
    assert killed(written(tmp_path / "t", [58], ended=True)) is None
    assert "KILLED" not in run([ANALYZE, tmp_path / "t"]).stdout


@pytest.fixture
def group():
    """A control group with 64 MiB, whose version is the machine's."""
    v1, v2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    root, file = (v1, "memory.limit_in_bytes") if v1.is_dir() else (v2, "memory.max")
    folder = root / f"mlog-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    try:
        (folder / file).write_text(str(64 * MIB))
        if (folder / "memory.swap.max").exists():
            (folder / "memory.swap.max").write_text("0")
    except OSError as error:
        folder.rmdir()
        pytest.skip(f"its memory cannot be limited: {error.strerror}")
    yield folder
    folder.rmdir()


def test_a_real_one(group, tmp_path):
    """GIVEN a perl that eats until the kernel ends it, THEN the trace knows the limit, has
    marks at a half, three quarters and nine tenths of it, and says what was held; `mlog run`
    says so, too."""
    enter = 'echo $$ >"$1/cgroup.procs" && exec "${@:2}"'
    eat = ["perl", "-e", 'sub eat { push @a, "x" x 100000 } eat() while 1']
    done = run(["bash", "-c", enter, "bash", group, MLOG, "run", "-o", tmp_path / "t", *eat])
    if done.returncode != 137:
        pytest.skip(f"nobody is killed for memory here: {done}")
    assert "mlog: KILLED, most likely for memory" in done.stderr, done
    told = killed(tmp_path / "t")
    assert told["limit_bytes"] == 64 * MIB and told["limit_of"] == "control group"
    assert told["live_bytes"] > 40 * MIB
    assert [mark["name"] for mark in map(json.loads, support.analyze(
        tmp_path / "t", "--dump=json").stdout.splitlines()) if mark["type"] == "mark"] == \
        [f"memory at {share} % of the limit" for share in (50, 75, 90)]
    after = report(tmp_path / "t", "--from", "memory at 75 % of the limit")["summary"]
    assert 8 * MIB < after["allocated_bytes"] < 24 * MIB
