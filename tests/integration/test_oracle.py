# SPDX-License-Identifier: MIT
"""The summary equals, to the last call and byte, what an independent counting
library under libmlog.so sees; and the programs notice nothing."""
import pytest

import support
from support import PROGRAMS


def same_as_untraced(argv, tmp_path, peak, **kwargs):
    """Trace argv under the oracle; compare it with itself and with the oracle."""
    # GIVEN what the program does without mlog
    plain = support.run(argv, **kwargs)
    # WHEN it is traced
    traced = support.trace(argv, tmp_path / "trace", tmp_path / "oracle", **kwargs)
    # THEN it does the same, and all its events are in the trace
    assert traced.visible == plain.visible
    return support.assert_equals_oracle(tmp_path / "trace", tmp_path / "oracle", peak)


@pytest.mark.smoke
def test_every_allocation_function(tmp_path):
    whole, _ = same_as_untraced([PROGRAMS / "functions"], tmp_path, peak=True)
    summary = whole["summary"]
    # These numbers are worked out by hand from functions.c.
    assert {k: v for k, v in summary["calls"].items() if v} == {
        "malloc": 9, "calloc": 3, "realloc": 6, "reallocarray": 2, "free": 15, "memalign": 2,
        "posix_memalign": 3, "aligned_alloc": 4, "valloc": 1, "pvalloc": 1}
    assert summary["leaked_bytes"] == 5 * 123 * 8 + 3 * 7 * 41 + 11 * 13
    assert summary["leaked_blocks"] == 9
    assert summary["reallocations"] == 5


def test_sqlite3(tmp_path):
    script = ["CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, c REAL);", "BEGIN;"]
    script += [f"INSERT INTO t VALUES ({i}, 'text {i * 7919 % 1009}', {i / 3});"
               for i in range(5000)]
    script += ["COMMIT;", "CREATE INDEX i ON t (b, c);",
               "SELECT b, count(*), avg(c) FROM t GROUP BY b ORDER BY 2 DESC, 1 LIMIT 20;",
               "SELECT * FROM missing;"]
    same_as_untraced(["sqlite3", ":memory:"], tmp_path, peak=True, input="\n".join(script))


def test_gpp_compiles_a_file(tmp_path):
    """A process tree: g++ runs cc1plus, as, collect2 and ld, all into one file."""
    source = tmp_path / "program.cc"
    source.write_text("#include <map>\n#include <string>\n#include <iostream>\n"
                      "int main() { std::map<std::string, int> m; m[\"one\"] = 1;\n"
                      "  for (auto &e : m) std::cout << e.first << e.second << '\\n'; }\n")
    argv = ["g++", "-O1", "-o", tmp_path / "program", source]
    whole, processes = same_as_untraced(argv, tmp_path, peak=False)
    names = [p["executable"].rsplit("/", 1)[-1] for p in whole["processes"]]
    assert "cc1plus" in names and "collect2" in names
    assert any(name.endswith("-as") or name == "as" for name in names), names
    # Each process of the tree has its parent.
    pids = {p["pid"] for p in whole["processes"]}
    roots = {p["pid"] for p in whole["processes"] if p["parent_pid"] not in pids}
    assert len(roots) == 1
    # The program it made is sound.
    assert support.run([tmp_path / "program"]).stdout == "one1\n"


def test_python_with_every_object_a_malloc(tmp_path):
    env = support.clean_environment(PYTHONMALLOC="malloc", PYTHONDONTWRITEBYTECODE="1",
                                    PYTHONHASHSEED="0")
    code = ("import json, re, collections\n"
            "d = {str(i): [i, {'k': i * 1.5}] for i in range(3000)}\n"
            "s = json.dumps(d)\n"
            "print(len(s), len(json.loads(s)), collections.Counter(re.findall('[0-9]', s))['7'])\n")
    same_as_untraced(["/usr/bin/python3", "-c", code], tmp_path, peak=True, env=env)


