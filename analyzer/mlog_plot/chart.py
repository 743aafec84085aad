# SPDX-License-Identifier: MIT
"""Draws a model.Heap with matplotlib: bytes by function above, blocks below, the
legend in a column of its own beside them so that it never covers data.

The legend is drawn by hand: matplotlib's drops labels that begin with an
underscore, as _start does. No text is ever taken for mathematical markup.
"""

from __future__ import annotations

import io
import os
import tempfile
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")
matplotlib.rcdefaults()     # a user's matplotlibrc must not break the page

from matplotlib.axes import Axes                    # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg     # noqa: E402
from matplotlib.colors import to_rgb                # noqa: E402
from matplotlib.figure import Figure                # noqa: E402
from matplotlib.font_manager import FontProperties, findfont, get_font     # noqa: E402
from matplotlib.lines import Line2D                 # noqa: E402
from matplotlib.patches import Rectangle            # noqa: E402
from matplotlib.text import Text                    # noqa: E402
from matplotlib.transforms import blended_transform_factory     # noqa: E402

from . import labels, scales                        # noqa: E402
from .errors import PlotError                       # noqa: E402
from .labels import Fits                            # noqa: E402
from .model import Heap                             # noqa: E402

# Paul Tol's "muted" scheme, in an order in which neighbours differ in lightness as well.
PALETTE = ["#332288", "#88ccee", "#117733", "#ddcc77", "#cc6677", "#44aa99", "#882255", "#999933",
           "#aa4499"]
OTHER_COLOUR = "#d5d5d5"
INK, SOFT, FAINT, ACCENT = "#1a1a1a", "#5c5c5c", "#e3e3e3", "#b2182b"

STYLE = {
    "font.family": "sans-serif", "font.size": 9.0,
    "axes.edgecolor": SOFT, "axes.labelcolor": SOFT, "axes.linewidth": 0.7,
    "axes.spines.top": False, "axes.spines.right": False,
    "xtick.color": SOFT, "ytick.color": SOFT, "text.color": INK,
    "xtick.major.width": 0.7, "ytick.major.width": 0.7,
    "pdf.fonttype": 42,             # TrueType, embedded: text stays text
    "svg.fonttype": "none", "svg.hashsalt": "mlog-plot",
    "axes.unicode_minus": False, "path.simplify": True, "path.simplify_threshold": 0.2,
}
PNG_DPI = 160
WARNINGS_MAX = 4
SMALLEST_STEP = 0.115       # inches from one legend entry to the next
RESIDENT_APART = "resident memory, right axis"
QUIET = "#a8a8a8"           # of the resident size, which is not what the page is about
DASHES, DOTS = (0, (4, 2)), (0, (1, 2))


def plain(text: Text) -> Text:
    text.set_parse_math(False)
    return text


def replace_missing_glyphs(figure: Figure) -> None:
    """Replace characters that our font cannot draw by a visible sign: they would be gaps."""
    known = get_font(findfont(FontProperties(family=["sans-serif"]))).get_charmap()
    for text in figure.findobj(Text):
        text.set_text("".join(c if ord(c) in known else "\N{REPLACEMENT CHARACTER}"
                              for c in text.get_text()))


