# SPDX-License-Identifier: MIT
"""Windows and filters: every number of a filtered report against a reference
that is computed here from --dump=json."""
import json
import re
import subprocess

import pytest

import support
from support import PROGRAMS, analyze, report, trace

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
    """What a report of the blocks that `accept` takes must say, at `to` (ns). The
    peak is right for traces of one process."""
    steps = []
    events = events_of(path)
    for i, event in enumerate(events):
        steps.append((i, 1, event["type"], event))
        if event["type"] == "realloc":
            # Its block left its address before what others did meanwhile.
            while i and events[i - 1]["ticks"] >= event["begin_ticks"] and \
                    events[i - 1]["stream"] != event["stream"]:
                i -= 1
            steps.append((i, 0, "take", event))
    live, moving = {}, {}
    total = dict.fromkeys("allocations allocated_bytes frees freed_bytes peak_bytes "
                          "peak_blocks leaked_bytes leaked_blocks".split(), 0)

    def count(block, sign):
        if block is None or not accept(block):
            return
        kind, size = ("allocations", "allocated_bytes") if sign > 0 else ("frees", "freed_bytes")
        total[kind] += 1
        total[size] += block["size"]
        total["leaked_blocks"] += sign
        total["leaked_bytes"] += sign * block["size"]

    for _, _, kind, event in sorted(steps, key=lambda step: step[:2]):
        pid = event["pid"]
        if kind == "process_end":
            live = {key: block for key, block in live.items() if key[0] != pid}
        elif kind == "take":
            moving[event["stream"], pid] = live.pop((pid, event["old_address"]), None)
        elif kind not in ("alloc", "free", "realloc") or \
                to is not None and event["time_ns"] >= to:
            continue
        else:
            if kind == "free":
                count(live.pop((pid, event["address"]), None), -1)
            if kind == "realloc":
                count(moving.pop((event["stream"], pid), None), -1)
            if kind != "free":
                live[pid, event["address"]] = event
                count(event, 1)
        if total["leaked_bytes"] > total["peak_bytes"]:
            total["peak_bytes"] = total["leaked_bytes"]
            total["peak_blocks"] = total["leaked_blocks"]
    return total


def check(path, *options, accept=lambda block: True, to=None, peak=True):
    """The report with these options equals the reference; returns the report."""
    wanted = reference(path, accept, to)
    whole = report(path, *ALL, *options)
    summary = whole["summary"]
    for key, value in wanted.items():
        if peak or not key.startswith("peak"):
            assert summary[key] == value, (key, options, wanted)
    for what, total, count in (("leaks", "leaked_bytes", "leaked_blocks"),
                               ("peak", "peak_bytes", "peak_blocks"),
                               ("allocations", "allocated_bytes", "allocations")):
        assert sum(entry["bytes"] for entry in whole[what]) == summary[total], what
        assert sum(entry["blocks"] for entry in whole[what]) == summary[count], what
    assert sum(p["allocations"] for p in whole["processes"]) == summary["allocations"]
    assert sum(p["leaked_bytes"] for p in whole["processes"]) == summary["leaked_bytes"]
    assert sum(summary["calls"].values()) == summary["events"]
    assert whole["audit"]["unmatched_frees"] == 0
    assert whole["filter"]["text"].startswith("filtered: ")
    return whole


def duration_of(path):
    return support.summary(path)["duration_ns"]


@pytest.mark.parametrize("program", ["sqlite3", "threads"])
def test_a_window_in_seconds(traces, program):
    path = traces / program
    whole = duration_of(path)
    begin, end = whole // 4, whole * 3 // 4
    seen = check(path, "--from", f"{begin / 1e9:.9f}", "--to", f"{end}ns",
                 accept=lambda block: begin <= block["time_ns"] < end, to=end)
    assert seen["filter"]["from_ns"] == begin and seen["filter"]["to_ns"] == end
    assert 0 < seen["summary"]["allocations"]
    assert seen["summary"]["duration_ns"] == whole
    assert seen["summary"]["failed_calls"] is None


def test_halves_make_the_whole(traces):
    path = traces / "sqlite3"
    whole = support.summary(path)["allocations"]
    middle = duration_of(path) * 40 // 100
    early = check(path, "--to", "40%", to=middle,
                  accept=lambda b: b["time_ns"] < middle)["summary"]
    late = check(path, "--from", "40%", accept=lambda b: b["time_ns"] >= middle)["summary"]
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
    age, end = whole // 3, whole * 3 // 4
    check(path, "--min-age", f"{age}ns", accept=lambda b: b["time_ns"] <= whole - age)
    seen = check(path, "--min-age", f"{age}ns", "--to", f"{end}ns", to=end,
                 accept=lambda b: b["time_ns"] <= end - age)
    assert seen["summary"]["leaked_blocks"]
    assert not report(path, "--summary", "--min-age", "1h")["summary"]["allocations"]


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
    assert report(path, "--tid", "nobody")["summary"]["allocations"] == 0


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
        seen = check(path, "--pid", pid, accept=lambda b: b["pid"] == pid, peak=False)
        assert all(p["pid"] == pid or not p["allocations"] for p in seen["processes"])
    assert report(path, "--pid", "1")["summary"]["allocations"] == 0


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
    (one,) = report(traces / "sqlite3", "--per-process", "--from", "30%")["per_process"]
    late = report(traces / "sqlite3", *ALL, "--from", "30%")
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
    options = ("--min-size", "1000", "--from", "20%", "--to", "90%")
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
    options = ("--min-size", "1000", "--from", "20%", "--to", "60%")
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
    options = ("--from", "30%", "--min-size", "1K")
    wanted = report(path, *options)["summary"]
    done = support.run([support.ANALYZE, "--diff", path, path, "--json", *options])
    seen = json.loads(done.stdout)["summary"]["peak_bytes"]
    assert seen["old"] == seen["new"] == wanted["peak_bytes"] > 0
    done = support.run([support.ANALYZE, "--diff", path, path, *options])
    assert done.stdout.count("filtered: blocks allocated from") == 2, done


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
    (("--from", "50%", "--follow"), "--follow"),
])
def test_wrong_values(traces, options, says):
    done = analyze(traces / "marks", *options, status=2)
    assert says in done.stderr and not done.stdout, done
    assert len(done.stderr.splitlines()) == 1, done
