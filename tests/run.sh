#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Everything that must hold before a change lands: installs what is missing,
# builds with gcc and clang (warnings are errors here, though not for users),
# and runs every test. Ends with the reasons of what was skipped, a line for each
# failure, a line "N passed, N failed, N skipped", and status 0 only if all is well.
#
#     tests/run.sh              all of it
#     MLOG_BUILD_DIR=/tmp/b tests/run.sh
#     MLOG_JOBS=1 tests/run.sh  one test at a time
set -eu

root=$(dirname -- "$(readlink -f -- "$0")")/..
cd "$root"
root=$PWD
build=${MLOG_BUILD_DIR:-$root/build}
jobs=${MLOG_JOBS:-$(nproc)}
export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
unset LD_PRELOAD MLOG_OUT

tools/install-packages.sh build quickstart test

# configure DIR [OPTION...]: a build directory, made or brought up to date.
configure() {
    local dir=$1
    shift
    if [ -f "$dir/build.ninja" ]; then
        meson setup --reconfigure "$dir" "$@" > "$dir/setup.log" 2>&1
    else
        mkdir -p "$dir"
        meson setup "$dir" "$@" > "$dir/setup.log" 2>&1
    fi || { cat "$dir/setup.log"; exit 1; }
}

compile() {
    ninja -C "$1" > "$1/compile.log" 2>&1 || { cat "$1/compile.log"; exit 1; }
}

echo "mlog: building in $build, with gcc and with clang"
CC=gcc CXX=g++ configure "$build" --buildtype=release --werror
compile "$build"
ninja -C "$build" sanitized > "$build/compile.log" 2>&1 || { cat "$build/compile.log"; exit 1; }
CC=clang CXX=clang++ configure "$build/clang" --werror
compile "$build/clang"

status=0
reports=$build/test-reports
rm -rf "$reports"
mkdir -p "$reports"

meson test -C "$build" --no-rebuild --print-errorlogs || status=1
cp "$build/meson-logs/testlog.junit.xml" "$reports/unit.xml" 2> /dev/null || status=1

read -r python < "$build/tests/python-path"
options=(-q --tb=short -rN) # the closing list is tally.py's
MLOG_BUILD_DIR=$build "$python" -m pytest "${options[@]}" -n "$jobs" --dist loadgroup \
    -p no:cacheprovider --junitxml="$reports/pytest.xml" tests || status=1

# The library as clang builds it: the tests of what it may not get wrong.
MLOG_BUILD_DIR=$build/clang "$python" -m pytest "${options[@]}" -n "$jobs" --dist loadgroup \
    -p no:cacheprovider --junitxml="$reports/clang.xml" -m smoke tests || status=1

"$python" tests/tally.py "$reports"/*.xml || status=1
exit $status
