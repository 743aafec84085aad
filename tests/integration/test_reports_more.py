# SPDX-License-Identifier: MIT
"""Further reports of mlog-analyze: each compared with a computation of its own
from --dump=json, on programs with threads and on real ones, and with numbers
that were planted."""
import collections
import csv
import functools
import json
import re
import shutil

import pytest

import support
from filter_oracle import rows_of
from support import PROGRAMS, PYTHON, analyze

Block = collections.namedtuple("Block", "size usable time tid stack number")


@functools.lru_cache(maxsize=None)
def replay(path):
    """All (what, row, old block or None, new block or None)."""
    return tuple(replayed(path))


def replayed(path):
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


@pytest.mark.parametrize("name", NAMES)
def test_own_peak_of_each_stack(traces, name):
    """The most bytes and blocks that a stack held at once, and when it had the bytes."""
    size, blocks = collections.Counter(), collections.Counter()
    most, when, many = {}, {}, collections.Counter()
    for _, row, old, new in replay(traces[name]):
        if old:
            size[old.stack] -= old.size
            blocks[old.stack] -= 1
        if new:
            size[new.stack] += new.size
            blocks[new.stack] += 1
            if size[new.stack] > most.get(new.stack, -1):
                most[new.stack], when[new.stack] = size[new.stack], row["time_ns"]
            many[new.stack] = max(many[new.stack], blocks[new.stack])
    names = ("own_peak_bytes", "own_peak_blocks", "own_peak_time_ns")
    expected = {stack: (most[stack], many[stack], when[stack]) for stack in most}
    whole = support.report(traces[name], "--allocations", "--peak", "--per-process")
    assert by_stack(whole["allocations"], *names) == expected
    assert by_stack(whole["peak"], *names).items() <= expected.items()
    assert by_stack(whole["per_process"][0]["peak"], *names).items() <= expected.items()
    # THEN a filter that takes everything has the same books
    filtered = support.report(traces[name], "--allocations", "--max-size", "1G")
    assert by_stack(filtered["allocations"], *names) == expected
    table = csv.DictReader(analyze(traces[name], "--export=csv").stdout.splitlines())
    assert sorted(tuple(int(row[n]) for n in names) for row in table) == sorted(expected.values())


def test_own_peak_of_two_processes(traces, tmp_path):
    """GIVEN a program that ran alone, and one that ran it twice, whose processes are retired;
    THEN own peaks are of one process, and not of both together."""
    support.trace(["sh", "-c", '"$0" 10; "$0" 10', PROGRAMS / "churn"], tmp_path / "t")
    for of_site in ("site_one", "site_two"):
        def own(path):
            return {(e["own_peak_bytes"], e["own_peak_blocks"])
                    for e in support.report(path, "--allocations", "--top", "0")["allocations"]
                    if e["label"] == of_site}
        assert own(tmp_path / "t") == own(traces["churn"]) != set()


def test_own_peak_for_people(traces):
    text = analyze(traces["churn"], "--leaks", "--peak", "--allocations").stdout
    assert text.count("      at most: ") >= 3
    assert "      at most: 2.93 KiB after " in text and "; 1 block at once; stack " in text


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


@pytest.mark.parametrize("name", NAMES)
def test_sizes(traces, name):
    powers = collections.defaultdict(collections.Counter)
    exact = collections.defaultdict(collections.Counter)
    for what, row, old, new in replay(traces[name]):
        for block, sign in ((new, 1), (old, -1)):
            if block:
                power = powers[block.size.bit_length()]
                power.update(live_blocks=sign, live_bytes=sign * block.size)
                exact[block.size].update(live_blocks=sign)
        if new:
            powers[new.size.bit_length()].update(calls=1, bytes=new.size,
                                                 slack_bytes=new.usable - new.size)
            exact[new.size].update(calls=1)
    got = support.report(traces[name], "--sizes")["sizes"]
    rows = {row["to"].bit_length(): row for row in got["histogram"]}
    assert {p: row["calls"] for p, row in rows.items() if row["calls"]} == \
        {p: sums["calls"] for p, sums in powers.items()}
    for p, sums in powers.items():
        assert rows[p]["from"].bit_length() == p and rows[p]["from"] == (1 << p) // 2
        for key in ("bytes", "live_blocks", "live_bytes", "slack_bytes"):
            assert rows[p][key] == sums[key], (p, key)
    assert {row["size"]: (row["calls"], row["live_blocks"]) for row in got["exact"]} == \
        {size: (sums["calls"], sums["live_blocks"]) for size, sums in exact.items()}
    calls = [row["calls"] for row in got["exact"]]
    assert calls == sorted(calls, reverse=True) and got["calls"] == sum(calls)
    assert got["slack_bytes"] == sum(sums["slack_bytes"] for sums in powers.values())


