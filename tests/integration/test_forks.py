# SPDX-License-Identifier: MIT
"""Many children of one parent: whose blocks are whose, and what they cost the
analyser."""
import json

from support import ANALYZE, PROGRAMS, TIME_LIMIT, measured, report, run, trace

BLOCKS, CHILDREN = 50_000, 300


def peak_memory(path, tmp_path, *options):
    """The most that mlog-analyze had resident, without the trace's own pages
    (they are the kernel's)."""
    done, memory = measured([ANALYZE, "-", "--summary", *options], tmp_path / "used", TIME_LIMIT,
                            input=path.read_bytes())
    assert done.returncode == 0, done
    return memory


def test_short_children_leak_their_own_and_cost_next_to_nothing(tmp_path):
    """
    GIVEN a parent of 50,000 live blocks that has 300 short children
    WHEN  the trace is analysed
    THEN  frees of inherited blocks are known as such, each child's one block is
          its leak, the parent has none, and no child costs a copy of the parent's
          blocks (which would be 1.2 MB each)
    """
    few, many = tmp_path / "few", tmp_path / "many"
    for path, children in ((few, 1), (many, CHILDREN)):
        done = trace([PROGRAMS / "nursery", BLOCKS, children], path)
        assert done.returncode == 0, done
    whole = report(many, "--per-process", "--summary")
    summary, audit = whole["summary"], whole["audit"]
    assert audit["unmatched_frees"] == 0 and audit["order_repairs"] == 0, audit
    assert summary["inherited_frees"] == 5 * CHILDREN
    assert summary["inherited_freed_bytes"] == 5 * CHILDREN * 40
    assert summary["leaked_blocks"] == CHILDREN and summary["leaked_bytes"] == 123 * CHILDREN
    parent, *others = whole["per_process"]
    assert parent["leaked_blocks"] == 0 and parent["peak_blocks"] == BLOCKS + 1
    assert len(others) == CHILDREN
    assert all(child["leaked_bytes"] == child["peak_bytes"] == 123 for child in others)
    # The joint peak is one moment, not a sum: a child lives no longer than its turn.
    assert summary["peak_bytes"] < parent["peak_bytes"] + 10 * 123
    added = peak_memory(many, tmp_path) - peak_memory(few, tmp_path)
    assert added < CHILDREN * 200_000, f"{added / CHILDREN:.0f} bytes a child"


def test_reports_that_need_observers_follow_a_trace_too(tmp_path):
    """The timeline and single processes, from a file (read anew for each report)
    and from a pipe (one pass, several reports)."""
    path = tmp_path / "trace"
    assert trace([PROGRAMS / "nursery", 1000, 3], path).returncode == 0
    wanted = ["--follow", "--timeline", "--per-process", "--json", "--no-symbols"]
    for name, data in ((path, None), ("-", path.read_bytes())):
        done = run([ANALYZE, name, *wanted], input=data)
        assert done.returncode == 0, done
        last = json.loads("{" + done.stdout.rsplit("\n{", 1)[-1].removeprefix("{"))
        assert len(last["per_process"]) == 4
        assert max(p["blocks"] for p in last["timeline"]["points"]) \
            == last["summary"]["peak_blocks"]
