# SPDX-License-Identifier: MIT
"""The commands with all that they print, byte for byte: NAME.txt here.

A transcript holds lines `$ COMMAND`, as a user types them, each followed by what came of
it: `| ` before a line of standard output, `! ` before one of standard error, `\\ ` where
the last line has no end, and `= ` with the exit status; a ¶ ends a line behind a blank.
Lines with # are remarks. Commands run in bash, one folder for each transcript, where `v`
is format/vectors and the commands are those of the build. MLOG_RENEW=1 writes anew what
came; read the difference before you commit it.
"""
import difflib
import os
import pathlib
import re

import pytest

import support
from support import ANALYZE, BUILD, LIBRARY, MLOG, PLOT, ROOT

HERE = pathlib.Path(__file__).resolve().parent
RENEW = os.environ.get("MLOG_RENEW", "0") not in ("", "0")
HOW = ("If this is as it should be: MLOG_RENEW=1 $python -m pytest tests/transcripts, "
       "and read `git diff tests/transcripts`.")

TRANSCRIPTS = ("bad-traces", "exports", "gates", "help", "library", "plot", "reports",
               "reports-json", "usage-errors")


def normalised(text, folder):
    """Without what depends on the place, the version and the process."""
    for path, name in ((folder, "FOLDER"), (BUILD, "BUILD"), (ROOT, "ROOT")):
        text = text.replace(str(path), name)
    text = re.sub(r"(?<![\w.])\d+\.\d+\.\d+(?:-\w+)?(?![\w.])", "VERSION", text)
    return re.sub(r"\b(mlog: (?:process )?)\d+(?=:)", r"\1PID", text)


def marked(mark, text):
    lines = [mark if not line else f"{mark} {line}¶" if line[-1] in " \t¶" else f"{mark} {line}"
             for line in text.split("\n")]
    if text.endswith("\n"):
        lines.pop()
    elif text:
        lines.append("\\ no end of line")
    else:
        lines = []
    return lines


def place(folder):
    """A folder to run in, with the commands and the vectors; its environment."""
    (folder / "bin").mkdir()
    for command in (ANALYZE, PLOT, MLOG):
        (folder / "bin" / command.name).symlink_to(command)
    (folder / "v").symlink_to(ROOT / "format" / "vectors")
    env = support.clean_environment(XDG_CACHE_HOME=folder / "cache", HOME=folder, COLUMNS=80,
                                    LIB=LIBRARY, MPLBACKEND="agg", TZ="UTC",
                                    SOURCE_DATE_EPOCH=0)
    env["PATH"] = f"{folder / 'bin'}:{env['PATH']}"
    return env


def replayed(text, folder):
    """The transcript with what its commands print now."""
    env = place(folder)
    lines = []
    for line in text.split("\n")[:-1]:
        if line.startswith("$ "):
            done = support.run(["bash", "-c", line[2:]], env=env, cwd=folder)
            lines += [line, *marked("|", normalised(done.stdout, folder)),
                      *marked("!", normalised(done.stderr, folder)), f"= {done.returncode}"]
        elif not line or line.startswith("#"):
            lines.append(line)
    return "\n".join(lines) + "\n"


def difference(path, now):
    return "\n".join(difflib.unified_diff(path.read_bytes().decode().split("\n"), now.split("\n"),
                                          f"{path.name}, as recorded", "as it is now",
                                          lineterm=""))


def check(path, folder, renew=False):
    now = replayed(path.read_bytes().decode(), folder)
    if renew:
        path.write_text(now, newline="")
    if path.read_bytes().decode() != now:
        pytest.fail(f"{difference(path, now)}\n\n{HOW}", pytrace=False)


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_transcript(name, tmp_path):
    check(HERE / f"{name}.txt", tmp_path, RENEW)


def test_every_transcript_is_run():
    """Every file of the folder is a transcript of the list, and has a command."""
    files = {path.name for path in HERE.iterdir() if path.is_file()}
    assert files == {f"{name}.txt" for name in TRANSCRIPTS} | {pathlib.Path(__file__).name}
    for name in TRANSCRIPTS:
        assert re.search(r"^\$ .", (HERE / f"{name}.txt").read_text(), re.M), name


@pytest.mark.parametrize("recorded", [
    "$ printf 'a\\n'\n| b\n= 0\n",              # another text
    "$ printf 'a\\n'\n| a ¶\n= 0\n",            # a blank too many
    "$ printf 'a\\n'\n! a\n= 0\n",              # on the other stream
    "$ printf 'a\\n'\n| a\n= 1\n",              # another status
    "$ printf 'a'\n| a\n= 0\n",                 # a line without its end
    "$ printf 'a\\n'\n| a\nloose\n= 0\n",       # a line that nothing printed
])
def test_comparison_can_fail(recorded, tmp_path):
    """GIVEN a transcript that differs in one thing from what its command prints,
    WHEN it is compared, THEN that fails with the difference and how to renew; WHEN it is
    renewed, THEN it compares equal."""
    path = tmp_path / "one.txt"
    path.write_text(recorded)
    for turn in ("first", "renew", "again"):
        (tmp_path / turn).mkdir()
    with pytest.raises(pytest.fail.Exception) as failed:
        check(path, tmp_path / "first")
    assert "as it is now" in failed.value.msg and "MLOG_RENEW=1" in failed.value.msg
    check(path, tmp_path / "renew", renew=True)
    check(path, tmp_path / "again")
