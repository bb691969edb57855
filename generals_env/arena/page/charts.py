"""Draws the charts of a report as SVG: intervals on a scale, bars of shares, and the course of a sequential test.

Places are shares of the width, so a chart is as wide as the page lets it be while its text and lines keep their size. Colours
are classes: the style sheet has those of light and of dark pages. Neither is possible with pictures that a plotting library
writes: their styles are attributes, which the policy of a page forbids, and their text shrinks on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from generals_env.arena.page.markup import element

__all__ = ["Scale", "axis", "course_chart", "interval_chart", "scale_of", "share_bar"]

TICKS = 5  # wanted on a scale
MAX_POINTS = 600  # of a curve: more than a page has pixels


@dataclass(frozen=True)
class Scale:
    """A scale of numbers: where each stands in a chart.

    Attributes:
        low: Number at the left end.
        high: Number at the right end.
        ticks: Numbers that are marked.
    """

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> str:
        """Return the place of a number, clipped to the scale, as a share of the width."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return f"{100 * share:.2f}%"


def scale_of(values: Sequence[float]) -> Scale:
    """Return a scale on which all finite values stand, with round ticks."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / TICKS
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    margin = 0.04 * (high - low)
    low, high = low - margin, high + margin
    ticks = tuple(step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1))
    return Scale(low, high, ticks)


def axis(scale: Scale) -> Element:
    """Return the numbers of a scale."""
    chart = element("svg", class_="axis", aria_hidden="true")
    for tick in scale.ticks:
        chart.append(element("text", tick_text(tick), x=scale.place(tick), y="14", text_anchor="middle"))
    return chart


def tick_text(value: float) -> str:
    """Return a round number as text, with a real minus."""
    return f"{value:,.10g}".replace("-", "\u2212")


def interval_chart(scale: Scale, low: float, value: float, high: float, label: str) -> Element:
    """Return a point with its interval on a scale; an end without limit has no stroke across."""
    chart = element("svg", class_="track", role="img", aria_label=label)
    chart.append(element("title", label))
    for tick in scale.ticks:
        place = scale.place(tick)
        chart.append(element("line", class_="grid", x1=place, x2=place, y1="0", y2="100%"))
    left, right = scale.place(low), scale.place(high)
    chart.append(element("line", class_="whisker", x1=left, x2=right, y1="50%", y2="50%"))
    for place in (left,) * math.isfinite(low) + (right,) * math.isfinite(high):
        chart.append(element("line", class_="whisker", x1=place, x2=place, y1="38%", y2="62%"))
    chart.append(element("circle", class_="dot", cx=scale.place(value), cy="50%", r="5"))
    return chart


def share_bar(parts: Sequence[tuple[str, int]], label: str) -> Element:
    """Return a bar with the shares of several counts.

    Args:
        parts: Class and count of each part.
        label: Says the same in words.
    """
    total = max(sum(count for _, count in parts), 1)
    chart = element("svg", class_="bar", role="img", aria_label=label)
    chart.append(element("title", label))
    begin = 0.0
    for name, count in parts:
        share = 100 * count / total
        if count:
            chart.append(element("rect", class_=name, x=f"{begin:.3f}%", width=f"{share:.3f}%", y="0", height="100%"))
        begin += share
    return chart


def course_chart(games: Sequence[int], values: Sequence[float], lower: float, upper: float, label: str) -> Element:
    """Return a curve over numbers of games between a lower and an upper bound.

    Args:
        games: Numbers of games, increasing.
        values: Value after each of these.
        lower: Lower bound.
        upper: Upper bound.
        label: Says the same in words.
    """
    across, up = scale_of([0, *games]), scale_of([lower, upper, *values])
    across = Scale(0, max(games[-1], 1) * 1.02, tuple(tick for tick in across.ticks if 0 <= tick <= games[-1]))
    chart = element("svg", class_="course", role="img", aria_label=label)
    chart.append(element("title", label))
    for tick in up.ticks:
        height = f"{100 - float(up.place(tick)[:-1]):.2f}%"
        chart.append(element("line", class_="grid", x1="0", x2="100%", y1=height, y2=height))
        chart.append(element("text", tick_text(tick), x="2", y=height, dy="-4"))
    for tick in across.ticks[1:]:
        chart.append(element("text", tick_text(tick), x=across.place(tick), y="100%", dy="16", text_anchor="middle"))
    for bound, name in ((lower, "loss"), (upper, "win")):
        height = f"{100 - float(up.place(bound)[:-1]):.2f}%"
        chart.append(element("line", class_=f"bound {name}", x1="0", x2="100%", y1=height, y2=height))
    step = max(1, -(-len(games) // MAX_POINTS))
    kept = [*range(0, len(games) - 1, step), len(games) - 1]
    points = " ".join(f"{across.place(games[i])[:-1]},{100 - float(up.place(values[i])[:-1]):.2f}" for i in kept)
    curve = element("svg", viewBox="0 0 100 100", preserveAspectRatio="none", width="100%", height="100%")
    curve.append(element("polyline", class_="curve", points=points, vector_effect="non-scaling-stroke"))
    chart.append(curve)
    return chart
