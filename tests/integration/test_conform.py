# SPDX-License-Identifier: MIT
"""One conformance program for C, one for C++, over libc's allocator and each
that Debian has: all that a program can see is the same with and without the
library, and the trace holds each call, once, as it was."""
import collections
import json

import pytest

import support
from support import BUILD, LIBRARY, PROGRAMS

# What each allocator lacks or does wrong by itself: not called over it.
ALLOCATORS = {
    "libc": (None, [], []),
    "jemalloc": ("libjemalloc.so.2", ["mallinfo", "pvalloc"], []),
    "tcmalloc": ("libtcmalloc_minimal.so.4", ["mallinfo", "pvalloc-overflow"], []),
    "libc's own, checking": ("libc_malloc_debug.so.0", [], []),
    "mimalloc": ("libmimalloc.so.2", ["mallinfo"], ["no-failures"]),
    "mlog-tlsf": (BUILD / "allocators" / "libmlog-tlsf.so", ["mallinfo"], []),
    "mlog-glibc": (BUILD / "allocators" / "libmlog-glibc.so", [], []),
}
SINKS = {"file": '1022>"$trace"', "pipe": '1022> >(cat >"$trace")'}


def run_preloaded(preload, argv, trace=None, sink="file", **env):
    """argv with these libraries preloaded, none of them in the shell."""
    script = 'trace=$1 preload=$2; shift 2; LD_PRELOAD=$preload exec "$@" '
    # The tunable makes libc_malloc_debug.so check, and means nothing without it.
    env.setdefault("GLIBC_TUNABLES", "glibc.malloc.check=3")
    env.setdefault("MLOG_TLSF_QUIET", "1")
    script += SINKS[sink] if trace else "1022>&-"
    if trace and sink == "pipe":
        script = script.replace("exec ", "") + '; status=$?; wait $!; exit $status'
    return support.bash(script, trace or "", " ".join(str(p) for p in preload if p), *argv,
                        env=support.clean_environment(**env))


def account(path):
    """The program's own account, as the JSON dump would say it."""
    events, live = [], {}
    for line in path.read_text().splitlines():
        kind, *fields = line.split()
        if kind == "alloc":
            function, address, size, usable, alignment = fields
            events.append(("alloc", function, int(address, 16), int(size), int(usable),
                           power_of_two(int(alignment))))
        elif kind == "realloc":
            function, old, new, size, usable = fields
            events.append(("realloc", function, int(old, 16), int(new, 16), int(size),
                           int(usable)))
        elif kind == "free":
            events.append(("free", fields[0], int(fields[1], 16)))
        elif kind == "failed":
            events.append(("failed", fields[0], int(fields[1])))
        else:
            live[int(fields[0], 16)] = int(fields[1])
    return events, live


def power_of_two(alignment):
    """What a trace can say of an alignment: the power of two that it asks for."""
    return 1 << (alignment - 1).bit_length() if alignment > 1 else 1


def traced(path):
    """The events between the marks, and the blocks live at the second."""
    events, live, inside = [], {}, False
    for line in support.analyze(path, "--dump=json").stdout.splitlines():
        event = json.loads(line)
        kind = event["type"]
        if kind == "mark":
            inside = event["kind"] == "begin"
        if not inside:
            continue
        if kind == "free":
            live.pop(int(event["address"], 16))
            events.append((kind, event["function"], int(event["address"], 16)))
        elif kind == "alloc":
            live[int(event["address"], 16)] = event["size"]
            events.append((kind, event["function"], int(event["address"], 16), event["size"],
                           event["usable"], event.get("alignment", 1)))
        elif kind == "realloc":
            live.pop(int(event["old_address"], 16))
            live[int(event["address"], 16)] = event["size"]
            events.append((kind, event["function"], int(event["old_address"], 16),
                           int(event["address"], 16), event["size"], event["usable"]))
        elif kind == "failed":
            events.append((kind, event["function"], event["size"]))
    return events, live




@pytest.mark.smoke
@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("name", ALLOCATORS)
def test_c_functions(tmp_path, name, sink):
    library, skip, _ = ALLOCATORS[name]
    argv = [PROGRAMS / "conform", *skip]
    # GIVEN what the program sees of the allocator alone
    plain = run_preloaded([library], argv)
    assert plain.returncode == 0 and plain.stdout.count("\n") > 300 and not plain.stderr, plain
    # WHEN the library lies above, not tracing and tracing
    forwarding = run_preloaded([LIBRARY, library], argv)
    done = run_preloaded([LIBRARY, library], argv, tmp_path / "t", sink,
                         CONFORM_LOG=tmp_path / "log")
    # THEN it sees the same
    assert forwarding.visible == plain.visible
    assert done.visible == plain.visible
    # and the trace has each call in its order with sizes, alignment and function
    expected, expected_live = account(tmp_path / "log")
    events, live = traced(tmp_path / "t")
    assert len(expected) > 200
    assert events == expected
    assert live == expected_live
    assert sorted(live.values()) == [17 * 8, 19 * 8, 21 * 8]
    assert support.report(tmp_path / "t", "--summary")["audit"]["complete"]


