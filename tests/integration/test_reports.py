# SPDX-License-Identifier: MIT
"""mlog-analyze's reports and options on a trace of known content."""
import json
import re

import support
from support import PROGRAMS, analyze, run

SUMMARY = ("calls allocations frees reallocations allocated_bytes freed_bytes leaked_bytes "
           "leaked_blocks peak_bytes peak_blocks peak_time_ns temporary duration_ns threads "
           "stacks events").split()
FRAME = "address module build_id offset function file line inlined".split()


def test_json_keeps_its_contract(trace):
    whole = support.report(trace, "--summary", "--leaks", "--peak", "--allocations",
                           "--timeline")
    assert whole["schema"] == "mlog-report/1"
    assert whole["trace"]["path"] == str(trace)
    assert not [name for name in SUMMARY if name not in whole["summary"]]
    (process,) = whole["processes"]
    assert process["executable"] == str(PROGRAMS / "functions")
    assert {"pid", "parent_pid", "arguments", "start", "end"} <= set(process)
    for what in ("leaks", "peak", "allocations"):
        for entry in whole[what]:
            assert {"bytes", "blocks", "calls", "stack"} <= set(entry)
            for frame in entry["stack"]:
                assert not [name for name in FRAME if name not in frame], frame
                assert re.fullmatch("0x[0-9a-f]+", frame["address"])
    assert whole["timeline"]


def test_sums_agree(trace):
    whole = support.report(trace, "--summary", "--leaks", "--peak", "--allocations")
    summary = whole["summary"]
    for what, total, count in (("leaks", "leaked_bytes", "leaked_blocks"),
                               ("peak", "peak_bytes", "peak_blocks")):
        assert sum(entry["bytes"] for entry in whole[what]) == summary[total]
        assert sum(entry["blocks"] for entry in whole[what]) == summary[count]
    assert sum(e["bytes"] for e in whole["allocations"]) == summary["allocated_bytes"]
    assert sum(e["calls"] for e in whole["allocations"]) == summary["allocations"]
    assert summary["allocated_bytes"] - summary["freed_bytes"] == summary["leaked_bytes"]
    assert summary["allocations"] - summary["frees"] == summary["leaked_blocks"]


def test_timeline_ends_with_what_is_leaked(trace):
    whole = support.report(trace, "--summary", "--timeline")
    text = json.dumps(whole["timeline"])
    assert str(whole["summary"]["peak_bytes"]) in text
    assert str(whole["summary"]["leaked_bytes"]) in text


def test_temporary_blocks(tmp_path):
    """Freed before their thread made another allocation: all of churn's pairs."""
    support.trace([PROGRAMS / "churn", 77], tmp_path / "t")
    assert support.summary(tmp_path / "t")["temporary"] == 77


def test_without_an_option_everything_needed_is_there(trace):
    text = analyze(trace).stdout
    assert "leak_malloc" in text and "functions.c" in text
    for number in (5 * 123 * 8,):
        assert f"{number:,}" in text or str(number) in text or "4.8" in text or "4.9" in text
    assert "libmlog.so" not in text


def test_top(trace):
    every = len(support.report(trace, "--leaks")["leaks"])
    assert every == 3
    for top, expected in ((1, 1), (2, 2), (0, every), (100, every)):
        got = json.loads(analyze(trace, "--leaks", "--json", "--top", str(top)).stdout)["leaks"]
        assert len(got) == expected
    assert json.loads(analyze(trace, "--leaks", "--json", "--top=1").stdout)["leaks"]
    assert run([support.ANALYZE, trace, "--top", "many"]).returncode != 0


def test_sort(tmp_path):
    # GIVEN few large blocks and many small ones
    support.trace([PROGRAMS / "churn", 10], tmp_path / "t")

    def order(*options):
        out = analyze(tmp_path / "t", "--allocations", "--json", "--top", "0", *options).stdout
        return [support.functions(entry)[0] for entry in json.loads(out)["allocations"]]

    # 5 of 3000 bytes, 5 of 100, 3 of 984
    assert order("--sort", "bytes") == ["site_two", "leak", "site_one"]
    by_calls = order("--sort", "calls,bytes")
    assert by_calls == ["site_two", "site_one", "leak"]
    assert order() == order("--sort", "bytes")
    assert run([support.ANALYZE, tmp_path / "t", "--sort", "colour"]).returncode != 0


