# SPDX-License-Identifier: MIT
"""Limits of memory: what the library maps never costs the program a request that it
would be granted without; tracing ends instead, and the trace says so."""
import functools

import pytest

import support
from support import PROGRAMS, bash
from test_stops import audit_of

# Address space or data that the library holds once it has made way: its own code, a
# page or two for a thread.
RESIDUE = 2
MALLOC, CALLOC, REALLOC, POSIX_MEMALIGN, ALIGNED_ALLOC, MMAP, DEEP, GROW = range(8)


def untraced(kind, mib, threads, way):
    return bash('exec "$1" $2 $3 $4 $5', PROGRAMS / "memory_limits", kind, mib, threads, way)


@functools.cache
def enough(kind, threads, way=MALLOC):
    """The lowest limit in MiB within which the program alone is refused nothing."""
    for mib in range(2, 400):
        if untraced(kind, mib, threads, way).returncode == 7:
            return mib
    pytest.skip("the program needs more than 400 MiB here")


def traced(path, kind, mib, threads, way):
    done = bash('LD_PRELOAD=$LIB exec "$1" $2 $3 $4 $5 1022>"$6"', PROGRAMS / "memory_limits", kind,
                mib, threads, way, path)
    assert done.visible == (7, "refused 0, large ok\n", ""), (mib, done)
    return audit_of(path)


@pytest.mark.parametrize("threads", [0, 4, 12])
@pytest.mark.parametrize("kind", ["as", "data"])
def test_a_limit_that_is_enough_for_the_program_is_enough(tmp_path, kind, threads):
    """GIVEN limits a little above what the program needs, and more THEN nothing is refused
    to it; and the trace is whole, or says that memory ended it, or what it lacks: events of
    a thread that was refused memory of its own, a chunk that was claimed and not mapped."""
    reasons = []
    for more in [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 40]:
        mib = enough(kind, threads) + RESIDUE + more
        audit = traced(tmp_path / f"{more}", kind, mib, threads, MALLOC)
        told = audit["lost_events"] or audit["skipped"]
        assert audit["stopped"] == "no memory" or audit["complete"] or told, audit
        reasons.append(audit["stopped"])
        if audit["stopped"]:
            by = audit["stopped_by"]
            assert (by["limit"], by["limit_bytes"]) == (f"RLIMIT_{kind.upper()}", mib << 20)
            if by["asked_bytes"]:      # not in the table of stops
                assert by["held_bytes"] + by["asked_bytes"] > by["limit_bytes"] - (1 << 20)
            said = " ".join(audit["warnings"])
            assert f"RLIMIT_{kind.upper()}" in said and f"ulimit -{kind[0].replace('a', 'v')}" in said
    assert reasons[0] == "no memory" and reasons[-1] is None


@pytest.mark.parametrize("way", [CALLOC, REALLOC, POSIX_MEMALIGN, ALIGNED_ALLOC, MMAP, GROW])
def test_every_request_for_memory_is_made_again(tmp_path, way):
    """GIVEN a limit that is just enough WHEN memory is asked for in other ways THEN too."""
    mib = enough("as", 0, way) + RESIDUE
    assert traced(tmp_path / "t", "as", mib, 0, way)["stopped"] == "no memory"


@pytest.mark.parametrize("sink", ['1022>"$3"', '1022> >(cat >"$3")'], ids=["file", "pipe"])
def test_a_limit_from_the_start(tmp_path, sink):
    """GIVEN a limit that the shell has set WHEN the program is started within it THEN
    nothing is refused to it, and the trace is whole or says why not."""
    script = f'(ulimit -v $(($2 << 10)); LD_PRELOAD=$LIB exec "$1" none 0 4 {sink})'
    for more in [RESIDUE, 4, 8, 20]:
        mib, path = enough("as", 4) + more, tmp_path / f"{more}"
        done = bash(f"{script}; status=$?; sleep 0.2; exit $status", PROGRAMS / "memory_limits", mib, path)
        assert (done.returncode, done.stdout) == (7, "refused 0, large ok\n"), (mib, done)
        if done.stderr:
            assert "not tracing" in done.stderr
    assert audit_of(path)["complete"]


def test_what_can_never_be_granted_does_not_end_tracing(tmp_path):
    """GIVEN a limit with room for the library WHEN the program asks for more than that
    would make up for THEN it is refused, as untraced, and tracing goes on."""
    done = bash('(ulimit -v 200000; LD_PRELOAD=$LIB exec "$1" 2>/dev/null 1022>"$2")',
                PROGRAMS / "semantics", tmp_path / "t")
    assert done.returncode == bash('ulimit -v 200000; exec "$1" 2>/dev/null',
                                   PROGRAMS / "semantics").returncode
    assert audit_of(tmp_path / "t")["stopped"] is None


def test_deep_stacks_within_a_limit_are_cut_and_told(tmp_path):
    """GIVEN a limit, with which less is kept for stacks WHEN one is deeper THEN the audit
    says that it was cut."""
    for limit, cut in [("unlimited", 0), ("4000000", 1)]:
        path = tmp_path / limit
        done = bash('(ulimit -v $2; LD_PRELOAD=$LIB exec "$1" none 0 0 $3 1022>"$4")',
                    PROGRAMS / "memory_limits", limit, DEEP, path)
        assert done.returncode == 7
        assert support.report(path, "--summary")["audit"]["truncated_stacks"]["depth_limit"] == cut


@pytest.mark.parametrize("sink", ["map", "write"])
def test_a_stop_names_the_limit_of_a_files_size(tmp_path, sink):
    """GIVEN a limit of a file's size below what the trace takes THEN the audit names it, what
    it is set to, and how it is raised."""
    bash('(ulimit -f 1000; LD_PRELOAD=$LIB exec "$1" 4 60000 1022>"$2")', PROGRAMS / "threads",
         tmp_path / "t", env=support.clean_environment(MLOG_FILE=sink))
    audit = audit_of(tmp_path / "t")
    if sink == "write" and audit["stopped"] is None:     # a stream that is full takes no more
        assert not audit["complete"]
        return
    assert audit["stopped"] == "sink full"
    by = audit["stopped_by"]
    assert (by["limit"], by["limit_bytes"]) == ("RLIMIT_FSIZE", 1000 << 10)
    assert "ulimit -f unlimited" in " ".join(audit["warnings"])
