# SPDX-License-Identifier: MIT
"""The export for the Firefox Profiler, against the shape of its processed profile, version 48,
as the types in its source have it, and against mlog's own report. The program itself runs in
a browser only."""
import collections
import gzip
import json

import support

FORKS = """
import os
keep = [bytearray(1000 + i) for i in range(80)]
pid = os.fork()
if pid == 0:
    keep += [bytearray(3000 + i) for i in range(40)]
    os._exit(0)
os.waitpid(pid, 0)
"""

# The columns of each table: what they refer to, or the type of their values; "?" may be null.
TABLES = {
    "stackTable": {"frame": "frameTable", "prefix": "stackTable?", "category": "categories",
                   "subcategory": int},
    "frameTable": {"address": int, "inlineDepth": int, "category": "categories",
                   "subcategory": int, "func": "funcTable", "nativeSymbol": "nativeSymbols?",
                   "innerWindowID": int, "implementation": "stringArray?", "line": "int?",
                   "column": "int?"},
    "funcTable": {"name": "stringArray", "isJS": bool, "relevantForJS": bool,
                  "resource": "resourceTable-1", "fileName": "stringArray?",
                  "lineNumber": "int?", "columnNumber": "int?"},
    "resourceTable": {"lib": "libs?", "name": "stringArray", "host": "stringArray?",
                      "type": int},
    "nativeSymbols": {"libIndex": "libs", "address": int, "name": "stringArray",
                      "functionSize": "int?"},
    "samples": {"stack": "stackTable?", "time": float, "weight": int},
    "nativeAllocations": {"stack": "stackTable?", "time": float, "weight": int,
                          "memoryAddress": int, "threadId": int},
    "markers": {"data": "int?", "name": "stringArray", "startTime": "float?",
                "endTime": "float?", "phase": int, "category": "categories"},
}


def profile_of(trace, path, *args):
    done = support.analyze(trace, f"--export=firefox={path}", *args)
    with gzip.open(path) as file:
        profile = json.load(file)
    check_shape(profile)
    return profile, done


def check_value(value, kind, sizes):
    if isinstance(kind, type):
        return type(value) in ((int, float) if kind is float else (kind,))
    if kind.endswith("?"):
        return value is None or check_value(value, kind[:-1], sizes)
    if kind.endswith("-1"):
        return value == -1 or check_value(value, kind[:-2], sizes)
    if kind in ("int", "float"):
        return type(value) in (int, float)
    return type(value) is int and 0 <= value < sizes[kind]


def check_shape(profile):
    meta = profile["meta"]
    assert (meta["preprocessedProfileVersion"], meta["version"]) == (48, 29)
    assert meta["categories"][0]["color"] == "grey" and meta["markerSchema"] == []
    for lib in profile["libs"]:
        assert {"arch", "name", "path", "debugName", "debugPath", "breakpadId",
                "codeId"} == set(lib)
        assert len(lib["breakpadId"]) == 33
    pids = [thread["pid"] for thread in profile["threads"]]
    assert len(pids) == len(set(pids)) and all(isinstance(pid, str) for pid in pids)
    for thread in profile["threads"]:
        sizes = {name: thread[name]["length"] for name in TABLES}
        sizes.update(stringArray=len(thread["stringArray"]), libs=len(profile["libs"]),
                     categories=len(meta["categories"]))
        for name, columns in TABLES.items():
            table = thread[name]
            assert set(table) - {"length", "weightType"} == set(columns), name
            for column, kind in columns.items():
                assert len(table[column]) == table["length"], (name, column)
                assert all(check_value(v, kind, sizes) for v in table[column]), (name, column)
        prefixes = thread["stackTable"]["prefix"]
        assert all(p is None or p < i for i, p in enumerate(prefixes)), "callers come first"
        for name in ("samples", "nativeAllocations"):
            assert thread[name]["weightType"] == "bytes"
            assert thread[name]["time"] == sorted(thread[name]["time"])
        assert thread["isMainThread"] is True and isinstance(thread["tid"], int)
    for counter in profile["counters"]:
        assert profile["threads"][counter["mainThreadIndex"]]["pid"] == counter["pid"]
        samples = counter["samples"]
        assert {len(samples[c]) for c in ("time", "number", "count")} == {samples["length"]}
        assert samples["time"] == sorted(samples["time"])