def test_perl(tmp_path):
    code = ("use strict; my %h; for my $i (1 .. 20000) { push @{$h{$i % 37}}, \"v$i\"; }"
            "print join(',', map { scalar @{$h{$_}} } sort { $a <=> $b } keys %h), qq(\\n);"
            "my $s = join('', map { chr(65 + $_ % 26) } 1 .. 50000); my $n = () = $s =~ /AB/g;"
            "print qq($n\\n);")
    env = support.clean_environment(PERL_HASH_SEED="0", PERL_PERTURB_KEYS="0")
    same_as_untraced(["perl", "-e", code], tmp_path, peak=True, env=env)


def test_git_log(tmp_path, git_repository):
    root, env = git_repository
    same_as_untraced(["git", "log", "-p", "--stat", "--no-renames"], tmp_path, peak=True,
                     cwd=root, env=dict(support.clean_environment(), **{
                         k: env[k] for k in ("HOME", "GIT_CONFIG_NOSYSTEM", "GIT_PAGER")}))


@pytest.mark.smoke
def test_threads_that_free_each_others_blocks(tmp_path):
    # GIVEN 8 threads that free and realloc what others allocated
    argv = [PROGRAMS / "threads", 8, 30000]
    # WHEN traced THEN counts, bytes and leaks are exact
    whole, (process,) = same_as_untraced(argv, tmp_path, peak=False)
    summary, audit = whole["summary"], whole["audit"]
    assert summary["threads"] == 9
    support.assert_sound(audit)
    # and the peak is off by no more than what 8 threads can have under way
    assert abs(summary["peak_bytes"] - process.peak_bytes) <= 8 * 2 * 2000


def test_forks_while_other_threads_allocate(tmp_path):
    # GIVEN a parent that forks while its threads are inside malloc
    # WHEN it is traced
    whole, processes = same_as_untraced([PROGRAMS / "fork_threads", 20], tmp_path, peak=False)
    # THEN no child hangs, each is a process of its own with its leak
    assert len(whole["processes"]) == 21
    leaks = support.report(tmp_path / "trace", "--leaks")["leaks"]
    assert sum(e["blocks"] for e in support.leaks_of(leaks, "leak_in_child")) == 20
    assert sum(e["bytes"] for e in support.leaks_of(leaks, "leak_in_child")) == 20 * 77 * 8
    # and freeing what was inherited is no error
    support.assert_sound(whole["audit"])


def test_signal_handler_that_allocates(tmp_path):
    """The oracle blocks signals over the real call: what they interrupt is
    libmlog.so itself."""
    # GIVEN a handler that runs at any instant and allocates
    env = support.clean_environment(ORACLE_BLOCK_SIGNALS="1")
    argv = [PROGRAMS / "signal_handler", 3000]
    # WHEN traced THEN it does not hang and every event of the handler is there
    done = support.trace(argv, tmp_path / "trace", tmp_path / "oracle", env=env)
    assert done.visible == (0, "handled\n", "")
    whole, _ = support.assert_equals_oracle(tmp_path / "trace", tmp_path / "oracle", peak=False)
    support.assert_sound(whole["audit"])
    # with whole stacks, through the signal frame to main
    leaks = support.report(tmp_path / "trace", "--leaks")["leaks"]
    mine = support.leaks_of(leaks, "handler")
    assert sum(entry["blocks"] for entry in mine) >= 3000
    assert all("main" in support.functions(entry) for entry in mine)


def test_the_oracle_is_not_blind(tmp_path):
    """Had the oracle counted nothing, or another run, the tests above would
    say nothing: check that the comparison can fail."""
    support.trace([PROGRAMS / "churn", 10], tmp_path / "trace", tmp_path / "oracle")
    support.trace([PROGRAMS / "churn", 11], tmp_path / "other", tmp_path / "other-oracle")
    support.assert_equals_oracle(tmp_path / "trace", tmp_path / "oracle")
    with pytest.raises(AssertionError):
        support.assert_equals_oracle(tmp_path / "trace", tmp_path / "other-oracle")
