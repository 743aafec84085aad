# SPDX-License-Identifier: MIT
"""Flame graphs and plots, made from real traces as a user makes them."""
import re
import xml.etree.ElementTree

import pytest

import support
from support import PLOT, analyze, run

LEAKED = 5 * 123 * 8 + 3 * 7 * 41 + 11 * 13


def folded(path):
    rows = [line.rsplit(" ", 1) for line in path.read_text().splitlines()]
    return [(stack.split(";"), int(value)) for stack, value in rows]


def test_folded_leaks(trace, tmp_path):
    analyze(trace, "--flamegraph=leaks", "-o", tmp_path / "f.folded")
    rows = folded(tmp_path / "f.folded")
    assert sum(value for _, value in rows) == LEAKED
    (row,) = [r for r in rows if r[0][-1].startswith("leak_malloc")]
    assert row[1] == 5 * 123 * 8
    assert [frame for frame in row[0] if frame.startswith("main")], "outermost first"
    assert len({tuple(stack) for stack, _ in rows}) == len(rows), "a stack has one line"


def test_folded_allocations_and_peak(trace, tmp_path):
    summary = support.summary(trace)
    for what, total in (("allocations", summary["allocated_bytes"]),
                        ("peak", summary["peak_bytes"])):
        analyze(trace, f"--flamegraph={what}", "-o", tmp_path / "f.folded")
        assert sum(value for _, value in folded(tmp_path / "f.folded")) == total


@pytest.mark.parametrize("what", ["leaks", "peak", "allocations"])
def test_svg_is_well_formed_and_self_contained(trace, tmp_path, what):
    analyze(trace, f"--flamegraph={what}", "-o", tmp_path / "f.svg")
    text = (tmp_path / "f.svg").read_text()
    tree = xml.etree.ElementTree.fromstring(text)
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    assert "leak_malloc" in text or what == "peak"
    # Nothing is fetched from anywhere.
    assert not re.findall(r'(?:src|href)\s*=\s*["\'](?!#)[^"\']', text)
    assert "<script" in text, "it zooms and searches"


def test_flame_graph_of_an_unknown_kind(trace, tmp_path):
    done = run([support.ANALYZE, trace, "--flamegraph=leaks", "-o", tmp_path / "f.gif"])
    assert done.returncode != 0 and "gif" in done.stderr and not (tmp_path / "f.gif").exists()


def test_plot_pdf(trace, tmp_path):
    done = run([PLOT, trace, "-o", tmp_path / "heap.pdf"], cwd="/")
    assert done.returncode == 0 and done.stderr == "", done
    info = run(["pdfinfo", tmp_path / "heap.pdf"])
    assert re.search(r"^Pages: +[1-9]", info.stdout, re.M), info
    text = run(["pdftotext", tmp_path / "heap.pdf", "-"]).stdout
    assert "peak" in text.lower() and "blocks" in text.lower()
    assert re.search(r"time|second|\bm?s\b", text), text


@pytest.mark.parametrize("suffix, magic", [("png", b"\x89PNG\r\n\x1a\n"), ("svg", b"<?xml")])
def test_plot_other_kinds(trace, tmp_path, suffix, magic):
    out = tmp_path / f"heap.{suffix}"
    done = run([PLOT, trace, "-o", out])
    assert done.returncode == 0, done
    assert out.read_bytes().startswith(magic)


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.touch(), lambda p: p.mkdir(),
                                  lambda p: p.write_text("no trace\n" * 100)],
                         ids=["missing", "empty", "directory", "text"])
def test_plot_of_what_is_no_trace(tmp_path, make):
    make(tmp_path / "t")
    done = run([PLOT, tmp_path / "t", "-o", tmp_path / "heap.pdf"])
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done
    assert not (tmp_path / "heap.pdf").exists()


def test_plot_onto_a_full_disk(trace, tmp_path):
    (tmp_path / "heap.pdf").symlink_to("/dev/full")
    done = run([PLOT, trace, "-o", tmp_path / "heap.pdf"])
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done


@pytest.mark.parametrize("option", [[], ["--from-json"]])
def test_plot_onto_what_it_reads(trace, tmp_path, option):
    """GIVEN a trace, or a report, whose name would do for a picture, and another name of it
    WHEN a plot is to be written there
    THEN it is refused as wrong use, signed by the command that was called, and nothing is
    touched."""
    source = tmp_path / "t.png"
    source.write_bytes(trace.read_bytes())
    (tmp_path / "other.png").symlink_to(source)
    for output in (source, tmp_path / "other.png"):
        done = run([PLOT, *option, source, "-o", output])
        assert done.returncode == 2 and done.stderr == (
            f"mlog-plot: {output}: is what is to be read, and would be replaced: "
            "give -o another name\n"), done
    assert source.read_bytes() == trace.read_bytes()


def test_plot_with_another_python_first_on_the_path(trace, tmp_path):
    """A python3 without matplotlib on PATH does not matter."""
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "python3"
    fake.write_text("#!/bin/sh\necho wrong python >&2\nexit 9\n")
    fake.chmod(0o755)
    env = support.clean_environment()
    env["PATH"] = f"{tmp_path / 'bin'}:{env['PATH']}"
    done = run([PLOT, trace, "-o", tmp_path / "heap.pdf"], env=env)
    assert done.returncode == 0, done


@pytest.mark.parametrize("options", [
    ["-o", "{}"], ["--dump=text", "-o", "{}"], ["--flamegraph=leaks", "-o", "{}"],
    ["--export=csv={}"], ["--bundle", "{}"], ["--junit", "{}", "--fail-on", "leaked_bytes>0"],
    ["--sarif", "{}", "--fail-on", "leaked_bytes>0"], ["--follow", "-o", "{}"]])
def test_an_output_does_not_replace_the_trace_that_is_read(trace, tmp_path, options):
    """GIVEN an output that is the trace, also by another name WHEN asked for THEN it is
    refused as wrong usage, and the trace is as it was."""
    content = trace.read_bytes()
    own, linked, symbolic = (tmp_path / name for name in ("own", "linked", "symbolic"))
    own.write_bytes(content)
    linked.hardlink_to(own)
    symbolic.symlink_to(own)
    for name in (own, linked, symbolic):
        done = support.run([support.ANALYZE, own, *(o.format(name) for o in options)])
        assert (done.returncode, done.stdout) == (2, ""), done
        assert len(done.stderr.splitlines()) == 1 and "another name" in done.stderr
        assert own.read_bytes() == content and symbolic.is_symlink()


def test_an_output_does_not_replace_what_is_compared_or_comes_by_redirection(trace, tmp_path):
    """GIVEN an output that is the old side, the baseline or standard input THEN likewise."""
    content = trace.read_bytes()
    own = tmp_path / "own"
    own.write_bytes(content)
    for arguments in (["--diff", own, trace, "-o", own],
                      [trace, "--baseline", own, "--fail-on", "peak_bytes>+5%", "-o", own]):
        assert support.run([support.ANALYZE, *arguments]).returncode == 2
    done = support.bash('"$1" - -o "$2" <"$2"', support.ANALYZE, own)
    assert done.returncode == 2
    assert own.read_bytes() == content