def names(thread, stack):
    """The functions of a stack, innermost first."""
    found = []
    while stack is not None:
        func = thread["frameTable"]["func"][thread["stackTable"]["frame"][stack]]
        found.append(thread["stringArray"][thread["funcTable"]["name"][func]])
        stack = thread["stackTable"]["prefix"][stack]
    return found


def test_it_has_what_the_report_has(tmp_path):
    """GIVEN a program of two processes; THEN each has its allocations and frees, which
    leave what it leaked, by stack, too, and a counter."""
    support.trace(["/usr/bin/python3", "-I", "-S", "-c", FORKS], tmp_path / "t")
    whole = support.report(tmp_path / "t", "--summary", "--per-process", "--leaks")
    profile, done = profile_of(tmp_path / "t", tmp_path / "p.json.gz")
    assert not done.stderr and len(profile["threads"]) == 2
    leaked = {t["pid"].split("-")[0]: sum(t["nativeAllocations"]["weight"])
              for t in profile["threads"]}
    assert leaked == {str(p["pid"]): p["leaked_bytes"] for p in whole["per_process"]}
    assert {c["pid"]: sum(c["samples"]["count"]) for c in profile["counters"]} == \
        {t["pid"]: sum(t["nativeAllocations"]["weight"]) for t in profile["threads"]}
    assert sum(sum(t["samples"]["weight"]) for t in profile["threads"]) == \
        whole["summary"]["allocated_bytes"]
    by_stack = collections.Counter()
    for thread in profile["threads"]:
        table = thread["nativeAllocations"]
        live = collections.Counter()
        for address, weight, stack in zip(table["memoryAddress"], table["weight"],
                                          table["stack"]):
            live[address] += weight
            assert live[address] in (0, weight), "balanced"
            by_stack[tuple(names(thread, stack))] += weight
    want = collections.Counter()
    for entry in whole["leaks"]:
        want[tuple(f["function"] or f"{f['module'].rsplit('/', 1)[-1]}+{f['offset']}"
                   for f in entry["stack"])] += entry["bytes"]
    assert {k: v for k, v in by_stack.items() if v} == {k: v for k, v in want.items() if v}


def test_marks_are_markers(tmp_path):
    """GIVEN marks; THEN they are markers: a moment, a begin and an end."""
    support.trace([support.PROGRAMS / "marks"], tmp_path / "t")
    profile, _ = profile_of(tmp_path / "t", tmp_path / "p")
    (thread,) = profile["threads"]
    markers = thread["markers"]
    assert [thread["stringArray"][n] for n in markers["name"]] == \
        ["before", 'span "quoted"', 'span "quoted"']
    assert markers["phase"] == [0, 2, 3]
    assert markers["startTime"][2] is None and markers["endTime"][2] is not None
    assert markers["startTime"][0] <= markers["startTime"][1] <= markers["endTime"][2]


def test_many_events_are_drawn(tmp_path):
    """GIVEN more events than a browser reads; THEN some are drawn, in proportion to their
    size: the sums stay about what they were, ends stay balanced, and one line says so. A
    window leaves fewer, which are all there."""
    support.trace([support.PROGRAMS / "churn", "150000"], tmp_path / "t")
    total = support.summary(tmp_path / "t")
    profile, done = profile_of(tmp_path / "t", tmp_path / "p")
    (thread,) = profile["threads"]
    table = thread["nativeAllocations"]
    assert 50_000 < table["length"] <= 200_000 < total["events"]
    assert f"{table['length']} of {total['events']}" in done.stderr and "--from" in done.stderr
    assert 0.9 < sum(thread["samples"]["weight"]) / total["allocated_bytes"] < 1.1
    live = collections.Counter()
    for address, weight in zip(table["memoryAddress"], table["weight"]):
        live[address] += weight
        assert live[address] in (0, weight)
    assert sum(profile["counters"][0]["samples"]["count"]) == total["leaked_bytes"]
    assert profile["counters"][0]["samples"]["length"] <= 2000
    profile, done = profile_of(tmp_path / "t", tmp_path / "p", "--to", "10%")
    assert not done.stderr and len(profile["threads"]) == 1
