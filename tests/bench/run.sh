#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The benchmark: builds the library as released, then measures it (README.md
# here says what). About ten minutes; prints the tables of docs/benchmarks.md.
#
#     tests/bench/run.sh                    all of it
#     tests/bench/run.sh --quick            in a minute, coarsely
#     tests/bench/run.sh --only sqlite3     one workload, or one part
#     tests/bench/run.sh --write            ... and writes docs/benchmarks.md
#     tests/bench/run.sh --help
#
# MLOG_BUILD_DIR=DIR takes another build directory than build/.
set -eu

root=$(dirname -- "$(readlink -f -- "$0")")/../..
cd "$root"
root=$PWD
build=${MLOG_BUILD_DIR:-$root/build}
export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
unset LD_PRELOAD MLOG_OUT

if [ "${1-}" = --no-build ]; then
    shift
else
    tools/install-packages.sh build bench
    [ -f "$build/build.ninja" ] || meson setup "$build" > /dev/null
    ninja -C "$build" libtrace/libmlog.so analyzer/mlog-analyze tests/bench/{pairs,tree,fixed,meter,count} > /dev/null
fi

read -r python < "$build/tests/python-path"
exec "$python" tests/bench/bench.py --build "$build" "$@"
