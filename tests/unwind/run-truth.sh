#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs real programs and nasty.cc under truth_preload and fails unless at least
# 99.9 % of all compared stacks agree, every shadow equals its full unwind, and
# the mutations of the unwinder are caught. Programs that are not installed are
# skipped. Prints one row a process, closing with "N passed, N failed".
#
#   run-truth.sh BUILD-DIRECTORY [time]     time: measure lt_unwind instead
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
out=${1:?usage: run-truth.sh BUILD-DIRECTORY [time]}
mode=${2:-check}
mkdir -p "$out" && out=$(cd "$out" && pwd) && cd "$out" || exit 2
machine=$(uname -m)
cc="${CC:-cc} -std=gnu11 -D_GNU_SOURCE -O2 -g -fvisibility=hidden -DLT_MEMO_WORTH=0 -I$top/libtrace -I$here"
unwinder="$top/libtrace/lt_cfi.c $top/libtrace/lt_unwind_$machine.c"
totals=$out/totals.txt
rm -f "$totals"
passed=0 failed=0

result() { # name, good?
    if [ "$2" = yes ]; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "FAILED: $1"; fi
}

$cc -fPIC -shared -Wl,-z,now "$here/truth_preload.c" $unwinder -o truth.so || exit 2

traced() { # mode, command...
    how=$1
    shift
    command -v "$1" >/dev/null || return 0
    TRUTH_MODE=$how TRUTH_OUT=$totals LD_PRELOAD=$out/truth.so "$@"
}

cat >work.sql <<'SQL'
create table t(a integer primary key, b text, c real);
with recursive n(i) as (select 1 union all select i+1 from n where i<20000)
  insert into t select i, 'row '||(i*7919%10007), i*0.5 from n;
create index ti on t(b);
select b, count(*), sum(c) from t group by b order by 2 desc limit 5;
select group_concat(b) from (select b from t order by c desc limit 1000);
SQL
cat >work.pl <<'PERL'
my %h; push @{$h{"k" . $_ * 7919 % 5003}}, {n => $_, s => "x" x ($_ % 50)} for 1 .. 30000;
my $s = join "", map { map { $_->{s} } @{$h{$_}} } sort keys %h; eval { die {x => 1} } for 1 .. 999;
PERL
cat >work.py <<'PY'
import ast, collections, json, re
s = json.dumps([{"a": i, "b": [str(j) for j in range(i % 10)]} for i in range(3000)])
json.loads(s)
collections.Counter(re.findall(r"\d+", s))
ast.dump(ast.parse(open(json.__file__).read()))
def f(n): return [n] if n == 0 else f(n - 1) + [n]
for i in range(30): f(200)
PY
cat >work.cc <<'CC'
#include <functional>
#include <iostream>
#include <map>
#include <regex>
#include <string>
#include <vector>
int main() {
    std::map<std::string, std::vector<int>> m;
    for (int i = 0; i < 100; i++) m[std::to_string(i)].push_back(i);
    std::cout << std::regex_match("aab", std::regex("a+b"));
    std::function<int(int)> f = [](int a) { return a + 1; };
    return f(1);
}
CC

traced "$mode" sqlite3 :memory: <work.sql >/dev/null
traced "$mode" perl work.pl >/dev/null
PYTHONMALLOC=malloc traced "$mode" /usr/bin/python3 work.py >/dev/null
traced "$mode" git --no-pager -C "$top" log -p -n 50 >/dev/null 2>&1
traced "$mode" g++ -O1 -c work.cc -o work.o
traced "$mode" clang++ -O1 -c work.cc -o work2.o
if [ "$mode" = check ] && command -v redis-benchmark >/dev/null; then
    # The name of a socket may be no longer than 107 bytes.
    traced check redis-server --port 0 --unixsocket redis.sock --save '' >/dev/null &
    until redis-cli -s redis.sock ping >/dev/null 2>&1; do
        kill -0 $! || exit 2
        sleep 0.1
    done
    redis-benchmark -s redis.sock -n 5000 -c 5 -q -t set,get,lpush,zadd >/dev/null 2>&1
    redis-cli -s redis.sock shutdown nosave >/dev/null 2>&1
    wait
fi

if [ "$mode" = check ]; then
    $cc -fPIC -shared -DSIZE=1024 "$here/plugin.c" -o plugin-a.so
    $cc -fPIC -shared -DSIZE=4096 "$here/plugin.c" -o plugin-b.so
    for how in "g++ -O0" "g++ -O2" "g++ -O3 -fno-omit-frame-pointer" "clang++ -O2"; do
        command -v "${how%% *}" >/dev/null || continue
        $how -std=c++17 "$here/nasty.cc" -o nasty -pthread -ldl || exit 2
        # libunwind never hears of dlclose: no plugins for it.
        traced check ./nasty && traced gcc ./nasty ./plugin-a.so ./plugin-b.so
        result "nasty, $how" "$([ $? = 0 ] && echo yes)"
        TRUTH_MODE=full TRUTH_OUT=/dev/null LD_PRELOAD=$out/truth.so \
            ./nasty ./plugin-a.so ./plugin-b.so wild
        result "nasty, wild, $how" "$([ $? = 0 ] && echo yes)"
    done
    # What must be caught, and what must not matter.
    for d in "NO_VERIFY fail" "NO_FP_CHECK fail" "NO_MEMO_CHECK fail" "ALL_FULL pass"; do
        set -- $d
        define=-DLT_MUTATE_$1=1
        [ "$2" = pass ] && define=-DLT_TEST_$1=1
        $cc $define "$top/tests/unit/test_unwind.c" $unwinder -o mutant -pthread -ldl || exit 2
        if (timeout 300 ./mutant >mutant.txt 2>&1) 2>/dev/null; then is=pass; else is=fail; fi
        result "unwinder with $1 should $2" "$([ $is = "$2" ] && echo yes)"
    done
fi

while read -r line; do
    case $line in
    *": events "*) ;;
    *) continue ;;
    esac
    echo "${line%% |*}"
    [ "$mode" = check ] || continue
    # shadow-wrong 0, and agree 99.9 or more
    good=$(echo "$line" | sed -n 's/.* shadow-wrong 0 .* agree \([0-9]*\)\.\([0-9]\).*/\1\2/p')
    result "${line%%:*}" "$([ "${good:-0}" -ge 999 ] && echo yes)"
done <"$totals"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
