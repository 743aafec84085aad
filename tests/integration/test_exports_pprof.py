# SPDX-License-Identifier: MIT
"""Profiles that pprof names itself: the addresses lie in the calls, and what has
no names is said to have none."""
import os
import re

import pytest

import support
from support import run
from test_exports import export, opened, pprof

LINES = """#include <stdlib.h>
static void *volatile kept;
static volatile int sink;
__attribute__((noinline)) void taker(int n) { kept = malloc(n); sink = n; }
__attribute__((noinline)) void caller(int n)
{
    taker(n); /* line 7 */
    sink = 1;
}
__attribute__((noinline, noreturn)) void last(int n)
{
    taker(n); exit(0); /* line 12 */
}
__attribute__((noinline)) void before(int n)
{
    sink = 2;
    last(n + 1); /* line 17: nothing of this function follows the call */
}
__attribute__((noinline)) void behind(void) { sink = 3; }
int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 5) behind();
    caller(123 * 8 * argc); /* line 24 */
    sink = 4;
    before(123 * 9 * argc); /* line 26 */
}
"""


@pytest.fixture(scope="module")
def calls_in_lines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pprof")
    program = support.compiled(folder, "ret", LINES, "-g", "-O1")
    assert support.trace([program], folder / "t").returncode == 0
    return folder / "t"


def test_pprof_finds_the_lines_of_calls_itself(calls_in_lines, tmp_path):
    """GIVEN calls at the end of a line, and of a function
    WHEN pprof names the addresses of a profile that has no names
    THEN it says the lines of the calls, not of what follows them."""
    path = export(calls_in_lines, "pprof", tmp_path / "p.pb.gz", "--no-symbols")
    env = support.clean_environment(HOME=tmp_path, PPROF_TMPDIR=tmp_path, DEBUGINFOD_URLS="")
    text = opened(["go", "tool", "pprof", "-symbolize=local", "-raw", path], env=env)
    places = set(re.findall(r" M=1 (\w+) \S*ret.c:(\d+)", text))
    assert {("taker", "4"), ("caller", "7"), ("main", "24"), ("last", "12"), ("before", "17"),
            ("main", "26")} <= places, text
    assert not {name for name, _ in places} & {"behind"}


def mappings(text):
    """What each mapping says it comes with, by the base name of its file."""
    return {os.path.basename(file): flags for file, flags in re.findall(
        r"^\d+: 0x\w+/0x\w+/0x\w+ (\S+)[^[\n]*((?:\[\w+\])*)\s*$", text, re.M)}


def test_pprof_says_which_names_a_mapping_has(calls_in_lines, tmp_path):
    """GIVEN a program with lines, with names alone, and with none
    THEN its mapping says so, and pprof may look for what is missing."""
    path = export(calls_in_lines, "pprof", tmp_path / "p.pb.gz")
    assert mappings(pprof(path, "-raw", tmp=tmp_path))["ret"] == "[FN][FL][LN][IN]"
    path = export(calls_in_lines, "pprof", tmp_path / "n.pb.gz", "--no-symbols")
    assert set(mappings(pprof(path, "-raw", tmp=tmp_path)).values()) == {""}
    for strip, flags in (("--strip-debug", "[FN]"), ("--strip-all", "")):
        folder = tmp_path / strip
        folder.mkdir()
        run(["strip", strip, calls_in_lines.parent / "ret", "-o", folder / "ret"])
        assert support.trace([folder / "ret"], folder / "t").returncode == 0
        path = export(folder / "t", "pprof", folder / "p.pb.gz")
        assert mappings(pprof(path, "-raw", tmp=tmp_path))["ret"] == flags
