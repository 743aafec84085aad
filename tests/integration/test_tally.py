# SPDX-License-Identifier: MIT
"""The last lines of tests/run.sh: what was skipped and why, what failed, how many."""
import sys

from support import ROOT, run

GOOD = '<testcase classname="a.b" name="fine"/>'
SKIPPED = ('<testcase classname="a.b" name="t{0}"><skipped message="no such kernel">'
           'x.py:1: no such kernel</skipped></testcase>')
BAD = '<testcase classname="a.b" name="{0}"><{1} message="{2}"/></testcase>'


def tally(tmp_path, *cases, more=()):
    path = tmp_path / "part.xml"
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return run([sys.executable, ROOT / "tests/tally.py", path, *more])


def test_a_reason_is_said_once_and_how_often(tmp_path):
    """
    GIVEN a report of one test that passed and 29 that were skipped for one reason
    WHEN  it is added up
    THEN  the reason is one line, and nothing failed
    """
    done = tally(tmp_path, GOOD, *(SKIPPED.format(i) for i in range(29)))
    assert done.visible == (0, "skipped 29: no such kernel\n1 passed, 0 failed, 29 skipped\n", "")


def test_what_failed_is_listed_last(tmp_path):
    """
    GIVEN a failure and an error whose messages have several lines or are long
    WHEN  the report is added up
    THEN  each is one line with its name, above the sum
    """
    done = tally(tmp_path, GOOD, SKIPPED.format(1), BAD.format("one", "failure", "5 == 6&#10;more"),
                 BAD.format("two", "error", "x" * 500))
    assert done.visible == (1, "skipped 1: no such kernel\n"
                               "failed part: a.b one: 5 == 6\n"
                               "failed part: a.b two: " + "x" * 157 + "...\n"
                               "1 passed, 2 failed, 1 skipped\n", "")


def test_a_report_that_is_missing_is_a_failure(tmp_path):
    done = tally(tmp_path, GOOD, more=[tmp_path / "gone.xml"])
    assert done.returncode == 1 and done.stdout.startswith(f"failed {tmp_path}/gone.xml: ")
    assert done.stdout.endswith("\n1 passed, 1 failed, 0 skipped\n")


def test_nothing_that_ran_is_no_success(tmp_path):
    assert tally(tmp_path, SKIPPED.format(1)).returncode == 1
