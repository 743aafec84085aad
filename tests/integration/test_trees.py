# SPDX-License-Identifier: MIT
"""Process trees of nasty and of real programs: all in one trace, each process
with its parent, nothing of ours where the program put its own."""
import os

import pytest

import support
from support import PROGRAMS

TIMES = 10 if os.environ.get("MLOG_TEST_LONG") else 1


def names(whole):
    return [process["executable"].rsplit("/", 1)[-1] for process in whole["processes"]]


def assert_one_tree(whole):
    """Every process but the first has its parent in the trace."""
    pids = {process["pid"] for process in whole["processes"]}
    orphans = [p for p in whole["processes"] if p["parent_pid"] not in pids]
    assert len(orphans) == 1, orphans


def leaked(path, function="leak"):
    """Size to count of the blocks that a function leaked, in all processes."""
    found = {}
    for entry in support.leaks_of(support.report(path, "--leaks")["leaks"], function):
        size = entry["bytes"] // entry["blocks"]
        found[size] = found.get(size, 0) + entry["blocks"]
    return found


def trees(tmp_path, what, sink, path):
    run = 'LD_PRELOAD=$LIB "$1" "$2" "$3" 1022>"$4"'
    if sink == "pipe":
        run = 'mkfifo "$4.fifo"; cat "$4.fifo" >"$4" & ' + run + \
              '.fifo; status=$?; wait; exit $status'
    done = support.bash(run, PROGRAMS / "trees", what, path, tmp_path / "t")
    whole = support.report(tmp_path / "t", "--summary")
    return done, whole, leaked(tmp_path / "t")


@pytest.mark.parametrize("sink", ["file", "pipe"])
@pytest.mark.parametrize("what, processes, output, leaks", [
    ("clone", 2, "done\n", {35 * 8: 2, 123 * 8: 3}), ("vfork", 1, "", {35 * 8: 1}),
    ("chain", 11, "", {37 * 8: 11}), ("raw", 2, "", {43 * 8: 2})])
def test_every_kind_of_child(tmp_path, sink, what, processes, output, leaks):
    if (what, sink) == ("raw", "pipe"):
        leaks = None  # what the parent has not delivered yet, the child cannot name
    done, whole, found = trees(tmp_path, what, sink, PROGRAMS / "churn")
    assert done.visible == (0, output, "")
    assert len(whole["processes"]) == processes
    assert_one_tree(whole)
    support.assert_sound(whole["audit"])
    assert leaks is None or found == leaks


@pytest.mark.parametrize("what", ["take", "range"])
def test_descriptors_taken_or_closed(tmp_path, what):
    """The file is found again by its name; the program's holds nothing of ours."""
    done, whole, found = trees(tmp_path, what, "file", tmp_path / "own")
    assert done.visible == (0, "", "")
    assert what != "take" or (tmp_path / "own").read_bytes() == b""
    assert found == {39 * 8: 2} and len(whole["processes"]) == 2
    support.assert_sound(whole["audit"])


@pytest.mark.parametrize("what", ["take", "range"])
def test_descriptors_of_a_pipe_taken_or_closed(tmp_path, what):
    """The pipe is lost with its descriptors: the program goes on, and its file
    holds nothing of ours."""
    done = support.bash('LD_PRELOAD=$LIB "$1" "$2" "$3" 1022> >(cat >/dev/null)',
                        PROGRAMS / "trees", what, tmp_path / "own")
    assert done.visible == (0, "", "")
    assert what != "take" or (tmp_path / "own").read_bytes() == b""


def test_a_cleared_environment_is_the_programs_wish(tmp_path):
    """env -i: what runs without LD_PRELOAD is not traced, the rest is."""
    done = support.bash('LD_PRELOAD=$LIB exec /bin/sh -c "env -i /bin/true; /bin/true; echo end" '
                        '1022>"$1"', tmp_path / "t")
    assert done.visible == (0, "end\n", "")
    whole = support.report(tmp_path / "t", "--summary")
    assert names(whole).count("true") == 1 and "env" in names(whole)
    support.assert_sound(whole["audit"])


def test_sessions_and_pid_namespaces(tmp_path):
    """Processes that are number 1 and 2 of their own count beside others."""
    script = 'LD_PRELOAD=$LIB exec /bin/sh -c "$1" 1022>"$2"'
    body = '''setsid -w "$0" 10; unshare -pf /bin/sh -c '"$0" 10; "$0" 10; exit 3' "$0"; echo $?'''
    done = support.bash(script + "", body.replace("$0", str(PROGRAMS / "churn")), tmp_path / "t")
    if "unshare" in done.stderr:
        pytest.skip("no right to make a namespace here")
    assert done.visible == (0, "done\n" * 3 + "3\n", "")
    whole = support.report(tmp_path / "t", "--summary")
    assert names(whole).count("churn") == 3
    assert {1, 2, 3} <= {process["pid"] for process in whole["processes"]}
    support.assert_sound(whole["audit"])
    assert leaked(tmp_path / "t") == {123 * 8: 9}


def test_make_of_a_small_project(tmp_path):
    """make, its shells, gcc, cc1, as, ld: each in the trace, none disturbed."""
    (tmp_path / "Makefile").write_text(
        "prog: a.o b.o c.o\n\t$(CC) -o $@ $^\n%.o: %.c\n\t@echo making $@; $(CC) -c -o $@ $<\n")
    (tmp_path / "a.c").write_text("int b(void), c(void);\nint main(void) { return b() + c(); }\n")
    (tmp_path / "b.c").write_text("int b(void) { return 4; }\n")
    (tmp_path / "c.c").write_text("int c(void) { return 1; }\n")
    script = 'cd "$1"; LD_PRELOAD=$LIB exec make -s -j2 CC=gcc 1022>"$2"'
    done = support.bash(script, tmp_path, tmp_path / "t")
    assert done.returncode == 0 and sorted(done.stdout.split("\n")) == \
        ["", "making a.o", "making b.o", "making c.o"] and done.stderr == "", done
    assert support.run([tmp_path / "prog"]).returncode == 5
    whole = support.report(tmp_path / "t", "--summary")
    assert names(whole).count("cc1") == 3 and names(whole).count("collect2") == 1
    assert_one_tree(whole)
    support.assert_sound(whole["audit"])


def test_a_configure_script(tmp_path):
    """What a configure script does all the time: here-documents, subshells, pipes,
    command substitution, sed and grep, a compiler. The file stays in bounds."""
    body = f'''set -e
        for i in $(seq {40 * TIMES}); do
            x=`(echo "checking $i" | sed 's/checking/check/') 2>/dev/null`
            cat >conftest.$i <<EOF
#define V$i "$x"
EOF
            grep -q "check $i" conftest.$i && rm -f conftest.$i
            (exit $((i % 2))) || :
        done; echo end'''
    script = 'cd "$1"; LD_PRELOAD=$LIB exec /bin/sh -c "$2" 1022>"$3"'
    done = support.bash(script, tmp_path, body, tmp_path / "t")
    assert done.visible == (0, "end\n", "")
    whole = support.report(tmp_path / "t", "--summary")
    for program in ("sed", "cat", "grep", "rm"):
        assert names(whole).count(program) == 40 * TIMES
    assert_one_tree(whole)
    support.assert_sound(whole["audit"])
    # a few pages for each process, and no more
    assert (tmp_path / "t").stat().st_size < len(whole["processes"]) * 32768 + (8 << 20)
