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
    (folder / f"{name}.cc").write_text(source)
    done = support.run(["g++", "-g", "-O0", *options, "-o", folder / name, folder / f"{name}.cc"])
    assert done.returncode == 0, done
    return folder / name


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
