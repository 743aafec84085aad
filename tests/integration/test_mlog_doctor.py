# SPDX-License-Identifier: MIT
"""`mlog doctor`: what would stand in the way of a trace is said before, and `mlog run` says
it in one line and runs the program as it would run without."""
import os
import random
import re
import shutil
import subprocess

import pytest

import support
from support import LIBRARY, MLOG, PROGRAMS, PYTHON, run

PLAIN = '#include <stdlib.h>\n#include <stdio.h>\nint main() { char *p = malloc(123 * 8); ' \
        'puts(p ? "fine" : ""); free(p); return 4; }\n'


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.c").write_text(PLAIN)
    return tmp_path


def doctor(*args, status=0, **kwargs):
    done = run([MLOG, "doctor", *args], **kwargs)
    assert done.returncode == status and done.stderr == "", done
    for line in done.stdout.splitlines():
        assert re.match(r"(ok  |warn|FAIL)  \S|$|Yes: |No: ", line), line
    return done.stdout


def findings(text, level):
    return [line[6:] for line in text.splitlines() if line.startswith(level)]


def build(*args, compiler="gcc", name="prog"):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    done = run([compiler, "-o", name, *args, "plain.c"])
    if done.returncode != 0:
        pytest.skip(f"{compiler} cannot build {' '.join(args)} here: {done.stderr[:200]}")
    return f"./{name}"


def run_says(program, words, status=4, out="fine\n"):
    """mlog run says it in one line beginning with mlog:, runs the program, leaves no file."""
    before = set(os.listdir())
    done = run([MLOG, "run", program])
    assert (done.returncode, done.stdout) == (status, out), done
    lines = done.stderr.splitlines()
    assert words in lines[0] and lines[0].startswith("mlog: "), done
    assert lines[-1] == "mlog: nothing was recorded" and set(os.listdir()) == before, done


def test_what_can_be_traced():
    text = doctor(build("-g"))
    assert not findings(text, "FAIL") and "\nYes: mlog run ./prog\n" in text
    for words in ("the library is", "dynamically linked", "no privileges", "debug information is there",
                  "/proc is there", "the analyser is", "descriptors are allowed", "1022 is closed"):
        assert any(words in line for line in findings(text, "ok")), (words, text)


def test_static():
    program = build("-static")
    assert "static executable" in findings(doctor(program, status=1), "FAIL")[0]
    run_says(program, "is a static executable: nothing can be preloaded; link it dynamically")


@pytest.mark.parametrize("name", ["address", "thread", "leak"])
def test_sanitizers(name):
    """Also where the sanitizer's library is a shared one, of gcc, or linked in, of clang."""
    for compiler in ("gcc", "clang"):
        program = build(f"-fsanitize={name}", compiler=compiler)
        (line,) = findings(doctor(program, status=1), "FAIL")
        assert f"{name.title()}Sanitizer" in line and "without the sanitizer" in line


def test_another_processor_and_another_libc():
    program = build(compiler="aarch64-linux-gnu-gcc")
    if "AArch64" in doctor("/bin/sh"):
        pytest.skip("this is AArch64")
    assert "for AArch64, the library for" in findings(doctor(program, status=1), "FAIL")[0]
    program = build(compiler="musl-gcc", name="musl")
    assert "over another C library" in findings(doctor(program, status=1), "FAIL")[0]
    run_says(program, "runs over another C library")


def test_the_library_for_the_programs_processor_is_chosen(here):
    """GIVEN a library for another processor beside the command, and the right one in
    LD_LIBRARY_PATH; THEN the right one is taken."""
    wrong = build(compiler="aarch64-linux-gnu-gcc", name="libmlog.so")
    (here / "bin").mkdir()
    (here / "lib").mkdir()
    shutil.copy(MLOG, "bin")
    shutil.move(wrong, "lib/libmlog.so")
    env = support.clean_environment(LD_LIBRARY_PATH=LIBRARY.parent)
    done = run(["bin/mlog", "run", "-q", "env"], env=env)
    assert f"LD_PRELOAD={LIBRARY}\n" in done.stdout, done


