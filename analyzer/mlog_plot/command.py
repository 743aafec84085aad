# SPDX-License-Identifier: MIT
"""The command line of mlog-plot. Exit status: 0 drawn, 1 it could not be, or only what
a damaged trace still holds (one line on standard error says why), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import stat
import sys

from . import environment, labels, model, report
from .errors import AnalyzerFailed, PlotError

FORMATS = ("pdf", "png", "svg")
FILTERS = {     # options that are handed to the analyser as they are
    "from": "T", "to": "T", "pid": "N", "tid": "N|GLOB", "min-size": "BYTES",
    "max-size": "BYTES", "min-age": "DURATION", "function": "REGEX", "module": "REGEX",
    "exclude": "REGEX"}
SMALLEST, LARGEST = 100.0, 2000.0    # millimetres


def length(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not SMALLEST <= value <= LARGEST:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a length in millimetres from {SMALLEST:.0f} to {LARGEST:.0f}")
    return value


def count(text: str) -> int:
    if not text.isdecimal() or not text.isascii():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of functions")
    return int(text)


def parser(version: str) -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="mlog-plot", allow_abbrev=False,
        description="Draw the heap of a traced program over time: bytes by function, blocks, "
                    "the peak.")
    options.add_argument("--version", action="version", version=f"mlog-plot {version}")
    options.add_argument("trace", metavar="TRACE", nargs="?",
                         help="trace that libmlog.so wrote; - reads standard input")
    options.add_argument("-o", "--output", metavar="FILE", required=True,
                         help="what to write; its extension chooses: .pdf, .png, .svg")
    options.add_argument("--from-json", metavar="FILE",
                         help="draw a report saved with mlog-analyze --json --summary --timeline "
                              "instead of a trace; - reads standard input")
    options.add_argument("--top", metavar="N", type=count, default=8,
                         help="functions with an area of their own (default 8; 0: all)")
    options.add_argument("--title", metavar="TEXT",
                         help="title (default: the program and its arguments)")
    options.add_argument("--width", metavar="MM", type=length, default=297.0,
                         help="width in millimetres (default 297, A4 landscape)")
    options.add_argument("--height", metavar="MM", type=length, default=210.0,
                         help="height in millimetres (default 210)")
    group = options.add_argument_group("only a part of the trace, as with mlog-analyze(1)")
    for name, value in FILTERS.items():
        group.add_argument(f"--{name}", metavar=value, dest=f"filter_{name}", action="append",
                           default=[])
    return options


def filters_of(options: argparse.Namespace) -> list[str]:
    return [f"--{name}={value}" for name in FILTERS
            for value in getattr(options, f"filter_{name}")]


def format_of(output: str) -> str:
    extension = os.path.splitext(output)[1].lower().removeprefix(".")
    if extension not in FORMATS:
        found = f"the extension .{extension}" if extension else "a name without extension"
        raise PlotError(f"{output}: {found} is not supported; use .pdf, .png or .svg")
    return extension


def is_input(output: str, source: str | None) -> bool:
    """Whether the file to write is the one to read, by whatever names."""
    try:
        written = os.stat(output)
        read = os.fstat(0) if source == "-" else os.stat(source) if source else None
    except OSError:
        return False
    return read is not None and os.path.samestat(written, read) and stat.S_ISREG(read.st_mode)


def draw(options: argparse.Namespace, analyze: str) -> bool:
    """Returns whether what was drawn is all of the trace."""
    file_format = format_of(options.output)
    directory = os.path.dirname(options.output) or "."
    if not os.path.isdir(directory):
        raise PlotError(f"{options.output}: there is no directory {directory}")
    if options.from_json is not None:
        contents, whole = report.from_file(options.from_json), True
    else:
        contents, whole = report.from_analyzer(analyze, options.trace, filters_of(options))
    heap = model.build(contents, options.top, options.title)
    environment.prepare()
    from . import chart     # after prepare: matplotlib looks for its directories when imported
    chart.save(heap, options.output, file_format, options.width / 25.4, options.height / 25.4)
    return whole


def main(analyze: str, version: str) -> int:
    options_parser = parser(version)
    options = options_parser.parse_args()
    if (options.trace is None) == (options.from_json is None):
        options_parser.error("give either a TRACE or --from-json FILE")
    if options.from_json is not None and filters_of(options):
        options_parser.error("a report is filtered already or not: give the filters to "
                             "mlog-analyze, which makes it")
    if is_input(options.output, options.trace or options.from_json):
        print(f"mlog-plot: {labels.printable(options.output)}: is what is to be read, and would be "
              "replaced: give -o another name", file=sys.stderr)
        return 2
    try:
        return 0 if draw(options, analyze) else 1
    except AnalyzerFailed as failure:
        return 2 if failure.wrong_usage else 1
    except PlotError as error:
        print(f"mlog-plot: {labels.printable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
