# SPDX-License-Identifier: MIT
"""Process trees: all in one trace, each process with its parent."""
import json
import shutil
import time

import pytest

import support
from support import PROGRAMS


def executables(whole):
    return [p["executable"].rsplit("/", 1)[-1] for p in whole["processes"]]


@pytest.mark.smoke
def test_every_way_to_start_a_child(tmp_path):
    # GIVEN a program that starts `churn 10` in six ways, once untraced
    done = support.trace([PROGRAMS / "spawn", PROGRAMS / "churn"], tmp_path / "t",
                         tmp_path / "oracle")
    assert done.visible == (0, "done\n" * 5, ""), done
    # WHEN traced THEN five of them are there, with their leaks
    whole, _ = support.assert_equals_oracle(tmp_path / "t", tmp_path / "oracle", peak=False)
    assert executables(whole).count("churn") == 5
    leaks = support.leaks_of(support.report(tmp_path / "t", "--leaks")["leaks"], "leak")
    assert sum(entry["blocks"] for entry in leaks) == 5 * 3
    # and each process but the first has a parent in the trace
    pids = {p["pid"] for p in whole["processes"]}
    orphans = [p for p in whole["processes"] if p["parent_pid"] not in pids]
    assert executables({"processes": orphans}) == ["spawn"]


def test_children_into_a_stream(tmp_path):
    script = '''mkfifo "$3"; cat "$3" >"$4" &
                LD_PRELOAD=$LIB "$1" "$2" 1022>"$3"; status=$?; wait; exit $status'''
    done = support.bash(script, PROGRAMS / "spawn", PROGRAMS / "churn", tmp_path / "fifo",
                        tmp_path / "t")
    assert done.visible == (0, "done\n" * 5, "")
    whole = support.report(tmp_path / "t", "--summary", "--leaks")
    assert executables(whole).count("churn") == 5
    leaks = support.leaks_of(whole["leaks"], "leak")
    assert sum(entry["blocks"] for entry in leaks) == 5 * 3
    support.assert_sound(whole["audit"])


def test_a_tree_into_the_file_of_mlog_out(tmp_path):
    """Without %p the processes share it: none truncates what another wrote."""
    env = support.clean_environment(MLOG_OUT=tmp_path / "t")
    done = support.bash('LD_PRELOAD=$LIB exec "$1" "$2"', PROGRAMS / "spawn",
                        PROGRAMS / "churn", env=env)
    assert done.visible == (0, "done\n" * 5, "")
    whole = support.report(tmp_path / "t", "--summary", "--leaks")
    assert executables(whole).count("churn") == 5
    leaks = support.leaks_of(whole["leaks"], "leak")
    assert sum(entry["blocks"] for entry in leaks) == 5 * 3


def test_a_tree_into_a_file_for_each(tmp_path):
    """With %p each program has a file; a fork stays with its parent's, which
    holds the stacks it inherits."""
    env = support.clean_environment(MLOG_OUT=tmp_path / "t.%p")
    done = support.bash('LD_PRELOAD=$LIB exec "$1" "$2"', PROGRAMS / "spawn",
                        PROGRAMS / "churn", env=env)
    assert done.visible == (0, "done\n" * 5, "")
    files = sorted(tmp_path.iterdir())
    assert len(files) == 6
    for file in files:
        whole = support.report(file, "--summary", "--leaks")
        assert int(file.name[2:]) in [p["pid"] for p in whole["processes"]]
        names = set(executables(whole))
        assert names == {"spawn"} or "churn" in names, names
        if "churn" in names:
            leaks = support.leaks_of(whole["leaks"], "leak")
            assert sum(entry["blocks"] for entry in leaks) == 3


