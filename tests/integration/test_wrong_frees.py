# SPDX-License-Identifier: MIT
"""Frees of what was no live block, by name. The allocator of most tests takes no
notice of frees, so that a program goes on behind its mistake; glibc's aborts."""
import json
import re
import signal
import sys
import xml.etree.ElementTree as xml

import pytest

import support
from support import PROGRAMS, analyze, functions

sys.path.insert(0, str(support.ROOT / "format" / "vectors"))
from trace_writer import Trace          # noqa: E402
from vectors_items import program       # noqa: E402

PROGRAM = PROGRAMS / "wrong_frees"


def trace(path, *what, allocator=PROGRAMS / "toy_allocator.so", sink='1022>"$t"', **env):
    script = f't=$1 a=$2; shift 2; LD_PRELOAD="$LIB $a" exec "$@" {sink}'
    return support.bash(script, path, allocator, PROGRAM, *what,
                        env=support.clean_environment(**env))


def cases(path, *args):
    whole = json.loads(analyze(path, "--json", "--wrong-frees", *args).stdout)
    return whole["wrong_frees"], whole


def calls(case):
    """What happened to the block: the innermost function of each call, or None."""
    return [(call["what"], call["stack"] and functions(call)[0]) for call in case["calls"]]


def test_a_second_free_names_allocation_first_and_second(tmp_path):
    # GIVEN a program that frees a block twice WHEN it is traced with stacks of frees
    trace(tmp_path / "t", "second", MLOG_FREE_STACKS=1)
    # THEN all three calls have their stack, the frees those of the program
    found, whole = cases(tmp_path / "t")
    assert (found["frees"], found["places"], found["certain"], found["doubt"]) == (1, 1, True, None)
    (one,) = found["list"]
    assert (one["kind"], one["size"], one["function"], one["aborted"]) == \
        ("second", 123 * 8, "free", False)
    assert one["address"] == one["block"]
    assert calls(one) == [("allocated", "make_block"), ("freed first", "free_first"),
                          ("freed again", "free_again")]
    assert all(functions(call)[1:3] == ["second", "main"] for call in one["calls"])
    assert whole["summary"]["wrong_frees"] == 1 == whole["audit"]["unmatched_frees"]


def test_by_default_frees_have_no_stack_and_the_report_says_what_gives_them_one(tmp_path):
    trace(tmp_path / "t", "second")
    found, _ = cases(tmp_path / "t")
    assert calls(found["list"][0]) == [("allocated", "make_block"), ("freed first", None),
                                       ("freed again", None)]
    text = analyze(tmp_path / "t", "--wrong-frees").stdout
    assert "free of a block that had been freed, 984 B at 0x" in text
    assert "frees have no stack unless MLOG_FREE_STACKS=1 asks for it" in text
    # Not to who has asked.
    trace(tmp_path / "t", "second", MLOG_FREE_STACKS=1)
    assert "MLOG_FREE_STACKS" not in analyze(tmp_path / "t", "--wrong-frees").stdout


def test_every_kind_has_its_name(tmp_path):
    trace(tmp_path / "t", "inside", "never", "resize", "many", MLOG_FREE_STACKS=1)
    found, _ = cases(tmp_path / "t")
    assert found["frees"] == 6 and found["places"] == 4 == len(found["list"])
    by_kind = {(c["kind"], c["function"]): c for c in found["list"]}
    inside = by_kind["inside", "free"]
    assert int(inside["address"], 16) - int(inside["block"], 16) == 64
    assert inside["size"] == 124 * 8
    assert calls(inside) == [("allocated", "make_block"), ("freed wrongly", "free_inside")]
    never = by_kind["never given out", "free"]
    assert never["block"] is None and calls(never) == [("freed wrongly", "free_never")]
    resized = by_kind["second", "realloc"]
    assert resized["size"] == 125 * 8
    assert calls(resized) == [("allocated", "make_block"), ("freed first", "free_first"),
                              ("freed again", "resize_freed")]
    # Those alike are one entry, and the most frequent comes first.
    assert found["list"][0] == by_kind["second", "free"]
    assert found["list"][0]["frees"] == 3


@pytest.mark.parametrize("sink", ['1022>"$t"', '1022> >(cat >"$t")'])
def test_where_glibc_aborts_the_free_has_its_stack_without_being_asked(tmp_path, sink):
    # GIVEN a program whose mistake the C library finds WHEN it is traced as usual
    plain = support.bash('exec "$1" second', PROGRAM)
    done = trace(tmp_path / "t", "second", allocator="", sink=sink)
    # THEN it ends as it would, and the trace, also a stream, tells who freed wrongly
    assert done.visible == plain.visible and done.returncode == -signal.SIGABRT
    if "cat" in sink:
        support.bash("while pgrep -f 'cat >\"$1\"' >/dev/null; do sleep 0.1; done", tmp_path / "t")
    found, whole = cases(tmp_path / "t")
    (one,) = found["list"]
    assert one["aborted"] and calls(one) == \
        [("allocated", "make_block"), ("freed first", None), ("freed again", "free_again")]
    assert whole["audit"]["unended_processes"] == 0
    assert ", which aborted there" in analyze(tmp_path / "t", "--wrong-frees").stdout


