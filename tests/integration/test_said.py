# SPDX-License-Identifier: MIT
"""What a program says of itself by mlog.h: lines of text, savepoints and what grew
since, a trace that begins when it asks for one."""
import json
import re

import pytest

import support
from support import PROGRAMS


def dump(path):
    return [json.loads(line) for line in support.analyze(path, "--dump=json").stdout.splitlines()]


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    path = tmp_path_factory.mktemp("said") / "t"
    return support.trace([PROGRAMS / "said", "grow"], path), path


def test_printed_lines_are_in_the_trace(tmp_path):
    """GIVEN lines of every length, from a thread and a handler; THEN they are in the trace at
    their places, cut at 1000 bytes, and moments of a timeline, but no borders of snapshots."""
    done = support.trace([PROGRAMS / "said", "print"], tmp_path / "t")
    assert done.visible == (0, "errno 71 printed 11 0 1000 1000 10\n", "")
    told = ["17 and more", "x" * 1000, "x" * 1000, "\ufffd \n \"\\ €", "in handler 10",
            "in a thread"]
    rows = [row for row in dump(tmp_path / "t") if row["type"] == "print"]
    assert [row["text"] for row in rows] == told and len({row["tid"] for row in rows}) == 2
    text = support.analyze(tmp_path / "t", "--dump=text").stdout
    assert len(re.findall(r"^# PRINT ", text, re.M)) == 6
    support.analyze(tmp_path / "t", "--export=chrome=" + str(tmp_path / "c"))
    events = json.loads((tmp_path / "c").read_text())["traceEvents"]
    assert [(e["ph"], e["name"]) for e in events if e.get("cat") == "mark"] == \
        [("i", name) for name in told]
    assert support.report(tmp_path / "t", "--snapshots=marks")["snapshots"]["missed_marks"] == 0
    assert len(support.report(tmp_path / "t", "--snapshots=marks")["snapshots"]["snapshots"]) == 1
    alone = support.run([PROGRAMS / "said", "print"])
    assert alone.visible == (0, "errno 71 printed 0 0 0 0 0\n", "")


def test_who_is_told_of_growth_at_once(grown):
    """THEN the assertion returns, and standard error tells, the usable bytes by which the
    process grew, and nothing where it did not."""
    done, _ = grown
    assert done.stdout.splitlines() == [
        "request 3 872", "request 7 1776", "request 11 872", f"inner {2 * 808}",
        "exchange 0", "exchange 9360", "thread 824", "child 192"]
    told = re.findall(r"^mlog: \S*said\.c:\d+: (\d+) bytes more in use than at savepoint (\w+);",
                      done.stderr, re.M)
    assert [size for size, name in told if name == "request"] == ["872", "1776", "872"]
    assert len(told) == len(done.stderr.splitlines())
    alone = support.run([PROGRAMS / "said", "grow"])
    assert alone.visible == (0, "inner 0\nexchange 0\nexchange 0\nthread 0\nchild 0\n", "")


def test_the_report_names_the_stacks_that_grew(grown):
    """THEN for each place the report has how often it was asserted, how often something had
    grown, the worst, which is as much as the program counted, and its stacks; what was
    freed and as much allocated instead has not grown; a savepoint that the process did not
    set itself is not judged."""
    _, path = grown
    whole = support.report(path, "--savepoints")["savepoints"]
    by_name = {}
    for place in whole["assertions"]:
        by_name.setdefault(place["name"], []).append(place)
        if place["failed"]:
            assert place["growth_bytes"] == place["told_growth_bytes"], place
            net = sum(stack["growth_bytes"] for stack in place["stacks"])
            assert net >= place["growth_bytes"]
    assert {name: [(p["asserted"], p["failed"], p["unjudged"], p["growth_bytes"]) for p in places]
            for name, places in by_name.items()} == {
        "request": [(12, 3, 0, 1776)], "inner": [(3, 2, 0, 808)],
        "exchange": [(1, 1, 0, 9360), (1, 0, 0, 0)], "thread": [(1, 1, 0, 824)],
        "child": [(1, 1, 0, 192), (1, 0, 0, 0)], "whole": [(1, 0, 1, 0)]}
    (request,) = by_name["request"]
    assert [(s["blocks"], s["bytes"]) for s in request["stacks"]] == [(1, 113 * 8), (1, 109 * 8)]
    assert all(support.functions(s)[:3] == ["grow", "grows", "main"] for s in request["stacks"])
    assert whole["set"] == 19 and whole["failed_places"] == 5
    text = support.analyze(path, "--savepoints").stdout
    assert re.search(r'"request" at \S*said\.c:\d+, asserted 12 times, had grown 3\. The most: '
                     r"1\.73 KiB from ", text), text
    assert 'asserted 1 time: nothing is known; 1 not judged: the savepoint is not in sight.' in text


def test_growth_as_a_condition(grown, tmp_path):
    """GIVEN a build that fails on growth; THEN it does, by name or by size, and a program
    that asserts nothing does not pass for one that holds."""
    _, path = grown
    done = support.analyze(path, "--summary", "--fail-on", "growth", status=3)
    assert "growth is" in done.stderr and "allowed is at most 0 B" in done.stderr
    support.analyze(path, "--summary", "--fail-on", "growth>12K", status=3)
    support.analyze(path, "--summary", "--fail-on", "growth>1M")
    support.trace([PROGRAMS / "marks"], tmp_path / "t")
    done = support.analyze(tmp_path / "t", "--summary", "--fail-on", "growth", status=1)
    assert "asserts nothing that could be judged" in done.stderr
    none = support.report(tmp_path / "t", "--savepoints")["savepoints"]
    assert (none["set"], none["assertions"]) == (0, [])


def test_a_trace_that_begins_late(tmp_path):
    """GIVEN eight threads that allocate; WHEN the program sets an output; THEN what follows is
    in it, children too, under every thread; a second output is refused, and nothing is
    torn. Descriptors that are none are refused before."""
    done = support.bash('LD_PRELOAD=$LIB exec "$@" 1022>&-', PROGRAMS / "said", "output",
                        tmp_path / "t")
    assert done.visible == (0, "set -1 EBADF traced 0\nset -1 EBADF traced 0\n"
                               "set 0 - traced 1\nset -1 EBUSY traced 1\n", "")
    whole = support.report(tmp_path / "t", "--leaks")
    assert whole["audit"]["bad_chunks"] == whole["audit"]["lost_events"] == 0
    assert sorted((leak["bytes"]) for leak in support.leaks_of(whole["leaks"], "output")) in \
        ([139 * 8, 149 * 8], [(139 + 149) * 8])
    assert whole["summary"]["threads"] >= 9 and len(whole["processes"]) == 2
    full = support.bash('LD_PRELOAD=$LIB exec "$@" 1022>&-', PROGRAMS / "said", "output",
                        "/dev/full")
    assert full.returncode == 0 and "set -1 EIO traced 0\n" in full.stdout, full
    alone = support.run([PROGRAMS / "said", "output", tmp_path / "none"])
    assert alone.stdout.count("set -1 ENOSYS traced 0\n") == 4