def test_privileges(here):
    """GIVEN a set-user-ID program of another user, and one with capabilities seen by a user."""
    if os.getuid() != 0:
        pytest.skip("only root can make them")
    program = build()
    os.chown(program, 12345, 0)
    os.chmod(program, 0o4755)
    (line,) = findings(doctor(program, status=1), "FAIL")
    assert "is set-user-ID: the loader ignores LD_PRELOAD; run it as the user it becomes" in line
    other = build(name="capable")
    if shutil.which("setcap") is None or run(["setcap", "cap_net_raw+ep", other]).returncode:
        pytest.skip("file capabilities cannot be set here")
    os.chmod(here, 0o755)
    copied = subprocess.run([MLOG, "doctor", other], user=12345, text=True, capture_output=True)
    if copied.returncode == 126:
        pytest.skip("another user cannot come here")
    assert "has file capabilities" in copied.stdout or "cannot be read" in copied.stdout


def test_allocators_in_the_executable():
    """GIVEN an executable with jemalloc's names and a malloc of its own."""
    with open("plain.c", "a") as file:
        file.write("void *je_malloc(unsigned long n) { (void)n; return 0; }\n"
                   "static char room[100000]; static unsigned long at;\n"
                   "void *malloc(unsigned long n) { at += (n + 15) & ~15ul; "
                   "return room + at - ((n + 15) & ~15ul); }\nvoid free(void *p) { (void)p; }\n")
    program = build("-rdynamic")
    (line,) = findings(doctor(program, status=1), "FAIL")
    assert "has jemalloc linked in" in line
    text = doctor(PROGRAMS / "unseen_mi_malloc")
    assert any("carries mimalloc" in line for line in findings(text, "warn"))
    # AND one that is known by the beginning of its names, as the analyser knows it
    with open("plain.c", "a") as file:
        file.write("void _ZN8tcmalloc3useEv(void) {}\n")
    (line,) = findings(doctor(build("-rdynamic", "-Dje_malloc=ours"), status=1), "FAIL")
    assert "has tcmalloc linked in" in line


def test_scripts_are_resolved(here):
    """GIVEN scripts, by path and by env, of a script; THEN the interpreter is looked at."""
    (here / "one").write_text(f"#!/usr/bin/env -S {PYTHON}\nprint('x')\n")
    (here / "two").write_text(f"#! {here / 'one'} -x\n")
    static = build("-static")
    (here / "three").write_text(f"#!{here / static}\n")
    for name in ("one", "two", "three"):
        (here / name).chmod(0o755)
    text = doctor("./one")
    assert "./one is a script: what is traced is" in text and "PYTHONMALLOC=malloc" in text
    assert doctor("./two").count("is a script") == 2
    assert "static executable" in doctor("./three", status=1)
    env = support.clean_environment(PYTHONMALLOC="malloc")
    assert not any("PYTHONMALLOC" in line for line in findings(doctor("./one", env=env), "warn"))


@pytest.mark.parametrize("name, words", [
    ("java", "Java's objects are not malloc"), ("fzf", "by Go: nothing can be preloaded|Go's own heap"),
    ("rg", "Rust's default allocator|no debug information"), ("node", "JavaScript"),
])
def test_advice_for_languages(name, words):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    done = run([MLOG, "doctor", name])
    assert re.search(words, done.stdout), done


def test_debug_information(here):
    program = build("-s")
    (line,) = [n for n in findings(doctor(program), "warn") if "no debug information" in n]
    assert "and no symbols" in line and "build it with -g" in line
    if shutil.which("dpkg-query") and not os.path.isdir("/usr/lib/debug/.build-id"):
        assert "coreutils-dbgsym" in doctor("ls")
    env = support.clean_environment(DEBUGINFOD_URLS="http://127.0.0.1:1")
    assert any("DEBUGINFOD_URLS" in n for n in findings(doctor(program, env=env), "ok"))


def test_what_is_no_program(here):
    (here / "text").write_text("x")
    for name, words in (("nonesuch", "no such command in PATH"), ("./nonesuch", "no such file"),
                        ("./text", "is not executable: chmod +x ./text")):
        assert words in findings(doctor(name, status=1), "FAIL")[0]
    (here / "text").chmod(0o755)
    assert "no ELF executable" in findings(doctor("./text"), "warn")[0]


