# SPDX-License-Identifier: MIT
"""Exports, each opened by the tool it is for, where Debian has it, and its values
compared with mlog's own report: on a program with known sizes, on one that
recurses and inlines, on a real one, and on one whose names are hostile."""
import collections
import csv
import gzip
import io
import json
import os
import re
import shutil

import pytest

import support
from support import ANALYZE, PROGRAMS, analyze, run

TEXTS = ["speedscope", "callgrind", "massif", "heaptrack", "chrome", "csv", "csv-timeline"]
FORMATS = TEXTS + ["pprof", "firefox"]

NESTED = r"""
#include <stdlib.h>
static void *volatile keep;
static inline __attribute__((always_inline)) void inlined(int n)
{
    keep = malloc(211 * 8 + n);
}
static __attribute__((noinline)) void odd(int n);
static __attribute__((noinline)) void churn(int n)
{
    void *volatile p = malloc(n);
    free(p);
}
static __attribute__((noinline)) void even(int n)
{
    keep = malloc(17);
    if (n)
        odd(n - 1);
    keep = malloc(19);
}
static __attribute__((noinline)) void odd(int n)
{
    if (n)
        even(n - 1);
    inlined(n);
    churn(23);
}
int main(void)
{
    even(6);
    for (int i = 0; i < 1000; i++)
        churn(300 + i);
    odd(3);
    return 0;
}
"""

# 32 bytes each, so that one can stand for the other in a finished binary.
PLAIN = b"hostile_name_of_a_function_32_by"
HOSTILE = b"=\"'\n\x01\xff,;<b>&#+\\\xc3\xa9(1)%n@\te2 \x7f{}\xe2\x80"

HOSTILE_SOURCE = r"""
#include <stdlib.h>
static void *volatile keep;
__attribute__((noinline)) void %s(void)
{
    keep = malloc(123 * 8);
}
int main(void)
{
    %s();
    return 0;
}
"""


def compiled(folder, source, name="program", replace=None):
    """A program of this source, with names in it replaced afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "source.c"
    text.write_text(source)
    program = folder / name
    done = run(["gcc", "-O2", "-g", "-fno-omit-frame-pointer", "-o", program, text])
    assert done.returncode == 0, done
    if replace:
        data = program.read_bytes()
        assert replace[0] in data and len(replace[0]) == len(replace[1])
        program.write_bytes(data.replace(*replace))
    return program


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "=a,\"b\"\n#c;\\d"
    name = PLAIN.decode()
    program = compiled(folder, HOSTILE_SOURCE % (name, name), "-p\r\"q'", (PLAIN, HOSTILE))
    done = run(["objcopy", "--redefine-sym", "_start==start", program])
    assert done.returncode == 0, done
    support.trace([program, "=1+1", "two\nlines"], folder / "t")
    return folder / "t"


@pytest.fixture(scope="module")
def nested(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nested")
    support.trace([compiled(folder, NESTED)], folder / "t")
    return folder / "t"


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory):
    path = tmp_path_factory.mktemp("sqlite") / "t"
    support.trace(["sqlite3", ":memory:", "create table t(a,b); with recursive n(i) as "
                   "(select 1 union all select i+1 from n where i<3000) "
                   "insert into t select i, hex(randomblob(9)) from n; "
                   "create index x on t(b); select count(*) from t group by a%7;"], path)
    return path


@pytest.fixture(scope="module", params=["functions", "nested", "sqlite", "hostile"])
def any_trace(request, tmp_path_factory, nested, sqlite, hostile):
    if request.param != "functions":
        return {"nested": nested, "sqlite": sqlite, "hostile": hostile}[request.param]
    path = tmp_path_factory.mktemp("functions") / "t"
    support.trace([support.PROGRAMS / "functions"], path)
    return path


def export(trace, form, path, *args, status=0):
    done = analyze(trace, f"--export={form}={path}", *args, status=status)
    assert done.stdout == "", "nothing beside the export"
    return path


def opened(argv, **kwargs):
    """A tool that opens an export: it succeeds and does not complain."""
    done = run(argv, **kwargs)
    assert done.returncode == 0, done
    assert not re.search(r"warning|malformed|failed|error|uninitialized", done.stderr, re.I), done
    return done.stdout


def by_function(trace, kind, inclusive=False):
    """Bytes and blocks of a report's stacks, by (innermost) function."""
    sums = collections.defaultdict(lambda: [0, 0])
    for entry in support.report(trace, f"--{kind}", "--full-names")[kind]:
        names = [n for n in support.functions(entry)]
        for name in set(names) if inclusive else names[:1]:
            sums[name][0] += entry["bytes"]
            sums[name][1] += entry["blocks"]
    return {name: tuple(value) for name, value in sums.items() if any(value)}