def colour(index: int) -> Any:
    """The palette; past its end the same hues, each time nearer to white."""
    fade = min(0.75, 0.38 * (index // len(PALETTE)))
    red, green, blue = to_rgb(PALETTE[index % len(PALETTE)])
    return tuple(c + (1 - c) * fade for c in (red, green, blue))


def save(heap: Heap, path: str, file_format: str, width: float, height: float) -> None:
    """Draw into a file that appears whole or not at all. Lengths in inches."""
    with matplotlib.rc_context(STYLE):
        figure = draw(heap, width, height)
        if file_format != "svg":        # whose reader may have other fonts
            replace_missing_glyphs(figure)
        metadata: dict[str, Any] = {
            "pdf": {"Title": heap.title, "Creator": "mlog-plot", "CreationDate": None},
            "svg": {"Title": heap.title, "Creator": "mlog-plot", "Date": None},
            "png": {"Title": heap.title, "Software": "mlog-plot"}}[file_format]
        picture = io.BytesIO()
        figure.savefig(picture, format=file_format, dpi=PNG_DPI, metadata=metadata)
    try:
        replace(path, picture.getvalue())
    except OSError as error:
        raise PlotError(f"{path}: {error.strerror or error}") from None


def replace(path: str, contents: bytes) -> None:
    """Write the file by way of another one beside it; a device or pipe straight."""
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:
            file.write(contents)
        return
    path = os.path.realpath(path)
    handle, temporary = tempfile.mkstemp(prefix=".mlog-plot-", dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(contents)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@dataclass
class Page:
    """The page and its layout, in inches from its lower left corner."""

    figure: Figure
    width: float
    height: float
    margin: float = 0.4

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        plain(self.figure.text(x / self.width, y / self.height, text, va="center", **style))

    def line(self, x: float, y: float, length: float, **style: Any) -> None:
        self.figure.add_artist(Line2D([x / self.width, (x + length) / self.width],
                                      [y / self.height] * 2,
                                      transform=self.figure.transFigure, **style))

    def box(self, x: float, y: float, width: float, height: float, face: Any) -> None:
        self.figure.add_artist(Rectangle((x / self.width, y / self.height), width / self.width,
                                         height / self.height, facecolor=face, edgecolor="none",
                                         transform=self.figure.transFigure))

    def axes(self, x: float, y: float, width: float, height: float, **options: Any) -> Axes:
        return self.figure.add_axes((x / self.width, y / self.height, width / self.width,
                                     height / self.height), **options)

    def text_width(self, text: str, size: float, weight: str = "normal") -> float:
        font = FontProperties(family="sans-serif", size=size, weight=weight)
        renderer = self.figure.canvas.get_renderer()
        pixels = renderer.get_text_width_height_descent(text, font, ismath=False)[0]
        return pixels / self.figure.dpi

    def fits(self, room: float, size: float, weight: str = "normal") -> Fits:
        return lambda text: self.text_width(text, size, weight) <= room


def draw(heap: Heap, width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    page = Page(figure, width, height)
    own_axis = resident_has_own_axis(heap)
    # No wider than what stands in it: the rest is the panels'.
    longest = max(page.text_width(text, 8.5)
                  for text in [RESIDENT_APART] + [area.label for area in heap.areas])
    legend_width = min(3.1, 0.3 * width, longest + 0.95)
    legend_left = width - page.margin - legend_width
    left, right = 1.05, legend_left - (0.75 if own_axis else 0.3)
    top = height - 0.95
    bottom = 0.72 + 0.15 * max(0, min(len(heap.warnings), WARNINGS_MAX) - 1)
    gap = 0.2
    blocks_height = (top - bottom - gap) * 0.24
    lower = page.axes(left, bottom, right - left, blocks_height)
    upper = page.axes(left, bottom + blocks_height + gap, right - left,
                      top - bottom - gap - blocks_height, sharex=lower)
    heading(page, heap)
    footnote(page, heap)
    for axes in (upper, lower):
        axes.yaxis.set_label_coords((page.margin + 0.1) / width, 0.5, transform=(
            blended_transform_factory(figure.transFigure, axes.transAxes)))
    if heap.times:
        draw_time(heap, upper, lower)
        draw_bytes(page, heap, upper, own_axis)
        draw_blocks(heap, lower)
        if heap.pauses:
            shade_pauses(heap, upper)
            shade_pauses(heap, lower)
            name_pause(page, heap, lower)
        legend(page, heap, legend_left, top, legend_width, top - bottom, own_axis)
    else:
        plain(upper.text(0.5, 0.5, "there are no heap events", ha="center", va="center",
                         transform=upper.transAxes, color=SOFT, fontsize=11))
        for axes in (upper, lower):
            axes.set_xticks([])
            axes.set_yticks([])
    return figure


def heading(page: Page, heap: Heap) -> None:
    room = page.width - 2 * page.margin
    page.text(page.margin, page.height - 0.38,
              labels.cut_end(heap.title, page.fits(room, 14, "bold")), fontsize=14,
              fontweight="bold")
    page.text(page.margin, page.height - 0.65, labels.cut_end(heap.facts, page.fits(room, 9.5)),
              fontsize=9.5, color=SOFT)


def footnote(page: Page, heap: Heap) -> None:
    """The audit's warnings, one a line, the last one telling how many more there are."""
    lines = heap.warnings if len(heap.warnings) <= WARNINGS_MAX else \
        heap.warnings[:WARNINGS_MAX - 1] + \
        [f"and {len(heap.warnings) - WARNINGS_MAX + 1} more; mlog-analyze tells them"]
    fits = page.fits(page.width - 2 * page.margin, 8)
    for index, line in enumerate(lines):
        text = labels.cut_end(("Audit: " if index == 0 else "") + line, fits)
        page.text(page.margin, 0.2 + 0.15 * (len(lines) - 1 - index), text, fontsize=8,
                  color=SOFT if heap.complete else ACCENT)


def draw_time(heap: Heap, upper: Axes, lower: Axes) -> None:
    end = max(heap.end, heap.peak[0] if heap.peak else 0.0, 1.0)
    axis = scales.time_axis(end, begin=heap.begin)
    lower.set_xticks(axis.ticks, axis.labels)
    lower.set_xlim(heap.begin, end)
    plain(lower.set_xlabel(f"time since the start ({axis.unit})"))
    upper.tick_params(labelbottom=False)


def shade_pauses(heap: Heap, axes: Axes) -> None:
    """Hatch the times in which nothing was recorded: there the curve only waits."""
    begin, end = axes.get_xlim()
    spans = [(max(since, begin), min(until, end)) for since, until in heap.pauses]
    bars = [(since, until - since) for since, until in spans if until > since]
    if not bars:
        return
    axes.broken_barh(bars, (0, 1), transform=axes.get_xaxis_transform(), facecolor="#eeeeee",
                     edgecolor=QUIET, hatch="////", linewidth=0, alpha=0.7, zorder=0.5,
                     gid="not-recorded")


def name_pause(page: Page, heap: Heap, axes: Axes) -> None:
    begin, end = axes.get_xlim()
    since, until = max(heap.pauses, key=lambda pause: pause[1] - pause[0])
    room = axes.get_position().width * page.width * (until - since) / (end - begin)
    if room > page.text_width("not recorded", 8):
        plain(axes.text((since + until) / 2, 0.03, "not recorded", ha="center", va="bottom",
                        transform=axes.get_xaxis_transform(), fontsize=8, color=SOFT,
                        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85,
                              "pad": 1.2}))


def frame(axes: Axes, top: float, axis: scales.Axis, label: str) -> None:
    axes.set_ylim(0, top)
    axes.set_yticks(axis.ticks, axis.labels)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    plain(axes.set_ylabel(label))


def highest(heap: Heap) -> float:
    return max(max(heap.total), heap.peak[1] if heap.peak else 0.0, 1.0)


def resident_has_own_axis(heap: Heap) -> bool:
    """Far larger than the heap, it would press that into a line at the bottom."""
    return any(value > 2.5 * highest(heap) for _, value in heap.rss)


def draw_bytes(page: Page, heap: Heap, axes: Axes, own_axis: bool) -> None:
    shared = [] if own_axis else [value for _, value in heap.rss]
    top = 1.16 * max([highest(heap)] + shared)
    axis = scales.byte_axis(top)
    frame(axes, top, axis, f"live heap ({axis.unit})")
    below = [0.0] * len(heap.times)
    for index, area in enumerate(heap.areas):
        above = [a + b for a, b in zip(below, area.values)]
        axes.fill_between(heap.times, below, above, linewidth=0.3, edgecolor="white",
                          facecolor=OTHER_COLOUR if area.rest else colour(index))
        below = above
    axes.plot(heap.times, heap.total, color=INK, linewidth=0.9, solid_joinstyle="round")
    if heap.rss:
        draw_resident(heap, axes.twinx() if own_axis else axes, own_axis)
    if heap.peak:
        mark_peak(page, axes, heap.peak)
    if heap.leaked:
        mark_leaks(page, heap, axes)


def draw_resident(heap: Heap, axes: Axes, own_axis: bool) -> None:
    if own_axis:
        top = 1.16 * max(value for _, value in heap.rss)
        axis = scales.byte_axis(top)
        axes.set_ylim(0, top)
        axes.set_yticks(axis.ticks, axis.labels)
        axes.spines["right"].set_visible(True)
        axes.spines["right"].set_linestyle(DASHES)
        axes.tick_params(labelbottom=False)
        plain(axes.set_ylabel(f"resident memory ({axis.unit})"))
    axes.plot([time for time, _ in heap.rss], [value for _, value in heap.rss], color=QUIET,
              linewidth=0.6, linestyle=DASHES, zorder=1)


def mark_peak(page: Page, axes: Axes, peak: tuple[float, float]) -> None:
    """A point, lines to both axes, and a label above that stays within the panel."""
    time, value = peak
    begin, end = axes.get_xlim()
    axes.plot([time, time], [0, value], color=ACCENT, linewidth=0.7, linestyle=DOTS, zorder=4)
    axes.plot([begin, time], [value, value], color=ACCENT, linewidth=0.7, linestyle=DOTS, zorder=4)
    axes.plot([time], [value], marker="o", markersize=5, color=ACCENT, markeredgecolor="white",
              markeredgewidth=0.8, zorder=6, clip_on=False)
    label = f"peak {scales.format_bytes(value)} at {scales.format_time(time)}"
    panel = axes.get_position().width * page.width
    here = panel * (time - begin) / (end - begin)
    half = page.text_width(label, 9.5, "bold") / 2 + 0.05
    centre = min(max(here, half), max(panel - half, half))
    plain(axes.annotate(
        label, (time, value), xytext=(72 * (centre - here), 7), textcoords="offset points",
        ha="center", va="bottom", color=ACCENT, fontsize=9.5, fontweight="bold", zorder=7,
        annotation_clip=False,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.2}))


def mark_leaks(page: Page, heap: Heap, axes: Axes) -> None:
    """A bar at the end of the time as high as what was never freed, and how much it is: beside
    the peak's label, or below it where they would meet."""
    axes.plot([heap.end, heap.end], [0, heap.leaked], color=ACCENT, linewidth=3.5,
              solid_capstyle="butt", zorder=5, clip_on=False)
    panel = axes.get_position().height * page.height
    height = panel * heap.leaked / axes.get_ylim()[1]
    label = f"{scales.format_bytes(heap.leaked)} never freed"
    plain(axes.annotate(
        label, (heap.end, heap.leaked), xytext=(-7, -9 if height > 0.3 else 7),
        textcoords="offset points", ha="right", va="top" if height > 0.3 else "bottom",
        color=ACCENT, fontsize=8.5, fontweight="bold", zorder=7, annotation_clip=False,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.2}))


def draw_blocks(heap: Heap, axes: Axes) -> None:
    top = 1.12 * max(max(heap.blocks), 1.0)
    frame(axes, top, scales.count_axis(top, most=4), "live blocks")
    axes.fill_between(heap.times, heap.blocks, color="#88ccee", alpha=0.35, linewidth=0)
    axes.plot(heap.times, heap.blocks, color="#332288", linewidth=0.9)
    if heap.peak:
        axes.axvline(heap.peak[0], color=ACCENT, linewidth=0.7, linestyle=DOTS)


def legend(page: Page, heap: Heap, left: float, top: float, width: float, room: float,
           own_axis: bool) -> None:
    """The areas from top to bottom as they lie, with what each holds at the peak."""
    most = int(room / SMALLEST_STEP) - 5
    shown = [(area, colour(index)) for index, area in enumerate(heap.areas) if not area.rest]
    hidden, shown = len(shown[most:]), shown[:most]
    step = min(0.24, room / (len(shown) + 5))
    size = min(8.5, step * 72 * 0.55)
    at = heap.peak_index()
    with_values = width > 1.7
    text_left, value_room = left + 0.2, 0.72 * size / 8.5 if with_values else 0.0
    fits = page.fits(width - 0.2 - value_room, size)
    y = top - 0.06

    def row(label: str, value: str, ink: str = INK) -> None:
        page.text(text_left, y, label, fontsize=size, color=ink)
        if with_values:
            page.text(left + width, y, value, fontsize=size, ha="right", color=SOFT)

    if heap.areas:
        row("allocated by", "at peak", SOFT)
        y -= step
    if hidden:
        row(f"({hidden} more)", "", SOFT)
        y -= step
    for area, face in [(area, OTHER_COLOUR) for area in heap.areas if area.rest] + shown[::-1]:
        page.box(left, y - step * 0.3, 0.13, step * 0.6, face)
        # What held nothing at the peak has no "0 B" beside it.
        row(labels.function_name(area.label, fits),
            scales.format_bytes(area.values[at]) if area.values[at] >= 1 else "–")
        y -= step
    y -= step * 0.5
    page.line(left, y, 0.13, color=INK, linewidth=0.9)
    row("live heap", "")
    if heap.rss:
        y -= step
        page.line(left, y, 0.13, color=QUIET, linewidth=0.7, linestyle=(0, (2.5, 1.5)))
        row(RESIDENT_APART if own_axis else "resident memory", "")
