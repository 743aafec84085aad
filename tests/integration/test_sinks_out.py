# SPDX-License-Identifier: MIT
"""MLOG_OUT never destroys: what stands in a file stays, a trace is continued,
all else is refused in one line that says what to do."""
import os
import pathlib
import platform
import pty
import re
import socket

import pytest

import support
from support import PROGRAMS, bash

FORMS = {"mapped": {}, "written": {"MLOG_FILE": "write"}, "compressed": {"MLOG_COMPRESS": "zstd"}}
OTHERS = {"text": b"the only copy of a thesis\n", "archive": b"PK\3\4" + b"x" * 100_000,
          "image": bytes(40) + b"a disk's", "zeros": bytes(300_000)}


def churn(out, script='LD_PRELOAD=$LIB exec "$1" 100', cwd=None, **extra):
    env = support.clean_environment(MLOG_OUT=out, **extra)
    return bash(script, PROGRAMS / "churn", env=env, cwd=cwd)


def runs_in(path):
    """How many runs of `churn 100` the trace holds, whole."""
    whole = support.report(path, "--summary")
    support.assert_sound(whole["audit"])
    leaked = whole["summary"]["leaked_bytes"]
    assert leaked % (3 * 123 * 8) == 0
    return leaked // (3 * 123 * 8)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_that_is_no_trace_is_left_alone(tmp_path, kind, form):
    """GIVEN a file of something else under the name WHEN traced THEN it is untouched, one
    line says what to do, and the program runs."""
    content = OTHERS[kind]
    (tmp_path / "t").write_bytes(content)
    done = churn(tmp_path / "t", **FORMS[form])
    assert (tmp_path / "t").read_bytes() == content
    assert (done.returncode, done.stdout) == (7, "done\n")
    assert re.fullmatch(r"mlog: MLOG_OUT .* give another name, or remove it: \S+/t\n",
                        done.stderr)
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("form", FORMS)
def test_a_second_run_continues_the_trace(tmp_path, form):
    """GIVEN runs one after the other that share a name, with a parent that is not traced,
    THEN the trace holds them all."""
    for _ in range(3):
        assert churn(tmp_path / "t", **FORMS[form]).visible == (7, "done\n", "")
    assert runs_in(tmp_path / "t") == 3
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("form", FORMS)
def test_an_executed_program_of_the_same_pid_keeps_what_was_there(tmp_path, form):
    """GIVEN a name by pid, and programs that follow each other in one process (as after the
    restart of a container), THEN the later ones destroy nothing."""
    script = 'export LD_PRELOAD=$LIB; exec "$1" 3 "$1"'
    env = support.clean_environment(MLOG_OUT=tmp_path / "t.%p", **FORMS[form])
    done = bash(script, PROGRAMS / "images", env=env)
    assert done.visible == (0, "", "")
    (only,) = tmp_path.iterdir()
    whole = support.report(only, "--summary")
    support.assert_sound(whole["audit"])
    assert whole["summary"]["leaked_bytes"] == (3 + 2 + 1) * 127 * 8


@pytest.mark.parametrize("form", FORMS)
def test_children_of_a_program_that_closed_everything(tmp_path, form):
    """GIVEN a program that closes all descriptors and then executes traced children,
    THEN no child begins the file anew."""
    env = support.clean_environment(MLOG_OUT=tmp_path / "t", **FORMS[form])
    script = 'export LD_PRELOAD=$LIB; exec "$1" 0 "$2"'
    done = bash(script, PROGRAMS / "images", PROGRAMS / "churn", env=env)
    assert done.visible == (0, "done\n" * 3, "")
    whole = support.report(tmp_path / "t", "--leaks")
    leaks = support.leaks_of(whole["leaks"], "leak")
    assert sum(entry["bytes"] for entry in leaks) == 3 * 3 * 123 * 8


def test_the_parts_of_a_name(tmp_path):
    """GIVEN %c, %h, %t, %p and %n in the name THEN they are the program, the host, the
    time, the pid, and the first number that is free."""
    script = 'echo $$; LD_PRELOAD=$LIB exec "$1" 100'
    for number in (1, 2):
        done = churn(tmp_path / "%n,%c,%h", script)
        assert done.stderr == ""
        assert runs_in(tmp_path / f"{number},churn,{socket.gethostname()}") == 1
    pid = churn(tmp_path / "%t,%p,%%,%z", script).stdout.split()[0]
    (name,) = [p.name for p in tmp_path.iterdir() if "%" in p.name]
    assert re.fullmatch(r"1\d{9},%s,%%,%%z" % pid, name)


