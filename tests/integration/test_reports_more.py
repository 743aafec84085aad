# SPDX-License-Identifier: MIT
"""Further reports of mlog-analyze: each compared with a computation of its own
from --dump=json, on programs with threads and on real ones, and with numbers
that were planted."""
import collections
import json
import shutil

import pytest

import support
from support import PROGRAMS, PYTHON, analyze

Block = collections.namedtuple("Block", "size usable time tid stack number")


def moment(row):
    return row["begin_ticks" if row["type"] == "begin" else "ticks"]


def rows_of(path):
    """The heap calls of a trace in the order of time; a realloc's old block leaves
    at its begin, and counts as ended at its end."""
    rows = []
    for line in analyze(path, "--dump=json").stdout.splitlines():
        row = json.loads(line)
        if row["type"] == "realloc":
            at = len(rows)
            while at and rows[at - 1].get("tid") != row["tid"] and \
                    moment(rows[at - 1]) > row["begin_ticks"]:
                at -= 1
            rows.insert(at, dict(row, type="begin"))
        rows.append(row)
    return rows


def replay(path):
    """Yields (what, row, old block or None, new block or None)."""
    live, moving, count = {}, {}, collections.Counter()
    for row in rows_of(path):
        what = row["type"]
        if what == "begin":
            moving[row["tid"]] = live.pop(row["old_address"], None)
        elif what == "free":
            block = live.pop(row["address"], None)
            if block:
                yield "free", row, block, None
        elif what in ("alloc", "realloc"):
            tid = row["tid"]
            count[tid] += 1
            new = Block(row["size"], row["usable"], row["time_ns"], tid, tuple(row["stack"]),
                        count[tid])
            unseen = live.get(row["address"])
            assert not unseen, "the tests' programs run in order"
            live[row["address"]] = new
            yield what, row, moving.pop(tid, None) if what == "realloc" else None, new
        elif what == "mark":
            yield what, row, None, None


def stack_of(entry):
    return tuple(f["address"] for f in entry["stack"] if not f["inlined"])


def by_stack(entries, *names):
    """Stack to these members of its entry."""
    table = {stack_of(entry): tuple(entry[name] for name in names) for entry in entries}
    assert len(table) == len(entries), "one entry a stack"
    return table


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    """Name to trace: programs of ours with threads, and real ones."""
    folder = tmp_path_factory.mktemp("more")
    script = folder / "fill.sql"
    script.write_text("create table t(a, b);\n" + "insert into t values(1, randomblob(900));\n" * 60
                      + "select count(*), max(length(b)) from t group by a % 7 order by 1;\n")
    runs = {
        "threads": ([PROGRAMS / "threads", 4, 400], {}),
        "handover": ([PROGRAMS / "handover", 3, 500], {}),
        "churn": ([PROGRAMS / "churn", 10], {}),
        "sqlite3": ([shutil.which("sqlite3"), "-init", script, ":memory:", "select 1"], {}),
        "python3": ([PYTHON, "-S", "-c", "x = [str(i) * 9 for i in range(3000)]"],
                    {"PYTHONMALLOC": "malloc"}),
    }
    for name, (argv, env) in runs.items():
        done = support.trace(argv, folder / name, env=support.clean_environment(**env))
        assert done.returncode in (0, 7), done
    return {name: folder / name for name in runs}


NAMES = ("threads", "handover", "churn", "sqlite3", "python3")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("within", [0, 1, 5])
def test_temporary(traces, name, within):
    calls, blocks, size, last = (collections.Counter() for _ in range(4))
    for what, row, old, new in replay(traces[name]):
        if new:
            calls[new.stack] += 1
            last[new.tid] = new.number
        if what == "free" and last[old.tid] - old.number <= within:
            blocks[old.stack] += 1
            size[old.stack] += old.size
    whole = support.report(traces[name], f"--temporary={within}" if within else "--temporary",
                           "--summary")
    got = whole["temporary"]
    assert by_stack(got["stacks"], "temporary", "bytes", "calls") == \
        {stack: (n, size[stack], calls[stack]) for stack, n in blocks.items()}
    assert (got["temporary"], got["bytes"]) == (sum(blocks.values()), sum(size.values()))
    assert got["within"] == within and sum(blocks.values()) > 0
    if within == 0:
        assert got["temporary"] == whole["summary"]["temporary"]
    counts = [entry["temporary"] for entry in got["stacks"]]
    assert counts == sorted(counts, reverse=True)
    for entry in got["stacks"]:
        assert entry["share"] == pytest.approx(100 * entry["temporary"] / entry["calls"])


@pytest.mark.parametrize("name", NAMES)
def test_churn(traces, name):
    calls, size, frees, freed = (collections.Counter() for _ in range(4))
    for what, row, old, new in replay(traces[name]):
        if new:
            calls[new.stack] += 1
            size[new.stack] += new.size
        if old:
            frees[old.stack] += 1
            freed[old.stack] += old.size
    got = support.report(traces[name], "--churn")["churn"]
    assert by_stack(got["stacks"], "bytes", "allocations", "allocated_bytes", "frees",
                    "freed_bytes") == \
        {s: (size[s] + freed[s], calls[s], size[s], frees[s], freed[s]) for s in calls}
    assert got["bytes"] == sum(size.values()) + sum(freed.values())
    sizes = [entry["bytes"] for entry in got["stacks"]]
    assert sizes == sorted(sizes, reverse=True)
    rate = got["bytes"] * 1e9 / got["duration_ns"]
    assert got["bytes_per_second"] == pytest.approx(rate, rel=1e-6)


def test_churn_and_temporary_of_planted_pairs(traces):
    text = analyze(traces["churn"], "--churn", "--temporary", "--top", "1").stdout
    # THEN 5 pairs of 3000 bytes lead one, 5 of 3000 and 5 of 100 are temporary
    assert "29.3 KiB" in text and "site_two" in text
    assert "10 blocks, 76.9 % of all" in text
    assert text.index("Churn") < text.index("Temporary"), "as they were asked for"
    text = analyze(traces["churn"], "--temporary", "--churn").stdout
    assert text.index("Temporary") < text.index("Churn") < text.index("Audit")


def test_wrong_values(traces):
    for option in ("--temporary=x", "--temporary=-1", "--temporary=65536", "--temporary="):
        done = support.run([support.ANALYZE, traces["churn"], option])
        assert done.returncode == 2 and "expected" in done.stderr, done


def test_observers_follow_a_trace(traces):
    """Each reading of the file has observers of its own."""
    done = analyze(traces["churn"], "--follow", "--churn", "--timeline", "--json", "--top", "0")
    got = json.loads(done.stdout)
    assert got["churn"] == support.report(traces["churn"], "--churn")["churn"]
    assert got["timeline"]["points"]
