# SPDX-License-Identifier: MIT
"""What the analyser takes: events a second from a trace in the page cache to
the text report without symbols, beside heaptrack_print on heaptrack's file of
the same program; and its memory against events and live blocks.
"""
import os
import resource
import shutil
import subprocess
import time

import bench_traces
from bench_run import Failed, clean_environment, spread
from bench_works import Work

MEMORY_CAP = 4 << 30            # heaptrack_print has been seen to take all there is
RUNS = 7
LIVE_AND_EVENTS = ((1000, 1), (1000, 10), (1000, 100), (100_000, 10), (1_000_000, 10),
                   (2_000_000, 10))   # blocks, million events


def timed(argv, cap=None):
    """CPU seconds, wall seconds and the most anonymous memory of one command, in kB."""
    def limit():
        if cap:
            resource.setrlimit(resource.RLIMIT_AS, (cap, cap))
    begin = time.monotonic()
    process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               preexec_fn=limit, env=clean_environment())
    anonymous = 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        try:
            with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
                for line in file:
                    if line.startswith("RssAnon:"):
                        anonymous = max(anonymous, int(line.split()[1]))
        except OSError:
            pass
        time.sleep(0.004)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f"{argv[0]} ended with {process.returncode}")
    return {"cpu": usage.ru_utime + usage.ru_stime, "wall": time.monotonic() - begin,
            "anonymous_kb": anonymous, "maxrss_kb": usage.ru_maxrss}


def alternate(commands, caps):
    """Each command in turn, so that all meet the same hours of a shared machine. One
    that fails is left out."""
    runs = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, argv in commands.items():
            try:
                runs[name].append(timed(argv, caps.get(name)))
            except Failed:
                if name not in caps:
                    raise
    return {name: {"cpu": spread([r["cpu"] for r in all_runs]),
                   "wall": spread([r["wall"] for r in all_runs]),
                   "anonymous_kb": max(r["anonymous_kb"] for r in all_runs),
                   "maxrss_kb": max(r["maxrss_kb"] for r in all_runs)}
            for name, all_runs in runs.items() if len(all_runs) == RUNS}


def analyser(bench):
    return bench.build / "analyzer" / "mlog-analyze"


def measure(bench, work):
    """One program's trace through mlog-analyze and heaptrack's through heaptrack_print."""
    bench.run("mlog", work)
    command = [analyser(bench), "--no-symbols", bench.trace]
    commands = {"mlog": [*command, "--jobs", "1"], "ahead": command}
    result = {"events": bench_traces.mlog_trace(bench)["events"]}
    if shutil.which("heaptrack_print") and "heaptrack" in bench.ways():
        try:
            bench.run("heaptrack", work)
            commands["heaptrack"] = ["heaptrack_print", f"{bench.finished}.zst"]
        except Failed:
            pass    # a dash in the table
    timed(command)      # the trace into the page cache
    result.update(alternate(commands, {"heaptrack": MEMORY_CAP}))
    os.unlink(bench.trace)
    return result


def memory(bench, say, quick):
    rows = []
    for live, millions in LIVE_AND_EVENTS[:2] if quick else LIVE_AND_EVENTS:
        work = Work("live", "live", [bench.program("pairs"), "live", live, millions * 500_000])
        bench.run("mlog", work)
        once = timed([analyser(bench), "--no-symbols", "--jobs", "1", bench.trace])
        rows.append({"live": live, "events": bench_traces.mlog_trace(bench)["events"],
                     "trace": os.path.getsize(bench.trace), **once})
        os.unlink(bench.trace)
        say(f"analysis of {millions} million events, {live:,} live blocks done")
    return rows
