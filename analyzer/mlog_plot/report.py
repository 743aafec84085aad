# SPDX-License-Identifier: MIT
"""Obtains the analyser's report: runs mlog-analyze, or reads a report that was
saved. Callers get a dict that has the parts a plot needs, or a PlotError.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

from .errors import AnalyzerFailed, PlotError

SCHEMA = "mlog-report/"
REPORTS = ["--json", "--summary", "--timeline", "--peak", "--per-process"]
WRONG_USAGE = 2     # the analyser's exit status
SIGNED = "mlog-plot"    # argv[0]: with which the analyser signs its messages


def from_analyzer(analyze: str, trace: str, filters: list[str]) -> tuple[dict[str, Any], bool]:
    """The report on a trace, and whether the analyser found the trace whole. Filters are
    options of the analyser.

    Of a damaged trace there is a report on what could be read. The analyser's own messages go
    straight to standard error.
    """
    try:
        run = subprocess.run([SIGNED, *REPORTS, *filters, "--", trace], executable=analyze,
                             stdout=subprocess.PIPE, check=False)
    except OSError as error:
        raise PlotError(f"cannot run {analyze}: {error.strerror}") from None
    if run.returncode < 0:
        name = signal.Signals(-run.returncode).name
        raise PlotError(f"{analyze} was killed by {name}")
    if run.returncode and not run.stdout:
        raise AnalyzerFailed(f"{analyze} ended with status {run.returncode}",
                             wrong_usage=run.returncode == WRONG_USAGE)
    return parse(run.stdout, analyze), run.returncode == 0


def from_file(path: str) -> dict[str, Any]:
    """A report saved with `mlog-analyze --json --summary --timeline -o FILE`; "-" reads stdin."""
    try:
        if path == "-":
            return parse(sys.stdin.buffer.read(), "standard input")
        with open(path, "rb") as file:
            return parse(file.read(), path)
    except OSError as error:
        raise PlotError(f"{path}: {error.strerror}") from None


def parse(text: bytes, source: str) -> dict[str, Any]:
    try:
        report = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlotError(f"{source}: not a JSON report ({error})") from None
    if not isinstance(report, dict) or not str(report.get("schema", "")).startswith(SCHEMA):
        raise PlotError(f'{source}: not a report of mlog-analyze (no "schema": "{SCHEMA}…")')
    for part, option in (("timeline", "--timeline"), ("summary", "--summary")):
        if not isinstance(report.get(part), dict):
            raise PlotError(f'{source}: the report has no "{part}"; make it with {option}')
    return report