# --- pprof


def pprof(path, *args, tmp):
    env = support.clean_environment(HOME=tmp, PPROF_TMPDIR=tmp, GOCACHE=tmp / "cache")
    return opened(["go", "tool", "pprof", "-symbolize=none", *args, path], env=env)


def test_pprof_has_the_four_totals(any_trace, tmp_path):
    """WHEN go tool pprof reads a profile THEN its samples sum up to the summary."""
    summary = support.summary(any_trace)
    text = pprof(export(any_trace, "pprof", tmp_path / "p.pb.gz"), "-raw", tmp=tmp_path)
    assert "PeriodType: space bytes" in text and "Period: 1\n" in text
    assert re.search(r"^alloc_objects/count alloc_space/bytes inuse_objects/count "
                     r"inuse_space/bytes\[dflt\]", text, re.M), text
    rows = re.findall(r"^ +(\d+) +(\d+) +(\d+) +(\d+): [0-9 ]+$", text, re.M)
    sums = [sum(int(row[i]) for row in rows) for i in range(4)]
    assert sums == [summary["allocations"], summary["allocated_bytes"],
                    summary["leaked_blocks"], summary["leaked_bytes"]]


def top(trace, path, index, tmp):
    text = pprof(path, "-top", f"-sample_index={index}", "-unit=B", "-nodecount=100000",
                 "-nodefraction=0", "-edgefraction=0", tmp=tmp)
    rows = re.findall(r"^ *(\d+)B? +[\d.]+% +[\d.]+% +(\d+)B? +[\d.]+% +(.*?)(?: \(inline\))?$",
                      text, re.M)
    return {name: (int(flat), int(cum)) for flat, cum, name in rows}


def test_pprof_top_is_our_report(nested, tmp_path):
    path = export(nested, "pprof", tmp_path / "p.pb.gz")
    for index, kind, which in (("alloc_space", "allocations", 0),
                               ("alloc_objects", "allocations", 1),
                               ("inuse_space", "leaks", 0), ("inuse_objects", "leaks", 1)):
        rows = top(nested, path, index, tmp_path)
        own, whole = by_function(nested, kind), by_function(nested, kind, inclusive=True)
        assert {"even", "odd", "inlined", "main"} <= set(rows)
        for name, (flat, cumulative) in rows.items():
            assert flat == own.get(name, (0, 0))[which], (index, name)
            assert cumulative == whole[name][which], (index, name)


def test_pprof_mappings_and_inlined_lines(nested, tmp_path):
    text = pprof(export(nested, "pprof", tmp_path / "p.pb.gz"), "-raw", tmp=tmp_path)
    program = nested.parent / "program"
    build_id = re.search(r"Build ID: (\w+)", run(["readelf", "-n", program]).stdout)[1]
    start, limit, name, found = re.search(
        r"^1: (0x\w+)/(0x\w+)/0x\w+ (\S+) (\w+)", text, re.M).groups()
    assert (name, found) == (str(program), build_id), "the program itself comes first"
    places = re.findall(r"^ +\d+: (0x\w+) M=1 ", text, re.M)
    assert places and all(int(start, 0) <= int(p, 0) < int(limit, 0) for p in places)
    assert re.search(r"^ +\d+: 0x\w+ M=1 inlined \S+source.c:6 s=0\n"
                     r" +odd \S+source.c:25 s=0$", text, re.M), text
    assert re.search(r"^Duration: ", text, re.M) and re.search(r"^Time: 20", text, re.M)


