# SPDX-License-Identifier: MIT
"""Programs whose starter closes every descriptor are traced all the same, and those
that cannot be are named in the audit with the reason (tests/programs/executes.c)."""
import shutil
import sys

import pytest

import support
from support import PROGRAMS

CHURN = [PROGRAMS / "churn", 1000, "return"]


def executed(path):
    """The audit, and the programs that the trace has, by their names."""
    whole = support.report(path)
    names = [str(p["executable"]).rsplit("/", 1)[-1] for p in whole["processes"]]
    return whole["audit"], names, whole


@pytest.mark.parametrize("how", ["vfork", "fork", "spawn", "absent"])
def test_a_program_is_traced_though_its_starter_closed_all(tmp_path, how):
    """GIVEN a starter that closes all descriptors from 3 on; WHEN it executes a program;
    THEN the trace in a file has it, and nothing is missing, attempts that failed neither."""
    done = support.trace([PROGRAMS / "executes", how, "keep", *CHURN], tmp_path / "t")
    assert done.visible == (7, "done\n", "")
    audit, names, whole = executed(tmp_path / "t")
    assert names[-1] == "churn"
    assert whole["summary"]["calls"]["malloc"] >= 1003
    assert audit["missing_programs"] == 0 and audit["missing"] == []
    assert audit["complete"]


def test_an_execution_that_fails_leaves_descriptors_as_they_were(tmp_path):
    """GIVEN a program that closed descriptor 1022, or marked it to be closed
    WHEN an execution fails THEN it is closed, or marked, as before."""
    code = """import fcntl, os
def fails(call):
    try:
        call()
    except OSError as error:
        return error.errno
print(fails(lambda: os.execv('/nonexistent', ['x'])), fcntl.fcntl(1022, fcntl.F_GETFD))
fcntl.fcntl(1022, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
print(fails(lambda: os.execv('/nonexistent', ['x'])), fcntl.fcntl(1022, fcntl.F_GETFD))
os.close(1022)
print(fails(lambda: os.execv('/nonexistent', ['x'])), fails(lambda: os.fstat(1022)))
"""
    done = support.trace([support.PYTHON, "-c", code], tmp_path / "t")
    assert done.visible == (0, "2 0\n2 1\n2 9\n", "")


def test_python_starts_a_program(tmp_path):
    """GIVEN Python's subprocess, which closes all descriptors but three; THEN what it
    starts is in the trace."""
    code = "import subprocess, sys; subprocess.run(sys.argv[1:], check=False)"
    support.trace([sys.executable, "-c", code, *CHURN], tmp_path / "t")
    audit, names, _ = executed(tmp_path / "t")
    assert "churn" in names
    assert audit["missing_programs"] == 0


@pytest.mark.parametrize("how", ["vfork", "fork", "spawn"])
def test_an_environment_without_the_library_is_named(tmp_path, how):
    done = support.trace([PROGRAMS / "executes", how, "clear", *CHURN], tmp_path / "t")
    assert done.visible == (7, "done\n", "")
    audit, names, _ = executed(tmp_path / "t")
    assert "churn" not in names
    assert audit["missing_programs"] == 1 and not audit["complete"]
    [missing] = audit["missing"]
    assert missing["program"] == str(PROGRAMS / "churn") and "LD_PRELOAD" in missing["reason"]
    text = support.analyze(tmp_path / "t").stdout
    assert "1 program was executed that is not in the trace:" in text
    assert f"{PROGRAMS / 'churn'}, process {missing['pid']}: LD_PRELOAD" in text


@pytest.mark.parametrize("how", ["vfork", "spawn"])
def test_a_pipe_that_is_closed_is_named(tmp_path, how):
    """GIVEN a trace in a pipe, which has no name; WHEN its descriptors are closed before an
    exec; THEN the audit says so, if the starter can still tell it, and in no case
    calls the trace complete."""
    script = '(LD_PRELOAD=$LIB "$@" 1022>&1 >/dev/null) | cat >"$OUT"'
    env = support.clean_environment(OUT=str(tmp_path / "t"))
    support.bash(script, PROGRAMS / "executes", how, "keep", *CHURN, env=env)
    audit, names, _ = executed(tmp_path / "t")
    assert "churn" not in names and not audit["complete"]
    if how == "vfork":
        [missing] = audit["missing"]
        assert "closed descriptor 1022" in missing["reason"]