@pytest.mark.smoke
@pytest.mark.parametrize("name", ALLOCATORS)
def test_operators_new_and_delete(tmp_path, name):
    """An allocator's own operators do not call malloc: libstdc++'s, preloaded
    before them, do."""
    library, _, skip = ALLOCATORS[name]
    operators = library and "libstdc++.so.6"
    argv = [PROGRAMS / "conform_new", *skip]
    plain = run_preloaded([operators, library], argv)
    assert plain.returncode == 0 and plain.stdout.count("\n") > 25, plain
    assert skip or "new huge: throws std::bad_alloc after 3" in plain.stdout
    done = run_preloaded([LIBRARY, operators, library], argv, tmp_path / "t",
                         CONFORM_LOG=tmp_path / "log")
    assert done.visible == plain.visible
    expected, expected_live = account(tmp_path / "log")
    events, live = traced(tmp_path / "t")
    assert len(expected) == 26
    assert events == expected
    assert live == expected_live
    assert sorted(live.values()) == [99 * 8, 1024]
    audit = support.report(tmp_path / "t", "--summary")["audit"]
    assert audit["complete"] and not any(audit["truncated_stacks"].values())


@pytest.mark.parametrize("name", ["jemalloc", "tcmalloc", "mimalloc"])
def test_operators_of_an_allocator_are_said_to_be_unseen(tmp_path, name):
    library, skip_c, skip = ALLOCATORS[name]
    for program in (["conform_new", *skip], ["conform", *skip_c]):
        plain = run_preloaded([library], [PROGRAMS / program[0], *program[1:]])
        done = run_preloaded([LIBRARY, library], [PROGRAMS / program[0], *program[1:]],
                             tmp_path / "t")
        assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout)
        if program[0] == "conform":
            assert not done.stderr, "a C program has no operators"
            continue
        (line,) = done.stderr.splitlines()
        assert line.startswith("mlog: C++") and "libstdc++.so.6" in line and library in line
        assert support.report(tmp_path / "t", "--summary")["audit"]["lost_events"] == 0


def test_stacks_over_another_allocator_are_the_programs(tmp_path):
    """No frame of the allocator or of the library stands before the caller."""
    for name, (library, skip, _) in ALLOCATORS.items():
        done = run_preloaded([LIBRARY, library], [PROGRAMS / "conform", *skip], tmp_path / name)
        assert done.returncode == 0, done
        leaks = support.report(tmp_path / name, "--leaks")["leaks"]
        (entry,) = support.leaks_of(leaks, "do_posix_memalign")
        assert support.functions(entry)[:2] == ["do_posix_memalign", "main"], (name, entry)
        assert entry["bytes"] == 21 * 8


@pytest.mark.parametrize("case, ends, unmatched", [
    ("free-of-the-stack", "free(): invalid pointer", 1),
    ("double-free", "double free or corruption", 1),
    ("libc-malloc", "", 1),
])
@pytest.mark.parametrize("library", [None, "libc_malloc_debug.so.0"])
def test_frees_of_what_was_never_allocated(tmp_path, case, ends, unmatched, library):
    # GIVEN a program that ends as libc ends it, or calls behind the library's back
    argv = [PROGRAMS / "conform", "--only", case]
    plain = run_preloaded([library], argv)
    assert (plain.returncode != 0) == bool(ends), plain
    assert (ends and library and "free(): invalid pointer" or ends) in plain.stderr, plain
    # WHEN traced THEN it ends the same way
    done = run_preloaded([LIBRARY, library], argv, tmp_path / "t")
    assert done.visible == plain.visible
    # and the audit counts the free that has no allocation
    audit = support.report(tmp_path / "t", "--summary")["audit"]
    assert audit["unmatched_frees"] == unmatched
    assert not audit["complete"]
    # a block that ended unseen ends, at the latest, where its address begins another
    if not library: # which does not give an address out again so soon
        assert audit["order_repairs"] == (case == "libc-malloc")
    assert "1 free" in support.analyze(tmp_path / "t", "--summary").stdout


@pytest.mark.parametrize("case", ["pvalloc", "reallocarray"])
def test_functions_that_the_allocator_below_lacks(tmp_path, case):
    """They are libc's then, with us as without."""
    library = ALLOCATORS["jemalloc"][0]
    argv = [PROGRAMS / "conform", "--only", case]
    plain = run_preloaded([library], argv)
    for order in ([LIBRARY, library], [library, LIBRARY]):
        done = run_preloaded(order, argv)
        assert done.visible == plain.visible, order
    done = run_preloaded([LIBRARY, library], argv, tmp_path / "t")
    assert done.visible == plain.visible
    calls = support.report(tmp_path / "t", "--summary")["summary"]["calls"]
    assert calls[case] == (2 if case == "reallocarray" else 1)


def test_the_comparison_can_fail(tmp_path):
    """The account of another run is not this run's."""
    for name in "ab":
        run_preloaded([LIBRARY], [PROGRAMS / "conform", *(["pvalloc"] if name == "b" else [])],
                      tmp_path / name, CONFORM_LOG=tmp_path / f"log-{name}")
    kinds = [collections.Counter(e[1] for e in account(tmp_path / f"log-{name}")[0])
             for name in "ab"]
    assert kinds[0] != kinds[1]
    assert [e[:2] for e in traced(tmp_path / "a")[0]] != [e[:2] for e in
                                                        account(tmp_path / "log-b")[0]]
