# SPDX-License-Identifier: MIT
"""Every system call and thread-specific key that the library asks for is
refused once, and from then on: the program does as it does untraced. On the
library as shipped, by a tracer from outside (tests/faults/inject.c)."""
import concurrent.futures
import errno
import os
import platform
import re

import pytest

import support
from support import BUILD, LIBRARY, PROGRAMS, bash

INJECT = BUILD / "tests" / "faults" / "inject"
NOKEY = BUILD / "tests" / "faults" / "nokey.so"
PROGRAM = [PROGRAMS / "mixture", PROGRAMS / "plugin_first.so"]

# What may be refused, and with which error.
CALLS = {"mmap": errno.ENOMEM, "open": errno.EMFILE, "fallocate": errno.ENOSPC,
         "write": errno.EIO, "ftruncate": errno.EIO, "fstat": errno.EIO, "fcntl": errno.EMFILE,
         "read": errno.EIO, "other": errno.ENOSYS}
SINKS = {
    "file": ('1022>"$9"', {}),
    "written file": ('1022>"$9"', {"MLOG_FILE": "write"}),
    "MLOG_OUT": ("1022>&-", {"MLOG_OUT": "here"}),
    "pipe": ("1022> >(cat >/dev/null)", {}),
    "dropping pipe": ("1022> >(cat >/dev/null)", {"MLOG_ON_FULL": "drop"}),
    "zstd pipe": ("1022> >(cat >/dev/null)", {"MLOG_COMPRESS": "zstd"}),
}

EVERY = os.environ.get("MLOG_TEST_EVERY")

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64",
                                reason="the tracer knows x86-64's registers")


@pytest.fixture(scope="module")
def untraced():
    done = support.run(PROGRAM)
    assert done.returncode == 7 and done.stdout.strip().isdigit()
    return done


def run(tmp_path, sink, first, last, error, call):
    """One run, in a folder of its own; how it ended and the calls it made."""
    folder = tmp_path / f"{call}-{first}-{last}"
    folder.mkdir()
    redirect, env = SINKS[sink]
    env = dict(support.clean_environment(**env), MLOG_OUT=str(folder / "out")) \
        if "MLOG_OUT" in env else support.clean_environment(**env)
    script = f'''LIB=$LIB exec "$1" "$2" "$3" "$4" "$5" "$6" bash -c \
                 'LD_PRELOAD=$LIB exec "$7" "$8" {redirect}' bash "$@"'''
    done = bash(script, INJECT, first, last, error, folder / "count", call, *PROGRAM,
                folder / "t", env=env)
    count = int((folder / "count").read_text())
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    return done, count


def check(done, untraced, what):
    """As untraced, but perhaps for one line that tracing cannot begin. Two
    images may say it: the program's and a shell's are not traced, so one."""
    assert (done.returncode, done.stdout) == (7, untraced.stdout), (what, done)
    assert re.fullmatch(r"(mlog: [^\n]*not tracing[^\n]*\n)?", done.stderr), (what, done)


@pytest.mark.parametrize("sink", SINKS)
def test_every_call_refused(tmp_path, untraced, sink):
    jobs = []
    for call, error in CALLS.items():
        done, count = run(tmp_path, sink, 0, -1, error, call)
        check(done, untraced, (call, "none refused"))
        if call in ("mmap", "fstat", "read"):
            assert count > 10, "the tracer sees nothing"
        # The first ones each, then wider and wider: they repeat. All of them
        # with MLOG_TEST_EVERY set.
        n = 1
        while n <= count:
            jobs.append((n, n, error, call))
            if n <= 3 or n % 4 == 0 or EVERY:
                jobs.append((n, 1 << 30, error, call))
            dense, wider = (8, 3) if sink in ("file", "pipe") else (4, 2)
            n += 1 if n < dense or EVERY else 1 + n // wider
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for job, (done, _) in zip(jobs, pool.map(lambda job: run(tmp_path, sink, *job), jobs)):
            check(done, untraced, job)


@pytest.mark.parametrize("sink", ["file", "pipe"])
@pytest.mark.parametrize("more", ["", "1"])
def test_every_thread_key_refused(tmp_path, untraced, sink, more):
    for n in range(1, 14):
        redirect, env = SINKS[sink]
        env = support.clean_environment(NOKEY=n, **env)
        env.update(NOKEY_ON="1") if more else None
        done = bash(f'LD_PRELOAD="$LIB $1" exec "$7" "$8" {redirect}', NOKEY, *[""] * 5, *PROGRAM,
                    tmp_path / f"t{n}", env=env)
        check(done, untraced, n)


def test_the_tracer_is_not_blind(tmp_path):
    """A fault is seen: refused from the first on, nothing can begin, and that
    is said; refused later, the trace says that it stopped."""
    said = stopped = 0
    for n in range(1, 14):
        done = bash('''"$1" "$6" 1000000 12 "$2/count" mmap bash -c 'LD_PRELOAD=$1 exec "$2" 20000 \
                       1022>"$3"' bash "$3" "$4" "$2/t"''', INJECT, tmp_path, LIBRARY,
                    PROGRAMS / "churn", "", n)
        assert (done.returncode, done.stdout) == (7, "done\n")
        if done.stderr:
            said += 1
            continue
        read = support.run([support.ANALYZE, tmp_path / "t", "--summary", "--json"])
        if read.returncode == 1 and '"stopped": "no memory"' in read.stdout:
            stopped += 1
        else:  # it needed no more
            assert support.summary(tmp_path / "t")["calls"]["free"] == 20000, (n, read)
    assert said >= 3 and stopped >= 3
