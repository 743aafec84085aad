# SPDX-License-Identifier: MIT
"""How often the labels of --leaks are right.

    python3 tests/leak_score.py [--set tuned|kept] [--seeds N] [--jobs N]
    python3 tests/leak_score.py --live [--runs N] [--seconds S]

The first judges the traces that tests/programs/patterns.c writes with a clock of its own:
each of its patterns under each of four loads, N times with other seeds. The second runs
tests/programs/planted.c by the real clock; each stack of it says in its function's name
what it is. Both print the confusion tables of docs/leak-score.md.
"""
import argparse
import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import subprocess
import tempfile

import support

KINDS = {"grow": "growing", "plateau": "plateau", "startup": "startup", "young": "young",
         "tiny": "unclear"}
LABELS = list(KINDS.values())
LOADS = ["steady", "rising", "bursts", "pausing"]
# What may be said of each. Of a leak only that it grows. A table is a cache that was filled
# early. Of a few objects made once each, and of growth below the floor, nothing can be told.
RIGHT = {"leak": {"growing"}, "cache": {"plateau", "startup"}, "table": {"plateau", "startup"},
         "singleton": {"plateau", "startup", "unclear"}, "in-flight": {"plateau", "young", "unclear"},
         "tiny": {"plateau", "startup", "unclear"}}
UNDECIDED = {"young", "unclear"}
CONFIDENT = 0.8
JUDGED = "0x1001"


@dataclasses.dataclass(frozen=True)
class Case:
    pattern: str
    truth: str
    load: str
    seed: int


@dataclasses.dataclass(frozen=True)
class Verdict:
    case: Case
    kind: str
    confidence: float
    reason: str

    @property
    def right(self):
        return self.kind in RIGHT[self.case.truth]

    @property
    def wrong(self):
        return not self.right and self.kind not in UNDECIDED

    @property
    def confidently_wrong(self):
        return self.wrong and self.confidence >= CONFIDENT

    def __str__(self):
        case = self.case
        return f"{case.pattern} ({case.truth}), {case.load}, seed {case.seed}: {self.kind} " \
               f"{self.confidence:.2f} ({self.reason})"


def cases(chosen, seeds):
    """Those of one set of patterns."""
    listed = subprocess.run([support.PROGRAMS / "patterns"], check=True, capture_output=True,
                            text=True).stdout
    for line in listed.splitlines():
        which, pattern, truth = line.split()
        if which == chosen:
            for load in LOADS:
                yield from (Case(pattern, truth, load, seed) for seed in range(1, seeds + 1))


def judge(case, path):
    """What is said of the one stack; None if none of its blocks was live at the end."""
    subprocess.run([support.PROGRAMS / "patterns", path, case.pattern, case.load, str(case.seed)],
                   check=True)
    for entry in support.report(path, "--leaks")["leaks"]:
        if entry["stack"][0]["offset"] == JUDGED:
            return Verdict(case, entry["kind"], entry["confidence"], entry["reason"])
    return None


def verdicts(chosen, seeds, jobs=None):
    with tempfile.TemporaryDirectory() as folder, \
            concurrent.futures.ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        found = pool.map(lambda one: judge(one[1], pathlib.Path(folder) / f"t{one[0]}"),
                         enumerate(cases(chosen, seeds)))
        return [verdict for verdict in found if verdict]


def print_table(rows, table):
    """table: (row, label) to a number."""
    print("| planted as | " + " | ".join(f"said {label}" for label in LABELS) + " |")
    print("|---|" + "--:|" * len(LABELS))
    for row in rows:
        print(f"| {row} | " + " | ".join(str(table[row, label]) for label in LABELS) + " |")


def score(found):
    """Percentage that is right; how many are wrong; how many of these with confidence."""
    return (100 * sum(v.right for v in found) / len(found), sum(v.wrong for v in found),
            sum(v.confidently_wrong for v in found))


def print_score(what, found):
    right, wrong, confident = score(found)
    print(f"{what}: {right:.1f} % of {len(found)} right, {wrong} wrong, {confident} of these with "
          f"a confidence of {CONFIDENT} or more")


def print_virtual(chosen, seeds, jobs, details):
    found = verdicts(chosen, seeds, jobs)
    print_table(RIGHT, collections.Counter((v.case.truth, v.kind) for v in found))
    print()
    for load in LOADS:
        print_score(load, [v for v in found if v.case.load == load])
    print_score("all", found)
    for verdict in found if details else []:
        if not verdict.right:
            print(verdict)


def labels(path):
    """(function, what it is, entry) of each planted stack in a trace."""
    for entry in support.report(path, "--leaks")["leaks"]:
        for function in support.functions(entry):
            if function and function.split("_")[0] in KINDS and "_" in function:
                yield function, KINDS[function.split("_")[0]], entry
                break


def run(path, seconds, *patterns):
    done = support.trace([support.PROGRAMS / "planted", seconds, *patterns], path)
    assert done.returncode == 0, done
    return list(labels(path))


def print_live(runs, seconds):
    table, wrong = collections.Counter(), collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(runs):
            for function, truth, entry in run(pathlib.Path(folder) / "t", seconds):
                table[truth, entry["kind"]] += 1
                if entry["kind"] != truth:
                    wrong[f"{function}: {entry['kind']} ({entry['reason']})"] += 1
    print_table(LABELS, table)
    right = sum(table[l, l] for l in LABELS)
    print(f"\n{right} of {sum(table.values())} right")
    for what, times in wrong.most_common():
        print(f"{times} × {what}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=["tuned", "kept"], default="tuned")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--quiet", action="store_true", help="do not list what is not right")
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.5)
    options = parser.parse_args()
    if options.live:
        print_live(options.runs, options.seconds)
    else:
        print_virtual(options.set, options.seeds, options.jobs, not options.quiet)


if __name__ == "__main__":
    main()