def test_an_abort_without_a_wrong_free_is_none(tmp_path):
    done = trace(tmp_path / "t", "abort", allocator="")
    assert done.returncode == -signal.SIGABRT
    found, whole = cases(tmp_path / "t")
    assert found["frees"] == 0 and found["list"] == []
    assert whole["audit"]["complete"]


HANDLES = """
import os, signal, sys
def handler(number, frame):
    print("handled", number)
print(signal.getsignal(signal.SIGABRT))
print(signal.signal(signal.SIGABRT, handler))
os.kill(os.getpid(), signal.SIGABRT)
print(signal.getsignal(signal.SIGABRT) is handler)
signal.signal(signal.SIGABRT, signal.SIG_IGN)
os.kill(os.getpid(), signal.SIGABRT)
print(signal.signal(signal.SIGABRT, signal.SIG_DFL))
sys.stdout.flush()
if os.fork() == 0:
    os.kill(os.getpid(), signal.SIGABRT)
print(os.wait()[1])
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGABRT)
"""


def test_the_program_has_its_own_view_of_sigabrt(tmp_path):
    # GIVEN a program that sets, asks for, ignores and dies of SIGABRT
    plain = support.bash('exec /usr/bin/python3 -c "$1"', HANDLES)
    # WHEN traced THEN all that it sees, and how it ends, is the same
    traced = support.bash('LD_PRELOAD=$LIB exec /usr/bin/python3 -c "$1" 1022>"$2"', HANDLES,
                          tmp_path / "t")
    assert plain.returncode == -signal.SIGABRT and "handled 6" in plain.stdout
    assert traced.visible == plain.visible


def test_a_child_may_free_its_copy_and_only_once(tmp_path):
    trace(tmp_path / "t", "child", MLOG_FREE_STACKS=1)
    assert cases(tmp_path / "t")[0]["frees"] == 0
    trace(tmp_path / "t", "child-again", MLOG_FREE_STACKS=1)
    (one,) = cases(tmp_path / "t")[0]["list"]
    assert (one["kind"], one["size"]) == ("second", 126 * 8)
    assert calls(one) == [("allocated", "make_block"), ("freed first", "free_first"),
                          ("freed again", "free_again")]
    made, first, again = (call["pid"] for call in one["calls"])
    assert made != first == again, "the parent allocated, the child freed twice"


def test_the_usual_report_has_them_on_top_a_pipe_too(tmp_path):
    trace(tmp_path / "t", "second")
    text = analyze(tmp_path / "t").stdout
    assert text.index("freed wrongly") < text.index("Wrong frees\n") < text.index("Summary\n")
    assert "allocated after" in text.split("Wrong frees")[1].split("Summary")[0]
    # A pipe is read once: unasked, what came before is not known.
    piped = support.bash('cat "$1" | "$2" - --json', tmp_path / "t", support.ANALYZE)
    (one,) = json.loads(piped.stdout)["wrong_frees"]["list"]
    assert one["kind"] == "unmatched" and calls(one) == [("freed wrongly", None)]
    piped = support.bash('cat "$1" | "$2" - --json --wrong-frees', tmp_path / "t", support.ANALYZE)
    assert json.loads(piped.stdout)["wrong_frees"] == cases(tmp_path / "t")[0]


def test_none_is_said_when_asked_and_nothing_when_not(tmp_path):
    trace(tmp_path / "t", "child")
    assert "None: every free is of a live block." in analyze(tmp_path / "t", "--wrong-frees").stdout
    assert "Wrong frees" not in analyze(tmp_path / "t").stdout


def made_trace(path, *, losses):
    made = Trace(minor=3)
    process, definitions = program(made)
    definitions.write()
    events = process.events(1, 14)
    events.alloc(15, 0x5000, 123 * 8, 19)
    events.free(16, 0x5000)
    events.free(17, 0x5000)
    if losses:
        events.loss(18, 1, 7, 1)
    events.process_end(20, "exit", 1, 0)
    events.write()
    path.write_bytes(made.bytes())
    return path