def test_daemon(tmp_path):
    """Two forks, every descriptor closed: the last process is in the file."""
    done = support.trace([PROGRAMS / "daemon", tmp_path / "done"], tmp_path / "t")
    assert done.visible == (0, "", "")
    end = time.monotonic() + support.TIME_LIMIT
    while not (tmp_path / "done").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    whole = support.report(tmp_path / "t", "--summary", "--leaks")
    assert len(whole["processes"]) == 3
    leaks = support.leaks_of(whole["leaks"], "leak_in_daemon")
    assert sum(entry["bytes"] for entry in leaks) == 25 * 15 * 8


def test_a_script_of_hundreds_of_short_children(tmp_path):
    script = 'LD_PRELOAD=$LIB exec /bin/sh -c "$1" 1022>"$2"'
    body = "i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i + 1)); done; echo end"
    done = support.bash(script, body, tmp_path / "t")
    assert done.visible == (0, "end\n", "")
    whole = support.report(tmp_path / "t", "--summary")
    assert executables(whole).count("true") == 300
    support.assert_sound(whole["audit"])


def test_marks_and_the_public_header(tmp_path):
    # GIVEN a program that talks to the library, first without it
    assert support.run([PROGRAMS / "marks"]).visible == (0, "traced 0 errno 71\n", "")
    # WHEN traced THEN it knows, and its words are in the dump, in place
    done = support.trace([PROGRAMS / "marks"], tmp_path / "t")
    assert done.visible == (0, "traced 1 errno 71\n", "")
    rows = [json.loads(line) for line in
            support.analyze(tmp_path / "t", "--dump=json").stdout.splitlines()]
    said = [(row["type"], row.get("kind"), row.get("name"), row.get("size")) for row in rows
            if row["type"] in ("mark", "alloc")]
    assert said == [("mark", "point", "before", None), ("alloc", None, None, 17 * 8),
                    ("mark", "begin", 'span "quoted"', None), ("alloc", None, None, 19 * 8),
                    ("mark", "end", 'span "quoted"', None)]


def test_static_program_is_untouched(tmp_path):
    """The loader takes no part in it: it runs, untraced, and nothing hangs."""
    source = '#include <stdlib.h>\n#include <stdio.h>\n' \
             'int main(void) { free(malloc(10)); puts("static"); return 4; }\n'
    done = support.trace([support.compiled(tmp_path, "s", source, "-static")], tmp_path / "t")
    assert done.visible == (4, "static\n", "")
    # and mlog-analyze says why there is nothing, in one line
    support.refused(support.run([support.ANALYZE, tmp_path / "t"]), "empty")


def test_hundreds_of_processes_are_told_apart(tmp_path):
    """Keys made of pid and time alone were equal now and then."""
    done = support.bash('for i in $(seq 300); do LD_PRELOAD=$LIB "$1" 1 >/dev/null; done 1022>"$2"',
                        PROGRAMS / "churn", tmp_path / "t")
    assert done.stderr == ""
    whole = support.report(tmp_path / "t", "--summary", "--no-symbols")
    assert len(whole["processes"]) == 300
    assert whole["summary"]["calls"]["free"] == 300
    support.assert_sound(whole["audit"])


HOLD = """#include <stdlib.h>
#include <unistd.h>
static void *kept[64];
int main(int argc, char **argv)
{
    char byte;
    for (int i = 0; i < 64; i++) kept[i] = malloc(139 * 1000);
    if (write(1, "held\\n", 5) != 5) return 1;
    if (argc > 1) { execv(argv[1], argv + 1); return 2; }
    while (read(0, &byte, 1) > 0) ;
    for (int i = 0; i < 64; i++) free(kept[i]);
    return 0;
}
"""
# Two containers, each with a program of pid 1, which live at the same time.
CONTAINERS = '''contain() { LD_PRELOAD=$LIB exec unshare --pid --fork --kill-child "$@"; }
mkfifo "$2.1" "$2.2" "$2.said"; exec 9<>"$2.said"
(contain "$1" <"$2.1" >&9 1022>>"$2") & exec 7>"$2.1"; read -r _ <&9
(contain "$1" <"$2.2" >&9 1022>>"$2") & exec 8>"$2.2"; read -r _ <&9
exec 8>&-; wait $!; exec 7>&-; wait'''


