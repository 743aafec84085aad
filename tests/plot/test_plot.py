# SPDX-License-Identifier: MIT
"""mlog-plot: what is on the page, the three formats, and what it says when it
cannot draw. Most pages are drawn from reports made here; one comes all the way
from a trace. The command is analyzer/mlog-plot of the build directory.
"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("MLOG_BUILD") or os.environ.get("MLOG_BUILD_DIR") or ROOT / "build")
PLOT = BUILD / "analyzer" / "mlog-plot"
VECTORS = ROOT / "format" / "vectors"
sys.path[:0] = [str(ROOT / "analyzer"), str(VECTORS)]

from mlog_plot import labels, model, scales     # noqa: E402
from trace_writer import Trace                  # noqa: E402

KIB, MIB, GIB = 1024, 1 << 20, 1 << 30
MS, S = 1_000_000, 1_000_000_000
Report = dict[str, Any]


def report(points: int = 50, duration: int = 2 * S, peak: int = 12 * MIB, **changes: Any) -> Report:
    """A heap that rises to `peak` at 62 % of the time, in three functions and some more."""
    stacks = [{"label": name, "stack": 16 + i, "bytes": []}
              for i, name in enumerate(["grow_table", "_start", "read_file", "grow_table"])]
    rows = []
    for i in range(points):
        share = i / max(1, points - 1)
        height = share / 0.62 if share <= 0.62 else 1 - 0.9 * (share - 0.62) / 0.38
        total = int(0.97 * peak * height)
        for stack, part in zip(stacks, (0.4, 0.2, 0.1, 0.1)):
            stack["bytes"].append(int(total * part))
        rows.append({"time_ns": int(duration * share), "bytes": total, "blocks": total // 100,
                     "rss_bytes": None})
    made = {
        "schema": "mlog-report/1", "trace": {"path": "t"},
        "processes": [{"pid": 7, "executable": "/usr/bin/prog",
                       "arguments": ["prog", "--input", "a file"]}],
        "summary": {"peak_bytes": peak, "peak_time_ns": int(0.62 * duration),
                    "duration_ns": duration, "allocations": 4321, "allocated_bytes": 2 * peak,
                    "leaked_bytes": 123 * 8},
        "audit": {}, "timeline": {"points": rows, "stacks": stacks}}
    made.update(changes)
    return made


def plot(*arguments: str | Path, stdin: bytes | None = None,
         environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    run = subprocess.run([str(PLOT), *map(str, arguments)], input=stdin or b"",
                         capture_output=True, timeout=300, env=environment)
    return subprocess.CompletedProcess(run.args, run.returncode, run.stdout.decode(),
                                       run.stderr.decode())


def draw(made: Report, out: Path, *options: str, **more: Any) -> Path:
    """Draw it, quietly."""
    run = plot("--from-json", "-", "-o", out, *options, stdin=json.dumps(made).encode(), **more)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    return out


def text_of(pdf: Path) -> str:
    run = subprocess.run(["pdftotext", "-layout", str(pdf), "-"], capture_output=True, check=True)
    return run.stdout.decode()


def complaint(*arguments: str | Path, **more: Any) -> str:
    """The one line it says when it cannot draw."""
    run = plot(*arguments, **more)
    assert run.returncode == 1, run
    assert run.stdout == "" and run.stderr.count("\n") == 1 and run.stderr.endswith("\n"), run
    return run.stderr


# --- what is on the page ----------------------------------------------------------------------


def test_page_has_peak_units_functions_and_title(tmp_path: Path):
    text = text_of(draw(report(), tmp_path / "heap.pdf"))
    assert "peak 12.0 MiB at 1.24 s" in text
    assert "time since the start (s)" in text
    assert "prog --input 'a file'" in text
    assert "984 B never freed" in text
    rows = dict(re.findall(r"(\S+) +([0-9.]+ MiB)\s*$", text, re.MULTILINE))
    # Two stacks of one function are one area; the rest of the total is "other".
    assert rows["grow_table"] == "6.00 MiB"
    assert rows["_start"] == rows["other"] == "2.40 MiB"
    assert rows["read_file"] == "1.20 MiB"
    assert "Audit" not in text and "resident" not in text


@pytest.mark.parametrize("peak, duration, expected", [
    (700, 800, ["peak 700 B at 496 ns", "start (ns)"]),
    (100 * KIB, 30 * MS, ["peak 100.0 KiB at 18.6 ms", "start (ms)"]),
    (5 * GIB, 600 * S, ["peak 5.00 GiB at 6.2 min", "start (min)"]),
    (40 * GIB, 36000 * S, ["peak 40.0 GiB at 6.2 h", "start (h)"]),
])
def test_units_follow_the_data(tmp_path: Path, peak: int, duration: int, expected: list[str]):
    text = text_of(draw(report(peak=peak, duration=duration), tmp_path / "heap.pdf"))
    for words in expected:
        assert words in text


def test_audit_warnings_are_told(tmp_path: Path):
    made = report(audit={"warnings": ["17 events were lost", "the trace is cut"]})
    text = text_of(draw(made, tmp_path / "heap.pdf"))
    assert "Audit: 17 events were lost" in text and "the trace is cut" in text


@pytest.mark.parametrize("factor, words", [(1.3, "resident memory"),
                                           (40, "resident memory, right axis")])
def test_resident_memory(tmp_path: Path, factor: float, words: str):
    made = report()
    for point in made["timeline"]["points"][::5]:
        point["rss_bytes"] = int(factor * 12 * MIB)
    text = text_of(draw(made, tmp_path / "heap.pdf"))
    assert words in text and ("resident memory (MiB)" in text) == ("right axis" in words)


def test_leaks_are_marked_and_what_held_nothing_has_no_0_b(tmp_path: Path):
    """GIVEN a heap of which 984 bytes are never freed and a function that holds nothing at the
    peak, THEN the panel has a mark for the leaks and the column no "0 B"."""
    made = report()
    late = [0] * 50
    late[49] = 777
    made["timeline"]["stacks"].append({"label": "comes_late", "stack": 99, "bytes": late})
    text = text_of(draw(made, tmp_path / "heap.pdf"))
    assert text.count("984 B never freed") == 2     # below the title, and at its place
    assert re.search(r"comes_late +–", text) and not re.search(r"(?<!\d)0 B", text)
    made["summary"]["leaked_bytes"] = 0
    assert text_of(draw(made, tmp_path / "none.pdf")).count("never freed") == 1


@pytest.mark.parametrize("others, words", [
    (1, "prog --input 'a file'"), (2, "prog and 1 more process"), (3, "prog and 2 more processes")])
def test_the_title_names_the_process_that_held_the_memory(tmp_path: Path, others: int, words: str):
    """GIVEN a shell that starts the program, THEN the program is in the title."""
    made = report()
    shell = {"pid": 6, "executable": "/bin/bash", "arguments": ["bash", "-c", "prog"]}
    prog = made["processes"][0]
    made["processes"] = [prog] if others == 1 else [shell] * (others - 1) + [prog]
    made["per_process"] = [{"process": i, "peak_bytes": 1 + 5 * MIB * (one is prog)}
                           for i, one in enumerate(made["processes"])]
    text = text_of(draw(made, tmp_path / "heap.pdf"))
    assert words in text and "bash" not in text


def test_options_choose_title_functions_and_size(tmp_path: Path):
    pdf = draw(report(), tmp_path / "heap.pdf", "--title", "a $title$", "--top", "1",
               "--width", "200", "--height", "150")
    text = text_of(pdf)
    assert "a $title$" in text and "prog" not in text
    assert "grow_table" in text and "read_file" not in text and text.count("6.00 MiB") == 2
    info = subprocess.run(["pdfinfo", str(pdf)], capture_output=True, check=True).stdout.decode()
    width, height = map(float, re.findall(r"Page size: +([0-9.]+) x ([0-9.]+) pts", info)[0])
    assert abs(width - 200 / 25.4 * 72) < 0.1 and abs(height - 150 / 25.4 * 72) < 0.1


def test_pdf_is_one_a4_page_with_fonts_embedded_and_always_the_same(tmp_path: Path):
    one, two = draw(report(), tmp_path / "one.pdf"), draw(report(), tmp_path / "two.pdf")
    assert one.read_bytes() == two.read_bytes()
    info = subprocess.run(["pdfinfo", str(one)], capture_output=True, check=True).stdout.decode()
    assert re.search(r"^Pages: +1$", info, re.MULTILINE) and "(A4)" in info
    fonts = subprocess.run(["pdffonts", str(one)], capture_output=True, check=True)
    rows = fonts.stdout.decode().splitlines()[2:]
    assert rows and all(row.split()[-5] == "yes" for row in rows)
    images = subprocess.run(["pdfimages", "-list", str(one)], capture_output=True, check=True)
    assert len(images.stdout.splitlines()) == 2     # the heading: it is all vectors


def test_svg_parses_and_says_the_same(tmp_path: Path):
    tree = ElementTree.parse(draw(report(), tmp_path / "heap.svg"))
    text = "\n".join(tree.getroot().itertext())
    assert "peak 12.0 MiB at 1.24 s" in text and "_start" in text


def test_png_has_the_size_of_the_page(tmp_path: Path):
    data = draw(report(), tmp_path / "heap.PNG").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (int(297 / 25.4 * 160), int(210 / 25.4 * 160))


HOSTILE = ["$x^{2}$ \\frac", "<script>&amp;", "\x1b[31mred\x07", "\ud800 half", "日本語", "",
           "_hidden", "a" * 5000, "std::map<int, std::less<int> >::operator[](int const&)",
           "line\nfeed", "%d %s {0}"]


@pytest.mark.parametrize("extension", ["pdf", "svg", "png"])
def test_names_are_hostile(tmp_path: Path, extension: str):
    made = report()
    count = len(made["timeline"]["points"])
    made["timeline"]["stacks"] = [{"label": label, "stack": i, "bytes": [MIB // (i + 1)] * count}
                                  for i, label in enumerate(HOSTILE)]
    made["processes"] = [{"pid": 1, "executable": "/x/" + HOSTILE[2], "arguments": HOSTILE}]
    made["audit"] = {"warnings": HOSTILE}
    out = draw(made, tmp_path / f"heap.{extension}", "--top", "0")
    if extension == "svg":
        text = "\n".join(ElementTree.parse(out).getroot().itertext())
        assert "$x^{2}$ \\frac" in text and "<script>&amp;" in text and "\x1b" not in text


@pytest.mark.parametrize("points", [0, 1, 2, 1000])
def test_any_number_of_points(tmp_path: Path, points: int):
    made = report(points=points)
    if points == 0:
        made["summary"].update(peak_bytes=0, peak_time_ns=0, duration_ns=0)
    text = text_of(draw(made, tmp_path / "heap.pdf"))
    assert ("no heap events" in text) == (points == 0)
    assert ("peak 12.0 MiB" in text) == (points > 0)


def test_many_functions(tmp_path: Path):
    made = report(points=20)
    made["timeline"]["stacks"] = [{"label": f"f{i}", "stack": i, "bytes": [1000 - i] * 20}
                                  for i in range(300)]
    text = text_of(draw(made, tmp_path / "heap.pdf", "--top", "0"))
    assert re.search(r"\(\d+ more\)", text) and re.search(r"\bf0\b", text)


# --- from a trace -----------------------------------------------------------------------------


def one_thread_trace() -> bytes:
    """Rises to 100 blocks of 12,345 bytes at 1.5 ms and falls again."""
    trace = Trace()
    process = trace.process(55)
    definitions = process.definitions()
    definitions.process_record()
    definitions.text(1, b"/opt/robot/planner")
    definitions.text(3, b"planner\0--map\0")
    definitions.thread(1, 55)
    definitions.node(0, 0x1234, parent=0)
    definitions.write()
    events = process.events(1, 0)
    for i in range(100):
        events.alloc(500_000 + 10_000 * i, 0x10000 + 0x4000 * i, 12345, 16)
    for i in range(100):
        events.free(2_000_000 + 10_000 * i, 0x10000 + 0x4000 * i)
    events.write()
    end = process.definitions(base_time=4_000_000)
    end.process_end(4_000_000, "exit", 1, 0)
    end.write()
    return trace.bytes()


@pytest.mark.parametrize("through", ["a file", "standard input"])
def test_a_trace_is_drawn(tmp_path: Path, through: str):
    path = tmp_path / "trace"
    path.write_bytes(one_thread_trace())
    if through == "a file":
        run = plot(path, "-o", tmp_path / "heap.pdf")
    else:
        run = plot("-", "-o", tmp_path / "heap.pdf", stdin=path.read_bytes())
    assert (run.returncode, run.stderr) == (0, "")
    text = text_of(tmp_path / "heap.pdf")
    assert "peak 1.18 MiB at 1.49 ms" in text
    assert "planner --map" in text


@pytest.mark.parametrize("name", ["handover", "fork-and-exec", "empty-stream"])
def test_vectors_are_drawn(tmp_path: Path, name: str):
    run = plot(VECTORS / f"{name}.mlog", "-o", tmp_path / "heap.pdf")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert text_of(tmp_path / "heap.pdf")


def test_a_trace_that_stopped_early_is_drawn_with_a_warning(tmp_path: Path):
    run = plot(VECTORS / "records.mlog", "-o", tmp_path / "heap.pdf")
    assert run.returncode == 1 and "recording stopped" in run.stderr
    assert text_of(tmp_path / "heap.pdf")


def test_a_cut_trace_is_drawn_with_a_warning(tmp_path: Path):
    path = tmp_path / "trace"
    path.write_bytes(one_thread_trace()[:-200])
    run = plot(path, "-o", tmp_path / "heap.pdf")
    assert run.returncode == 1 and run.stderr.count("\n") == 1
    assert "Audit: " in text_of(tmp_path / "heap.pdf")


# --- what it says when it cannot --------------------------------------------------------------


def test_what_is_no_trace(tmp_path: Path):
    for path in (VECTORS / "text-file.bad", VECTORS / "empty-file.bad", tmp_path, tmp_path / "no"):
        message = complaint(path, "-o", tmp_path / "heap.pdf")
        assert path.name in message and "Traceback" not in message
    assert not (tmp_path / "heap.pdf").exists()


def test_outputs_that_cannot_be(tmp_path: Path):
    saved = tmp_path / "report.json"
    saved.write_text(json.dumps(report()))
    for name, words in (("heap.gif", ".gif is not supported; use .pdf, .png or .svg"),
                        ("heap", "without extension is not supported"),
                        ("no/heap.pdf", "there is no directory")):
        assert words in complaint("--from-json", saved, "-o", tmp_path / name)
    (tmp_path / "full.pdf").symlink_to("/dev/full")
    assert "No space left" in complaint("--from-json", saved, "-o", tmp_path / "full.pdf")
    (tmp_path / "directory.pdf").mkdir()
    assert "directory.pdf" in complaint("--from-json", saved, "-o", tmp_path / "directory.pdf")
    assert sorted(path.name for path in tmp_path.iterdir()) == \
        ["directory.pdf", "full.pdf", "report.json"]


@pytest.mark.parametrize("contents, words", [
    ("", "not a JSON report"), ("[1, 2]", "not a report of mlog-analyze"),
    ('{"schema": "mlog-report/1"}', 'no "timeline"'), ("[" * 100000, "not a JSON report"),
    (json.dumps(report(timeline={"points": [{"time_ns": "soon"}]})), "the report cannot be drawn"),
    (json.dumps(report(timeline={"points": 5})), "the report cannot be drawn"),
    (json.dumps(report(timeline={"points": report()["timeline"]["points"],
                                 "stacks": [{"label": "f", "bytes": [1]}]})),
     "the report cannot be drawn"),
    (json.dumps(report(processes=[7])), "the report cannot be drawn"),
], ids=["empty", "array", "schema only", "deep", "time", "points", "stack", "process"])
def test_reports_that_cannot_be_drawn(tmp_path: Path, contents: str, words: str):
    assert words in complaint("--from-json", "-", "-o", tmp_path / "heap.pdf",
                              stdin=contents.encode())


@pytest.mark.parametrize("arguments", [
    [], ["trace"], ["-o", "heap.pdf"], ["trace", "--from-json", "x", "-o", "heap.pdf"],
    ["trace", "-o", "heap.pdf", "--top", "-1"], ["trace", "-o", "heap.pdf", "--width", "nan"],
    ["trace", "-o", "heap.pdf", "--height", "1"], ["trace", "-o", "heap.pdf", "--nonsense"],
])
def test_wrong_usage(arguments: list[str]):
    run = plot(*arguments)
    assert run.returncode == 2 and run.stdout == "" and "usage: mlog-plot" in run.stderr


def test_an_existing_file_is_replaced_and_kept_on_failure(tmp_path: Path):
    out = tmp_path / "heap.pdf"
    out.write_text("old")
    complaint("--from-json", tmp_path / "missing", "-o", out)
    assert out.read_text() == "old"
    draw(report(), out)
    assert out.read_bytes().startswith(b"%PDF")
    umask = os.umask(0)
    os.umask(umask)
    assert out.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("home", [None, "/proc/nowhere", "read-only"])
def test_no_home_is_no_matter(tmp_path: Path, home: str | None):
    environment = {"PATH": os.environ["PATH"], "MPLBACKEND": "qt5agg", "TMPDIR": str(tmp_path)}
    if home is not None:
        environment["HOME"] = home
    if home == "read-only":
        (tmp_path / "home").mkdir(mode=0o555)
        environment["HOME"] = str(tmp_path / "home")
    draw(report(), tmp_path / "heap.pdf", environment=environment)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("mlog-plot")] == []


def test_a_matplotlibrc_cannot_disturb(tmp_path: Path):
    (tmp_path / "matplotlibrc").write_text("figure.dpi: 7\ntext.usetex: True\nfont.size: 90\n")
    environment = {**os.environ, "MPLCONFIGDIR": str(tmp_path)}
    one = draw(report(), tmp_path / "one.pdf", environment=environment)
    assert one.read_bytes() == draw(report(), tmp_path / "two.pdf").read_bytes()


# --- the parts --------------------------------------------------------------------------------


@pytest.mark.parametrize("top, unit, ticks", [
    (7, "B", ["0", "1", "2", "3", "4", "5", "6", "7"]), (1500, "B", ["0", "256"]),
    (3000, "KiB", ["0", "0.5"]), (100 * KIB, "KiB", ["0", "16"]), (1.9 * MIB, "KiB", ["0", "256"]),
    (13.9 * MIB, "MiB", ["0", "2", "4"]), (3 * GIB, "GiB", ["0", "0.5"]),
    (2 ** 70, "EiB", ["0", "128"])])
def test_byte_axis(top: float, unit: str, ticks: list[str]):
    axis = scales.byte_axis(top)
    assert axis.unit == unit and axis.labels[:len(ticks)] == ticks
    assert axis.ticks[-1] <= top and 4 <= len(axis.ticks) <= 9


@pytest.mark.parametrize("top, unit, ticks", [
    (1, "ns", ["0", "0.1"]), (950, "ns", ["0", "100"]), (4200, "µs", ["0", "0.5"]),
    (4.2 * S, "s", ["0", "0.5", "1"]), (119 * S, "s", ["0", "20"]), (150 * S, "min", ["0", "0.25"]),
    (3600 * S, "min", ["0", "10"]), (20000 * S, "h", ["0", "1"]), (1e20, "h", ["0", "5,000,000"])])
def test_time_axis(top: float, unit: str, ticks: list[str]):
    axis = scales.time_axis(top)
    assert axis.unit == unit and axis.labels[:len(ticks)] == ticks
    assert axis.ticks[-1] <= top * 1.000001 and 3 <= len(axis.ticks) <= 11


@pytest.mark.parametrize("top, ticks", [
    (1.1, ["0", "1"]), (12, ["0", "5", "10"]), (9000, ["0", "2,000"]),
    (60_000, ["0", "20 k", "40 k"]), (3_000_000, ["0", "1 M"])])
def test_count_axis(top: float, ticks: list[str]):
    assert scales.count_axis(top).labels[:len(ticks)] == ticks


@pytest.mark.parametrize("name, limit, expected", [
    ("malloc_wrapper", 20, "malloc_wrapper"),
    ("ns::f(int, std::vector<int> const&)", 20, "ns::f"),
    ("std::vector<std::pair<a, b> >::insert<c>(d)", 30, "std::vector<…>::insert<…>"),
    ("first::second::third::fourth", 20, "…::third::fourth"),
    ("operator<<(std::ostream&, x)", 12, "operat…&, x)"),
    ("abcdefghijklmnopqrstuvwxyz", 9, "abcd…wxyz"),
    ("(anonymous namespace)::f(int)", 11, "(anon…(int)"),
    ("unbalanced<<<", 40, "unbalanced<<<")])
def test_names_are_shortened_to_what_tells_them_apart(name: str, limit: int, expected: str):
    assert labels.function_name(name, lambda text: len(text) <= limit) == expected


def test_areas_add_up_to_the_total_and_the_peak_is_a_point():
    made = report(points=17)
    heap = model.build(made, 2, None)
    assert heap.peak is not None and heap.peak in zip(heap.times, heap.total)
    assert heap.times == sorted(heap.times)
    for i, total in enumerate(heap.total):
        assert abs(sum(area.values[i] for area in heap.areas) - total) < 1
    assert [area.rest for area in heap.areas] == [False, False, True]
    assert max(heap.total) == heap.peak[1]
