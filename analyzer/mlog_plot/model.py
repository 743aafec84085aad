# SPDX-License-Identifier: MIT
"""The content of a plot, as plain series: built from a report, free of any drawing.

Invariant: all series of a Heap have one value for each of its times, the times
rise, and the areas add up to the total at every one of them.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Any

from .errors import PlotError
from .labels import printable
from .scales import format_bytes, format_count, format_time


@dataclass
class Area:
    """The bytes held by one function's stacks over time."""

    label: str
    values: list[float]
    rest: bool = False      # all that has no area of its own


@dataclass
class Heap:
    times: list[float] = field(default_factory=list)            # ns
    total: list[float] = field(default_factory=list)            # bytes
    blocks: list[float] = field(default_factory=list)
    rss: list[tuple[float, float]] = field(default_factory=list)
    areas: list[Area] = field(default_factory=list)             # largest first, the rest last
    peak: tuple[float, float] | None = None                     # ns, bytes
    leaked: float = 0.0                                         # bytes never freed
    begin: float = 0.0                                          # ns, of the window if it has one
    end: float = 0.0                                            # ns
    title: str = ""
    facts: str = ""
    pauses: list[tuple[float, float]] = field(default_factory=list)  # ns, nothing was recorded
    warnings: list[str] = field(default_factory=list)
    complete: bool = False      # the warnings do not touch the numbers

    def peak_index(self) -> int:
        return max(range(len(self.total)), key=self.total.__getitem__)


def build(report: dict[str, Any], top: int, title: str | None) -> Heap:
    """The model of a report. Raises PlotError if the report is not built as REPORT.md says."""
    try:
        heap = Heap()
        add_points(heap, report["timeline"], report["summary"], report.get("filter") or {})
        add_areas(heap, report["timeline"], top)
        heap.title = printable(title) if title is not None else program_title(report)
        heap.facts = facts(report, heap)
        audit = report.get("audit") or {}
        heap.warnings = warnings(audit)
        heap.complete = audit.get("complete") is True
        return heap
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise PlotError(f"the report cannot be drawn: {what}") from None


def add_points(heap: Heap, timeline: dict[str, Any], summary: dict[str, Any],
               window: dict[str, Any]) -> None:
    last = float("-inf")
    for point in timeline["points"]:
        time = float(point["time_ns"])
        if time < last:
            raise ValueError("the times of the timeline do not rise")
        last = time
        heap.times.append(time)
        heap.total.append(float(point["bytes"]))
        heap.blocks.append(float(point["blocks"]))
        if point.get("rss_bytes") is not None:
            heap.rss.append((time, float(point["rss_bytes"])))
    heap.pauses = united([(float(pause["from_ns"]), float(pause["to_ns"]))
                          for pause in timeline.get("pauses") or []])
    end = float(summary.get("duration_ns") or 0)
    if window.get("to_ns") is not None:
        end = min(end, float(window["to_ns"]))
    heap.end = max(heap.times[-1:] + [end])
    heap.begin = min(heap.times[:1] + [float(window.get("from_ns") or 0)])
    if window and heap.times and heap.times[-1] < heap.end:     # what is left stays to the end
        heap.times.append(heap.end)
        heap.total.append(heap.total[-1])
        heap.blocks.append(heap.blocks[-1])
    heap.leaked = float(summary.get("leaked_bytes") or 0) if heap.times else 0.0
    if heap.total and summary.get("peak_bytes"):
        heap.peak = float(summary["peak_time_ns"]), float(summary["peak_bytes"])