def test_pprof_is_the_same_every_time(nested, tmp_path):
    one, two = (export(nested, "pprof", tmp_path / name).read_bytes() for name in "ab")
    assert one == two


# --- speedscope


def check_speedscope(text):
    """What file-format-schema.json of speedscope demands of sampled profiles."""
    whole = json.loads(text)
    assert whole["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert isinstance(whole["version"], str) and isinstance(whole["exporter"], str)
    assert isinstance(whole["name"], str)
    assert 0 <= whole["activeProfileIndex"] < len(whole["profiles"])
    frames = whole["shared"]["frames"]
    for frame in frames:
        assert isinstance(frame["name"], str) and set(frame) <= {"name", "file", "line", "col"}
        assert isinstance(frame.get("file", ""), str) and isinstance(frame.get("line", 0), int)
    assert len({json.dumps(frame) for frame in frames}) == len(frames), "a frame is there once"
    for profile in whole["profiles"]:
        assert set(profile) == {"type", "name", "unit", "startValue", "endValue", "samples",
                                "weights"}
        assert profile["type"] == "sampled" and profile["unit"] in ("bytes", "none")
        assert len(profile["samples"]) == len(profile["weights"])
        for sample in profile["samples"]:
            assert sample and all(0 <= index < len(frames) for index in sample)
        assert profile["startValue"] == 0 and profile["endValue"] == sum(profile["weights"])
    return whole


def test_speedscope(any_trace, tmp_path):
    summary = support.summary(any_trace)
    whole = check_speedscope(export(any_trace, "speedscope", tmp_path / "s.json").read_text())
    totals = {p["name"]: p["endValue"] for p in whole["profiles"]}
    assert totals == {
        "never freed (bytes)": summary["leaked_bytes"],
        "heap at its peak (bytes)": summary["peak_bytes"],
        "allocated (bytes)": summary["allocated_bytes"],
        "allocations (calls)": summary["allocations"],
        "temporary blocks": summary["temporary"],
    }


def test_speedscope_stacks_are_those_of_folded(nested, tmp_path):
    whole = check_speedscope(export(nested, "speedscope", tmp_path / "s.json").read_text())
    names = [frame["name"] for frame in whole["shared"]["frames"]]
    sums = collections.Counter()
    for sample, weight in zip(whole["profiles"][0]["samples"], whole["profiles"][0]["weights"]):
        sums[";".join(names[index] for index in sample)] += weight
    folded = analyze(nested, "--flamegraph=leaks").stdout.splitlines()
    assert sums == {line.rpartition(" ")[0]: int(line.rpartition(" ")[2]) for line in folded}


# --- callgrind


EVENTS = ["AllocatedBytes", "Allocations", "LeakedBytes", "LeakedBlocks", "PeakBytes",
          "PeakBlocks", "TemporaryBlocks"]


def annotate(path, *args):
    """callgrind_annotate's totals and its values by function."""
    text = opened(["callgrind_annotate", "--threshold=100", "--show-percs=no", "--auto=no",
                   *args, path])
    assert "Events recorded:  " + " ".join(EVENTS) in text
    rows = {}
    for line in text.splitlines():
        match = re.match(r" *((?:[\d,.]+ +){7})(.*)$", line)
        if match:
            values = [int(v.replace(",", "").replace(".", "0")) for v in match[1].split()]
            rows[match[2].strip()] = values
    return rows.pop("PROGRAM TOTALS"), rows


def test_callgrind_totals(any_trace, tmp_path):
    summary = support.summary(any_trace)
    path = export(any_trace, "callgrind", tmp_path / "callgrind.out.1")
    totals, own = annotate(path, "--inclusive=no")
    assert totals == [summary[name] for name in
                      ("allocated_bytes", "allocations", "leaked_bytes", "leaked_blocks",
                       "peak_bytes", "peak_blocks", "temporary")]
    # What each function allocated itself is all there is.
    assert [sum(row[i] for row in own.values()) for i in range(7)] == totals
    _, inclusive = annotate(path, "--inclusive=yes")
    for name, values in inclusive.items():
        assert all(v <= t for v, t in zip(values, totals)), (name, "recursion counted twice")


def test_callgrind_inclusive_is_our_report(nested, tmp_path):
    _, rows = annotate(export(nested, "callgrind", tmp_path / "c"), "--inclusive=yes")
    found = {re.search(r":([^:]+?) \[", name)[1]: values for name, values in rows.items()}
    assert "even'2" in found and "odd'3" in found, "recursion has names of its own"
    for kind, at in (("allocations", 0), ("leaks", 2), ("peak", 4)):
        for name, value in by_function(nested, kind, inclusive=True).items():
            assert tuple(found[name][at:at + 2]) == value, (kind, name)


def test_callgrind_annotates_the_source(nested, tmp_path):
    path = export(nested, "callgrind", tmp_path / "c")
    text = opened(["callgrind_annotate", "--auto=yes", path])
    summary = by_function(nested, "allocations")
    (line,) = [l for l in text.splitlines() if "keep = malloc(211 * 8 + n);" in l]
    assert f"{summary['inlined'][0]:,}" in line


# --- massif


def test_massif(any_trace, tmp_path):
    summary = support.summary(any_trace)
    path = export(any_trace, "massif", tmp_path / "m")
    text = opened(["ms_print", "--threshold=0", path])
    assert "Command:            " in text
    number = int(re.search(r"^Number of snapshots: (\d+)$", text, re.M)[1])
    assert 1 <= number <= 100
    peak = re.search(r"Detailed snapshots: \[.*?(\d+) \(peak\)", text)[1]
    row = re.search(rf"^ *{peak} +[\d,.]+ +([\d,]+) +([\d,]+) +0 +0\n100.00% \(([\d,]+)B\)", text,
                    re.M)
    assert [int(v.replace(",", "")) for v in row.groups()] == [summary["peak_bytes"]] * 3
    times = [float(t) for t in re.findall(r"^time=([\d.]+)$", path.read_text(), re.M)]
    assert times == sorted(times) and len(times) == number
    assert times[-1] * 1e6 <= summary["duration_ns"] + 1


def test_massif_trees_add_up(sqlite, tmp_path):
    """The children of a node are all of it, in the peak and in detailed snapshots."""
    lines = export(sqlite, "massif", tmp_path / "m").read_text().splitlines()
    trees = [i + 1 for i, line in enumerate(lines)
             if line in ("heap_tree=peak", "heap_tree=detailed")]
    assert len(trees) >= 5
    checked = 0

    def node(at):
        nonlocal checked
        children, size = map(int, re.match(r" *n(\d+): (\d+) ", lines[at]).groups())
        after, total = at + 1, 0
        for _ in range(children):
            after, part = node(after)
            total += part
        if children:
            checked += 1
            assert total == size or children == 1 and total < size, lines[at]
        return after, size

    for at in trees:
        held = int(re.match(r"mem_heap_B=(\d+)", lines[at - 4])[1])
        assert node(at)[1] == held
    assert checked > 50


def test_massif_shows_the_peaks_stacks(trace, tmp_path):
    text = opened(["ms_print", export(trace, "massif", tmp_path / "m")])
    assert re.search(r"->\d+\.\d+% \(100,000B\) 0x[0-9A-F]+: grown \(functions.c:30\)\n"
                     r"\| +->\d+\.\d+% \(100,000B\) 0x[0-9A-F]+: main \(functions.c:42\)", text)


# --- heaptrack


def heaptrack_costs(path, kind, tmp):
    """Values by stack, as heaptrack_print writes them for flame graphs."""
    out = tmp / f"{kind}.folded"
    text = opened(["heaptrack_print", "--disable-builtin-suppressions", "-t", "0", "-f", path,
                   "--flamegraph-cost-type", kind, "-F", out])
    rows = [line.rpartition(" ") for line in out.read_text(errors="replace").splitlines()]
    return text, [(stack, int(value)) for stack, _, value in rows]


def test_heaptrack(any_trace, tmp_path):
    summary = support.summary(any_trace)
    path = export(any_trace, "heaptrack", tmp_path / "h")
    for kind, total in (("allocations", summary["allocations"]),
                        ("leaked", summary["leaked_bytes"]), ("peak", summary["peak_bytes"])):
        text, rows = heaptrack_costs(path, kind, tmp_path)
        assert sum(value for _, value in rows) == total, kind
    calls = re.search(r"^calls to allocation functions: (\d+)", text, re.M)
    assert int(calls[1]) == summary["allocations"]
    assert re.search(r"^peak heap memory consumption: [\d.]+", text, re.M)


def test_heaptrack_has_the_stacks_it_would_have_recorded(nested, tmp_path):
    """GIVEN the same program under heaptrack itself WHEN heaptrack_print reads both
    files THEN it tells the same stacks, with their files, inlined functions and values."""
    done = run(["heaptrack", "-o", tmp_path / "own", nested.parent / "program"], cwd=tmp_path)
    assert done.returncode == 0, done
    (own,) = tmp_path.glob("own.*")
    path = export(nested, "heaptrack", tmp_path / "h")
    for kind in ("leaked", "allocations", "temporary"):
        ours, theirs = (sorted(row for row in heaptrack_costs(one, kind, tmp_path)[1]
                               if row[1] and row[0].startswith("main ("))
                        for one in (path, own))
        assert ours == theirs and ours, kind
    text, _ = heaptrack_costs(path, "peak", tmp_path)
    assert re.search(r"^inlined\n +at \S+source.c:6\n +in \S+program\n"
                     r"odd\n +at \S+source.c:25$", text, re.M), text


def test_heaptrack_of_several_processes(tmp_path):
    """A child's free of what it inherited ends no block: it is its parent's."""
    support.trace([support.PROGRAMS / "fork_threads", "3"], tmp_path / "t")
    summary = support.summary(tmp_path / "t")
    path = export(tmp_path / "t", "heaptrack", tmp_path / "h")
    for kind, total in (("allocations", summary["allocations"]),
                        ("leaked", summary["leaked_bytes"])):
        assert sum(value for _, value in heaptrack_costs(path, kind, tmp_path)[1]) == total


def test_heaptrack_knows_moments(nested, tmp_path):
    """Deallocations are where they were: the peak is not the sum."""
    path = export(nested, "heaptrack", tmp_path / "h")
    lines = path.read_text().splitlines()
    assert lines[0] == "v 10400 3"
    summary = support.summary(nested)
    assert sum(line.startswith("+ ") for line in lines) == summary["allocations"]
    assert sum(line.startswith("- ") for line in lines) == summary["frees"] > 900


# --- chrome


def check_chrome(text):
    """What the Trace Event Format demands of the events used."""
    whole = json.loads(text)
    for event in whole["traceEvents"]:
        assert isinstance(event["name"], str) and isinstance(event["pid"], int)
        if event["ph"] == "M":
            assert event["name"] == "process_name" and isinstance(event["args"]["name"], str)
            continue
        assert event["ts"] >= 0
        if event["ph"] == "C":
            (value,) = event["args"].values()
            assert isinstance(value, int) and value >= 0
        else:
            assert event["cat"] == "mark" and isinstance(event["tid"], int)
            assert event["ph"] in "ibe" and ("id" in event) == (event["ph"] != "i")
            assert event["ph"] != "i" or event["s"] == "p"
    return whole["traceEvents"]


def counters(events, pid, name="heap"):
    return [(e["ts"], next(iter(e["args"].values()))) for e in events
            if e["ph"] == "C" and e["pid"] == pid and e["name"] == name]


def test_chrome_counts_the_heap(any_trace, tmp_path):
    whole = support.report(any_trace, "--summary")
    (pid,) = [p["pid"] for p in whole["processes"]]
    events = check_chrome(export(any_trace, "chrome", tmp_path / "c.json").read_text())
    points = counters(events, pid)
    assert max(value for _, value in points) == whole["summary"]["peak_bytes"]
    assert [t for t, _ in points] == sorted(t for t, _ in points)
    assert points[-1][1] == 0 and points[-2][1] == whole["summary"]["leaked_bytes"]
    assert counters(events, pid, "blocks")[-2][1] == whole["summary"]["leaked_blocks"]
    assert len(events) < 2500


def test_chrome_has_marks(tmp_path):
    done = support.trace([support.PROGRAMS / "marks"], tmp_path / "t")
    assert done.returncode == 0, done
    events = check_chrome(export(tmp_path / "t", "chrome", tmp_path / "c.json").read_text())
    marks = [(e["ph"], e["name"], e["args"]["bytes"]) for e in events if e.get("cat") == "mark"]
    assert marks == [("i", "before", 0), ("b", 'span "quoted"', 17 * 8),
                     ("e", 'span "quoted"', 36 * 8)]
    assert len({e["id"] for e in events if "id" in e}) == 1


def test_chrome_keeps_processes_apart(tmp_path):
    support.trace([support.PROGRAMS / "fork_threads", "3"], tmp_path / "t")
    rows = support.report(tmp_path / "t", "--summary")["processes"]
    events = check_chrome(export(tmp_path / "t", "chrome", tmp_path / "c.json").read_text())
    assert len(rows) == 4
    for row in rows:
        points = counters(events, row["pid"])
        assert points and points[-1][1] == 0
        assert points[-2][1] == row["leaked_bytes"], row
        assert sum(e["ph"] == "M" and e["pid"] == row["pid"] for e in events) == 1


# --- CSV


def test_csv_of_stacks(any_trace, tmp_path):
    summary = support.summary(any_trace)
    data = export(any_trace, "csv", tmp_path / "t.csv").read_bytes()
    assert data.endswith(b"\r\n") and b"\n" not in data.replace(b"\r\n", b""), "RFC 4180"
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))
    for column, total in (("leaked_bytes", "leaked_bytes"), ("leaked_blocks", "leaked_blocks"),
                          ("peak_bytes", "peak_bytes"), ("peak_blocks", "peak_blocks"),
                          ("allocated_bytes", "allocated_bytes"),
                          ("allocations", "allocations"), ("temporary_blocks", "temporary")):
        assert sum(int(row[column]) for row in rows) == summary[total], column
    for row in rows:
        assert None not in row and None not in row.values(), "as many cells as columns"
        for cell in row.values():
            assert not cell.lstrip().startswith(tuple("=+-@")), "a spreadsheet would compute it"
    assert [int(r["leaked_bytes"]) for r in rows] == \
        sorted((int(r["leaked_bytes"]) for r in rows), reverse=True)


