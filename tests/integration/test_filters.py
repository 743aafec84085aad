# SPDX-License-Identifier: MIT
"""Windows and filters, one by one: numbers of filtered reports against
tests/filter_oracle.py, and what users may type. test_filter_oracle.py has all
filters on all outputs."""
import json
import re
import subprocess
import sys
import types

import pytest

import support
from filter_oracle import Expected
from support import PROGRAMS, PLOT, analyze, report, trace

sys.path[:0] = [str(support.ROOT / "format" / "vectors")]

from trace_writer import Trace  # noqa: E402

ALL = ("--summary", "--leaks", "--peak", "--allocations")
SQL = """create table t(a, b);
with recursive c(x) as (select 1 union all select x + 1 from c where x < 3000)
insert into t select x, hex(randomblob(20)) from c;
create index i on t(b); select count(*) from t;"""


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    """One trace of each program, by its name."""
    root = tmp_path_factory.mktemp("filters")
    programs = {
        "sqlite3": ["sqlite3", ":memory:", SQL],
        "marks": [PROGRAMS / "marks"],
        "threads": [PROGRAMS / "threads", 4, 3000],
        "spawn": [PROGRAMS / "spawn", PROGRAMS / "churn"],
    }
    for name, argv in programs.items():
        trace(argv, root / name)
    return root


def events_of(path):
    return [json.loads(line) for line in analyze(path, "--dump=json").stdout.splitlines()]


def reference(path, accept=lambda block: True, to=None):
    """What a report of the blocks that `accept` takes must say, at `to` (ns)."""
    right = Expected(path, types.SimpleNamespace(accepts=accept, since=None, until=to, pids=()))
    names = "allocations allocated_bytes frees freed_bytes failed_calls".split()
    return {name: right.totals[name] for name in names} | {
        "peak_bytes": right.peak, "peak_blocks": right.peak_blocks,
        "leaked_bytes": right.leaked, "leaked_blocks": len(right.live)}


def check(path, *options, accept=lambda block: True, to=None):
    """The report with these options equals the reference; returns the report."""
    wanted = reference(path, accept, to)
    whole = report(path, *ALL, *options)
    summary = whole["summary"]
    for key, value in wanted.items():
        assert summary[key] == value, (key, options, wanted)
    for what, total, count in (("leaks", "leaked_bytes", "leaked_blocks"),
                               ("peak", "peak_bytes", "peak_blocks"),
                               ("allocations", "allocated_bytes", "allocations")):
        assert sum(entry["bytes"] for entry in whole[what]) == summary[total], what
        assert sum(entry["blocks"] for entry in whole[what]) == summary[count], what
    assert sum(p["allocations"] for p in whole["processes"]) == summary["allocations"]
    assert sum(p["leaked_bytes"] for p in whole["processes"]) == summary["leaked_bytes"]
    assert sum(summary["calls"].values()) + summary["failed_calls"] == summary["events"]
    assert whole["audit"]["unmatched_frees"] == 0
    assert whole["filter"]["text"].startswith("filtered: ")
    return whole


def duration_of(path):
    return support.summary(path)["duration_ns"]


