# SPDX-License-Identifier: MIT
"""mlog_stats: what a program is told of its own calls, against a program that
counts them itself and against the oracle beneath; traced and not, by threads and forks."""
import pytest

import oracle
import support
from support import PROGRAMS

COUNTED, LATE, MOVING, UNSIZED, HALVED = 1, 2, 4, 8, 16
NAMES = ("flags allocations allocated deallocations deallocated blocks in_use peak "
         "peak_error").split()


ALLOCATORS = {"jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4",
              "mimalloc": "libmimalloc.so.2", "libc's own, checking": "libc_malloc_debug.so.0"}


def counted(mode, program="stats", env="", path=None, beneath=None, allocator=""):
    """The lines of the program by their first word: readings as dictionaries."""
    script = f'export {env} ORACLE_OUT="$2"; LD_PRELOAD="$LIB $1" exec "$3" "$4" ' + \
        ('1022>"$5"' if path else '1022>&-')
    done = support.bash(script, support.ORACLE if beneath else allocator, beneath or "",
                        PROGRAMS / program, mode, path or "")
    assert done.returncode == 0 and not done.stderr, done
    lines = {}
    for line in done.stdout.splitlines():
        word, *rest = line.split()
        lines[word] = dict(zip(NAMES, map(int, rest))) if len(rest) == len(NAMES) else rest
    return lines


@pytest.mark.parametrize("traced", [False, True])
def test_every_call_is_counted_to_the_byte(tmp_path, traced):
    """GIVEN every function, reallocs of every outcome, refusals and frees of nothing;
    THEN counts, bytes, what is in use and the peak are those of the program, and after
    a reset what is in use stays, and the peak begins there."""
    said = counted("one", path=tmp_path / "t" if traced else None)
    assert said["counted"] == said["expected"] and said["expected"]["flags"] == COUNTED
    assert said["expected"]["peak"] > 5000000 and said["expected"]["allocations"] == 18
    blocks, in_use = map(int, said["kept"])
    assert said["reset"] == dict.fromkeys(NAMES, 0) | {
        "flags": COUNTED, "blocks": blocks, "in_use": in_use, "peak": in_use}
    assert said["errno"][0] == "71"
    if traced:
        got = support.summary(tmp_path / "t")
        assert said["last"]["blocks"] == got["leaked_blocks"]


@pytest.mark.parametrize("mode", ["one", "threads"])
@pytest.mark.parametrize("traced", [False, True])
def test_counts_equal_the_oracle(tmp_path, mode, traced):
    """GIVEN a counter beneath, and the environment's wish; THEN from the program's first call
    to its last both have the same, and the peak lies where it is said to lie."""
    said = counted(mode, "stats_late", "MLOG_STATS=1", tmp_path / "t" if traced else None,
                   tmp_path / "oracle")
    last = said["last"]
    (true,) = oracle.read(tmp_path / "oracle")
    assert last["flags"] == COUNTED
    assert (last["allocations"], last["deallocations"]) == (true.allocations, true.frees)
    assert (last["allocated"], last["deallocated"]) == (true.usable_allocated, true.usable_freed)
    assert last["blocks"] == true.live_blocks
    assert last["in_use"] == true.usable_allocated - true.usable_freed
    if mode == "one":
        assert (last["peak"], last["peak_error"]) == (true.usable_peak, 0)
    else: # calls that overlap are ordered differently: at most one block each
        overlap = 8 * 4200
        assert last["peak"] - overlap <= true.usable_peak
        assert true.usable_peak <= last["peak"] + last["peak_error"] + overlap
        assert 0 < last["peak_error"] <= 2 * 9 * 4096


@pytest.mark.parametrize("allocator", ["", *ALLOCATORS.values()], ids=["libc", *ALLOCATORS])
def test_threads_that_end_are_counted(allocator):
    """GIVEN threads that free each other's blocks and allocate in destructors; THEN nothing
    is lost with them, after a reset too. libc's own blocks of threads are beside."""
    said = counted("threads", allocator=allocator)
    for name in NAMES[1:5]:
        slack = 64 if name in ("allocations", "deallocations") else 65536
        assert 0 <= said["counted"][name] - said["expected"][name] < slack, (name, said)
    assert said["expected"]["allocations"] > 200000
    # tcmalloc does not tell the size of what it gave before its own constructor.
    assert said["counted"]["flags"] in (COUNTED, UNSIZED * ("tcmalloc" in allocator) | COUNTED)
    assert said["before"]["allocations"] == 0 and said["before"]["blocks"] > 0


def test_a_child_goes_on_from_its_parent():
    """GIVEN 200 forks while another thread allocates; THEN each child's counts are its
    own calls more than those it began with."""
    said = counted("fork")
    assert "child" not in said and said["errno"][2] == "1", said


def test_readings_while_others_allocate():
    """THEN nothing runs backwards or below zero, and a reading that does not say that others
    came in between is of one moment: blocks and bytes agree, and the peak is no less."""
    said = counted("reading")
    assert said["bad"][0] == "0", said


def test_who_is_counted_from_when():
    """GIVEN a program that has no note, since it asks by the plain function; THEN counting
    begins with the first question, which says so; MLOG_STATS=1 and the note begin it at the
    first call, MLOG_STATS=0 never."""
    assert counted("late", "stats_late")["last"]["flags"] == COUNTED | LATE
    late = counted("late", "stats_late")
    assert late["counted"] == late["expected"] | {"flags": COUNTED | LATE}
    assert counted("late", "stats_late", "MLOG_STATS=1")["last"]["flags"] == COUNTED
    assert counted("late")["last"]["flags"] == COUNTED
    assert set(counted("late", env="MLOG_STATS=0")["last"].values()) == {0}
    alone = support.run([PROGRAMS / "stats", "one"])
    assert alone.stdout.splitlines()[-1] == "last" + " 0" * 9
    assert "errno 71 counted 0" in alone.stdout


def test_an_allocator_that_does_not_tell_sizes():
    """GIVEN one without malloc_usable_size; THEN a flag says that bytes are not to be trusted,
    and the table says it in words."""
    assert counted("", allocator=PROGRAMS / "toy_allocator.so")["last"]["flags"] == \
        COUNTED | UNSIZED
