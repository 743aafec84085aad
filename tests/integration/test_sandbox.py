# SPDX-License-Identifier: MIT
"""Programs that lock themselves in by seccomp: behind the filter the library makes
no system call, and the trace says that it ends there. And those that lock their
memory, within a limit."""
import os
import subprocess

import pytest

import support
from support import PROGRAMS, bash
from test_stops import audit_of

SINKS = {"file": '1022>"$3"', "pipe": '1022> >(cat >"$3")'}


def boxed(tmp_path, sink, *arguments):
    script = f'''exec "$1" {' '.join(arguments)}'''
    untraced = bash(script, PROGRAMS / "boxed")
    done = bash(f'''LD_PRELOAD=$LIB bash -c '{script.replace("$1", "$0")}' "$1" {SINKS[sink]}
                status=$?; {"sleep 0.3;" if sink == "pipe" else ""} exit $status''',
                PROGRAMS / "boxed", "", tmp_path / "t")
    assert done.visible == untraced.visible == (7, "caught 0\n", ""), (done, untraced)


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("by", ["prctl", "syscall"])
@pytest.mark.parametrize("how", ["kill", "trap", "errno", "strict"])
def test_a_filter_ends_tracing_and_nothing_else(tmp_path, sink, by, how):
    """GIVEN a filter that lets nothing through but write and exit WHEN the program goes
    on allocating THEN it is as untraced, and the trace has all before and says why."""
    boxed(tmp_path, sink, how, by)
    audit = audit_of(tmp_path / "t")
    assert audit["stopped"] == "sandboxed"
    assert "sandbox" in " ".join(audit["warnings"])
    done = support.run([support.ANALYZE, tmp_path / "t", "--json", "--summary"])
    assert '"leaked_blocks": 12' in done.stdout


@pytest.mark.parametrize("by", ["prctl", "syscall"])
def test_a_question_for_what_filters_there_are_is_no_filter(tmp_path, by):
    """GIVEN a filter at address 0, which is how libseccomp asks THEN tracing goes on."""
    boxed(tmp_path, "file", "kill", by, "refused")
    assert audit_of(tmp_path / "t")["stopped"] is None


@pytest.fixture
def libseccomp():
    try:
        subprocess.run([support.PYTHON, "-c", "import ctypes; ctypes.CDLL('libseccomp.so.2')"],
                       check=True, capture_output=True)
    except subprocess.CalledProcessError:
        pytest.skip("no libseccomp.so.2 to set a filter with")


def test_a_program_executed_behind_the_filter_is_not_traced(libseccomp, tmp_path):
    """GIVEN a filter that kills at what the library's start needs and no program does
    WHEN another program is executed behind it THEN that is as untraced."""
    kill = ", ".join(f"'{name}'" for name in ("fallocate", "statfs", "fstatfs", "getppid"))
    script = f"""import ctypes, os
s = ctypes.CDLL('libseccomp.so.2')
s.seccomp_init.restype = ctypes.c_void_p
c = ctypes.c_void_p(s.seccomp_init(0x7fff0000))
for name in ({kill}):
    assert s.seccomp_rule_add(c, 0x80000000, s.seccomp_syscall_resolve_name(name.encode()), 0) == 0
assert s.seccomp_load(c) == 0
os.execv('{PROGRAMS / "churn"}', ['churn', '50'])
"""
    done = bash('LD_PRELOAD=$LIB exec "$1" -c "$2" 1022>"$3"', support.PYTHON, script,
                tmp_path / "t")
    assert done.returncode == bash('exec "$1" 50', PROGRAMS / "churn").returncode, done
    assert audit_of(tmp_path / "t")["stopped"] == "sandboxed"


def behind(action, path, names=("fallocate", "fstatfs", "getppid")):
    """A program that is traced, and executed behind a filter that an untraced one set."""
    script = f"""import ctypes, os, sys
s = ctypes.CDLL('libseccomp.so.2')
s.seccomp_init.restype = ctypes.c_void_p
c = ctypes.c_void_p(s.seccomp_init(0x7fff0000))
for name in {names} if {action} else ('reboot',):
    assert s.seccomp_rule_add(c, {action} or 0x80000000,
                              s.seccomp_syscall_resolve_name(name.encode()), 0) == 0
assert s.seccomp_load(c) == 0
os.environ['LD_PRELOAD'] = sys.argv[1]
os.execv('{PROGRAMS / "churn"}', ['churn', '50'])
"""
    return bash('exec "$1" -c "$2" "$LIB" 1022>"$3"', support.PYTHON, script, path)


@pytest.mark.parametrize("action, traced", [(0x80000000, False), (0x00030000, False),
                                            (0x00050001, True), (0, True)],
                         ids=["kill", "trap", "errno", "none of ours"])
def test_a_filter_that_was_there_before(libseccomp, tmp_path, action, traced):
    """GIVEN a filter that an untraced program set WHEN it executes a traced one THEN that
    is as untraced, and is traced if the filter lets it be, or else says why not."""
    untraced = bash('exec "$1" 50', PROGRAMS / "churn")
    done = behind(action, tmp_path / "t")
    assert (done.returncode, done.stdout) == (untraced.returncode, untraced.stdout), done
    assert ("not tracing" in done.stderr) != traced, done
    if traced:
        assert audit_of(tmp_path / "t")["complete"]


@pytest.mark.parametrize("name", ["process_vm_readv", "sendmsg", "ppoll"])
def test_a_filter_that_ends_for_a_call_made_late(libseccomp, tmp_path, name):
    """GIVEN a filter that ends programs for a call that the library makes for a module that
    is opened, or for a socket alone THEN the program is not traced, and told."""
    done = behind(0x80000000, tmp_path / "t", (name,))
    assert (done.returncode, done.stdout) == (7, "done\n"), done
    assert "not tracing" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, to whom the limit applies")
@pytest.mark.parametrize("kib", [12 << 10, 24 << 10])
def test_memory_of_the_library_does_not_stay_locked(tmp_path, kib):
    """GIVEN a program that locks all its memory, what is to come too, and threads that
    begin after it WHEN its limit leaves room for its own THEN none of its calls fails."""
    tmp_path.chmod(0o755)
    untraced = support.run([PROGRAMS / "locked", str(kib)])
    if untraced.returncode != 7:
        pytest.skip(f"cannot lock its memory here: {untraced}")
    done = support.trace([PROGRAMS / "locked", str(kib)], tmp_path / "t")
    assert done.visible == untraced.visible == (7, "refused 0\n", "")
    assert audit_of(tmp_path / "t")["complete"]
