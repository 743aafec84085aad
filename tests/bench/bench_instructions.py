# SPDX-License-Identifier: MIT
"""Instructions of the fixed run (fixed.c) with and without the library, counted
by callgrind: a number that the machine's load does not move. The phases are
counted alone, without start and end of the program; two runs differ by less
than a tenth of a percent, since only the width of a few time stamps differs.

instructions.txt keeps the numbers of the last change that meant to move them;
`--check` compares, `--record` writes.
"""
import pathlib
import platform
import re
import subprocess

import bench_split
from bench_works import Work

PHASES = {
    "pairs": "malloc and free of 8 to 16,384 bytes from one place",
    "live": "1,024 live blocks, eight paths 4 to 11 frames deep",
    "tree": "a tree built and freed by recursion, 11 to 21 frames deep",
    "paths": "a new path for every malloc, 29 frames deep",
    "resize": "a block grown by realloc seven times",
}
RECORD = pathlib.Path(__file__).resolve().parent / "instructions.txt"


def count(bench, phase):
    work = Work(f"fixed-{phase}", "fixed", [bench.program("fixed"), phase])
    events = int(subprocess.run(work.argv, check=True, capture_output=True, text=True).stdout)
    total = {}
    for traced in (False, True):
        out = bench_split.callgrind(bench, work, traced, [f"--toggle-collect=run_{phase}"])
        found = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M)
        total[traced] = int(found[1])
    return {"events": events, "without": total[False], "with": total[True],
            "added_event": (total[True] - total[False]) / events}


def measure(bench):
    return {phase: count(bench, phase) for phase in PHASES}


def recorded():
    found = {}
    if RECORD.exists():
        for line in RECORD.read_text().splitlines():
            words = line.split()
            if words and not line.startswith("#"):
                found[words[0]] = {"events": int(words[1]), "without": int(words[2]),
                                   "with": int(words[3]), "added_event": float(words[4])}
    return found


def record(counts):
    compiler = subprocess.run(["cc", "--version"], capture_output=True, text=True)
    lines = [
        "# SPDX-License-Identifier: MIT", "#",
        "# Instructions of the fixed run, by callgrind; tests/bench/run.sh --check compares,",
        "# --record writes this file. Made with " + (compiler.stdout.splitlines() or ["?"])[0],
        f"# and {' '.join(platform.libc_ver())} on {platform.machine()}.", "#",
        "# phase  events  without  with  added-per-event"]
    lines += [f"{phase} {c['events']} {c['without']} {c['with']} {c['added_event']:.2f}"
              for phase, c in counts.items()]
    RECORD.write_text("\n".join(lines) + "\n")


def compare(counts):
    """Lines of text: now, then, difference in percent of what tracing adds."""
    then = recorded()
    lines = []
    for phase, c in counts.items():
        old = then.get(phase)
        if old and old["added_event"]:
            change = (c["added_event"] / old["added_event"] - 1) * 100
            lines.append(f"{phase:8} {c['added_event']:8.1f} instructions added an event, "
                         f"recorded {old['added_event']:8.1f}, {change:+.1f} %")
        else:
            lines.append(f"{phase:8} {c['added_event']:8.1f} instructions added an event, "
                         "nothing recorded")
    return lines