def moment(path, percent):
    """When so many of its allocations had been made, in ns: a program stands still on a
    busy machine, and what is in a part of its time is chance."""
    times = sorted(row["time_ns"] for row in events_of(path) if row["type"] == "alloc")
    return times[len(times) * percent // 100]


def window_of(path, begin, end=None):
    """Options for the part between two such moments."""
    return (f"--from={moment(path, begin)}ns", *([f"--to={moment(path, end)}ns"] if end else []))


@pytest.mark.parametrize("program", ["sqlite3", "threads"])
def test_a_window_in_seconds(traces, program):
    path = traces / program
    whole = duration_of(path)
    begin, end = moment(path, 25), moment(path, 75)
    seen = check(path, "--from", f"{begin / 1e9:.9f}", "--to", f"{end}ns",
                 accept=lambda block: begin <= block["time_ns"] < end, to=end)
    assert seen["filter"]["from_ns"] == begin and seen["filter"]["to_ns"] == end
    assert 0 < seen["summary"]["allocations"]
    assert seen["summary"]["duration_ns"] == whole


def test_halves_make_the_whole(traces):
    path = traces / "sqlite3"
    whole = support.summary(path)["allocations"]
    percent = max(1, moment(path, 40) * 100 // duration_of(path))
    middle = duration_of(path) * percent // 100
    early = check(path, "--to", f"{percent}%", to=middle,
                  accept=lambda b: b["time_ns"] < middle)["summary"]
    late = check(path, "--from", f"{percent}%",
                 accept=lambda b: b["time_ns"] >= middle)["summary"]
    assert early["allocations"] + late["allocations"] == whole
    assert early["allocations"] and late["allocations"]
    assert check(path, "--from", "0%", "--to", "100%")["summary"]["allocations"] == whole


@pytest.mark.parametrize("unit, factor", [("", 1e9), ("s", 1e9), ("ms", 1e6), ("us", 1e3),
                                          ("ns", 1), ("m", 6e10), ("h", 3.6e12)])
def test_units_of_time(traces, unit, factor):
    seen = report(traces / "marks", "--summary", "--to", f"1.5{unit}")
    assert seen["filter"]["to_ns"] == int(1.5 * factor + 0.5)


def test_windows_between_marks(traces):
    """The program leaks 17 * 8 bytes after one mark and 19 * 8 within a span."""
    path = traces / "marks"

    def leaked(*options):
        seen = report(path, "--leaks", "--summary", *options)
        assert [e["bytes"] for e in seen["leaks"]] == sorted(
            (e["bytes"] for e in seen["leaks"]), reverse=True)
        assert sum(e["bytes"] for e in seen["leaks"]) == seen["summary"]["leaked_bytes"]
        return [e["bytes"] for e in seen["leaks"]]

    span = 'span "quoted"'
    assert leaked("--from", "before") == [152, 136]
    assert leaked("--from", "mark:before", "--to", f"mark:{span}") == [152, 136]
    assert leaked("--from", span, "--to", span) == [152]
    assert leaked("--from", f"mark:{span}", "--to", "100%") == [152]
    assert 152 not in leaked("--to", "before") and 136 not in leaked("--to", "before")
    for wrong in (("--from", "nowhere"), ("--to", "mark:nowhere")):
        done = analyze(path, *wrong, status=1)
        assert "nowhere" in done.stderr and "before" in done.stderr and span in done.stderr
    assert "beginning" in analyze(path, "--from", span, "--to", "before", status=1).stderr
    assert "has no mark" in analyze(traces / "sqlite3", "--from", "x", status=1).stderr


def test_the_end_of_a_span_may_be_that_of_the_window(tmp_path):
    """A name that begins and ends: --from takes the begin, --to the first end after it."""
    trace([PROGRAMS / "marks"], tmp_path / "t")
    marks = {e["kind"]: e["time_ns"] for e in events_of(tmp_path / "t") if e["type"] == "mark"}
    seen = report(tmp_path / "t", "--from", 'span "quoted"', "--to", 'span "quoted"')["filter"]
    assert (seen["from_ns"], seen["to_ns"]) == (marks["begin"], marks["end"])


def test_sizes(traces):
    path = traces / "sqlite3"
    check(path, "--min-size", "1K", "--max-size", "0.0625M",
          accept=lambda b: 1024 <= b["size"] <= 65536)
    check(path, "--min-size", "100", accept=lambda b: b["size"] >= 100)
    assert check(path, "--max-size", "64KiB", accept=lambda b: b["size"] <= 65536)
    assert check(path, "--max-size", "0", accept=lambda b: b["size"] == 0)
    assert check(path, "--min-size", "1G", accept=lambda b: False)


def test_age(traces):
    """Blocks that were old at the end of the window, and what they did before it."""
    path = traces / "threads"
    whole = duration_of(path)
    end = moment(path, 75)
    age = end - moment(path, 40)
    check(path, "--min-age", f"{age}ns", accept=lambda b: b["time_ns"] <= whole - age)
    seen = check(path, "--min-age", f"{age}ns", "--to", f"{end}ns", to=end,
                 accept=lambda b: b["time_ns"] <= end - age)
    assert seen["summary"]["leaked_blocks"]
    assert not report(path, "--summary", "--min-age", "1h")["summary"]["allocations"]


def test_a_realloc_whose_old_address_was_given_out_before_its_end(tmp_path):
    """Threads that hand blocks on: while one reallocs, another gets the old address."""
    for turn in range(8):
        path = tmp_path / f"t{turn}"
        trace([PROGRAMS / "threads", 4, 3000], path)
        whole = duration_of(path)
        age = whole // 3
        check(path, "--min-age", f"{age}ns", accept=lambda b, to=whole - age: b["time_ns"] <= to)


def test_a_thread_by_number_and_by_name(traces):
    path = traces / "threads"
    tids = sorted({e["tid"] for e in events_of(path) if e["type"] == "alloc"})
    counts = []
    for tid in tids[:3]:
        seen = check(path, "--tid", tid, accept=lambda b: b["tid"] == tid)["summary"]
        assert seen["threads"] == 1
        counts.append(seen["allocations"])
    both = check(path, "--tid", tids[0], "--tid", tids[1],
                 accept=lambda b: b["tid"] in tids[:2])["summary"]
    assert both["allocations"] == counts[0] + counts[1] and both["threads"] == 2
    everything = support.summary(path)["allocations"]
    assert report(path, "--tid", "thr*")["summary"]["allocations"] == everything
    assert json.loads(analyze(path, "--json", "--tid", "nobody", status=2).stdout)[
        "summary"]["allocations"] == 0


def test_a_thread_by_the_name_it_gave_itself(tmp_path):
    script = ("import threading, ctypes, os\n"
              "libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p\n"
              "def work():\n"
              "    libc.prctl(15, b'worker-7', 0, 0, 0)\n"
              "    libc.malloc(123457)\n"
              "t = threading.Thread(target=work); t.start(); t.join(); libc.malloc(123459)\n"
              "while len(os.listdir('/proc/self/task')) > 1: pass\n")
    trace([support.PYTHON, "-c", script], tmp_path / "t")
    seen = report(tmp_path / "t", "--leaks", "--tid", "worker-[0-9]", "--min-size", "100K")
    assert [entry["bytes"] for entry in seen["leaks"]] == [123457]


def test_a_process(traces):
    """churn makes ten temporary blocks a run; each run is a process of its own."""
    path = traces / "spawn"
    pids = {e["pid"] for e in events_of(path) if e["type"] == "alloc"}
    assert len(pids) > 3
    for pid in pids:
        seen = check(path, "--pid", pid, accept=lambda b: b["pid"] == pid)
        assert all(p["pid"] == pid or not p["allocations"] for p in seen["processes"])
    assert json.loads(analyze(path, "--json", "--pid", "1", status=2).stdout)[
        "summary"]["allocations"] == 0


def test_a_forked_child_counts_its_own_blocks(tmp_path):
    script = ("import os, ctypes\n"
              "libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p\n"
              "libc.free.argtypes = [ctypes.c_void_p]\n"
              "mine = libc.malloc(223457)\n"
              "pid = os.fork()\n"
              "if pid == 0:\n"
              "    libc.malloc(223459); libc.free(mine); os._exit(0)\n"
              "os.waitpid(pid, 0); print(pid)\n")
    child = trace([support.PYTHON, "-c", script], tmp_path / "t").stdout.strip()
    seen = report(tmp_path / "t", "--leaks", "--summary", "--min-size", "200K", "--pid", child)
    assert [entry["bytes"] for entry in seen["leaks"]] == [223459]
    assert seen["summary"]["frees"] == 0, "the block it freed is its parent's"
    assert seen["audit"]["unmatched_frees"] == 0
    seen = report(tmp_path / "t", "--leaks", "--min-size", "200K", "--max-size", "223457")
    assert [entry["bytes"] for entry in seen["leaks"]] == [223457]


def test_each_process_is_filtered(traces):
    path = traces / "spawn"
    whole = report(path, "--per-process", "--summary", "--min-size", "300")
    everything = report(path, "--per-process", "--summary")
    each = whole["per_process"]
    assert sum(p["allocations"] for p in each) == whole["summary"]["allocations"] > 0
    assert whole["summary"]["allocations"] < everything["summary"]["allocations"]
    for process in each:
        same = [q for q in each if q["pid"] == process["pid"]]
        alone = report(path, "--per-process", "--min-size", "300", "--pid", process["pid"])
        for key in ("allocations", "leaked_bytes", "peak_bytes", "peak_time_ns"):
            assert [p[key] for p in alone["per_process"]] == [p[key] for p in same]
        for what, total in (("leaks", "leaked_bytes"), ("peak", "peak_bytes")):
            assert sum(entry["bytes"] for entry in process[what]) == process[total]
    part = window_of(traces / "sqlite3", 30)
    (one,) = report(traces / "sqlite3", "--per-process", *part)["per_process"]
    late = report(traces / "sqlite3", *ALL, *part)
    assert one["peak_bytes"] == late["summary"]["peak_bytes"] > 0
    for what in ("peak", "leaks"):
        assert sorted((e["bytes"], e["blocks"], json.dumps(e["stack"])) for e in one[what]) == \
            sorted((e["bytes"], e["blocks"], json.dumps(e["stack"])) for e in late[what])


def test_following_with_a_filter(traces):
    path = traces / "sqlite3"
    options = ("--min-size", "1K", "--function", "step")
    followed = analyze(path, "--follow", "--json", "--top", "0", *ALL, *options).stdout
    last = json.loads(followed)
    assert last["summary"] == report(path, *ALL, *options)["summary"]
    assert last["leaks"] == report(path, *ALL, *options)["leaks"]


def texts(stack, key):
    return [frame[key] or "" for frame in stack]


def test_stacks_that_have_a_function_or_not(traces):
    """Against the entries of the whole report, which hold the stacks by name."""
    path = traces / "sqlite3"
    whole = report(path, *ALL)

    def sums(entries, keep):
        kept = [e for e in entries if keep(e["stack"])]
        return (sum(e["bytes"] for e in kept), sum(e["blocks"] for e in kept), len(kept))

    def has(pattern, key):
        return lambda stack: any(re.search(pattern, text) for text in texts(stack, key))

    table = [
        (("--function", "^sqlite3_(step|exec)$"), has("^sqlite3_(step|exec)$", "function")),
        (("--function", "step", "--function", "prepare"), has("step|prepare", "function")),
        (("--module", "libsqlite3"), has("libsqlite3", "module")),
        (("--exclude", "sqlite3_exec"), lambda s: not has("sqlite3_exec", "function")(s)),
        (("--exclude", "libsqlite3"), lambda s: not has("libsqlite3", "module")(s)),
        (("--module", "libsqlite3", "--function", "prepare", "--exclude", "step"),
         lambda s: has("libsqlite3", "module")(s) and has("prepare", "function")(s) and
         not has("step", "function")(s)),
    ]
    counts = []
    for options, keep in table:
        seen = report(path, *ALL, *options)
        for what in ("leaks", "allocations"):
            expected = sums(whole[what], keep)
            assert sums(seen[what], lambda stack: True) == expected, (what, options)
        assert seen["summary"]["allocations"] == sums(whole["allocations"], keep)[1]
        assert seen["audit"]["unmatched_frees"] == 0
        counts.append(seen["summary"]["allocations"])
    assert all(counts[:5]) and len(set(counts)) > 3, counts


def test_modules_need_no_symbols(traces):
    path = traces / "sqlite3"
    assert report(path, "--module", "sqlite3", "--no-symbols")["summary"]["allocations"] == \
        report(path, "--module", "sqlite3")["summary"]["allocations"] > 0


def test_the_timeline_and_other_outputs_are_filtered(traces, tmp_path):
    path = traces / "sqlite3"
    options = ("--min-size", "1000", *window_of(path, 20, 90))
    seen = report(path, "--summary", "--timeline", *options)
    summary, window = seen["summary"], seen["filter"]
    points = seen["timeline"]["points"]
    assert max(p["bytes"] for p in points) == summary["peak_bytes"] > 0
    assert points[-1]["bytes"] == summary["leaked_bytes"]
    assert all(window["from_ns"] <= p["time_ns"] <= window["to_ns"] for p in points)
    folded = analyze(path, "--flamegraph=peak", *options).stdout.splitlines()
    assert sum(int(line.rsplit(" ", 1)[1]) for line in folded) == summary["peak_bytes"]
    analyze(path, "--flamegraph=peak", "-o", tmp_path / "x.svg", *options)
    assert "filtered: blocks" in (tmp_path / "x.svg").read_text()
    csv = analyze(path, "--export=csv", *options).stdout
    assert len(csv.splitlines()) == summary["stacks"] + 1
    heaptrack = analyze(path, "--export=heaptrack", *options).stdout.splitlines()
    assert sum(line.startswith("+") for line in heaptrack) == summary["allocations"]
    assert sum(line.startswith("-") for line in heaptrack) == summary["frees"]


def test_chrome_and_the_ages_of_leaks_are_the_windows(traces):
    path = traces / "sqlite3"
    options = ("--min-size", "1000", *window_of(path, 20, 60))
    seen = report(path, *ALL, *options)
    window = seen["filter"]
    counters = [e for e in json.loads(analyze(path, "--export=chrome", *options).stdout)
                ["traceEvents"] if e["ph"] == "C" and e["name"] == "heap"]
    assert max(e["args"]["bytes"] for e in counters) == seen["summary"]["peak_bytes"] > 0
    text = analyze(path, "--leaks", *options).stdout
    assert "oldest" in text and "nothing is known of its history" not in text
    for entry in seen["leaks"]:
        ages = entry["oldest_ns"], entry["youngest_ns"]
        assert 0 < ages[1] <= ages[0] <= window["to_ns"] - window["from_ns"] + 1000, ages


def test_marks_that_repeat(tmp_path):
    """--from takes the first of a name, --to the first behind that."""
    script = ("import ctypes\n"
              "libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p\n"
              "for i in range(3):\n"
              "    libc.mlog_api_mark(1, b'a'); libc.malloc(123457 + i)\n"
              "    libc.mlog_api_mark(1, b'b'); libc.malloc(223457 + i)\n")
    trace([support.PYTHON, "-c", script], tmp_path / "t")

    def leaked(*options):
        entries = report(tmp_path / "t", "--leaks", "--min-size", "120K", *options)["leaks"]
        return sum(entry["bytes"] for entry in entries)

    assert leaked("--from", "a", "--to", "b") == 123457
    assert leaked("--from", "b", "--to", "a") == 223457


def test_differences_are_filtered(traces):
    path = traces / "sqlite3"
    options = (*window_of(path, 30), "--min-size", "1K")
    wanted = report(path, *options)["summary"]
    done = support.run([support.ANALYZE, "--diff", path, path, "--json", *options])
    seen = json.loads(done.stdout)["summary"]["peak_bytes"]
    assert seen["old"] == seen["new"] == wanted["peak_bytes"] > 0
    done = support.run([support.ANALYZE, "--diff", path, path, *options])
    assert done.stdout.count("filtered: blocks allocated from") == 2, done


def test_a_difference_says_how_both_sides_are_filtered(traces, tmp_path):
    old, new = traces / "sqlite3", traces / "threads"
    options = ("--from", "50%", "--min-size", "100", "--exclude", "no such")

    def compared(*more):
        done = support.run([support.ANALYZE, "--json", *options, *more, "--diff", old, new])
        assert done.returncode == 0, done
        return json.loads(done.stdout)

    seen = compared()
    for side, path in (("old", old), ("new", new)):
        assert seen[side]["filter"] == report(path, *options)["filter"]
        for key in ("allocations", "leaked_bytes", "peak_bytes", "failed_calls"):
            assert seen["summary"][key][side] == report(path, *options)["summary"][key]
    assert seen["old"]["filter"]["from_ns"] != seen["new"]["filter"]["from_ns"]
    window = compared("--old-to", "25%")
    assert window["old"]["filter"]["from_ns"] is None
    assert window["old"]["filter"]["to_ns"] == duration_of(old) // 4
    assert window["new"]["filter"] == seen["new"]["filter"]
    whole = json.loads(support.run([support.ANALYZE, "--json", "--diff", old, new]).stdout)
    assert whole["old"]["filter"] is whole["new"]["filter"] is None
    support.run([support.ANALYZE, "--flamegraph=leaks", "-o", tmp_path / "d.svg", *options,
                 "--old-to", "25%", "--diff", old, new])
    assert re.search(r"OLD filtered: .*, NEW filtered: ", (tmp_path / "d.svg").read_text())


def test_marks_of_chrome_have_the_filtered_heap(tmp_path):
    """The program holds 17 * 8 bytes of its own at its second mark."""
    trace([PROGRAMS / "marks"], tmp_path / "t")

    def marks(*options):
        text = analyze(tmp_path / "t", "--export=chrome", *options).stdout
        return {(e["ph"], e["name"]): e["args"]["bytes"]
                for e in json.loads(text)["traceEvents"] if e.get("cat") == "mark"}

    span = 'span "quoted"'
    assert marks("--min-size", "136", "--max-size", "152") == {
        ("i", "before"): 0, ("b", span): 136, ("e", span): 288}
    assert marks("--from", span) == {("b", span): 0, ("e", span): 152}


def test_a_point_that_comes_again_ends_the_window(tmp_path):
    script = ("import ctypes\n"
              "libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p\n"
              "for i in range(3):\n"
              "    libc.mlog_api_mark(1, b'tick'); libc.malloc(123457 + i)\n"
              "libc.mlog_api_mark(1, b'once')\n")
    trace([support.PYTHON, "-c", script], tmp_path / "t")
    seen = report(tmp_path / "t", "--leaks", "--min-size", "120K", "--from", "tick", "--to", "tick")
    assert [entry["bytes"] for entry in seen["leaks"]] == [123457]
    done = analyze(tmp_path / "t", "--from", "once", "--to", "once", status=1)
    assert "behind the window's beginning" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("end", ["0", "0%", "0ns"])
def test_a_window_up_to_the_start_is_empty(traces, end):
    seen = check(traces / "threads", "--to", end, accept=lambda b: False, to=0)
    assert seen["filter"]["from_ns"] is None and seen["filter"]["to_ns"] == 0


def test_a_rate_of_a_window_is_the_windows(traces):
    path = traces / "sqlite3"
    whole = duration_of(path)
    seen = report(path, "--churn", "--snapshots=time:100", *window_of(path, 50, 75))
    churn, window = seen["churn"], seen["filter"]
    assert churn["duration_ns"] == window["to_ns"] - window["from_ns"] < whole
    assert churn["bytes_per_second"] == churn["bytes"] * 10 ** 9 // churn["duration_ns"] or \
        abs(churn["bytes_per_second"] - churn["bytes"] * 1e9 / churn["duration_ns"]) <= 1024
    assert seen["snapshots"]["snapshots"][-1]["time_ns"] == window["to_ns"]
    begin = moment(path, 20)
    held = report(path, f"--from={begin}ns", f"--to={begin + 1_000_000}ns")     # too short to tell
    assert held["verdict"]["sentence"].startswith("The window lasted ")


def test_a_report_of_another_part_is_no_baseline(traces, tmp_path):
    path, part = traces / "sqlite3", ("--min-size", "1K")
    (tmp_path / "whole").write_text(analyze(path, "--json").stdout)
    (tmp_path / "part").write_text(analyze(path, "--json", *part).stdout)
    condition = ("--fail-on", "peak_bytes>+0")
    for baseline in (tmp_path / "part", path):
        analyze(path, *condition, "--baseline", baseline, *part)
    analyze(path, *condition, "--baseline", tmp_path / "whole")
    for baseline, options, says in (("whole", part, "whole trace"), ("part", (), "a part of")):
        done = analyze(path, *condition, "--baseline", tmp_path / baseline, *options, status=1)
        assert says in done.stderr and len(done.stderr.splitlines()) == 1, done


def test_a_plot_of_a_window(traces, tmp_path):
    """The page says what it shows; the analyser judges the values."""
    path = traces / "sqlite3"
    options = (*window_of(path, 50, 90), "--min-size=64", "--exclude=no such")
    done = support.run([PLOT, path, "-o", tmp_path / "p.svg", *options])
    assert done.returncode == 0 and not done.stderr, done
    drawn = (tmp_path / "p.svg").read_text()
    seen = report(path, *options)
    assert seen["filter"]["text"].removeprefix("filtered: ")[:40] in drawn
    assert ">0<" not in re.sub(r"\s", "", drawn.rpartition("time since the start")[0][-4000:])
    done = support.run([PLOT, path, "-o", tmp_path / "q.svg", "--min-size", "many"])
    assert done.returncode == 2 and "64K" in done.stderr and not (tmp_path / "q.svg").exists()
    (tmp_path / "j").write_text(analyze(path, "--json", "--summary", "--timeline").stdout)
    done = support.run([PLOT, "--from-json", tmp_path / "j", "-o", tmp_path / "q.svg", *options])
    assert done.returncode == 2 and "mlog-analyze" in done.stderr


def test_a_pid_that_is_given_out_again(tmp_path):
    """Both processes of the number are meant; what one held is not the other's."""
    made = Trace()
    for key, (first, size) in enumerate(((1000, 111), (9000, 222))):
        process = made.process(77, key=0x4000 + key)
        definitions = process.definitions(base_time=first)
        definitions.process_record(start=first, monotonic_ns=first)
        definitions.thread(1, 77)
        definitions.node(0, 0x1234, parent=0)
        definitions.write()
        events = process.events(1, first)
        events.alloc(first + 10, 0x10000, size, 16)
        events.alloc(first + 20, 0x20000, size + 1, 16)
        events.free(first + 30, 0x20000)
        events.write()
    (tmp_path / "t").write_bytes(made.bytes())
    options = ("--pid", "77", "--min-size", "112")
    seen = report(tmp_path / "t", *ALL, *options)
    assert (seen["summary"]["leaked_bytes"], seen["summary"]["allocations"]) == (222, 3)
    assert [p["leaked_bytes"] for p in seen["processes"]] == [0, 222]
    lines = analyze(tmp_path / "t", "--dump=json", *options).stdout.splitlines()[1:]
    assert [json.loads(line)["type"] for line in lines] == ["alloc", "free", "alloc", "alloc", "free"]


def test_a_clock_that_is_known_late_splits_no_block(tmp_path):
    """GIVEN no rate but that of a CLOCK record THEN moments before it are taken for
    others than after it; a block that fitted when it began fits when it ends."""
    made = Trace()
    process = made.process(5)
    definitions = process.definitions()
    definitions.process_record(counts_per_second=0, clock=1)
    definitions.thread(1, 5)
    definitions.node(0, 0x1234, parent=0)
    definitions.write()
    events = process.events(1, 0)
    events.alloc(1000, 0x10000, 100, 16)            # at 1,000 ns, as it seems
    events.alloc(1100, 0x20000, 200, 16)
    events.clock(2000, 1000, 1_700_000_000_000_001_000)     # two ticks are a nanosecond
    events.free(2100, 0x10000)                      # began at 500 ns, as it seems now
    events.alloc(2200, 0x30000, 400, 16)            # at 1,100 ns
    events.free(2300, 0x20000)
    events.write()
    (tmp_path / "t").write_bytes(made.bytes())
    seen = report(tmp_path / "t", *ALL, "--sizes", "--threads", "--from", "900ns")
    summary = seen["summary"]
    assert (summary["allocations"], summary["frees"], summary["leaked_bytes"]) == (3, 2, 400)
    assert sum(row["live_blocks"] for row in seen["sizes"]["histogram"]) == 1
    assert seen["threads"]["threads"][0]["live_bytes"] == 400


def test_the_screen_says_what_is_left_out(traces):
    lines = analyze(traces / "sqlite3", "--from", "10%", "--min-size", "1K", "--function",
                    "step").stdout.splitlines()
    assert sum("filtered: " in line for line in lines) == 1
    assert "1 KiB" in lines[0] or "1.00 KiB" in lines[0] or "1,024" in lines[0], lines[0]
    assert "step" in lines[0]
    assert "filtered" not in analyze(traces / "sqlite3").stdout
    assert report(traces / "sqlite3")["filter"] is None


def test_a_pipe_has_no_end_yet(traces):
    data = (traces / "threads").read_bytes()
    for options in (("--from", "10%"), ("--to", "mark:x"), ("--min-age", "1"), ("--tid", "a*")):
        done = subprocess.run([support.ANALYZE, "-", *options], input=data, capture_output=True,
                              check=False, env=support.clean_environment())
        assert done.returncode == 1 and b"pipe" in done.stderr, done
    piped = subprocess.run([support.ANALYZE, "-", "--json", "--from", "1ms", "--to", "2ms"],
                           input=data, capture_output=True, check=True,
                           env=support.clean_environment())
    assert json.loads(piped.stdout)["summary"] == report(
        traces / "threads", "--from", "1ms", "--to", "2ms")["summary"]
    with open(traces / "threads", "rb") as file:  # not a pipe, though it is standard input
        again = subprocess.run([support.ANALYZE, "-", "--json", "--from", "30%"], stdin=file,
                               capture_output=True, check=True, env=support.clean_environment())
    assert json.loads(again.stdout)["summary"] == report(
        traces / "threads", "--from", "30%")["summary"]


@pytest.mark.parametrize("options, says", [
    (("--from", ""), "mark:NAME"), (("--from", "3rd"), "mark:NAME"), (("--to", "-1"), "200ms"),
    (("--to", "101%"), "50%"), (("--to", "1.2.3"), "1.5"), (("--from", "mark:"), "mark:NAME"),
    (("--from", "2", "--to", "1"), "--from 1.5 --to 3"), (("--from", "5x"), "1.5"),
    (("--pid", "x"), "number"), (("--tid", ""), "worker"), (("--min-size", "-1"), "64K"),
    (("--max-size", "1Q"), "64K"), (("--min-size", "2K", "--max-size", "1K"), "smaller"),
    (("--min-size", "99999999999G"), "64K"), (("--min-age", "old"), "200ms"),
    (("--function", "("), "POSIX extended"), (("--module", ""), "regular expression"),
    (("--exclude", "["), "POSIX extended"), (("--function", "x", "--no-symbols"), "names"),
    (("--from", "50%", "--follow"), "--follow"), (("--from", "9s", "--to", "9"), "--from 1.5 --to 3"),
    (("--bundle", "x.mlogz", "--pid", "1"), "mlog-analyze x.mlogz --from 50%"),
])
def test_wrong_values(traces, options, says):
    done = analyze(traces / "marks", *options, status=2)
    assert says in done.stderr and not done.stdout, done
    assert len(done.stderr.splitlines()) == 1, done


@pytest.mark.parametrize("options,told", [
    (("--function", "chrun"), "functions with the nearest names: "),
    (("--module", "libnowhere"), "modules: "),
    (("--pid", "1"), "processes: "),
    (("--tid", "no_such_thread"), "threads: "),
    (("--from", "40m"), "the trace lasts "),
])
def test_filter_that_nothing_matches(traces, options, told):
    """GIVEN a trace WHEN a filter names what is not in it THEN the status is 2, a line
    lists what there is, a gate does not pass, and no report says all was freed."""
    done = analyze(traces / "threads", *options, "--fail-on", "leaked_bytes>0", status=2)
    assert "nothing in the trace matches the filter" in done.stderr and told in done.stderr
    assert "Nothing was looked at" in done.stdout and "was freed" not in done.stdout
    text = analyze(traces / "threads", *options, "--json", status=2).stdout
    assert json.loads(text)["verdict"]["nothing_matches"] is True
    assert report(traces / "threads")["verdict"]["nothing_matches"] is False
