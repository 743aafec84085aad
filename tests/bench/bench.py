# SPDX-License-Identifier: MIT
"""The benchmark's command line and the order of its parts; run.sh calls it.

Prints progress on standard error and, at the end, the tables on standard
output; the raw results go to a JSON file. It compares and never judges: the
status says only whether the benchmark itself could run.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import bench_analysis
import bench_instructions
import bench_report
import bench_run
import bench_split
import bench_traces
import bench_works

PARTS = ("ratio", "bytes", "memory", "split", "analysis", "callgrind", "instructions")
CALLGRIND_PROGRAMS = ("sqlite3", "python3")
# Minutes of the whole that go to alternating runs, by group; the rest is for the other parts.
SHARES = {"program": 0.44, "malloc": 0.10, "realloc": 0.10, "tree": 0.14}


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="tests/bench/run.sh", description="Measure what tracing costs.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"parts: {' '.join(PARTS)}\n"
               f"workloads: {' '.join(bench_works.PROGRAMS)}, malloc-SIZE, realloc-SIZE,\n"
               "           tree-DEPTH-THREADS, or a group: program malloc realloc tree")
    parser.add_argument("--build", default="build", metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="one minute, coarse numbers")
    parser.add_argument("--minutes", type=float, default=10, metavar="N",
                        help="aim at so many minutes (10)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME",
                        help="this part, workload or group; may be given again")
    parser.add_argument("--tmp", metavar="DIR",
                        help="traces go to the file system of this directory ($TMPDIR)")
    parser.add_argument("--json", metavar="FILE", help="raw results (BUILD/bench.json)")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md too")
    parser.add_argument("--from", dest="source", metavar="FILE",
                        help="measure nothing: print the tables of a JSON file")
    parser.add_argument("--check", action="store_true",
                        help="count the fixed run's instructions, compare with instructions.txt")
    parser.add_argument("--record", action="store_true",
                        help="count them and write instructions.txt")
    return parser.parse_args(argv)


class Run:
    def __init__(self, arguments, bench):
        self.arguments, self.bench = arguments, bench
        self.scale = 0.2 if arguments.quick else 1.0
        self.minutes = 0.8 if arguments.quick else arguments.minutes
        only = arguments.only
        self.parts = [p for p in PARTS if p in only] or \
            [p for p in PARTS if not arguments.quick or p != "callgrind"]
        self.names = [n for n in only if n not in PARTS]
        self.results = {"works": {}}

    def say(self, text):
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def wanted(self, name, group):
        return not self.names or name in self.names or group in self.names

    def result_of(self, work):
        return self.results["works"].setdefault(work.name, {"group": work.group,
                                                            "what": work.what})

    def ratios(self, works):
        """The seconds of a group are shared out; what one does not use goes to the next."""
        for group, share in SHARES.items():
            mine = [w for w in works if w.group == group]
            left = self.minutes * 60 * share
            for i, work in enumerate(mine):
                begin = time.monotonic()
                result = self.result_of(work)
                least = 1 if self.arguments.quick else 3
                result["ratio"] = bench_run.compare(self.bench, work, left / (len(mine) - i),
                                                    time.monotonic, self.say, least)
                if work.group != "program":
                    # These print how many events they make.
                    result["events"] = int(subprocess.run(
                        work.argv, check=True, capture_output=True, text=True).stdout)
                left = max(0, left - (time.monotonic() - begin))
                ways = result["ratio"]["ways"]
                self.say(f"{work.name}: CPU " + ", ".join(
                    f"{bench_run.TITLES[w]} x{ways[w]['cpu_ratio']['median']:.2f}"
                    for w in list(ways)[1:])
                    + f" ({len(result['ratio']['rounds'])} rounds)")

    def others(self, programs):
        sampled = bench_split.perf_works(self.bench)
        if "split" in self.parts and not sampled:
            self.say("perf does not work here: no nanoseconds by stage")
        for work in programs:
            result = self.result_of(work)
            if "bytes" in self.parts:
                result["bytes"] = bench_traces.sizes(self.bench, work)
            if "memory" in self.parts:
                result["memory"] = bench_traces.memory(self.bench, work)
            if "split" in self.parts and sampled:
                result["split"] = bench_split.perf_split(
                    self.bench, work, 1 if self.arguments.quick else 3)
            self.say(f"{work.name}: bytes, memory, split done")

    def analysis(self, tmp):
        """Larger inputs than for the ratios: the report itself takes some milliseconds."""
        folder = tmp / "analysis"
        folder.mkdir()
        for work in bench_works.programs(folder, self.scale * 4, self.wanted, self.say):
            if work.serve:
                continue
            self.result_of(work)["analysis"] = bench_analysis.measure(self.bench, work)
            self.say(f"{work.name}: analysis done")
        if not self.names:
            self.results["analysis_memory"] = bench_analysis.memory(
                self.bench, self.say, self.arguments.quick)

    def instructions(self):
        if shutil.which("valgrind"):
            self.results["instructions"] = bench_instructions.measure(self.bench)
            for line in bench_instructions.compare(self.results["instructions"]):
                self.say(line)
        else:
            self.say("valgrind is not installed: no instruction counts")

    def callgrind(self, tmp):
        if not shutil.which("valgrind"):
            return
        small = bench_works.programs(
            tmp, 0.02 if self.arguments.quick else 0.1,
            lambda name, group: name in CALLGRIND_PROGRAMS and self.wanted(name, group), self.say)
        for work in small:
            self.result_of(work)["callgrind"] = bench_split.callgrind_split(self.bench, work)
            self.say(f"{work.name}: callgrind done")

    def all(self):
        begin = time.monotonic()
        self.results["machine"] = bench_report.machine(self.bench)
        tmp, wanted = self.bench.tmp, self.wanted
        programs = bench_works.programs(tmp, self.scale, wanted, self.say)
        if "ratio" in self.parts:
            coarse = self.arguments.quick and not self.names
            self.ratios(programs + bench_works.micro(
                self.bench, self.scale, wanted,
                bench_works.QUICK_SIZES if coarse else bench_works.MICRO_SIZES)
                + bench_works.trees(
                    self.bench, self.scale, wanted,
                    bench_works.QUICK_THREADS if coarse else bench_works.TREE_THREADS))
        if {"bytes", "memory", "split"} & set(self.parts):
            self.others(programs)
        if "analysis" in self.parts:
            self.analysis(tmp)
        if "callgrind" in self.parts:
            self.callgrind(tmp)
        if "instructions" in self.parts and not self.names:
            self.instructions()
        self.results["seconds"] = time.monotonic() - begin
        return self.results


def version(root):
    text = (root / "meson.build").read_text()
    return text.split("version: '", 1)[1].split("'", 1)[0]


def main(argv):
    arguments = parse(argv)
    root = pathlib.Path(__file__).resolve().parent.parent.parent
    if arguments.source:
        results = json.loads(pathlib.Path(arguments.source).read_text())
        print(bench_report.markdown(results))
        return 0
    with tempfile.TemporaryDirectory(prefix="mlog-bench-", dir=arguments.tmp) as tmp:
        bench = bench_run.Bench(arguments.build, tmp)
        if not bench.library.exists():
            print(f"bench: {bench.library} is not there", file=sys.stderr)
            return 1
        if arguments.check or arguments.record:
            counts = bench_instructions.measure(bench)
            print("\n".join(bench_instructions.compare(counts)))
            if arguments.record:
                bench_instructions.record(counts)
            return 0
        run = Run(arguments, bench)
        if "heaptrack" not in bench.ways():
            run.say("heaptrack is not installed: nothing to compare with")
        run.results["version"] = version(root)
        run.results["command"] = " ".join(
            ["tests/bench/run.sh"] + [a for a in argv if a != "--write"
                                      and not a.startswith("--build")
                                      and a != arguments.build])
        results = run.all()
    out = pathlib.Path(arguments.json or os.path.join(arguments.build, "bench.json"))
    out.write_text(json.dumps(results, indent=1))
    page = bench_report.markdown(results)
    print(page)
    if arguments.write:
        document = root / "docs" / "benchmarks.md"
        document.write_text(bench_report.merged(document.read_text(), page, results)
                            if arguments.only else page)
    run.say(f"raw results in {out}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (bench_run.Failed, OSError, subprocess.SubprocessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(1)
