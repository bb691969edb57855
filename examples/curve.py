"""Draws the learning curve of the examples with matplotlib: the share of games won over time, with a band for its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

try:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter
except ModuleNotFoundError:
    Figure = None

__all__ = ["draw_curve"]

COLORS = {"random": "#2b6cb0", "expander": "#1f7a4d"}

MIN_GAMES = 50  # a share of fewer games says little: the line begins later

Z = 1.96  # standard deviations on both sides, for an interval of 95%


def wilson(shares: npt.NDArray[np.float64], games: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], ...]:
    """Return the lower and upper ends of Wilson's 95% interval of each share of ``games`` games."""
    center = (shares + Z**2 / (2 * games)) / (1 + Z**2 / games)
    half = Z * np.sqrt(shares * (1 - shares) / games + Z**2 / (4 * games**2)) / (1 + Z**2 / games)
    return center - half, center + half


def draw_curve(
    xs: Sequence[float],
    wins: Mapping[str, Sequence[float]],
    games: Mapping[str, Sequence[float]],
    title: str,
    xlabel: str,
    picture: Path,
) -> bool:
    """Draw the share of games won during training, a line and the band of its 95% interval for each opponent.

    Args:
        xs: Minutes or steps of training at each point.
        wins: Shares by name of the opponent.
        games: Number of games that each share is of; points of fewer than ``MIN_GAMES`` are left out.
        title: Title above the plot.
        xlabel: What ``xs`` are.
        picture: PNG or SVG file to write.

    Returns:
        Whether the curve was drawn: not without matplotlib, nor if no line has two points.
    """
    counts = {name: np.array(games[name], np.float64) for name in wins}
    if Figure is None or all((count >= MIN_GAMES).sum() < 2 for count in counts.values()):
        return False
    figure = Figure(figsize=(8, 4.5), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    places = np.array(xs)
    for name, color in zip(wins, [COLORS.get(name) for name in wins], strict=True):
        kept = counts[name] >= MIN_GAMES
        share = np.array(wins[name])[kept]
        low, high = wilson(share, counts[name][kept])
        axes.fill_between(places[kept], low, high, color=color, alpha=0.18, linewidth=0)
        axes.plot(places[kept], share, color=color, linewidth=1.8, label=f"against {name}")
    axes.set(title=title, xlabel=xlabel, ylabel="games won", xlim=(0, max(xs)), ylim=(0, 1))
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False, title="bands: 95% intervals")
    figure.savefig(picture)
    return True
