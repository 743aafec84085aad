# SPDX-License-Identifier: MIT
"""Reports on a terminal: they fit it, and what is worth most is seen last."""
import re

import pytest

import support
from support import PYTHON, analyze


NESTED = """
#include <map>
#include <string>
#include <vector>
std::map<std::string, std::vector<std::map<int, std::string>>> everything;
__attribute__((noinline)) void remember(int i)
{
    everything["a key long enough to be allocated, " + std::to_string(i)].push_back(
        {{i, std::string(123 * 8 + i, 'x')}});
}
int main()
{
    for (int i = 0; i < 64; i++)
        remember(i);
}
"""


@pytest.fixture(scope="module")
def nested(tmp_path_factory):
    """The trace of a C++ program with deep template instances."""
    folder = tmp_path_factory.mktemp("nested")
    program = support.compiled(folder, "nested", NESTED, "-g", "-O0", compiler="g++")
    support.trace([program], folder / "t")
    return folder / "t"


def on_terminal(rows, columns, *argv):
    script = ("import os, pty, sys; os.environ.update(NO_COLOR='1', TERM='dumb', "
              f"LINES='{rows}', COLUMNS='{columns}'); "
              "sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))")
    done = support.run([PYTHON, "-c", script, support.ANALYZE, *argv])
    assert done.returncode == 0, done
    return done.stdout.replace("\r", "")


def test_a_terminal_gets_what_fits_it(nested):
    """GIVEN stacks through deep template instances
    WHEN they are shown on 80 columns and 24 rows, and in a pipe
    THEN no line is wider, library frames are one line, the verdict is repeated last, and the
    pipe gets all of it."""
    shown, piped = on_terminal(24, 80, nested), analyze(nested).stdout
    assert not [line for line in shown.splitlines() if len(line) > 80]
    assert re.search(r"… \d+ frames in ", shown) and not re.search(r"… \d+ frames in ", piped)
    assert shown.count("\nVerdict\n") == 1 and shown.startswith("Verdict\n")
    assert shown.rindex("Verdict\n") > shown.index("Audit\n")
    assert piped.count("Verdict\n") == 1 and max(map(len, piped.splitlines())) > 80
    tall = on_terminal(999, 80, nested)
    assert tall.count("Verdict\n") == 1


def test_all_frames_of_a_terminal(nested):
    shown = on_terminal(24, 80, "--frames", "0", "--peak", nested)
    assert not re.search(r"… \d+ frames in ", shown) and "std::" in shown
    assert not [line for line in shown.splitlines() if len(line) > 80]
