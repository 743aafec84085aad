# SPDX-License-Identifier: MIT
"""Where a report's functions lie: lines in headings, trees, tables, and whose they are."""
import re

import pytest

import support
from support import analyze

MANY = """
#include <list>
#include <vector>
std::vector<char *> *kept = new std::vector<char *>;
std::list<int> *numbers = new std::list<int>;
__attribute__((noinline)) void remember(int i)
{
    kept->push_back(new char[123 * 8 + i]);
    kept->push_back(new char[123 * 16 + i]);
    kept->push_back(new char[123 * 32 + i]);
}
__attribute__((noinline)) void number(int i)
{
    numbers->push_back(i);
}
int main()
{
    for (int i = 0; i < 8; i++) {
        remember(i);
        number(i);
    }
    kept->clear();
}
"""
FIRST_LINE = 8      # of remember's three


def built(folder, name, source, *options):
    return support.compiled(folder, name, source, "-g", "-O0", *options, compiler="g++")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """The trace of a program that leaks in several lines of one function."""
    folder = tmp_path_factory.mktemp("many")
    support.trace([built(folder, "many", MANY)], folder / "t")
    return folder / "t"


def test_trees_callers_and_snapshots_tell_lines(many):
    """GIVEN a function that allocates in three lines
    WHEN trees, callers, callees and snapshots are shown
    THEN each tells the lines of its functions, as text and as JSON."""
    tree = analyze(many, "--tree").stdout
    assert re.search(rf" remember, \S*many.cc:{FIRST_LINE}-{FIRST_LINE + 2}\n", tree), tree
    callers = analyze(many, "--callers", "remember", "--callees", "main").stdout
    assert re.search(r" main, \S*many.cc:19\n", callers), callers
    assert re.search(rf" remember, \S*many.cc:{FIRST_LINE}-{FIRST_LINE + 2}\n", callers), callers
    assert re.search(rf" remember, \S*many.cc:{FIRST_LINE + 2}\n",
                     analyze(many, "--snapshots", "churn:1G").stdout)
    whole = support.report(many, "--tree", "--callees", "main")
    for lines in (whole["tree"]["lines"], whole["callees"]["callees"]):
        [one] = [line for line in lines if line["function"] == "remember"]
        assert one["file"].endswith("many.cc") and one["program"] is None
        assert (one["line"], one["last_line"]) == (FIRST_LINE, FIRST_LINE + 2)


def test_trees_do_not_fold_the_users_own_function_away(many):
    """GIVEN a list's push_back, below which lie six frames of the library
    WHEN the tree is shown from who allocates, and from main
    THEN frames are folded, and the function that called it is not among them."""
    for how in ("bottom-up,leaks", "top-down,leaks"):
        tree = analyze(many, f"--tree={how}", "--function", "^number$").stdout
        assert re.search(r"… \d+ frames", tree) and " number, " in tree, tree


def test_programs_are_told_apart(tmp_path):
    """GIVEN two programs of one trace, whose main and remember have the same names
    WHEN trees and callers are shown
    THEN each program has its own, and is named; a library's functions are not."""
    one = built(tmp_path, "one", MANY)
    two = built(tmp_path, "two", MANY)
    three = built(tmp_path, "three", MANY)
    support.trace(["sh", "-c", '"$0"; "$1"; "$2"', one, two, three], tmp_path / "t")
    callers = support.report(tmp_path / "t", "--callers", "remember")["callers"]["callers"]
    assert {(c["function"], c["program"]) for c in callers} == {
        ("main", str(one)), ("main", str(two)), ("main", str(three))}
    assert all(c["line"] == 19 for c in callers)
    tree = analyze(tmp_path / "t", "--tree", "--function", "remember").stdout
    assert all(f" remember [{name}], " in tree for name in ("one", "two", "three")), tree
    assert tree.count(" operator new\n") == 3


def test_leaks_of_one_function_are_one_entry_in_each_program(tmp_path):
    """GIVEN two programs whose leaking functions have one name
    THEN each program's leaks in it are an entry."""
    one = built(tmp_path, "one", MANY)
    two = built(tmp_path, "two", MANY)
    support.trace(["sh", "-c", '"$0"; "$1"', one, two], tmp_path / "t")
    text = analyze(tmp_path / "t", "--leaks", "--top", "0").stdout
    assert len(re.findall(r"^ +\d+\. .*\bremember\b", text, re.M)) == 2, text


def test_callers_that_are_none_have_the_same_keys(many):
    """GIVEN a function that nobody calls THEN its row has the members of all others."""
    rows = support.report(many, "--callers", "_start")["callers"]["callers"]
    others = support.report(many, "--callers", "remember")["callers"]["callers"]
    assert rows[0]["function"] is None and rows[0].keys() == others[0].keys()


