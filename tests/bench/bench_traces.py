# SPDX-License-Identifier: MIT
"""What a traced run leaves behind: events and bytes of mlog's trace (count.c
reads it) and of heaptrack's files, and the memory that tracing takes in the
program. Runs of their own, not those that are timed.
"""
import json
import os
import subprocess

from bench_run import Failed


def mlog_trace(bench):
    """What count.c says of the last trace, with `events` and sizes in bytes."""
    said = subprocess.run([bench.program("count"), str(bench.trace)], check=True,
                          capture_output=True, text=True).stdout
    trace = json.loads(said)
    trace["events"] = sum(trace[k] for k in ("allocs", "frees", "reallocs", "frees_by", "failed"))
    return trace


def compressed(path):
    """Bytes after `zstd -3`."""
    with subprocess.Popen(["zstd", "-3", "-q", "-c", str(path)],
                          stdout=subprocess.PIPE) as process:
        size = sum(len(block) for block in iter(lambda: process.stdout.read(1 << 20), b""))
    return size


def heaptrack_events(path):
    """Lines that say + or -: a realloc is one of each."""
    count = 0
    with open(path, "rb") as file:
        for line in file:
            count += line[:1] in (b"+", b"-")
    return count


def sizes(bench, work):
    """Bytes an event, of both."""
    bench.run("mlog", work)
    trace = mlog_trace(bench)
    result = {"trace": trace, "raw": trace["claimed"], "zstd": compressed(bench.trace)}
    os.unlink(bench.trace)
    if "library" in bench.ways():
        bench.run("library", work)
        result["heaptrack_events"] = heaptrack_events(bench.raw)
        result["heaptrack_raw"] = os.path.getsize(bench.raw)
        result["heaptrack_raw_zstd"] = compressed(bench.raw)
        os.unlink(bench.raw)
    if "heaptrack" in bench.ways():
        try:
            bench.run("heaptrack", work)
            result["heaptrack_finished"] = os.path.getsize(str(bench.finished) + ".zst")
        except Failed:
            pass    # the ratios have said so
    return result


def memory(bench, work):
    """Kilobytes that the library adds: most anonymous memory and most resident
    memory seen, and what it says itself that it holds (address space)."""
    plain = bench.run("plain", work, watch=True)
    traced = bench.run("mlog", work, watch=True)
    trace = mlog_trace(bench)
    return {
        "plain_anonymous_kb": plain["anonymous_kb"],
        "anonymous_kb": traced["anonymous_kb"] - plain["anonymous_kb"],
        "maxrss_kb": traced["maxrss_kb"] - plain["maxrss_kb"],
        "held_bytes": trace["counters"]["7"],
        "nodes": trace["nodes"],
        "streams": trace["streams"],
    }
