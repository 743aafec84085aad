# SPDX-License-Identifier: MIT
"""How long single calls take in glibc's allocator, jemalloc, mimalloc, tcmalloc and
libmlog-tlsf.so, and how many instructions the worst of TLSF takes: a table. By hand:

    ninja -C build tests/bench/latency && python3 tests/bench/bench_allocators.py [CALLS]

Nanoseconds with the clock's own time, best of five runs for each column; on a machine that does
something else the worst are its interruptions."""
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("MLOG_BUILD_DIR", ROOT / "build"))
TLSF = BUILD / "allocators" / "libmlog-tlsf.so"
POOL = {"INITIAL_MEMPOOL_SIZE": "512M", "MLOG_TLSF_PREFAULT": "1"}
ALLOCATORS = {
    "glibc": ("", {}),
    "libmlog-glibc": (BUILD / "allocators" / "libmlog-glibc.so", {}),
    "jemalloc": ("libjemalloc.so.2", {}),
    "mimalloc": ("libmimalloc.so.2", {}),
    "tcmalloc": ("libtcmalloc_minimal.so.4", {}),
    "libmlog-tlsf": (TLSF, POOL),
    "libmlog-tlsf, by thread": (TLSF, dict(POOL, MLOG_TLSF_POOLS="thread")),
}
COLUMNS = [(call, of) for call in ("malloc", "free") for of in ("median", "99", "99.99", "worst")]


def measure(preload, environment, calls):
    best = {}
    for _ in range(5):
        done = subprocess.run([BUILD / "tests" / "bench" / "latency", str(calls)], check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=dict(os.environ, LD_PRELOAD=str(preload), **environment))
        if "cannot be preloaded" in done.stderr:
            return None
        told = json.loads(done.stdout)
        for call, of in COLUMNS:
            best[call, of] = min(told[call][of], best.get((call, of), 1 << 32))
    return best


def main():
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000
    print("| allocator | " + " | ".join(f"{call} {of}" for call, of in COLUMNS) + " |")
    print("|---|" + "---|" * len(COLUMNS))
    for name, (preload, environment) in ALLOCATORS.items():
        best = measure(preload, environment, calls)
        if best:
            print(f"| {name} | " + " | ".join(str(best[column]) for column in COLUMNS) + " |")
    done = subprocess.run([BUILD / "tests" / "unit" / "test_tlsf"], stdout=subprocess.PIPE,
                          text=True)
    print("\nlibmlog-tlsf:")
    for line in done.stdout.splitlines():
        if "instructions at most" in line:
            print(line.lstrip("# "))


if __name__ == "__main__":
    main()