@pytest.fixture
def hold(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no compiler here")
    (tmp_path / "hold.c").write_text(HOLD)
    built = support.run([compiler, "-O1", "-o", tmp_path / "hold", tmp_path / "hold.c"])
    assert built.returncode == 0, built
    return tmp_path / "hold"


def test_one_pid_in_two_containers_at_once(tmp_path, hold):
    """GIVEN two pid namespaces that trace into one file; WHEN both have a program of pid 1 with
    64 blocks at the same time; THEN the peak is that of both, nothing is a leak, and
    reports tell the two apart."""
    if support.run(["unshare", "--pid", "--fork", "true"]).returncode:
        pytest.skip("no pid namespace may be made here")
    support.bash(CONTAINERS, hold, tmp_path / "t")
    whole = support.report(tmp_path / "t", "--summary", "--leaks", "--per-process", "--threads")
    held = [p for p in whole["processes"] if p["pid"] == 1 and p["executable"] == str(hold)]
    assert len(held) == 2 and len({p["pid_namespace"] for p in held}) == 2
    assert whole["summary"]["peak_bytes"] >= 2 * 64 * 139 * 1000
    assert all(p["leaked_bytes"] == 0 for p in held)
    support.assert_sound(whole["audit"])
    text = support.analyze(tmp_path / "t", "--per-process", "--threads").stdout
    for process in held:
        assert text.count(f"1 in pid namespace {process['pid_namespace']}") == 3
    dumped = [json.loads(line) for line in
              support.analyze(tmp_path / "t", "--dump=json").stdout.splitlines()]
    blocks = [e for e in dumped if e["type"] == "alloc" and e["size"] == 139 * 1000]
    assert len({(e["pid"], e.get("process")) for e in blocks}) == 2
    chrome = json.loads(support.analyze(tmp_path / "t", "--export=chrome").stdout)
    heaps = {e["pid"] for e in chrome["traceEvents"] if e["name"] == "heap"
             and e["args"]["bytes"] >= 64 * 139 * 1000}
    assert len(heaps) == 2


def test_an_exec_in_a_container_ends_the_image_before(tmp_path, hold):
    """GIVEN a namespace's first process, which executes itself; THEN what its first image held
    is not counted with what the second holds."""
    if support.run(["unshare", "--pid", "--fork", "true"]).returncode:
        pytest.skip("no pid namespace may be made here")
    support.bash('exec env LD_PRELOAD=$LIB unshare --pid --fork "$1" "$1" 1022>"$2"', hold,
                 tmp_path / "t")
    whole = support.report(tmp_path / "t", "--summary")
    assert [p["pid"] for p in whole["processes"] if p["executable"] == str(hold)] == [1, 1]
    assert 64 * 139 * 1000 <= whole["summary"]["peak_bytes"] < 1.5 * 64 * 139 * 1000
    assert whole["audit"]["missing_programs"] == 0


def test_what_a_process_without_an_end_held_is_told_apart(tmp_path, hold):
    """GIVEN a process that ended with 3 leaks and one that was killed with 64 blocks; THEN what is
    never freed of the second is a number of its own."""
    script = '''exec 1022>"$1"; mkfifo "$1.in" "$1.out"; exec 8<>"$1.in" 9<>"$1.out"
                LD_PRELOAD=$LIB "$3" 10
                LD_PRELOAD=$LIB "$2" <&8 >&9 & read -r _ <&9; kill -9 $!; wait'''
    support.bash(script, tmp_path / "t", hold, PROGRAMS / "churn")
    summary = support.summary(tmp_path / "t")
    assert (summary["unended_bytes"], summary["unended_blocks"]) == (64 * 139 * 1000, 64)
    assert summary["leaked_blocks"] == 67
    text = support.analyze(tmp_path / "t", "--summary").stdout
    assert "8.48 MiB in 64 blocks alive in 1 process without an end in the trace" in text
