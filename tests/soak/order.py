# SPDX-License-Identifier: MIT
"""The order of short runs; see order.sh. The analyser finds what is out of order: a free
without its block, a block at a live address, an event that comes late."""
import pathlib
import shutil
import sys
import tempfile

import support
from support import PROGRAMS

SHARED = "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"
WORKS = [("handover", 64, 60), ("threads", 64, 120), ("handover", 64, 200), ("threads", 64, 400)]
SINKS = ['exec "$@" 1022>"$t"', '{ "$@" 1022>&1 >&2; } | cat >"$t"']
COUNTS = ("unmatched_frees", "order_repairs", "late_events", "lost_events")


def run(number, path):
    """One run: what of its audit is not 0."""
    work = WORKS[number % len(WORKS)]
    env = support.clean_environment()
    if number // len(WORKS) % 2:
        env["GLIBC_TUNABLES"] = SHARED
    done = support.bash(f't=$1; shift; export LD_PRELOAD=$LIB; {SINKS[number % 3 == 2]}', path,
                        PROGRAMS / work[0], *work[1:], env=env)
    assert done.returncode == 0, done
    audit = support.report(path, "--summary")["audit"]
    assert audit["events"] >= 64 * work[2]
    return {name: audit[name] for name in COUNTS if audit[name]}


def main():
    runs, wrong = int(sys.argv[1]), 0
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mlog-order-"))
    for number in range(runs):
        path = folder / "trace"
        found = run(number, path)
        if found:
            wrong += 1
            kept = path.rename(folder / f"run-{number}")
            print(f"run {number}: {found}: {kept}", flush=True)
        else:
            path.unlink()
    print(f"{runs} runs of 64 threads, {wrong} out of order")
    if not wrong:
        shutil.rmtree(folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
