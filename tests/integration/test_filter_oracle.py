# SPDX-License-Identifier: MIT
"""Every filter on every report, dump and export, alone and with others, on traces of
real programs: the numbers of tests/filter_oracle.py, to the last byte."""
import collections
import csv
import functools
import io
import json
import re
import shutil
import xml.etree.ElementTree

import pytest

import support
from filter_oracle import (Expected, Filter, functions_of, neighbours, report_of, rows_of,
                           steps_of)
from support import ANALYZE, PROGRAMS, PYTHON, run, trace

SQL = """create table t(a, b);
with recursive c(x) as (select 1 union all select x + 1 from c where x < 700)
insert into t select x, hex(randomblob(20)) from c;
create index i on t(b); select count(*) from t;"""

THREADS = """
import ctypes, threading
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.realloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
handed = []
def work(name):
    libc.prctl(15, name, 0, 0, 0)
    for i in range(40):
        libc.malloc(1 << 62)
        p = libc.malloc(1000 + i)
        p = libc.realloc(p, 3000 + i)
        libc.realloc(p, 1 << 62)
        if i % 3: libc.free(p)
        else: handed.append(p)
names = [b"odd [a]*?", b"\\\\back/slash", b"\\xff\\xfe", b"77", b"\\x1b[1m"]
threads = [threading.Thread(target=work, args=(n,)) for n in names]
for t in threads: t.start()
for t in threads: t.join()
for p in handed[::2]: libc.free(p)
"""