def test_this_place(here):
    """GIVEN limits, a descriptor and a folder of some kind; THEN each has its line."""
    script = 'ulimit -f 1000 -v 900000; exec "$1" doctor 1022>t'
    text = support.bash(script, MLOG).stdout
    assert "files may be 1000 KiB long at most" in text
    assert "address space is limited to 878 MiB" in text
    assert f"descriptor 1022 is open here: traces go to {here}/t" in text
    text = doctor(env=support.clean_environment(MLOG_OUT="somewhere"))
    assert "MLOG_OUT is set here: traces go to somewhere" in text
    assert re.search(r" is on (\w+)", text)


def test_a_process():
    """GIVEN processes: traced, not traced, gone; THEN what is in them and where it goes."""
    traced = subprocess.Popen([MLOG, "run", "--record-only", "-o", "t", "sleep", "100"])
    plain = subprocess.Popen(["sleep", "100"])
    try:
        end = 200
        while "libmlog" not in open(f"/proc/{traced.pid}/maps").read() and end:
            end -= 1
            subprocess.run(["sleep", "0.05"], check=True)
        text = doctor(traced.pid)
        assert "libmlog.so is loaded in it" in text and f"its trace is {os.getcwd()}/t, " in text
        text = doctor(plain.pid, status=1)
        assert "a running program cannot be traced; start it by mlog run" in text
    finally:
        for process in (traced, plain):
            process.kill()
            process.wait()
    assert "there is no process" in doctor(plain.pid, status=1)


def test_hostile_files(here):
    """GIVEN an executable with any bytes changed; THEN the doctor answers, and never crashes."""
    whole = (here / build("-g")).read_bytes()
    rng = random.Random(1)
    for i in range(150):
        mutant = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            place = rng.choice([64, 1024, len(mutant)])
            mutant[rng.randrange(4, place)] = rng.choice([0, 0xff, 0x7f, rng.randrange(256)])
        if i % 5 == 0:
            del mutant[rng.randrange(16, len(mutant)):]
        (here / "mutant").write_bytes(mutant)
        (here / "mutant").chmod(0o755)
        done = run([MLOG, "doctor", "./mutant"])
        assert done.returncode in (0, 1) and done.stderr == "", (i, done)


BEHIND_A_FILTER = """
import ctypes, struct, time
libc = ctypes.CDLL(None)
allow = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))
class Program(ctypes.Structure):
    _fields_ = [("n", ctypes.c_ushort), ("code", ctypes.c_void_p)]
program = Program(1, ctypes.cast(allow, ctypes.c_void_p).value)
libc.prctl(38, 1, 0, 0, 0)
print(libc.prctl(22, 2, ctypes.byref(program), 0, 0), flush=True)
time.sleep(100)
"""


def test_a_process_behind_a_filter():
    """GIVEN a process with a filter of system calls, and one without; THEN that is told."""
    boxed = subprocess.Popen([PYTHON, "-c", BEHIND_A_FILTER], stdout=subprocess.PIPE, text=True)
    plain = subprocess.Popen(["sleep", "100"])
    try:
        if boxed.stdout.readline() != "0\n":
            pytest.skip("the kernel sets no filter here")
        (line,) = [line for line in findings(doctor(boxed.pid, status=1), "warn") if "seccomp" in line]
        assert "it runs behind a seccomp filter" in line
        if "\nSeccomp:\t0" in open("/proc/self/status").read():
            assert "no seccomp filter" in doctor(plain.pid, status=1)
    finally:
        for process in (boxed, plain):
            process.kill()
            process.wait()


def test_without_proc(here):
    """
    GIVEN a place without /proc, as a container may be
    THEN doctor says what that means; and the command finds its parts all the same
    """
    inside = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    if run([*inside, "true"]).returncode != 0:
        pytest.skip("no mount namespace can be made here")
    done = run([*inside, MLOG, "doctor", "ls"], cwd=here)
    assert done.returncode == 1
    assert any("/proc is not mounted" in line for line in findings(done.stdout, "FAIL")), done
    assert f"the library is {support.LIBRARY}" in done.stdout and "the analyser is" in done.stdout
    done = run([*inside, MLOG, "run", "-o", here / "t", "echo", "traced"], cwd=here)
    assert done.returncode == 0 and done.stdout == "traced\n", done
    assert support.summary(here / "t")["allocations"] > 0