LIMITS = [10 ** n for n in range(3, 12)]


@pytest.mark.parametrize("name", NAMES)
def test_lifetimes(traces, name):
    stacks = collections.defaultdict(lambda: [0] * 11)
    sizes, life, frees = [0] * 11, collections.Counter(), collections.Counter()
    for what, row, old, new in replay(traces[name]):
        if new:
            stacks[new.stack][10] += 1
            sizes[10] += new.size
        if old:
            lived = max(row["time_ns"] - old.time, 0)
            at = sum(lived >= limit for limit in LIMITS)
            stacks[old.stack][at] += 1
            stacks[old.stack][10] -= 1
            sizes[at] += old.size
            sizes[10] -= old.size
            life[old.stack] += lived
            frees[old.stack] += 1
    got = support.report(traces[name], "--lifetimes")["lifetimes"]
    assert {stack_of(e): e["histogram"] for e in got["stacks"]} == stacks
    assert [row["blocks"] for row in got["histogram"]] == \
        [sum(column) for column in zip(*stacks.values())]
    assert [row["bytes"] for row in got["histogram"]] == sizes
    assert [row["to_ns"] for row in got["histogram"]] == LIMITS + [None, None]
    assert [row["from_ns"] for row in got["histogram"]] == [0] + LIMITS + [None]
    assert {stack_of(e): e["mean_ns"] for e in got["stacks"]} == \
        {s: life[s] // frees[s] if frees[s] else None for s in stacks}


@pytest.mark.parametrize("name", NAMES)
def test_threads(traces, name):
    sums, live = collections.defaultdict(collections.Counter), collections.Counter()
    pairs = collections.defaultdict(collections.Counter)
    for what, row, old, new in replay(traces[name]):
        tid = row.get("tid")
        if old:
            sums[tid].update(frees=1, freed_bytes=old.size)
            sums[old.tid].update(live_blocks=-1, live_bytes=-old.size)
            if old.tid != tid:
                sums[tid].update(freed_of_others=1, freed_of_others_bytes=old.size)
                sums[old.tid].update(freed_by_others=1, freed_by_others_bytes=old.size)
                pairs[old.tid, tid].update(blocks=1, bytes=old.size)
        if new:
            sums[tid].update(allocations=1, allocated_bytes=new.size, live_blocks=1,
                             live_bytes=new.size)
            sums[tid]["peak_bytes"] = max(sums[tid]["peak_bytes"], sums[tid]["live_bytes"])
    got = support.report(traces[name], "--threads")["threads"]
    keys = ("allocations allocated_bytes frees freed_bytes live_blocks live_bytes peak_bytes "
            "freed_by_others freed_by_others_bytes freed_of_others freed_of_others_bytes").split()
    assert {row["tid"]: [row[k] for k in keys] for row in got["threads"]} == \
        {tid: [one[k] for k in keys] for tid, one in sums.items()}
    assert {(row["allocated_by"], row["freed_by"]): (row["blocks"], row["bytes"])
            for row in got["handed_over"]} == \
        {pair: (one["blocks"], one["bytes"]) for pair, one in pairs.items()}
    assert bool(pairs) == (name in ("threads", "handover"))


def chains_of(path):
    """Stack to [chains, steps, moved, copied, final, longest, largest], as REPORT.md
    defines them."""
    sums, chain = collections.defaultdict(lambda: [0] * 7), {}
    for what, row, old, new in replay(path):
        if what == "free":
            chain.pop(row["address"], None)
        if what != "realloc":
            continue
        own = chain.pop(row["old_address"], None)
        if own is None and (old is None or new.size <= old.size):
            continue
        own = own or {"stack": new.stack, "steps": 0, "size": 0}
        one, moved = sums[own["stack"]], row["address"] != row["old_address"]
        one[0] += own["steps"] == 0
        one[1] += 1
        one[2] += moved
        one[3] += min(old.size, new.size) if moved else 0
        one[4] += new.size - own["size"]
        own.update(steps=own["steps"] + 1, size=new.size)
        one[5] = max(one[5], own["steps"])
        one[6] = max(one[6], new.size)
        chain[row["address"]] = own
    return sums


@pytest.mark.parametrize("name", NAMES)
def test_reallocs(traces, name):
    got = support.report(traces[name], "--reallocs")["reallocs"]
    keys = "chains steps moved copied_bytes final_bytes longest reserve_bytes".split()
    expected = chains_of(traces[name])
    assert {stack_of(e): [e[k] for k in keys] for e in got["stacks"]} == expected
    assert bool(expected) == (name != "churn")
    for i, key in enumerate(keys[:4]):
        assert got[key] == sum(one[i] for one in expected.values())
    copied = [e["copied_bytes"] for e in got["stacks"]]
    assert copied == sorted(copied, reverse=True)


def test_reallocs_planted(tmp_path):
    support.trace([PROGRAMS / "grow"], tmp_path / "t")
    by_label = {e["label"]: e for e in
                support.report(tmp_path / "t", "--reallocs")["reallocs"]["stacks"]
                if e["label"] != "grow"}
    grown = [e for e in support.report(tmp_path / "t", "--reallocs")["reallocs"]["stacks"]
             if e["label"] == "grow"]
    assert [sum(e[k] for e in grown) for k in ("chains", "steps", "final_bytes")] == \
        [2, 3 + 4, 800 + 1600]
    assert sorted((e["reserve_bytes"], e["longest"]) for e in grown) == [(800, 3), (1600, 4)]
    assert set(by_label) == {"there_and_back"}, "what only shrinks is no chain"
    one = by_label["there_and_back"]
    assert (one["steps"], one["final_bytes"], one["reserve_bytes"]) == (2, 1000, 3000)
    assert "to reserve" in analyze(tmp_path / "t", "--reallocs").stdout


def test_stacks_of_several_processes_are_one(tmp_path):
    # GIVEN a program that runs twice in one trace, the second time with shorter chains
    support.trace(["sh", "-c", '"$0"; exec "$0" short', PROGRAMS / "grow"], tmp_path / "t")
    whole = support.report(tmp_path / "t", "--reallocs", "--churn", "--threads")
    grown = [e for e in whole["reallocs"]["stacks"] if e["label"] == "grow"]
    # THEN counts are added, and of the largest and the longest the most is kept
    assert sorted((e["chains"], e["steps"], e["final_bytes"], e["longest"], e["reserve_bytes"])
                  for e in grown) == [(2, 3 + 3, 1600, 3, 800), (2, 4 + 2, 1600 + 400, 4, 1600)]
    fences = [e for e in whole["churn"]["stacks"] if e["label"] == "grow"
              and e["allocated_bytes"] == e["freed_bytes"]]
    assert sorted(e["allocations"] for e in fences) == [6, 6]
    pids = {row["pid"] for row in whole["threads"]["threads"]}
    assert len(pids) == 2 or len(pids) == 3, "the shell, too, if it allocates"


def snapshots_of(path, kind, step):
    """[(moment, mark, {stack: [calls, bytes, frees, freed]})], without halving."""
    sums, taken, churn, due = collections.defaultdict(lambda: [0] * 4), [], 0, step

    def take(moment, mark=None):
        taken.append((moment, mark, {s: list(v) for s, v in sums.items()}))

    for what, row, old, new in replay(path):
        if what == "mark" and kind == "marks":
            take(row["time_ns"], row["name"])
        for block, at in ((old, 2), (new, 0)):
            if not block:
                continue
            if kind == "time" and row["time_ns"] >= due:
                take(row["time_ns"] // step * step)
                due = row["time_ns"] // step * step + step
            sums[block.stack][at] += 1
            sums[block.stack][at + 1] += block.size
            churn += block.size
            if kind == "churn" and churn >= due:
                take(row["time_ns"])
                due = churn // step * step + step
    take(None)
    return taken


def assert_snapshots(path, kind, step, option):
    got = support.report(path, f"--snapshots={option}")["snapshots"]
    expected = snapshots_of(path, kind, step)
    assert got["by"] == kind and len(expected) > 1
    before = collections.defaultdict(lambda: [0] * 4)
    if len(expected) > 201:
        # THEN every second one was dropped until they fit, and the step doubled
        while step != got["step"]:
            step *= 2
        expected = snapshots_of(path, kind, step)
        assert len(expected) <= 201 and len(got["snapshots"]) >= 100
    assert [(s["mark"], s["time_ns"]) for s in got["snapshots"][:-1]] == \
        [(mark, moment) for moment, mark, _ in expected[:-1]]
    keys = "allocations allocated_bytes frees freed_bytes".split()
    for one, (moment, mark, sums) in zip(got["snapshots"], expected):
        stacks = {stack_of(e): e for e in one["stacks"]}
        assert set(stacks) == set(sums)
        for stack, now in sums.items():
            e = stacks[stack]
            assert [e[k] for k in keys] == now
            assert [e[k + "_since"] for k in keys] == [a - b for a, b in zip(now, before[stack])]
            assert (e["live_blocks"], e["live_bytes"]) == (now[0] - now[2], now[1] - now[3])
        assert one["live_bytes"] == sum(v[1] - v[3] for v in sums.values())
        before = collections.defaultdict(lambda: [0] * 4, sums)


@pytest.mark.parametrize("name", ("threads", "churn", "sqlite3"))
def test_snapshots(traces, name):
    step = 2048 if name == "churn" else 1 << 17
    assert_snapshots(traces[name], "churn", step, f"churn:{step}")
    assert_snapshots(traces[name], "time", 400_000 if name == "sqlite3" else 50_000,
                     "time:0.0004" if name == "sqlite3" else "time:0.00005")
    if step == 1 << 17:
        assert_snapshots(traces[name], "churn", step, "churn:128K")


def test_snapshots_that_are_too_many(traces):
    assert_snapshots(traces["handover"], "churn", 100, "churn:100")


def test_snapshots_at_marks(tmp_path):
    support.trace([PROGRAMS / "marks"], tmp_path / "t")
    assert_snapshots(tmp_path / "t", "marks", 0, "marks")
    got = support.report(tmp_path / "t", "--snapshots=marks")["snapshots"]["snapshots"]
    assert [(s["mark"], s["live_bytes"], s["allocated_bytes_since"]) for s in got] == \
        [("before", 0, 0), ('span "quoted"', 17 * 8, 17 * 8),
         ('span "quoted"', (17 + 19) * 8, 19 * 8), (None, (17 + 19) * 8, 0)]


def costs(entry):
    return {"leaked_bytes": 0, "peak_bytes": 0, "allocated_bytes": 0, "calls": 0} | entry


@functools.lru_cache(maxsize=None)
def paths_of(path):
    """[(names outermost first, costs)] from the reports of the books."""
    whole = support.report(path, "--leaks", "--peak", "--allocations")
    table = {}
    for report, key in (("leaks", "leaked_bytes"), ("peak", "peak_bytes"),
                        ("allocations", "allocated_bytes")):
        for entry in whole[report]:
            names = tuple(f["function"] or place(f) for f in reversed(entry["stack"]))
            one = table.setdefault(tuple(f["address"] for f in entry["stack"]),
                                   (names, collections.Counter()))
            one[1][key] += entry["bytes"]
            if report == "allocations":
                one[1]["calls"] += entry["calls"]
    return list(table.values())


def place(frame):
    return f"{frame['module'].rsplit('/', 1)[-1]}+{frame['offset']}"


KEYS = ("leaked_bytes", "peak_bytes", "allocated_bytes", "calls")


@pytest.mark.parametrize("name,function", [("churn", "main"), ("sqlite3", "sqlite3VdbeExec"),
                                           ("sqlite3", "sqlite3Malloc"),
                                           ("python3", "_PyEval_EvalFrameDefault")])
def test_callers_and_callees(traces, name, function):
    total, stacks = collections.Counter(), 0
    callers, callees = (collections.defaultdict(collections.Counter) for _ in range(2))
    for names, sums in paths_of(traces[name]):
        places = [i for i, one in enumerate(names) if one == function]
        for caller in {names[i - 1] if i else None for i in places}:
            callers[caller].update(sums)
        for callee in {names[i + 1] if i + 1 < len(names) else None for i in places}:
            callees[callee].update(sums)
        if places:
            total.update(sums)
            stacks += 1
    got = support.report(traces[name], "--callers", function, f"--callees={function}")
    for what, expected in (("callers", callers), ("callees", callees)):
        assert got[what]["function"] == function and got[what]["stacks"] == stacks > 0
        assert [got[what][k] for k in KEYS] == [total[k] for k in KEYS]
        assert {e["function"]: [e[k] for k in KEYS] for e in got[what][what]} == \
            {f: [sums[k] for k in KEYS] for f, sums in expected.items()}
    assert function in analyze(traces[name], "--callers", function).stdout


def test_callers_by_pattern(traces):
    got = support.report(traces["churn"], "--callers=site_*")["callers"]
    assert got["functions"] == 2 and got["allocated_bytes"] == 5 * 100 + 5 * 3000
    (caller,) = got["callers"]
    assert caller["function"] == "main" and caller["calls"] == 10
    # AND a function that is on no path is said so, as a success
    assert "No function nowhere" in analyze(traces["churn"], "--callees", "nowhere").stdout


def tree_of(paths, bottom_up):
    nodes = collections.defaultdict(collections.Counter)
    for names, sums in paths:
        names = names[::-1] if bottom_up else names
        for i in range(1, len(names) + 1):
            nodes[names[:i]].update(sums)
    return nodes


@pytest.mark.parametrize("name", ("churn", "sqlite3", "python3"))
@pytest.mark.parametrize("how", ("top-down", "bottom-up", "bottom-up,peak", "leaks"))
def test_tree(traces, name, how):
    cost = {"peak": "peak_bytes", "leaks": "leaked_bytes"}.get(how.split(",")[-1],
                                                                "allocated_bytes")
    expected = {path: [sums[k] for k in KEYS]
                for path, sums in tree_of(paths_of(traces[name]), "bottom" in how).items()
                if sums[cost]}
    got = support.report(traces[name], f"--tree={how}")["tree"]
    at, lines = [], {}
    for line in got["lines"]:
        at = at[:line["depth"]] + [line["function"]]
        lines[tuple(at)] = [line[k] for k in KEYS]
        assert line["share"] == pytest.approx(100 * line[cost] / got["total"])
    assert lines == expected and len(lines) == len(got["lines"])
    # AND pruned, it is a part of the same, nothing below the least share
    pruned = json.loads(analyze(traces[name], f"--tree={how}", "--json").stdout)["tree"]
    assert all(line["share"] >= pruned["least_share"] == 1 for line in pruned["lines"])
    assert 0 < len(pruned["lines"]) <= len(got["lines"])


def test_tree_for_people(traces):
    text = analyze(traces["churn"], "--tree").stdout
    lines = [line for line in text.splitlines()
             if re.search(r" (site_one|site_two|main), \S+$", line)]
    assert [line.split()[-2].rstrip(",") for line in lines] == ["main", "site_two", "site_one"]
    assert lines[1].split()[0] == "81.3"
    assert lines[2].index("site_one") > lines[0].index("main")
    assert "… " in analyze(traces["sqlite3"], "--tree").stdout


@pytest.mark.parametrize("option", ["--snapshots=x", "--snapshots=churn:", "--snapshots=time:-1",
                                    "--snapshots=churn:1X", "--tree=sideways", "--callers=",
                                    "--snapshots"])
def test_wrong_values_of_others(traces, option):
    done = support.run([support.ANALYZE, option, traces["churn"]])
    assert done.returncode == 2 and done.stderr, done


def test_tables_fit_a_terminal(traces):
    """On 60 columns no line is wider, but for the audit's sentences."""
    script = ("import os, pty, sys; os.environ.update(COLUMNS='60', NO_COLOR='1'); "
              "sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))")
    done = support.run([PYTHON, "-c", script, support.ANALYZE, traces["sqlite3"], "--tree",
                        "--callees=sqlite3VdbeExec", "--snapshots=churn:1M"])
    assert done.returncode == 0, done
    wide = [line for line in done.stdout.split("Audit")[0].splitlines()
            if len(line.rstrip()) > 60 and " B  " in line]
    assert not wide and "Call tree" in done.stdout