FORKS = """
import ctypes, os
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.realloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
old = [libc.malloc(5000 + i) for i in range(9)]
for n in range(3):
    pid = os.fork()
    if pid == 0:
        libc.free(old[0]); libc.realloc(old[1], 7000 + n); libc.malloc(6000 + n)
        if os.fork() == 0:
            libc.free(old[2]); libc.malloc(6500 + n); os._exit(0)
        os.wait(); os._exit(0)
    os.waitpid(pid, 0)
    libc.free(old.pop()); libc.realloc(old.pop(), 9000 + n)
"""


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    root = tmp_path_factory.mktemp("oracle")
    repository = root / "repository"
    shutil.copytree(support.ROOT / "format", repository)
    for argv in (["git", "init", "-q"], ["git", "add", "."],
                 ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        assert support.run(argv, cwd=repository).returncode == 0
    programs = {
        "sqlite3": ["sqlite3", ":memory:", SQL],
        "threads": [PYTHON, "-S", "-E", "-c", THREADS],
        "forks": [PYTHON, "-S", "-E", "-c", FORKS],
        "shell": ["bash", "-c", "for i in 1 2 3; do (x=$(echo $i; ls /); echo ${x//a/b}); done; "
                                "seq 100 | sort | tail -1"],
        "git": ["git", "-C", repository, "log", "--stat"],
        "handover": [PROGRAMS / "handover", "2", "300"],
    }
    for name, argv in programs.items():
        done = trace(argv, root / name)
        assert done.returncode == 0, done
    return root


def filters_of(path, name):
    """Each alone, and combinations."""
    whole = report_of(path)["summary"]["duration_ns"]
    begun = [s.row for s in steps_of(path) if s.new]
    pid, tid = begun[len(begun) // 2]["pid"], begun[len(begun) // 3]["tid"]
    sizes = sorted(row["size"] for row in begun)
    small, large = sizes[len(sizes) // 4], sizes[len(sizes) * 9 // 10]
    third, half = begun[len(begun) // 3]["time_ns"], begun[len(begun) // 2]["time_ns"]
    made = {
        "from": dict(since=third), "to": dict(until=half), "window": dict(since=third, until=half),
        "window around": dict(since=0, until=10 ** 15),
        "window behind": dict(since=whole + 1, until=whole + 2),
        "window that is short": dict(since=half, until=half + 1),
        "pid": dict(pids=(pid,)), "no pid": dict(pids=(1,)), "tid": dict(tids=(tid,)),
        "glob": dict(tids=("*",)), "least": dict(least=large), "most": dict(most=small),
        "sizes": dict(least=small, most=large), "age": dict(age=whole // 2),
        "age in a window": dict(age=(half - third) // 2, since=third, until=half),
        "many": dict(since=third // 2, until=half, pids=(pid, 1), least=small, tids=("*", tid)),
    }
    if name in ("sqlite3", "threads", "forks", "handover"):  # one address space
        made |= {
            "function": dict(function=("^sqlite3_step$|_PyEval|^main$",)),
            "nothing": dict(function=("no such function",)), "all": dict(exclude=("",  ".")[1:]),
            "module": dict(module=("libc|sqlite", "python")), "exclude": dict(exclude=("libc",)),
            "exclude two": dict(exclude=("exec|Step", "resize")),
            "stacks": dict(since=third, function=("[a-z]",), module=("/",), exclude=("alloc$",)),
        }
    if name == "threads":
        made |= {
            "brackets": dict(tids=("odd [[]a]*",)), "77": dict(tids=("[7]7",)),
            "escape": dict(tids=("*[[]1m", "nobody")),
        }
    return {key: Filter(path, **value) for key, value in made.items()}


NAMES = ["sqlite3", "threads", "forks", "shell", "git", "handover"]


@functools.lru_cache(maxsize=None)
def cases(path):
    """Title, filter and what is expected under it."""
    return [(title, wanted, Expected(path, wanted))
            for title, wanted in filters_of(path, path.name).items()]


def expected(path, *titles):
    return [case for case in cases(path) if case[0] in titles]


def stack_of(entry):
    return tuple(f["address"] for f in entry["stack"] if not f["inlined"])


def sums(entries, *names):
    return {stack_of(e): tuple(e[name] for name in names) for e in entries}


def nonzero(table, *names):
    """by_stack, as entries of a report have it: those that have something."""
    chosen = {key: tuple(c[name] for name in names) for key, c in table.items()}
    return {key: value for key, value in chosen.items() if any(value)}


def analyze(path, *args, status=0):
    """mlog-analyze; a filter that nothing matches writes all the same, and ends with 2."""
    done = run([ANALYZE, path, *args])
    nothing = "nothing in the trace matches the filter" in done.stderr
    assert done.returncode == (2 if nothing else status), (args, done)
    return done


def report(path, *args):
    return json.loads(analyze(path, "--json", "--top", "0", "--no-builtin-suppressions",
                              *args).stdout)


def without_names(wanted):
    """Names make these reports large, and are compared nowhere."""
    return [] if wanted.function or wanted.module or wanted.exclude else ["--no-symbols"]


@pytest.mark.parametrize("name", NAMES)
def test_reports(traces, name):
    path = traces / name
    # Every other filter on each: half of the traces have the one half, half the other.
    for title, wanted, right in cases(path)[NAMES.index(name) % 2::2]:
        seen = report(path, "--summary", "--leaks", "--peak", "--allocations", "--timeline",
                      "--per-process", "--temporary=2", "--churn", "--sizes", "--lifetimes",
                      "--threads", "--reallocs", "--snapshots=churn:4M", "--tree",
                      *without_names(wanted), *wanted.options())
        told = f"{name}, {title}: {wanted.options()}"
        assert_summary(seen, right, told)
        assert_processes(seen, right, told)
        assert_counts(seen, right, told)
        if name not in ("shell", "git"):
            assert_stacks(seen, right, told)


def assert_summary(seen, right, told):
    summary, totals = seen["summary"], right.totals
    for key in ("allocations", "allocated_bytes", "frees", "freed_bytes", "reallocations",
                "usable_bytes", "temporary", "events", "failed_calls"):
        assert summary[key] == totals[key], (told, key)
    assert {k: v for k, v in summary["calls"].items() if v} == right.calls, told
    assert (summary["leaked_bytes"], summary["leaked_blocks"]) == \
        (right.leaked, len(right.live)), told
    assert (summary["peak_bytes"], summary["peak_blocks"], summary["peak_time_ns"]) == \
        (right.peak, right.peak_blocks, right.peak_time), told
    assert summary["inherited_frees"] == 0
    assert seen["audit"]["unmatched_frees"] == seen["audit"]["order_repairs"] == 0
    for what, total in (("leaks", "leaked_bytes"), ("peak", "peak_bytes"),
                        ("allocations", "allocated_bytes")):
        assert sum(e["bytes"] for e in seen[what]) == summary[total], (told, what)
    points = seen["timeline"]["points"]
    assert max([p["bytes"] for p in points], default=0) == right.peak, told
    assert not points or points[-1]["bytes"] == right.joint, told
    assert seen["tree"]["total"] == totals["allocated_bytes"], told


def assert_processes(seen, right, told):
    def by_pid(rows, key):
        table = collections.Counter()
        for row in rows:
            table[row["pid"]] += row[key]
        return +table

    for key in ("allocations", "allocated_bytes", "frees", "freed_bytes"):
        table = collections.Counter()
        for image, counts in right.by_image.items():
            table[image[0]] += counts[key]
        assert by_pid(seen["processes"], key) == +table, (told, key)
    leaked = collections.Counter()
    for block in right.live.values():
        leaked[block.image[0]] += block.row["size"]
    assert by_pid(seen["processes"], "leaked_bytes") == +leaked, told
    assert by_pid(seen["per_process"], "leaked_bytes") == +leaked, told
    for one in seen["per_process"]:
        assert sum(e["bytes"] for e in one["peak"]) == one["peak_bytes"], told


def assert_counts(seen, right, told):
    totals = right.totals
    assert seen["temporary"]["temporary"] == totals["near"], told
    assert seen["temporary"]["calls"] == totals["allocations"], told
    churn = seen["churn"]
    assert churn["bytes"] == totals["allocated_bytes"] + totals["freed_bytes"], told
    whole = seen["summary"]["duration_ns"]
    lasts = min(right.wanted.until or whole, whole)
    assert churn["duration_ns"] == max(0, lasts - (right.wanted.since or 0)), told
    assert {r["from"].bit_length(): (r["calls"], r["bytes"], r["live_blocks"], r["slack_bytes"])
            for r in seen["sizes"]["histogram"] if r["calls"]} == \
        {k: (c["calls"], c["bytes"], c["live"], c["slack"]) for k, c in right.sizes.items()}, told
    lives = [row["blocks"] for row in seen["lifetimes"]["histogram"]]
    assert lives == ([right.lives[i] for i in (*range(10), None)] if lives else []), told
    threads = collections.defaultdict(list)     # after an exec a thread is another
    for row in seen["threads"]["threads"]:
        threads[row["pid"], row["tid"]].append(row)
    assert threads.keys() == right.by_thread.keys(), told
    for key, counts in right.by_thread.items():
        for what in ("allocations", "allocated_bytes", "frees", "freed_bytes"):
            assert sum(row[what] for row in threads[key]) == counts[what], (told, key, what)
        if len(threads[key]) == 1:
            assert threads[key][0]["peak_bytes"] == counts["peak_bytes"], (told, key)
    assert {(h["pid"], h["allocated_by"], h["freed_by"]): (h["blocks"], h["bytes"])
            for h in seen["threads"]["handed_over"]} == \
        {(a[0], a[1], b[1]): (c["blocks"], c["bytes"])
         for (a, b), c in right.handed_over.items()}, told
    last = seen["snapshots"]["snapshots"][-1]
    assert (last["allocated_bytes"], last["freed_bytes"], last["live_bytes"]) == \
        (totals["allocated_bytes"], totals["freed_bytes"], right.leaked), told
    assert last["time_ns"] == (lasts if lasts > 0 else last["time_ns"]), told


def assert_stacks(seen, right, told):
    table = right.by_stack
    assert sums(seen["allocations"], "bytes", "blocks") == \
        nonzero(table, "allocated_bytes", "allocations"), told
    assert sums(seen["leaks"], "bytes", "blocks") == nonzero(table, "leaked", "leaked_blocks"), told
    # An entry for each stack that had a block, be it of no bytes.
    assert {k: v[0] for k, v in sums(seen["peak"], "bytes").items() if v[0]} == \
        {k: v for k, v in right.at_peak.items() if v}, told
    assert sums(seen["temporary"]["stacks"], "temporary") == nonzero(table, "near"), told
    assert sums(seen["churn"]["stacks"], "allocated_bytes", "freed_bytes", "frees") == \
        {k: (c["allocated_bytes"], c["freed_bytes"], c["frees"]) for k, c in table.items()}, told
    assert seen["summary"]["stacks"] == len(table), told


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("shell", "git")])
def test_callers_and_callees(traces, name):
    """Of the functions on most stacks, recursive ones among them, and the allocators' own."""
    path = traces / name
    met, costs = collections.Counter(), ("leaked_bytes", "peak_bytes", "allocated_bytes", "calls")
    for stack in Expected(path, Filter(path)).by_stack:
        met.update(n for address in stack for n in functions_of(path)[address]
                   if not set("*?[(") & set(n))
    chosen = [function for function, _ in met.most_common()[:9:4]]
    for title, wanted, right in cases(path):
        for function in chosen:
            seen = report(path, "--callers", function, "--callees", function, *wanted.options())
            for what, step in (("callers", 1), ("callees", -1)):
                table, total = neighbours(right, function, step)
                told = f"{name}, {title}: {what} of {function}, {wanted.options()}"
                assert {row["function"]: [row[cost] for cost in costs]
                        for row in seen[what][what]} == table, told
                assert [seen[what][cost] for cost in (*costs, "stacks")] == total, told


@pytest.mark.parametrize("name", NAMES)
def test_dumps(traces, name):
    """The events that begin or end an accepted block, or fail and are accepted, and
    what else happens in the window; of a realloc what is accepted of it."""
    path = traces / name
    for title, wanted, right in cases(path):
        lines = [json.loads(line) for line in
                 analyze(path, "--dump=json", *wanted.options()).stdout.splitlines()]
        assert lines[0]["type"] == "filter" and lines[0]["text"].startswith("filtered: ")
        assert lines[0]["from_ns"] == (wanted.since or 0)
        assert lines[0].get("to_ns") == wanted.until
        assert lines[1:] == right.rows, (name, title)
        text = analyze(path, "--dump=text", *wanted.options()).stdout
        assert text.startswith("# FILTER filtered: ")
        calls = [row for row in right.rows if "function" in row and row["type"] != "failed"]
        entries = re.findall(r"^\+ (?!INIT|FINI|realloc-free)[\w-]+ (\d+) (0x\w+)$", text, re.M)
        shown = [r for r in calls if r["type"] != "free" or r["function"] != "realloc"]
        assert [address for _, address in entries] == [r["address"] for r in shown], (name, title)
        # What `free` ends has its size.
        assert sum(int(size) for size, _ in
                   re.findall(r"^\+ (?:free|realloc-free) (\d+) (0x\w+)$", text, re.M)) <= \
            right.totals["freed_bytes"], (name, title)
        pids = re.findall(r"^# PID (\d+)$", text, re.M)
        assert set(map(int, pids)) == {r["pid"] for r in calls}, (name, title)
        assert text.count("# EXE ") == text.count("+ INIT") == len(right.images), (name, title)


@pytest.mark.parametrize("name", NAMES)
def test_exports_and_flame_graphs(traces, name, tmp_path):
    path = traces / name
    for title, wanted, right in cases(path):
        told, totals = (name, title), right.totals
        files = {form: tmp_path / form for form in
                 ("speedscope", "callgrind", "massif", "heaptrack", "chrome", "csv",
                  "csv-timeline", "pprof")}
        analyze(path, *(f"--export={form}={file}" for form, file in files.items()),
                *wanted.options())
        profiles = {p["name"]: p["endValue"] for p in
                    json.loads(files["speedscope"].read_text())["profiles"]}
        assert list(profiles.values()) == [right.leaked, right.peak, totals["allocated_bytes"],
                                           totals["allocations"], totals["temporary"]], told
        total = re.search(r"^(?:totals|summary): (.*)$", files["callgrind"].read_text(), re.M)[1]
        assert list(map(int, total.split()))[:5] == \
            [totals["allocated_bytes"], totals["allocations"], right.leaked, len(right.live),
             right.peak], told
        massif = files["massif"].read_text()
        assert max(map(int, re.findall(r"^mem_heap_B=(\d+)$", massif, re.M))) == right.peak, told
        heaptrack = files["heaptrack"].read_text().splitlines()
        assert (sum(line.startswith("+ ") for line in heaptrack),
                sum(line.startswith("- ") for line in heaptrack)) == \
            (totals["allocations"], totals["frees"]), told
        assert_chrome(json.loads(files["chrome"].read_text()), right, told)
        table = list(csv.DictReader(io.StringIO(files["csv"].read_text())))
        for column, value in (("leaked_bytes", right.leaked), ("peak_bytes", right.peak),
                              ("allocated_bytes", totals["allocated_bytes"])):
            assert sum(int(row[column]) for row in table) == value, (told, column)
        points = [int(row["bytes"]) for row in
                  csv.DictReader(io.StringIO(files["csv-timeline"].read_text()))]
        assert max(points, default=0) == right.peak, told
        for form in ("speedscope", "callgrind", "massif", "heaptrack", "chrome"):
            assert "filtered: blocks" in files[form].read_text(), (told, form)
    for cost, value in (("leaks", right.leaked), ("peak", right.peak),
                        ("allocations", totals["allocated_bytes"]),
                        ("calls", totals["allocations"]), ("temporary", totals["temporary"])):
        lines = analyze(path, f"--flamegraph={cost}", *wanted.options()).stdout.splitlines()
        assert sum(int(line.rsplit(" ", 1)[1]) for line in lines) == value, (told, cost)


def assert_chrome(whole, right, told):
    wanted = right.wanted
    most = collections.defaultdict(int)
    for event in whole["traceEvents"]:
        if event["ph"] == "C" and event["name"] == "heap":
            most[event["pid"]] = max(most[event["pid"]], event["args"]["bytes"])
            assert event["ts"] * 1000 >= (wanted.since or 0) - 1, told
            assert wanted.until is None or event["ts"] * 1000 <= wanted.until + 1, told
    images = {image[0] for image in right.by_image}
    assert most.keys() >= {i[0] for i, c in right.by_image.items() if c["allocations"]}, told
    if len(images) == 1:
        assert most[next(iter(images))] == right.peak, told


@pytest.mark.parametrize("name", ["sqlite3", "threads", "forks"])
def test_gates_and_files_for_ci(traces, name, tmp_path):
    path = traces / name
    for _, wanted, right in expected(path, "window", "least", "tid"):
        conditions = [f"leaked_bytes=={right.leaked}", f"peak_bytes=={right.peak}",
                      f"failed_calls=={right.totals['failed_calls']}",
                      f"allocations=={right.totals['allocations']}"]
        done = analyze(path, *(f"--fail-on={c}" for c in conditions), "--junit", tmp_path / "j",
                       "--sarif", tmp_path / "s", "--top", "0", "--no-builtin-suppressions",
                       *wanted.options(), status=3)
        assert all(c in done.stderr for c in conditions), done.stderr
        tree = xml.etree.ElementTree.parse(tmp_path / "j")
        (said,) = [p.get("value") for p in tree.iter("property") if p.get("name") == "filter"]
        sarif = json.loads((tmp_path / "s").read_text())["runs"][0]
        assert said.startswith("filtered: ") and sarif["properties"]["filter"] == said
        assert sum(r["properties"]["bytes"] for r in sarif["results"]) == right.leaked


def test_what_follows_and_what_is_piped(traces):
    path = traces / "threads"
    for key, wanted, right in expected(path, "window", "sizes", "exclude", "tid"):
        for argv in ([support.ANALYZE, path, "--follow"], [support.ANALYZE, "-"],
                     [support.ANALYZE, "-", "--follow"]):
            done = support.run([*argv, "--json", *wanted.options()],
                               input=path.read_bytes() if "-" in argv else None)
            assert done.returncode == 0, done
            assert_summary_only(json.loads(done.stdout.splitlines()[-1])
                                if done.stdout.count('"schema"') > 1 else json.loads(done.stdout),
                                right, (key, argv))
        done = support.run([support.ANALYZE, "-", "--dump=json", *wanted.options()],
                           input=path.read_bytes())
        assert [json.loads(line) for line in done.stdout.splitlines()][1:] == right.rows, key


def assert_summary_only(seen, right, told):
    summary = seen["summary"]
    assert (summary["allocations"], summary["leaked_bytes"], summary["peak_bytes"],
            summary["failed_calls"]) == (right.totals["allocations"], right.leaked, right.peak,
                                         right.totals["failed_calls"]), told


def test_the_filtered_dump_is_a_log_of_its_own(traces):
    """Every free has its allocation before it."""
    for name in NAMES:
        for title, wanted, _ in cases(traces / name):
            live = set()
            for row in rows_of(traces / name, *wanted.options())[1:]:
                if row["type"] in ("free", "begin"):
                    address = row["address" if row["type"] == "free" else "old_address"]
                    assert (row["pid"], address) in live, (name, title, row)
                    live.discard((row["pid"], address))
                elif row["type"] in ("alloc", "realloc"):
                    live.add((row["pid"], row["address"]))