def test_report_into_a_file(trace, tmp_path):
    done = analyze(trace, "--summary", "--json", "-o", tmp_path / "r.json")
    assert done.stdout == ""
    assert json.loads((tmp_path / "r.json").read_text())["summary"]["leaked_blocks"] == 9


def test_dump_text_has_the_old_grammar(tmp_path):
    support.trace([PROGRAMS / "churn", 2], tmp_path / "t")
    lines = analyze(tmp_path / "t", "--dump=text").stdout.splitlines()
    assert any(line.startswith("# PID ") for line in lines)
    assert any(line.startswith("# EXE ") and line.endswith("/churn") for line in lines)
    assert any(line.startswith("# CWD ") for line in lines)
    assert "# MAPS" in [line.strip() for line in lines]
    starts = [line for line in lines if line.startswith("+ ")]
    words = [line.split()[1] for line in starts]
    assert words == ["INIT", "malloc", "free", "malloc", "free", "malloc", "malloc", "malloc",
                     "FINI"]
    assert all(re.fullmatch(r"\+ [\w-]+ -?\d+ 0x[0-9a-f]+", line) for line in starts[:-1])
    assert starts[0] == "+ INIT 0 0x0"
    assert re.match(r"\+ malloc 100 0x[0-9a-f]+", starts[1])
    assert re.match(r"\+ free -?\d+ 0x[0-9a-f]+", starts[2])
    assert starts[1].split()[3] == starts[2].split()[3], "the same block"
    assert sum(line.startswith("-") for line in lines) == len(starts)


def test_dump_text_has_marks_at_their_places(tmp_path):
    """GIVEN marks around blocks; THEN their texts stand between these, in lines with #."""
    support.trace([PROGRAMS / "marks"], tmp_path / "t")
    for options, more in ((), 0), (("--min-size", "136"), 1):
        lines = analyze(tmp_path / "t", "--dump=text", *options).stdout.splitlines()
        told = [line.rsplit(" 0x")[0] for line in lines
                if re.match(r"# (MARK|BEGIN|END) |\+ malloc 1(36|52) ", line)]
        assert told == ["# MARK before", "+ malloc 136", '# BEGIN span "quoted"',
                        "+ malloc 152", '# END span "quoted"'][more:]


def test_dump_json_is_lines_of_json(tmp_path):
    support.trace([PROGRAMS / "functions"], tmp_path / "t")
    rows = [json.loads(line) for line in
            analyze(tmp_path / "t", "--dump=json").stdout.splitlines()]
    sizes = [row.get("size") for row in rows]
    assert sizes.count(984) == 5 and sizes.count(287) == 3


def test_trace_in_another_folder_than_its_program(trace, tmp_path):
    """Symbols are found whatever the working directory."""
    done = run([support.ANALYZE, trace, "--leaks"], cwd="/")
    assert done.returncode == 0 and "leak_malloc" in done.stdout


def test_program_that_is_gone(tmp_path):
    """Without the executable there are still modules and offsets, and a word
    in the audit; no crash."""
    gone = tmp_path / "gone"
    gone.write_bytes((PROGRAMS / "churn").read_bytes())
    gone.chmod(0o755)
    support.trace([gone, 10], tmp_path / "t")
    gone.unlink()
    whole = support.report(tmp_path / "t", "--leaks")
    frame = whole["leaks"][0]["stack"][0]
    assert frame["module"] == str(gone) and frame["function"] is None
    assert whole["audit"]["unresolved_frames"] > 0


def test_program_that_was_rebuilt_is_not_believed(tmp_path):
    """A file with another build-id at the same path is never used."""
    program = tmp_path / "program"
    program.write_bytes((PROGRAMS / "churn").read_bytes())
    program.chmod(0o755)
    support.trace([program, 10], tmp_path / "t")
    program.write_bytes((PROGRAMS / "functions").read_bytes())
    whole = support.report(tmp_path / "t", "--leaks")
    assert whole["leaks"][0]["stack"][0]["function"] is None
    text = analyze(tmp_path / "t", "--leaks")
    assert "build" in (text.stdout + text.stderr).lower()


def test_text_stacks_end_at_main(trace):
    # GIVEN stacks that go on to _start in JSON
    assert support.functions(support.report(trace, "--leaks")["leaks"][0])[-1] == "_start"
    # WHEN shown to a person THEN what calls main is left out
    text = analyze(trace, "--leaks").stdout
    assert " main " in text and "_start" not in text and "libc_start" not in text