def test_csv_of_the_timeline(sqlite, tmp_path):
    points = support.report(sqlite, "--timeline")["timeline"]["points"]
    text = export(sqlite, "csv-timeline", tmp_path / "t.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text), strict=True))
    assert len(rows) == len(points) > 10
    for row, point in zip(rows, points):
        assert int(row["time_ns"]) == point["time_ns"]
        assert int(row["bytes"]) == point["bytes"] and int(row["blocks"]) == point["blocks"]
        assert row["resident_bytes"] == str(point["rss_bytes"] or "")


# --- hostile names, and all formats


@pytest.mark.parametrize("form", TEXTS)
def test_hostile_names_are_escaped(hostile, tmp_path, form):
    """No control character and no invalid UTF-8 reaches any file, and the name is told."""
    data = export(hostile, form, tmp_path / "out").read_bytes()
    text = data.decode("utf-8")
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text)
    if form in ("csv-timeline", "chrome"):
        return
    assert "<b>&" in text, "the function is in it"
    if form in ("callgrind", "heaptrack", "csv"):
        assert r"\n\x01\xff" in text
    if form == "massif":
        assert r"<b>&\x23+" in text, "# would begin a comment"


def test_hostile_names_in_pprof(hostile, tmp_path):
    text = pprof(export(hostile, "pprof", tmp_path / "p.pb.gz"), "-raw", tmp=tmp_path)
    assert r"\n\x01\xff" in text and "<b>&#" in text


