# SPDX-License-Identifier: MIT
"""Completion of `mlog` in three shells: made of the tables of options, so it knows what the
commands know."""
import re
import shutil
import subprocess

import pytest

import interactive
import support
from support import BUILD, MLOG, run

MADE = BUILD / "cli" / "completion"


def bash(*words, cwd=None):
    """What bash offers for the last word."""
    script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mlog; ' \
             'printf "%s\\n" "${COMPREPLY[@]}"'
    done = run(["bash", "--norc", "-c", script, "x", MADE / "mlog", "mlog", *words], cwd=cwd)
    assert done.returncode == 0 and done.stderr == "", done
    return set(done.stdout.split("\n")) - {""}


def fish(line, cwd=None):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    done = run(["fish", "--no-config", "-c",
                f"source {MADE}/mlog.fish; complete -C '{line}'"], cwd=cwd)
    assert done.returncode == 0 and done.stderr == "", done
    return {offer.split("\t")[0] for offer in done.stdout.splitlines()}


def options_in_help(*command):
    text = run([*command, "--help"]).stdout
    return set(re.findall(r"(?:^|, ) *(--[a-z][a-z-]+)", text, re.M))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "trace one.mlog").touch()
    (tmp_path / "two.mlog").touch()
    return tmp_path


def test_bash_knows_verbs_and_options():
    """GIVEN bash; THEN it offers each verb, and of each all options that its help lists."""
    verbs = set(re.findall(r"^  (\w+) ", run([MLOG, "--help"]).stdout, re.M))
    assert bash("") == verbs | {"--help", "--version"}
    assert bash("do") == {"doctor"} and bash("help", "") == verbs
    for verb, command in (("run", [MLOG, "run"]), ("analyze", [support.ANALYZE]),
                          ("diff", [support.ANALYZE]), ("plot", [support.PLOT])):
        known = options_in_help(*command)
        assert len(known) > 10 and known <= bash(verb, "--"), (verb, known - bash(verb, "--"))
    assert bash("run", "--rec") == {"--record-only"}


def test_bash_knows_values(folder):
    assert bash("run", "--report", "lea") == {"leaks"}
    assert bash("run", "--report", "leaks,pea") == {"leaks,peak"}
    assert bash("run", "--report", "=", "siz") == {"sizes"}
    assert bash("run", "-o", "tw", cwd=folder) == {"two.mlog"}
    assert bash("run", "--flame-graph", "=", "tw", cwd=folder) == {"two.mlog"}
    assert bash("run", "--top", "") == set()
    assert bash("analyze", "tw", cwd=folder) == {"two.mlog"}
    assert "mlog-analyze" not in bash("run", "--flame-graph", "two", cwd=folder)
    assert bash("run", "base6") == {"base64"}
    assert bash("run", "-o", "x", "--", "base6") == {"base64"}
    assert bash("run", "--top", "3", "cat", "tw", cwd=folder) == {"two.mlog"}
    assert "--top" not in bash("run", "ls", "--to", cwd=folder)


def test_bash_leaves_programs_to_their_own_completion():
    """GIVEN bash-completion; THEN what stands behind the program is completed as its own."""
    done = run(["bash", "--norc", "-c",
                '_command_offset() { COMPREPLY=("from $1"); }; source "$1"; '
                'COMP_WORDS=(mlog run -q ls -l); COMP_CWORD=4; _mlog; echo "$COMPREPLY"',
                "x", MADE / "mlog"])
    assert done.stdout == "from 3\n", done


def test_fish(folder):
    assert {"run", "doctor", "analyze", "help"} <= fish("mlog ")
    assert fish("mlog run --recor") == {"--record-only"}
    assert fish("mlog run --report siz") == {"sizes"}
    assert "--suppressions" in fish("mlog analyze --supp")
    assert fish("mlog analyze two", cwd=folder) >= {"two.mlog"}
    assert "doctor" in fish("mlog help do")


def test_zsh(tmp_path):
    """GIVEN zsh on a terminal; WHEN beginnings of words are followed by Tab; THEN they are
    completed."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    shell = interactive.Shell(tmp_path, "zsh", "-f", "-i")
    try:
        shell.do(f"fpath=({MADE} $fpath); autoload -U compinit; compinit -u -D; unsetopt beep; PS1='{interactive.PROMPT}'; path=({MLOG.parent} $path)")
        for typed, whole in (("mlog doct\t", "doctor"), ("mlog run --recor\t", "record-only"),
                             ("mlog analyze --no-sym\t", "no-symbols"),
                             ("mlog run --report siz\t", "sizes")):
            shell.send(typed)
            shell.until(whole)
            shell.send("\x15")
    finally:
        shell.close()


def test_completion_is_hidden_and_says_what_it_takes():
    assert "completion" not in run([MLOG, "--help"]).stdout
    done = run([MLOG, "completion", "tcsh"])
    assert done.returncode == 2 and "bash, zsh, fish" in done.stderr


def test_made_files_are_current():
    for shell, name in (("bash", "mlog"), ("zsh", "_mlog"), ("fish", "mlog.fish")):
        done = subprocess.run([MLOG, "completion", shell], capture_output=True, text=True,
                              check=True)
        assert done.stdout == (MADE / name).read_text()


def test_reports_are_those_of_the_analyser():
    """THEN `mlog run --report` knows each report that mlog-analyze has, but those that need a
    value, and --brief, which stands alone."""
    text = run([support.ANALYZE, "--help"]).stdout
    listed = text[text.index("\nReports"):text.index("\nShape")]
    names = set(re.findall(r"^  --([a-z-]+)(?:\[=\w+\])?  ", listed, re.M)) - {"brief"}
    assert bash("run", "--report", "") == names and "peak" in names