def test_leaks_of_one_function_are_one_entry(many):
    """GIVEN a function that leaks in three lines, and another one
    WHEN leaks are shown
    THEN people get an entry for each, a table of the lines, and all stacks in a pipe;
    machines an entry for each stack."""
    text = analyze(many, "--leaks", "--function", "^(remember|number)$").stdout
    assert re.findall(r"^ +\d\. .*  (\w+), (.+)", text, re.M)[0] == ("remember", "4 stacks")
    table = re.findall(r"^ +[\d.]+ KiB +8 +[\d.]+ KiB  unclear  \w{12}  \S*many.cc:(\d+)$", text,
                       re.M)
    assert table == [str(FIRST_LINE + i) for i in (2, 1, 0)], text
    assert len(re.findall(r"^      remember +\S*many.cc", text, re.M)) == 4
    leaks = support.report(many, "--leaks")["leaks"]
    assert len([leak for leak in leaks if leak["label"] == "remember"]) == 4


def test_an_extrapolation_is_no_longer_than_the_run(tmp_path):
    """GIVEN a program that leaks for a part of a second; THEN the verdict tells what as long
    a time adds, and nothing of an hour."""
    source = MANY.replace("i < 8; i++) {", "i < 300; i++) { usleep(2000);")
    support.trace([built(tmp_path, "slow", "#include <unistd.h>\n" + source)], tmp_path / "t")
    text = analyze(tmp_path / "t").stdout
    assert re.search(r"^    it costs .* so far, .* after [\d.]+ m?s more$", text, re.M), text
    assert "an hour" not in text


def test_the_process_that_leaks_is_named(tmp_path):
    """GIVEN a shell that runs one program twice, of which one leaks ten times as long
    WHEN the report is made, and that of each process
    THEN verdict and leaks name the pid and the arguments of that one, and a table has it
    first."""
    source = MANY.replace("int main()", "int main(int, char **argv)").replace(
        "i < 8; i++) {", "i < atoi(argv[1]); i++) { usleep(2000);")
    slow = built(tmp_path, "slow", "#include <cstdlib>\n#include <unistd.h>\n" + source)
    support.trace(["sh", "-c", '"$0" 30 & "$0" 300 & wait', slow], tmp_path / "t")
    whole = support.report(tmp_path / "t", "--leaks", "--per-process")
    pid = {tuple(p["arguments"][1:]): p["pid"] for p in whole["processes"]}[("300",)]
    assert whole["verdict"]["fix_first_pid"] == pid
    grown = [leak for leak in whole["leaks"] if leak["kind"] == "growing"]
    assert grown and all(leak["pid"] == pid for leak in grown)
    [one] = [p for p in whole["per_process"] if p["pid"] == pid and p["growing_bytes"]]
    assert one["growing_bytes"] <= one["leaked_bytes"]
    text = analyze(tmp_path / "t").stdout
    assert re.search(rf"^    in process  +{pid} \(slow 300\) and 1 more$", text, re.M), text
    assert f"      process: {pid} (slow 300) holds most, 2 processes do" in text
    table = analyze(tmp_path / "t", "--per-process").stdout.split("\n\n")[0].splitlines()
    assert table[0] == "Processes" and re.match(rf"  +{pid} .* slow 300$", table[2]), table


THREADS = """
#include <pthread.h>
#include <cstdio>
#include <cstdlib>
static void *work(void *number)
{
    char name[16];
    snprintf(name, sizeof name, "worker-%d", (int)(long)number);
    pthread_setname_np(pthread_self(), name);
    return malloc(123 * 8 + (long)number);
}
int main()
{
    pthread_t threads[12];
    void *block;
    for (long i = 0; i < 12; i++)
        pthread_create(&threads[i], nullptr, work, (void *)i);
    for (int i = 0; i < 12; i++)
        pthread_join(threads[i], &block);
}
"""


def test_threads_whose_names_differ_in_a_number_are_one_row(tmp_path):
    """GIVEN worker-0 to worker-11
    WHEN threads are shown
    THEN people get one row for them, with their sums, the option that opens it does, and
    machines get each."""
    support.trace([built(tmp_path, "threads", THREADS, "-pthread")], tmp_path / "t")
    text = analyze(tmp_path / "t", "--threads").stdout
    row = re.search(r"^ +12 +11\.6 KiB +0 +995 B .* worker-\*, 12 threads$", text, re.M)
    assert row and "--tid 'worker-*' shows each." in text, text
    opened = analyze(tmp_path / "t", "--threads", "--top", "0", "--tid", "worker-*").stdout
    assert len(re.findall(r"^ +1 +\d+ B .* \d+, worker-\d+$", opened, re.M)) == 12, opened
    listed = support.report(tmp_path / "t", "--threads", "--top", "0")["threads"]["threads"]
    assert len([t for t in listed if t["name"].startswith("worker-")]) == 12