def test_a_fifo_is_opened_again(tmp_path):
    script = '''mkfifo "$OUT.fifo"; cat "$OUT.fifo" >"$OUT" & LD_PRELOAD=$LIB "$@" 1022>"$OUT.fifo"
                wait'''
    env = support.clean_environment(OUT=str(tmp_path / "t"))
    support.bash(script, PROGRAMS / "executes", "vfork", "keep", *CHURN, env=env)
    audit, names, _ = executed(tmp_path / "t")
    assert sorted(names) == ["churn", "executes"] and audit["complete"]


def test_a_static_program_is_named(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no compiler here")
    (tmp_path / "still.c").write_text("int main(void) { return 7; }\n")
    built = support.run([compiler, "-static", "-o", tmp_path / "still", tmp_path / "still.c"])
    if built.returncode:
        pytest.skip("no static libc here")
    done = support.trace([PROGRAMS / "executes", "fork", "keep", tmp_path / "still"], tmp_path / "t")
    assert done.returncode == 7
    audit, _, _ = executed(tmp_path / "t")
    assert [entry["program"] for entry in audit["missing"]] == [str(tmp_path / "still")]
    assert "static" in audit["missing"][0]["reason"]


def test_another_file_at_the_descriptor_stays(tmp_path):
    """GIVEN a program with a file of its own at 1022; WHEN it executes another; THEN that
    file is there for it, untouched, and the audit names what is not traced."""
    code = ("import os; os.closerange(3, 4096); f = os.open(os.environ['OTHER'],"
            " os.O_RDWR | os.O_CREAT); os.write(f, b'of '); os.dup2(f, 1022);"
            " os.execvp('bash', ['bash', '-c', 'echo mine >&1022'])")
    env = support.clean_environment(OTHER=str(tmp_path / "other"))
    done = support.trace([sys.executable, "-c", code], tmp_path / "t", env=env)
    assert done.returncode == 0 and "not tracing" in done.stderr
    assert (tmp_path / "other").read_text() == "of mine\n"
    audit, _, _ = executed(tmp_path / "t")
    assert audit["missing_programs"] == 1


DEATHS = """#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void *volatile kept;
__attribute__((noinline)) static void smash(volatile char *p, int n) { while (n--) p[n] = 1; }
__attribute__((noinline)) static void overflow(int n) { char block[16]; smash(block, n); }
int main(int argc, char **argv)
{
    for (int i = 0; i < 500; i++) kept = malloc(139 * 8);
    if (!strcmp(argv[1], "assert")) assert(argc == 99);
    if (!strcmp(argv[1], "smash")) overflow(64);
    if (!strcmp(argv[1], "daemon")) return daemon(1, 1);
    return kill(getpid(), 9);
}
"""


@pytest.mark.parametrize("death", ["assert", "smash", "daemon", "kill"])
def test_a_death_is_told_in_a_pipe(tmp_path, death):
    """GIVEN a trace in a pipe; WHEN a program ends by libc's own abort or goes into the
    background; THEN nothing is missing; if it is killed, the trace has the process and
    the audit names it."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no compiler here")
    (tmp_path / "dies.c").write_text(DEATHS)
    built = support.run([compiler, "-O1", "-D_GNU_SOURCE", "-fstack-protector-all", "-o",
                         tmp_path / "dies", tmp_path / "dies.c"])
    assert built.returncode == 0, built
    env = support.clean_environment(OUT=str(tmp_path / "t"))
    support.bash('(LD_PRELOAD=$LIB "$@" 1022>&1 >/dev/null 2>&1) | cat >"$OUT"',
                 tmp_path / "dies", death, env=env)
    whole = support.report(tmp_path / "t")
    if death == "kill":
        assert whole["audit"]["unended_processes"] == 1 and not whole["audit"]["complete"]
        assert any(str(tmp_path / "dies") in line for line in whole["audit"]["warnings"])
    else:
        assert whole["audit"]["complete"], whole["audit"]["warnings"]
        assert whole["summary"]["calls"]["malloc"] >= 500
