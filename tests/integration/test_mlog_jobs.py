# SPDX-License-Identifier: MIT
"""`mlog run` in an interactive shell: Ctrl-C, Ctrl-Z, fg, bg, and programs that own the
terminal behave as if they had been typed without it."""
import os
import re
import shutil
import signal
import time

import pytest

import support
from interactive import PROMPT, Shell

SHELLS = [("bash", "--norc", "--noprofile", "--noediting", "-i"), ("dash", "-i")]


@pytest.fixture(params=SHELLS, ids=lambda argv: argv[0])
def shell(request, tmp_path):
    if shutil.which(request.param[0]) is None:
        pytest.skip(f"{request.param[0]} is not installed")
    one = Shell(tmp_path, *request.param)
    yield one
    one.close()


@pytest.fixture
def bash(tmp_path):
    one = Shell(tmp_path, *SHELLS[0])
    yield one
    one.close()


def test_interrupt_ends_both(shell):
    """GIVEN a program that waits; WHEN Ctrl-C is typed; THEN the prompt is back with status 130,
    and the verdict was said."""
    shell.send("$M run -o t sleep 1000\n")
    time.sleep(0.7)
    shell.send("\x03")
    assert "mlog: trace: t" in shell.until(PROMPT)
    assert "status 130" in shell.do("echo status $?")


def test_interrupt_is_not_doubled(bash, tmp_path):
    """GIVEN a program that counts interrupts; WHEN Ctrl-C is typed once; THEN it sees one."""
    (tmp_path / "count.sh").write_text(
        "n=0; trap 'n=$((n + 1)); echo got $n' INT; echo began; "
        "for i in 1 2 3 4 5 6 7 8; do sleep 0.2; done; echo in all $n\n")
    bash.send("$M run -q bash count.sh\n")
    bash.until("began")
    bash.send("\x03")
    assert "in all 1" in bash.until(PROMPT)


def test_stop_and_continue(shell):
    """GIVEN a program; WHEN Ctrl-Z is typed, and then fg and bg; THEN the shell says that the
    job stopped, and it goes on each time, to its own end and status."""
    # The program reads by itself: a child of it might stop later, and read what is meant
    # for the shell, without us, too.
    shell.send("$M run -q sh -c 'echo began; while read x; do echo $x; done; exit 6'\n")
    shell.until("began\n")
    for _ in range(3):
        time.sleep(0.2)
        shell.send("\x1a")
        assert re.search(r"Stopped|Suspended", shell.until(PROMPT) + shell.do("jobs"))
        shell.send("fg\n")
        shell.until("run -q")
        shell.send("line\n")
        shell.until("line\nline\n")
    shell.send("\x04")
    shell.until(PROMPT)
    assert "status 6" in shell.do("echo status $?")


def test_in_the_background(bash):
    """GIVEN a job in the background that reads the terminal; THEN it stops, as without us, and
    fg lets it read; one that does not read ends by itself."""
    bash.do("$M run -q -o t1 sh -c 'read x; echo got $x' &")
    time.sleep(1)
    assert "Stopped" in bash.do("jobs")
    bash.send("fg\n")
    bash.until("run -q")
    bash.send("apple\n")
    assert "got apple" in bash.until(PROMPT)
    bash.do("$M run -q -o t2 sh -c 'exit 4' &")
    assert "status 4" in bash.do("wait %1; echo status $?")


def test_a_stop_sent_to_the_program_alone(bash):
    """GIVEN a running job; WHEN the program alone is stopped, and mlog alone continued; THEN
    both follow."""
    bash.send("$M run -q sh -c 'echo pid $$; sleep 1; exit 5'\n")
    pid = int(re.search(r"pid (\d+)", bash.until(r"pid \d+\n")).group(1))
    os.kill(pid, signal.SIGSTOP)
    bash.until("Stopped.*" + PROMPT)
    parent = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
    os.kill(parent, signal.SIGCONT)
    end = time.monotonic() + 60
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert "status 5" in bash.do("wait %1; echo status $?")


def test_a_loop_ends_by_one_interrupt(bash):
    """GIVEN a loop in the shell; WHEN Ctrl-C ends one run by its signal; THEN the loop ends."""
    bash.send("for i in 1 2 3; do echo round $i; $M run -q -o t$i sleep 100; done\n")
    bash.until("round 1\n")
    time.sleep(0.7)
    bash.send("\x03")
    assert "round 2" not in bash.until(PROMPT)


def test_a_pipeline_keeps_its_terminal(bash, tmp_path):
    """GIVEN a pipeline whose last part reads the terminal; THEN that part keeps it."""
    bash.send("$M run -q seq 3 | sh -c 'read x </dev/tty; cat; echo got $x'\n")
    time.sleep(0.5)
    bash.send("pear\n")
    assert "1\n2\n3\ngot pear" in bash.until(PROMPT)


@pytest.mark.parametrize("program, argv, keys, seen", [
    ("vim", "-u NONE -N file", ["ihello\x1b", ":wq\r"], None),
    ("less", "file", ["q"], None),
])
def test_programs_that_own_the_terminal(bash, tmp_path, program, argv, keys, seen):
    """GIVEN an editor and a pager; WHEN keys are typed, a stop between them; THEN they do what
    they always do, and the terminal is as it was."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    (tmp_path / "file").write_text("text\n" * 100)
    before = bash.do("stty -a")
    bash.send(f"$M run -q -o t {program} {argv}\n")
    time.sleep(1.5)
    bash.send("\x1a")
    bash.until(PROMPT)
    assert "Stopped" in bash.do("jobs")
    bash.send("fg\n")
    time.sleep(1)
    for key in keys:
        bash.send(key)
        time.sleep(0.3)
    bash.until(PROMPT)
    if program == "vim":
        assert (tmp_path / "file").read_text().startswith("hellotext\n")
    assert bash.do("stty -a") == before
    assert support.summary(tmp_path / "t")["events"] > 100


def test_the_end_of_the_terminal_reaches_the_program(bash, tmp_path):
    """GIVEN a program that notes SIGHUP; WHEN its terminal goes away; THEN it is told, and
    nothing of it stays."""
    bash.send("$M run -q bash -c 'trap \"echo hup >seen; exit\" HUP; echo began; "
              "while :; do sleep 0.1; done'\n")
    bash.until("began\n")
    os.kill(bash.pid, signal.SIGHUP)
    end = time.monotonic() + 60
    while not (tmp_path / "seen").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
