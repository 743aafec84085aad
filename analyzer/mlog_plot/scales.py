# SPDX-License-Identifier: MIT
"""Units, tick positions and numbers for people: bytes in binary units, times from
nanoseconds to hours, counts with k, M, G. Pure functions of numbers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
TIME_UNITS = [("h", 3600e9), ("min", 60e9), ("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0)]
COUNT_UNITS = [("G", 1e9), ("M", 1e6), ("k", 1e3)]


class Axis(NamedTuple):
    """Ticks in the data's own unit, their labels, and the unit that the labels are in."""

    ticks: list[float]
    labels: list[str]
    unit: str


def number(value: float, digits: int = 3) -> str:
    """About `digits` significant digits, no exponent, no trailing zeros after a point."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(decimals, 9)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_bytes(value: float) -> str:
    unit = 0
    while value >= 1024 and unit < len(BYTE_UNITS) - 1:
        value /= 1024
        unit += 1
    decimals = 0 if unit == 0 else 2 if value < 10 else 1
    return f"{value:.{decimals}f} {BYTE_UNITS[unit]}"


def format_time(ns: float) -> str:
    for unit, size in TIME_UNITS:
        if ns >= size:
            return f"{number(ns / size)} {unit}"
    return "0 s"


def format_count(value: float) -> str:
    for unit, size in COUNT_UNITS:
        if value >= 10 * size or value >= size >= 1e6:
            return f"{number(value / size)} {unit}"
    return f"{value:,.0f}"


def tick_label(value: float, digits: int = 4) -> str:
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".")


def ticks_up_to(top: float, step: float, first: float = 0.0) -> list[float]:
    return [step * i for i in range(math.ceil(first / step), int(top / step * (1 + 1e-9)) + 1)]


def byte_axis(top: float, most: int = 8) -> Axis:
    """Steps of a power of two; the unit is the largest of which there are two."""
    unit = 0
    while top >= 2 * 1024 ** (unit + 1) and unit < len(BYTE_UNITS) - 1:
        unit += 1
    step = 1.0
    while top / step > most:
        step *= 2
    ticks = ticks_up_to(top, step)
    size = 1024.0 ** unit
    return Axis(ticks, [tick_label(tick / size) for tick in ticks], BYTE_UNITS[unit])


def decimal_step(top: float, most: int, steps: tuple[float, ...] = (1, 2, 5)) -> float:
    magnitude = 10.0 ** math.floor(math.log10(top / most)) if top > 0 else 1.0
    while True:
        for factor in steps:
            if top / (factor * magnitude) <= most:
                return factor * magnitude
        magnitude *= 10


def time_axis(top: float, most: int = 10, begin: float = 0.0) -> Axis:
    """Decimal steps in one unit; minutes and hours step by parts of sixty."""
    unit, size = next(((unit, size) for unit, size in TIME_UNITS
                       if top >= (2 if size > 1e9 else 1) * size), TIME_UNITS[-1])
    first = begin / size
    scaled = top / size - first
    if unit in ("min", "h") and scaled <= 60 * most:
        step = next(s for s in (0.25, 0.5, 1, 2, 5, 10, 15, 30, 60) if scaled / s <= most)
    else:
        step = decimal_step(scaled, most)
    ticks = ticks_up_to(top / size, step, first)
    digits = max(4, -math.floor(math.log10(step)))
    return Axis([tick * size for tick in ticks], [tick_label(tick, digits) for tick in ticks],
                unit)


def count_axis(top: float, most: int = 5) -> Axis:
    """Whole numbers; thousands and more with k, M, G."""
    step = max(1.0, decimal_step(top, most))
    ticks = ticks_up_to(top, step)
    unit, size = next(((u, s) for u, s in COUNT_UNITS if top >= 10 * s or top >= s >= 1e6),
                      ("", 1.0))
    return Axis(ticks, [tick_label(tick / size) + (f" {unit}" if unit and tick else "")
                        for tick in ticks], unit)
