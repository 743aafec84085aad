# SPDX-License-Identifier: MIT
"""Signals that arrive at any instruction of the library: nothing hangs, no event
is lost or told twice. MLOG_TEST_LONG=1 stops at every single instruction, or nearly (minutes)."""
import collections
import json
import os

import pytest

import support
from support import LIBRARY, PROGRAMS

LONG = bool(os.environ.get("MLOG_TEST_LONG"))
MAIN, CALM = 11 * 8, 13 * 8     # sizes of steps.c: its rounds, and the calls between
HANDLER, CHILD = 9 * 8, 29 * 8  # in the handler, and in the child it forks


def steps(tmp_path, what, stride, rounds, sink="file"):
    """Run steps.c; its counts, how often each size was allocated, the report."""
    run = 'LD_PRELOAD="$LIB $1" "$2" $3 1022>"$4"'
    if sink == "pipe":
        run = f'mkfifo "$4.fifo"; cat "$4.fifo" >"$4" & {run}.fifo; status=$?; wait; exit $status'
    done = support.bash(run, PROGRAMS / "bump.so", PROGRAMS / "steps",
                        f"{what} {max(1, stride // 60) if LONG else stride} {rounds * (5 if LONG else 1)}",
                        tmp_path / "t")
    assert (done.returncode, done.stderr) == (0, ""), done
    words = done.stdout.split()
    counts = dict(zip(words[::2], map(int, words[1::2])))
    sizes = collections.Counter()
    for line in support.analyze(tmp_path / "t", "--dump=json").stdout.splitlines():
        row = json.loads(line)
        if row["type"] in ("alloc", "realloc"):
            sizes[row["type"], row["size"]] += 1
    whole = support.report(tmp_path / "t", "--summary")
    support.assert_sound(whole["audit"])
    return counts, sizes, whole


@pytest.mark.parametrize("what, sink", [("return", "file"), ("aside", "file"), ("return", "pipe")])
def test_a_handler_that_allocates(tmp_path, what, sink):
    # GIVEN a thread's first and further events WHEN a handler that allocates comes
    # between any two instructions of the library
    counts, sizes, whole = steps(tmp_path, what, 61, 6, sink)
    assert counts["handled"] > 50
    # THEN each event, of the thread and of the handler, is there once
    assert sizes["alloc", HANDLER] == sizes["realloc", 19 * 8] == counts["handled"]
    assert sizes["alloc", MAIN] + sizes["alloc", HANDLER] == counts["malloc"]
    assert sizes["realloc", 33 * 8] + sizes["realloc", 19 * 8] == counts["realloc"]
    assert sizes["alloc", CALM] == counts["calloc"]
    # the thread freed all that it allocated: the frees are there, once each
    leaks = support.report(tmp_path / "t", "--leaks")["leaks"]
    assert not support.leaks_of(leaks, "round_at") and not support.leaks_of(leaks, "handler")


def test_a_handler_that_jumps_out(tmp_path):
    """siglongjmp out of the middle of a hook, again and again: what comes after
    is recorded, in full, and no lock of ours stays taken."""
    counts, sizes, whole = steps(tmp_path, "jump", 307, 20)
    assert counts["handled"] >= 6
    assert sizes["alloc", CALM] == counts["calloc"] == (100 if LONG else 20)
    assert sizes["alloc", HANDLER] == counts["handled"]
    # with the same stack each time, whatever was left half done before
    calm = [entry for entry in support.report(tmp_path / "t", "--allocations")["allocations"]
            if entry["bytes"] == CALM * entry["calls"]]
    assert len(calm) == 1 and support.functions(calm[0])[:1] == ["work"], calm
    assert not any(whole["audit"]["truncated_stacks"].values())
    # a call that was left is recorded or not, but never twice
    assert counts["malloc"] - counts["handled"] <= sizes["alloc", MAIN] <= counts["calloc"]


def test_a_handler_that_forks(tmp_path):
    counts, sizes, whole = steps(tmp_path, "fork", 211, 12)
    assert counts["handled"] > 10
    assert sizes["alloc", HANDLER] == sizes["alloc", CHILD] == counts["handled"]
    assert sizes["alloc", MAIN] + sizes["alloc", HANDLER] == counts["malloc"]
    assert len(whole["processes"]) == 2 + counts["handled"]


