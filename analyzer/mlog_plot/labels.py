# SPDX-License-Identifier: MIT
"""Makes texts fit and fit to print: names from a trace are long, and hostile.

A `fits` function tells whether a text has room; how it measures is the
caller's affair. Every function returns a text that fits, or the shortest it has.
"""

from __future__ import annotations

import unicodedata
from typing import Callable, Iterator

Fits = Callable[[str], bool]


def printable(text: str) -> str:
    """The text with everything that could disturb a page replaced."""
    text = text.encode("utf-8", "replace").decode()
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" else c
                   for c in text.replace("\n", " ").replace("\t", " "))


def cut_end(text: str, fits: Fits) -> str:
    if fits(text):
        return text
    kept = longest(len(text), lambda n: fits(text[:n].rstrip() + "…"))
    return text[:kept].rstrip() + "…"


def cut_middle(text: str, fits: Fits) -> str:
    """Both ends stay, for they tell names apart."""
    def cut(kept: int) -> str:
        tail = kept // 2
        return text[:kept - tail].rstrip() + "…" + text[len(text) - tail:].lstrip()
    if fits(text):
        return text
    return cut(longest(len(text), lambda n: fits(cut(n))))


def longest(limit: int, good: Callable[[int], bool]) -> int:
    """The largest n below limit that is good, all below it being good; at least 1."""
    low, high = 1, limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if good(middle) else (low, middle)
    return low


def function_name(name: str, fits: Fits) -> str:
    """A C++ or Rust name without arguments, then template arguments, then outer scopes."""
    for candidate in function_names(name):
        if fits(candidate):
            return candidate
    return cut_middle(candidate, fits)


def function_names(name: str) -> Iterator[str]:
    yield name
    if "operator" in name or name.startswith(("<", "(")):
        return      # their brackets are part of the name
    end = name.rfind(")")
    if end > 0:
        begin = matching(name, end)
        if begin > 0:
            name = name[:begin]
            yield name
    flat = without_templates(name)
    if flat != name:
        name = flat
        yield name
    while "::" in name:
        name = name.split("::", 1)[1]
        yield "…::" + name


def matching(text: str, end: int) -> int:
    """The index at which the bracket that ends at `end` begins, or -1."""
    depth = 0
    for at in range(end, -1, -1):
        depth += {")": 1, "(": -1}.get(text[at], 0)
        if depth == 0:
            return at
    return -1


def without_templates(name: str) -> str:
    """Template arguments become <…>; unbalanced names are left alone."""
    shown, depth = [], 0
    for c in name:
        if c == "<":
            depth += 1
            if depth == 1:
                shown.append("<…>")
        elif c == ">" and depth:
            depth -= 1
        elif depth == 0:
            shown.append(c)
    return "".join(shown) if depth == 0 else name