def test_hostile_csv_cells(hostile, tmp_path):
    text = export(hostile, "csv", tmp_path / "t.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    (row,) = [r for r in rows if r["leaked_bytes"] == str(123 * 8)]
    assert row["function"].startswith("'=\"'\\n"), row
    assert row["stack"].startswith("'=start;"), row
    assert row["stack"].rsplit(";", 1)[1].startswith("=\"'\\n\\x01\\xff,:<b>")


@pytest.mark.parametrize("form", FORMATS)
def test_every_export_works_without_symbols_and_of_a_cut_trace(nested, tmp_path, form):
    export(nested, form, tmp_path / "bare", "--no-symbols")
    assert (tmp_path / "bare").stat().st_size > 0
    (tmp_path / "cut").write_bytes(nested.read_bytes()[:nested.stat().st_size * 2 // 3])
    done = run([support.ANALYZE, tmp_path / "cut", f"--export={form}={tmp_path / 'out'}"])
    if done.returncode:  # what could be read is exported all the same
        support.refused(done, "cut")
    assert (tmp_path / "out").stat().st_size > 0


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_that_cannot_be_written(trace, form):
    done = run([support.ANALYZE, trace, f"--export={form}=/dev/full"])
    support.refused(done, "/dev/full", "No space left")
    done = run([support.ANALYZE, trace, f"--export={form}=/nonexistent/x"])
    support.refused(done, "/nonexistent/x", "No such file")


def test_many_exports_and_a_report_in_one_run(trace, tmp_path):
    args = [f"--export={form}={tmp_path / form}" for form in FORMATS]
    alone = analyze(trace, "--leaks").stdout
    assert analyze(trace, "--leaks", *args).stdout == alone
    whole = support.report(trace, "--timeline", *args)
    assert whole["timeline"] == support.report(trace, "--timeline")["timeline"]
    for form in FORMATS:
        one = export(trace, form, tmp_path / "one").read_bytes()
        assert (tmp_path / form).read_bytes() == one, form


def test_exports_go_to_o_and_to_standard_output(trace, tmp_path):
    text = export(trace, "csv", tmp_path / "a").read_bytes().decode()
    for args in (["--export", "csv"], ["--export=csv=-"], ["--export=csv", "-o", "-"]):
        done = run([support.ANALYZE, trace, *args], binary=True)
        assert done.returncode == 0 and done.stdout.decode() == text, args
    assert analyze(trace, "--export=csv", "-o", tmp_path / "b").stdout == ""
    assert (tmp_path / "b").read_bytes().decode() == text


@pytest.mark.parametrize("args, words", [
    (["--export=gif"], ["--export=gif", "pprof", "csv-timeline"]),
    (["--export=csv="], ["expected a file"]),
    (["--export=csv", "--export=massif"], ["standard output", "--export=massif=FILE"]),
    (["--export=csv", "--leaks"], ["standard output", "--export=csv=FILE"]),
    (["--export=csv=x", "--export=massif=x"], ["x takes another output"]),
    (["--export=csv=x", "--leaks", "-o", "x"], ["x takes another output"]),
    (["--export=csv", "--dump=json"], ["--dump and --export"]),
    (["--invert"], ["--invert", "--flamegraph"]), (["--icicle"], ["--icicle", "--flamegraph"]),
    (["--export=csv=x"] * 17, ["16"]),
], ids=str)
def test_wrong_usage(trace, tmp_path, args, words):
    done = run([support.ANALYZE, trace, *args], cwd=tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done
    assert all(word in done.stderr for word in words), done
    assert not list(tmp_path.iterdir()), "nothing is begun"


def test_a_profile_is_not_written_to_a_terminal(trace):
    if shutil.which("script") is None:
        pytest.skip("no script(1)")
    done = run(["script", "-qec", f"'{support.ANALYZE}' '{trace}' --export=pprof", "/dev/null"])
    assert done.returncode == 1 and "--export pprof=FILE" in done.stdout, done


def test_help_names_every_format(trace):
    text = analyze(trace, "--help").stdout
    page = (support.ROOT / "docs" / "mlog-analyze.1").read_text().replace("\\-", "-")
    for form in FORMATS:
        assert re.search(rf"^ +{form} ", text, re.M), form
        assert re.search(rf"^\.B \"?{form}\b", page, re.M), f"{form} is in the man page"


# --- flame graphs


def folded(trace, *args):
    lines = analyze(trace, *args).stdout.splitlines()
    return {line.rpartition(" ")[0]: int(line.rpartition(" ")[2]) for line in lines}


@pytest.mark.parametrize("cost, total", [
    ("leaks", "leaked_bytes"), ("peak", "peak_bytes"), ("allocations", "allocated_bytes"),
    ("calls", "allocations"), ("temporary", "temporary")])
def test_flame_graphs_of_every_cost(any_trace, cost, total):
    assert sum(folded(any_trace, f"--flamegraph={cost}").values()) == \
        support.summary(any_trace)[total]


def test_inverted_flame_graph(nested):
    plain = folded(nested, "--flamegraph=leaks")
    upside_down = folded(nested, "--flamegraph=leaks", "--invert")
    assert {";".join(reversed(stack.split(";"))): n for stack, n in plain.items()} == upside_down
    assert {stack.split(";")[0] for stack in upside_down} == {"even", "inlined"}


def test_flame_graph_pictures(nested, tmp_path):
    def svg(*args):
        analyze(nested, *args, "-o", tmp_path / "f.svg")
        return (tmp_path / "f.svg").read_text()

    plain = svg("--flamegraph=peak")
    assert plain == svg("--flamegraph=peak"), "colours are the same every time"
    icicle = svg("--flamegraph=peak", "--icicle")
    root = r'data-d="0"><title>[^<]*</title><rect x="[\d.]+" y="(\d+)"'
    leaf = r'data-d="5"><title>[^<]*</title><rect x="[\d.]+" y="(\d+)"'
    assert int(re.search(root, plain)[1]) > int(re.search(leaf, plain)[1])
    assert int(re.search(root, icicle)[1]) < int(re.search(leaf, icicle)[1])
    assert "blocks" in svg("--flamegraph=temporary") and "calls" in svg("--flamegraph=calls")


def test_what_is_drawn_elsewhere_tells_of_pauses(tmp_path):
    """GIVEN a trace with a pause of the recording, THEN flame graph, massif and pprof say so
    where their formats have a line for it; without one they say nothing."""
    for name, said in (("windows", True), ("many", False)):
        path = tmp_path / name
        assert support.trace([PROGRAMS / "paused", name, "9"], path).returncode == 0
        run([ANALYZE, path, "--flamegraph=allocations", "-o", f"{path}.svg"])
        run([ANALYZE, path, f"--export=massif={path}.massif", f"--export=pprof={path}.pb.gz"])
        for text in ((tmp_path / f"{name}.svg").read_bytes(),
                     (tmp_path / f"{name}.massif").read_bytes().split(b"\n")[0],
                     gzip.decompress((tmp_path / f"{name}.pb.gz").read_bytes())):
            assert (b"recording was paused for " in text) == said, (name, text[:200])