def test_a_thread_that_ends_inside_a_hook(tmp_path):
    """As asynchronous cancellation does it: the next thread takes its block."""
    counts, sizes, whole = steps(tmp_path, "exit", 37, 40)
    assert counts["handled"] > 20
    assert sizes["alloc", HANDLER] == counts["handled"]
    assert sizes["alloc", CALM] == counts["calloc"]


def test_a_storm_of_timers(tmp_path):
    """Every nested event is counted in the trace's own counters."""
    env = support.clean_environment(ORACLE_BLOCK_SIGNALS=1)
    done = support.trace([PROGRAMS / "signal_handler", 400 if not LONG else 100000],
                         tmp_path / "t", tmp_path / "oracle", env=env)
    assert done.visible == (0, "handled\n", "")
    whole, _ = support.assert_equals_oracle(tmp_path / "t", tmp_path / "oracle", peak=False)
    rows = map(json.loads, support.analyze(tmp_path / "t", "--dump=json").stdout.splitlines())
    (counters,) = [row for row in rows if row["type"] == "counters"]
    assert counters["counters"]["8"] > 0, counters  # FORMAT.md: nested events


@pytest.mark.parametrize("binding", ["lazy", "now"])
def test_the_smallest_signal_stack(tmp_path, binding):
    """What the kernel asks for and 2 KiB: a handler that allocates lives on it,
    and a page below it that was not touched untraced is not touched traced. A
    first call that the dynamic loader binds may need more, as it saves all
    registers of the processor: there it is the least that is enough untraced."""
    (tmp_path / "s.c").write_text(r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>
static void *volatile keep;
static void handler(int n) { (void)n; for (int i = 0; i < 50; i++) keep = malloc(41 * 8); }
int main(int argc, char **argv)
{
    size_t size = getauxval(51 /* AT_MINSIGSTKSZ */), page = 4096;
    size = (size < MINSIGSTKSZ ? MINSIGSTKSZ : size) + (size_t)atoi(argv[argc - 1]);
    size_t room = (size + page - 1) & ~(page - 1);
    char *at = mmap(NULL, page + room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(at, page, PROT_NONE);
    stack_t stack = { .ss_sp = at + page, .ss_size = size };
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
    if (sigaltstack(&stack, NULL) || sigaction(SIGUSR1, &action, NULL)) return 2;
    for (int i = 0; i < 3; i++) raise(SIGUSR1);
    puts("through");
    return 0;
}
""")
    made = support.run(["gcc", "-O1", "-fno-builtin", f"-Wl,-z,{binding}", "-o", tmp_path / "s",
                        tmp_path / "s.c"])
    assert made.returncode == 0, made
    through = (0, "through\n", "")
    margin = 2048
    while binding == "lazy" and support.run([tmp_path / "s", margin]).visible != through:
        margin += 64
        assert margin < 1 << 16
    assert support.run([tmp_path / "s", margin]).visible == through
    done = support.trace([tmp_path / "s", margin], tmp_path / "t")
    assert done.visible == through
    assert support.summary(tmp_path / "t")["leaked_bytes"] >= 150 * 41 * 8


def test_loaded_by_dlopen_where_static_tls_is_scarce(tmp_path):
    """Into a running program the library comes too late to hook: it must load,
    say so, and change nothing."""
    code = f"import ctypes; ctypes.CDLL({str(LIBRARY)!r}); print('loaded', len(bytes(1 << 20)))"
    env = support.clean_environment(
        GLIBC_TUNABLES="glibc.rtld.optional_static_tls=0:glibc.rtld.nns=1")
    done = support.bash('exec /usr/bin/python3 -c "$1" 1022>"$2"', code, tmp_path / "t", env=env)
    assert done.visible[:2] == (0, "loaded 1048576\n")
    assert "loaded when the program had already started, not tracing; preload it" in done.stderr
    done = support.trace(["/usr/bin/python3", "-c", "print(1)"], tmp_path / "u", env=env)
    assert done.visible == (0, "1\n", "")
    support.assert_sound(support.report(tmp_path / "u", "--summary")["audit"])