def test_nobody_is_blamed_where_events_are_missing(tmp_path):
    # GIVEN two traces that are alike, but that of one some events were lost
    whole, lossy = (made_trace(tmp_path / str(n), losses=n) for n in (0, 1))
    # WHEN they are reported THEN one says who is wrong, the other "perhaps", and why
    found, report = cases(whole)
    assert found["certain"] and report["summary"]["wrong_frees"] == 1
    found, report = cases(lossy)
    assert (found["certain"], found["doubt"], found["frees"], report["summary"]["wrong_frees"]) \
        == (False, "events were lost while recording", 1, 0)
    text = analyze(lossy, "--wrong-frees").stdout
    assert "1 free of what was no live block, perhaps: events were lost" in " ".join(text.split())
    analyze(lossy, "--sarif", tmp_path / "s.json", "-o", tmp_path / "r")
    assert "wrong-free" not in (tmp_path / "s.json").read_text()


def test_a_process_that_freed_wrongly_keeps_its_stacks(tmp_path):
    """GIVEN a child that aborted in a second free, and a parent that goes on for seconds, after
    which processes are given up; WHEN the usual report is made; THEN the stack of the abort
    is there, from the caller of the C library on."""
    made = Trace(minor=3)
    parent, definitions = program(made)
    definitions.write()
    child = made.process(1001, parent=parent)
    of_child = child.definitions()
    of_child.process_record(start=22, fork_time=20, inherited_nodes=20, inherited_modules=3)
    of_child.thread(1, 1001, time=22)
    node = of_child.node(1, 0x1777, id=20, parent=19)
    of_child.node(2, 0x2221)
    raised = of_child.node(2, 0x2222)
    of_child.write()
    events = child.events(1, 25)
    events.alloc(26, 0x5000, 123 * 8, node)
    events.free(27, 0x5000)
    events.free(28, 0x5000)
    events.stack_of(2, raised)
    events.process_end(29, "abort", 4, 0)
    events.write()
    later = parent.events(1, 30)
    for second in range(1, 9):
        later.alloc(second * 10 ** 9, 0x9000 + 0x100 * second, 8, 19)
        later.mark(second * 10 ** 9, "point", "a run ends here")
    later.process_end(9 * 10 ** 9, "exit", 1, 0)
    later.write()
    (tmp_path / "t").write_bytes(made.bytes())
    usual = analyze(tmp_path / "t").stdout.split("Wrong frees")[1].split("Summary")[0]
    assert usual == \
        analyze(tmp_path / "t", "--wrong-frees").stdout.split("Wrong frees")[1].split("Audit")[0]
    assert usual.count("+0x1777") == 4 and "+0x2222" not in usual, usual


def test_the_gate_and_its_files(tmp_path):
    trace(tmp_path / "t", "many", "never", MLOG_FREE_STACKS=1)
    trace(tmp_path / "clean", "child")
    files = ["--junit", tmp_path / "j.xml", "--sarif", tmp_path / "s.json"]
    analyze(tmp_path / "clean", "--fail-on", "wrong_frees>0", *files)
    assert len(json.loads((tmp_path / "s.json").read_text())["runs"][0]["tool"]["driver"]
               ["rules"]) == 1
    done = analyze(tmp_path / "t", "--fail-on", "wrong_frees>0", *files, status=3)
    assert "wrong_frees is 4, allowed is at most 0" in done.stderr
    text = xml.parse(tmp_path / "j.xml").getroot().find(".//system-out").text
    assert re.search(r"free of a block that had been freed, 984 B at 0x[0-9a-f]+\n"
                     r"  allocated by:\n  make_block .*\n(  .*\n)+  freed first by:\n  free_first "
                     r".*\n(  .*\n)+  freed wrongly by:\n  free_again ", text), text
    run = json.loads((tmp_path / "s.json").read_text())["runs"][0]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["heap-leak", "wrong-free"]
    wrong = [r for r in run["results"] if r["ruleId"] == "wrong-free"]
    assert [r["properties"]["frees"] for r in wrong] == [3, 1]
    assert all(r["ruleIndex"] == 1 and r["level"] == "error" for r in wrong)
    assert [s["message"]["text"] for s in wrong[0]["stacks"]] == \
        ["allocated here", "freed first here", "freed wrongly here"]
    place = wrong[0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("wrong_frees.c")


def test_stacks_of_frees_change_nothing_else(tmp_path):
    # GIVEN programs of several threads and processes WHEN frees have stacks
    for name, args in (("threads", [4, 400]), ("functions", [])):
        support.trace([PROGRAMS / name, *args], tmp_path / "t", tmp_path / name,
                      env=support.clean_environment(MLOG_FREE_STACKS=1))
        # THEN the trace counts what the oracle does, and every free has one
        whole, _ = support.assert_equals_oracle(tmp_path / "t", tmp_path / name, peak=False)
        support.assert_sound(whole["audit"])
        lines = analyze(tmp_path / "t", "--dump=json").stdout.splitlines()
        types = [json.loads(line)["type"] for line in lines]
        assert types.count("stack") == types.count("free") > 0