@pytest.mark.parametrize("name", ["t", "t.%p"])
def test_a_relative_name_is_one_file_wherever_a_child_goes(tmp_path, name):
    """GIVEN a relative name, and a shell that changes its folder WHEN it starts a program
    THEN nothing is written there."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    done = churn(name, 'export LD_PRELOAD=$LIB; exec bash -c \'cd ../there; "$1" 100; true\' '
                 'bash "$1"', cwd=tmp_path / "here")
    assert done.visible == (0, "done\n", "")
    assert list((tmp_path / "there").iterdir()) == []
    leaks = [support.leaks_of(support.report(p, "--leaks")["leaks"], "leak")
             for p in (tmp_path / "here").iterdir()]
    assert sum(entry["bytes"] for found in leaks for entry in found) == 3 * 123 * 8


def test_a_relative_name_below_the_limit_of_descriptors(tmp_path):
    """GIVEN a limit that leaves no descriptor 1022 to stand for the folder THEN the trace
    of each process is there all the same."""
    done = churn("t.%p", 'ulimit -Sn 512; LD_PRELOAD=$LIB exec "$1" 100', cwd=tmp_path)
    assert done.visible == (7, "done\n", "")
    (path,) = tmp_path.glob("t.*")
    assert support.report(path)["audit"]["complete"]


def test_a_trace_of_another_layout_is_kept_and_a_new_name_taken(tmp_path):
    """GIVEN a mapped trace of another machine's page size THEN it stays, and the trace goes
    to the next name, which one line says."""
    churn(tmp_path / "t")
    trace = bytearray((tmp_path / "t").read_bytes())
    trace[13] += 2    # log2 of the unit
    (tmp_path / "t").write_bytes(trace)
    done = churn(tmp_path / "t")
    assert (done.returncode, done.stdout) == (7, "done\n")
    assert len(done.stderr.splitlines()) == 1 and done.stderr.endswith("/t.1\n")
    assert (tmp_path / "t").read_bytes() == trace
    assert runs_in(tmp_path / "t.1") == 1


def test_a_terminal_is_refused(tmp_path):
    """GIVEN a terminal as MLOG_OUT THEN nothing is written to it."""
    master, slave = pty.openpty()
    done = churn(os.ttyname(slave))
    os.set_blocking(master, False)
    with pytest.raises(BlockingIOError):
        os.read(master, 1)
    os.close(master)
    os.close(slave)
    assert (done.returncode, done.stdout) == (7, "done\n")
    assert re.fullmatch("mlog: MLOG_OUT is a terminal, not tracing: .*\n", done.stderr)


def test_a_descriptor_for_reading_is_not_written_through(tmp_path):
    """GIVEN descriptor 1022 open for reading only THEN the file is not opened again for
    writing: whoever gave it did not allow that."""
    (tmp_path / "t").write_bytes(b"")
    done = bash('LD_PRELOAD=$LIB exec "$1" 100 1022<"$2"', PROGRAMS / "churn", tmp_path / "t")
    assert done.visible == (7, "done\n",
                            "mlog: descriptor 1022 is not open for writing, not tracing\n")
    assert pathlib.Path(tmp_path / "t").read_bytes() == b""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc",
                    reason="this libc does not tell constructors the arguments")
def test_a_shell_that_takes_the_descriptor_for_an_argument(tmp_path):
    """GIVEN a shell without redirections of such numbers WHEN one types 1022>FILE THEN the
    program runs as it would, and one line says what to type."""
    done = support.run(["dash", "-c", 'LD_PRELOAD=$1 /bin/echo word 1022>"$2"', "dash",
                        support.LIBRARY, tmp_path / "t"])
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "t").read_text() == "word 1022\n"
    assert re.fullmatch("mlog: not tracing: .*MLOG_OUT=FILE .*\n", done.stderr)


@pytest.mark.parametrize("redirect, env, argument", [
    ('1022>"$2"', {}, "1022"), ("1022>&-", {"MLOG_OUT": "out"}, "1022"), ("1022>&-", {}, "1023")])
def test_an_argument_1022_is_nobodys_mistake(tmp_path, redirect, env, argument):
    """GIVEN a program that is traced, or another argument, THEN nothing is said."""
    done = bash(f'LD_PRELOAD=$LIB exec /bin/echo {argument} {redirect}', "", tmp_path / "t",
                env=support.clean_environment(**env), cwd=tmp_path)
    assert done.visible == (0, f"{argument}\n", "")