def united(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The times that any of the spans covers, in order."""
    result: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if result and begin <= result[-1][1]:
            result[-1] = result[-1][0], max(result[-1][1], end)
        else:
            result.append((begin, end))
    return result


def add_areas(heap: Heap, timeline: dict[str, Any], top: int) -> None:
    """Stacks grouped by label: the largest `top`, and the rest of the total as one."""
    groups: dict[str, list[float]] = {}
    points = len(timeline["points"])
    for stack in timeline.get("stacks") or []:
        values = [float(value) for value in stack["bytes"]]
        if len(values) != points:
            raise ValueError("a stack of the timeline has not one value for each point")
        values += values[-1:] * (len(heap.times) - points)
        label = printable(str(stack.get("label") or "?"))
        group = groups.get(label)
        groups[label] = values if group is None else [a + b for a, b in zip(group, values)]
    if not heap.times:
        return
    insert_peak(heap, list(groups.values()))
    ranked = sorted(groups.items(), key=lambda item: (-max(item[1]), item[0]))
    ranked = [(label, values) for label, values in ranked if max(values) > 0]
    kept = ranked[:top] if top else ranked
    heap.areas = [Area(label, values) for label, values in kept]
    rest = list(heap.total)
    for area in heap.areas:
        rest = [a - b for a, b in zip(rest, area.values)]
    # Stacks that the analyser leaves out of `stacks` are other as well; rounding is not.
    if max(rest) > 0.001 * max(heap.total):
        heap.areas.append(Area("other", [max(0.0, value) for value in rest], rest=True))


def insert_peak(heap: Heap, groups: list[list[float]]) -> None:
    """Make the moment of the peak one of the points, so that no outline cuts it off."""
    if heap.peak is None:
        return
    time, total = heap.peak
    at = next((i for i, t in enumerate(heap.times) if t >= time), len(heap.times))
    if at < len(heap.times) and heap.times[at] == time:
        while at + 1 < len(heap.times) and heap.times[at + 1] == time and heap.total[at] < total:
            at += 1
        if heap.total[at] >= total:
            return
    before, after = max(0, at - 1), min(at, len(heap.times) - 1)
    span = heap.times[after] - heap.times[before]
    share = (time - heap.times[before]) / span if span > 0 else 0.0

    def between(values: list[float]) -> float:
        return values[before] + share * (values[after] - values[before])
    near = between(heap.total)
    for values in groups:       # the same mixture as around it
        values.insert(at, min(between(values) * (total / near if near else 0.0), total))
    heap.blocks.insert(at, between(heap.blocks))
    heap.times.insert(at, time)
    heap.total.insert(at, total)


def program_title(report: dict[str, Any]) -> str:
    """Program and arguments of the process that held the memory, be it started by a wrapper."""
    processes = report.get("processes") or []
    if not processes:
        return "heap over time"
    first = main_process(report)
    executable = str(first.get("executable") or "")
    arguments = [str(argument) for argument in first.get("arguments") or []]
    name = executable.rsplit("/", 1)[-1] or (arguments[0] if arguments else "unknown program")
    title = " ".join([name] + [shlex.quote(argument) for argument in arguments[1:]])
    if len(processes) > 1:
        others = len(processes) - 1
        title = f"{name} and {others} more process{'es' if others > 1 else ''}"
    return printable(title)


def main_process(report: dict[str, Any]) -> dict[str, Any]:
    """The process with the highest heap; the first one where the report does not tell."""
    processes = report["processes"]
    peaks = [(int(one.get("peak_bytes") or 0), -int(one.get("process") or 0))
             for one in report.get("per_process") or []]
    index = -max(peaks)[1] if peaks else 0
    return processes[index] if 0 <= index < len(processes) else processes[0]


def facts(report: dict[str, Any], heap: Heap) -> str:
    """One line under the title."""
    summary = report["summary"]
    parts = []
    if report.get("filter"):    # first: what is cut off at the end is less
        parts.append(printable(str(report["filter"]["text"])))
    if summary.get("duration_ns") is not None:
        parts.append(f"{format_time(float(summary['duration_ns']))} traced")
    if summary.get("allocations") is not None:
        parts.append(f"{format_count(float(summary['allocations']))} allocations")
    if summary.get("allocated_bytes") is not None:
        parts.append(f"{format_bytes(float(summary['allocated_bytes']))} allocated")
    if heap.peak:
        parts.append(f"{format_bytes(heap.peak[1])} at peak")
    if summary.get("leaked_bytes") is not None:
        parts.append(f"{format_bytes(float(summary['leaked_bytes']))} never freed")
    return "  ·  ".join(parts)


def warnings(audit: dict[str, Any]) -> list[str]:
    """The audit's warnings; where it gives none in words, those that its counts call for."""
    told = audit.get("warnings")
    if isinstance(told, list):
        return [printable(str(warning)) for warning in told]
    found = []
    if audit.get("truncated_at") is not None or audit.get("truncated"):
        found.append("the trace is truncated")
    for key, text in (("lost_events", "events were lost"), ("bad_chunks", "chunks were unreadable"),
                      ("changed_chunks", "chunks were changed after they were written"),
                      ("missing_chunks", "chunks are missing")):
        if audit.get(key):
            found.append(f"{format_count(float(audit[key]))} {text}")
    return found
