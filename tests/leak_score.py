# SPDX-License-Identifier: MIT
"""How often the labels of --leaks are right, on tests/programs/planted.c.

    python3 tests/leak_score.py [--runs N] [--seconds S]

runs it N times and prints the confusion table of docs/leak-score.md. Each stack
of the program says in its function's name what it is.
"""
import argparse
import collections
import pathlib
import tempfile

import support

KINDS = {"grow": "growing", "plateau": "plateau", "startup": "startup", "young": "young",
         "tiny": "unclear"}
LABELS = list(KINDS.values())


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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.5)
    options = parser.parse_args()
    table, wrong = collections.Counter(), collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.runs):
            for function, truth, entry in run(pathlib.Path(folder) / "t", options.seconds):
                table[truth, entry["kind"]] += 1
                if entry["kind"] != truth:
                    wrong[f"{function}: {entry['kind']} ({entry['reason']})"] += 1
    print("| planted as | " + " | ".join(f"said {label}" for label in LABELS) + " |")
    print("|---|" + "--:|" * len(LABELS))
    for truth in KINDS.values():
        print(f"| {truth} | " + " | ".join(str(table[truth, l]) for l in LABELS) + " |")
    right = sum(table[l, l] for l in LABELS)
    print(f"\n{right} of {sum(table.values())} right")
    for what, times in wrong.most_common():
        print(f"{times} × {what}")


if __name__ == "__main__":
    main()
