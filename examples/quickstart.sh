#!/bin/bash
# SPDX-License-Identifier: MIT
#
# mlog in one go, on a bare Debian 12: installs what is missing, builds, traces
# sqlite3 running a script and a small program with a leak (leaky.c), and ends
# with a table of leaks on the screen, a plot and a flame graph on disk. Run it
# from anywhere, as often as you like.
#
#     examples/quickstart.sh [DIRECTORY]
#
# Everything it makes goes to build/ and to DIRECTORY (build/quickstart).
set -eu

here=$(dirname -- "$(readlink -f -- "$0")")
root=$(dirname -- "$here")
build=${MLOG_BUILD_DIR:-$root/build}
out=${1:-$build/quickstart}
mkdir -p "$out"
out=$(readlink -f -- "$out")
unset LD_PRELOAD MLOG_OUT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

# run LOG COMMAND...: quietly, but not when it fails. A terminal sees how far it
# has come: the last line of the log.
run() {
    local log=$1 pid shown
    shift
    "$@" > "$log" 2>&1 < /dev/null &
    pid=$!
    while [ -t 1 ] && kill -0 "$pid" 2> /dev/null; do
        shown=$(tail -n 1 "$log" 2> /dev/null | tr -cd '[:print:]')
        printf '\r\033[K  %.70s' "$shown"
        sleep 0.2
    done
    [ ! -t 1 ] || printf '\r\033[K'
    wait "$pid" || { cat "$log" >&2; echo "quickstart: failed: $*" >&2; exit 1; }
}
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT

say "1. Building mlog"
"$root/tools/install-packages.sh" build quickstart
mkdir -p "$build"
# A setup that was interrupted leaves a folder that Meson takes for done.
[ -f "$build/build.ninja" ] || {
    rm -rf "$build/meson-private" "$build/meson-info"
    run "$out/setup.log" meson setup "$build" "$root"
}
run "$out/build.log" ninja -C "$build" libtrace/libmlog.so analyzer/mlog-analyze
run "$out/leaky.log" gcc -g -o "$out/leaky" "$here/leaky.c"

# As installed, these would be found by their bare names.
library=$build/libtrace/libmlog.so
PATH=$build/analyzer:$PATH
echo "built $library"

say "2. Tracing sqlite3, which runs a script of 20,000 rows"
{
    echo "CREATE TABLE event (id INTEGER PRIMARY KEY, host TEXT, size INTEGER);"
    echo "BEGIN;"
    awk 'BEGIN { for (i = 0; i < 20000; i++)
        printf "INSERT INTO event VALUES (%d, '\''host-%d'\'', %d);\n", i, i % 97, i * 7919 % 5003 }'
    echo "COMMIT;"
    echo "CREATE INDEX by_host ON event (host, size);"
    echo "SELECT host, count(*), sum(size), group_concat(id) IS NOT NULL FROM event"
    echo "  GROUP BY host ORDER BY sum(size) DESC LIMIT 3;"
} > "$out/script.sql"
echo "\$ LD_PRELOAD=libmlog.so sqlite3 :memory: < script.sql 1022>sqlite3.mlog"
LD_PRELOAD=$library sqlite3 :memory: < "$out/script.sql" 1022> "$out/sqlite3.mlog"

say "3. Where did its memory go?"
echo "\$ mlog-analyze sqlite3.mlog --summary"
mlog-analyze "$out/sqlite3.mlog" --summary
echo
echo "\$ mlog-plot sqlite3.mlog -o heap.pdf"
mlog-plot "$out/sqlite3.mlog" -o "$out/heap.pdf"
echo "\$ mlog-analyze sqlite3.mlog --flamegraph=peak -o peak.svg"
mlog-analyze "$out/sqlite3.mlog" --flamegraph=peak -o "$out/peak.svg"

say "4. A program that leaks"
echo "\$ LD_PRELOAD=libmlog.so ./leaky 1022>leaky.mlog"
LD_PRELOAD=$library "$out/leaky" 1022> "$out/leaky.mlog"
echo "\$ mlog-analyze leaky.mlog --flamegraph=leaks -o leaks.svg"
mlog-analyze "$out/leaky.mlog" --flamegraph=leaks -o "$out/leaks.svg"
echo "\$ mlog-analyze leaky.mlog --leaks --top 3"
mlog-analyze "$out/leaky.mlog" --leaks --top 3

say "Done. To look at:"
printf '  %-28s %s\n' "heap of sqlite3 over time:" "$out/heap.pdf" \
    "flame graph of its peak:" "$out/peak.svg" \
    "flame graph of the leaks:" "$out/leaks.svg"
