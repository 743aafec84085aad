# SPDX-License-Identifier: MIT
"""Known leaks left out, in LeakSanitizer's syntax: from files and from the
program's own __lsan_default_suppressions; nothing is lost from the sums."""
import platform
import re

import pytest

import support
from support import PROGRAMS, analyze, run

READABLE = platform.machine() in ("x86_64", "aarch64")


def traced(path, name):
    support.trace([PROGRAMS / name], path)
    return path


@pytest.fixture
def rules(tmp_path):
    def write(text):
        (tmp_path / "rules").write_text(text)
        return tmp_path / "rules"
    return write


@pytest.mark.skipif(not READABLE, reason="only code of x86-64 and AArch64 is read")
@pytest.mark.parametrize("name", ["suppressed", "suppressed_plain", "suppressed_fixed"])
def test_programs_own_are_honoured(tmp_path, name):
    path = traced(tmp_path / "t", name)
    whole = support.report(path, "--leaks")
    (one,) = whole["suppressions"]["patterns"]
    assert one.pop("stacks") >= 1  # the loop may be unrolled
    assert one == {"pattern": "known_leak", "source": "__lsan_default_suppressions", "line": 2,
                   "bytes": 3000, "blocks": 3}
    assert not support.leaks_of(whole["leaks"], "known_leak")
    assert support.leaks_of(whole["leaks"], "other_leak")
    shown = sum(e["bytes"] for e in whole["leaks"])
    assert shown + whole["suppressions"]["bytes"] == whole["summary"]["leaked_bytes"]
    assert whole["verdict"]["bytes"]["suppressed"] == 3000
    text = analyze(path).stdout
    assert "leak:known_leak (__lsan_default_suppressions:2)" in text
    assert re.search(r"2\.9\d KiB in 3 never freed blocks are suppressed", text)
    assert whole["audit"]["complete"]


def test_files_too_with_counts(tmp_path, rules):
    path = traced(tmp_path / "t", "suppressed_strange")
    file = rules("# comment\n\n  leak:^other_*$  \nleak:nobody\nleak:third_leak\r\n")
    whole = support.report(path, "--leaks", "--suppressions", file)
    counts = {p["pattern"]: (p["bytes"], p["blocks"], p["line"])
              for p in whole["suppressions"]["patterns"]}
    assert counts == {"^other_*$": (1000, 5, 3), "nobody": (0, 0, 4), "third_leak": (7, 1, 5)}
    assert support.leaks_of(whole["leaks"], "known_leak")
    assert not support.leaks_of(whole["leaks"], "other_leak")


def test_what_cannot_be_read_is_said(tmp_path):
    text = analyze(traced(tmp_path / "t", "suppressed_strange")).stdout
    assert "__lsan_default_suppressions() is no plain text" in text


@pytest.mark.skipif(not READABLE, reason="only code of x86-64 and AArch64 is read")
def test_programs_own_mistake_is_said(tmp_path):
    path = traced(tmp_path / "t", "suppressed_bad")
    text = analyze(path).stdout
    assert '__lsan_default_suppressions:2: expected leak:PATTERN' in text
    assert not support.leaks_of(support.report(path, "--leaks")["leaks"], "known_leak")


@pytest.mark.parametrize("pattern, hides", [
    ("other", True), ("^other", True), ("ther_leak$", True), ("^ther", False), ("othe$", False),
    ("o*r_*k", True), ("^*leak$", True), ("suppressed.c", True), ("*/suppressed_strange", True),
    ("/suppressed_strange$", True), ("OTHER", False), ("other_leakk", False), ("*", True),
    ("^o*r$", False)])
def test_patterns(tmp_path_factory, rules, pattern, hides):
    path = tmp_path_factory.getbasetemp() / "patterns"
    if not path.exists():
        traced(path, "suppressed_strange")
    leaks = support.report(path, "--leaks", "--suppressions", rules(f"leak:{pattern}\n"))["leaks"]
    assert bool(support.leaks_of(leaks, "other_leak")) != hides


@pytest.mark.parametrize("text, words", [
    ("leak:a\nmutex:b\n", [":2:", "expected leak:PATTERN", 'found "mutex:b"']),
    ("leak:\n", [":1:", "expected a pattern after leak:"]),
    ("other_leak", [":1:", "expected leak:PATTERN"]),
    ("leak:a\0b\n", [":1:", "expected a line of text"]),
])
def test_malformed_files_are_refused(tmp_path, rules, text, words):
    path = traced(tmp_path / "t", "suppressed")
    done = analyze(path, "--suppressions", rules(text), status=1)
    support.refused(done, "rules", *words)
    assert not done.stdout


def test_wrong_use(tmp_path):
    path = traced(tmp_path / "t", "suppressed")
    done = analyze(path, "--suppressions", tmp_path / "none", status=1)
    support.refused(done, "none", "No such file")
    assert run([support.ANALYZE, path, "--no-symbols", "--suppressions", "x"]).returncode == 2
