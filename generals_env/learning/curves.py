"""Draws learning curves: the share of games won during training, with a band, of one run or of several seeds."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.errors import ConfigError, StorageError
from generals_env.recorders.filesystem.atomic_files import make_folder, replace_file

__all__ = ["WinCurve", "band_of", "draw_curve", "read_curve", "wilson"]

COLORS = {"random": "#2b6cb0", "expander": "#1f7a4d", "hunter": "#b7791f", "self": "#6b46c1"}

MIN_GAMES = 50  # a share of fewer games says little: the line begins later

POINTS = 200  # of a line through the mean of several runs

Z = 1.96  # standard deviations on both sides, for an interval of 95%

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WinCurve:
    """The shares of games won during one training run.

    Attributes:
        xs: (n,) float64, minutes or steps of training at each point, rising.
        wins: (n,) float64 shares by name of the opponent.
        games: (n,) float64 numbers of games that each share is of, by name.
    """

    xs: Floats
    wins: dict[str, Floats]
    games: dict[str, Floats]

    def known(self, name: str) -> tuple[Floats, Floats, Floats]:
        """Return the places, shares and games of the points against an opponent that are of ``MIN_GAMES`` games or more."""
        if name not in self.wins:
            return np.zeros(0), np.zeros(0), np.zeros(0)
        kept = self.games[name] >= MIN_GAMES
        return self.xs[kept], self.wins[name][kept], self.games[name][kept]


def read_curve(table: str | Path, x: str = "minutes") -> WinCurve:
    """Read the curve of a run from its CSV file.

    Args:
        table: File with a column ``x``, and for each opponent the columns ``wins_NAME``, shares of 1, and ``games_NAME``.
        x: Name of the column of places.

    Raises:
        StorageError: If there is no such file, or it has no such columns.
    """
    try:
        rows = list(csv.DictReader(Path(table).read_text(encoding="utf-8").splitlines()))
        names = [column.removeprefix("wins_") for column in (rows[0] if rows else ()) if column.startswith("wins_")]
        columns = {column: np.array([float(row[column]) for row in rows]) for name in names for column in columns_of(name)}
        xs = np.array([float(row[x]) for row in rows])
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise StorageError(
            f"table: expected a CSV file with the columns {x}, wins_NAME and games_NAME, got {str(table)!r} ({error!r:.200})"
        ) from error
    return WinCurve(xs, {name: columns[f"wins_{name}"] for name in names}, {name: columns[f"games_{name}"] for name in names})


def columns_of(name: str) -> tuple[str, str]:
    """Return the names of the columns of an opponent."""
    return f"wins_{name}", f"games_{name}"


def wilson(shares: Floats, games: Floats) -> tuple[Floats, Floats]:
    """Return the lower and upper ends of Wilson's 95% interval of each share of ``games`` games."""
    center = (shares + Z**2 / (2 * games)) / (1 + Z**2 / games)
    half = Z * np.sqrt(shares * (1 - shares) / games + Z**2 / (4 * games**2)) / (1 + Z**2 / games)
    return center - half, center + half


def band_of(curves: Sequence[WinCurve], name: str) -> tuple[Floats, Floats, Floats, Floats]:
    """Return places, line, and lower and upper end of the band against one opponent, four arrays of one length.

    Of one run: its shares with Wilson's 95% intervals. Of several: their mean, minimum and maximum where all of them have
    points, each run interpolated linearly. Empty arrays if a run has less than two points.
    """
    lines = [curve.known(name) for curve in curves]
    if not lines or min(len(places) for places, _, _ in lines) < 2:
        return (np.zeros(0),) * 4
    if len(lines) == 1:
        places, shares, games = lines[0]
        return places, shares, *wilson(shares, games)
    first, last = max(places[0] for places, _, _ in lines), min(places[-1] for places, _, _ in lines)
    if last <= first:
        return (np.zeros(0),) * 4
    common = np.linspace(first, last, POINTS)
    every = np.stack([np.interp(common, places, shares) for places, shares, _ in lines])
    return common, every.mean(0), every.min(0), every.max(0)


def draw_curve(curves: WinCurve | Sequence[WinCurve], picture: str | Path, *, title: str, xlabel: str) -> bool:
    """Draw the share of games won during training, a line and a band for each opponent.

    Args:
        curves: The curve of one run, whose bands are Wilson's 95% intervals; or of several runs of one training with different
            seeds, whose mean is drawn with a band from the lowest to the highest one.
        picture: PNG or SVG file to write, 1600 x 900 pixels.
        title: Title above the plot.
        xlabel: What the places of the curves are.

    Returns:
        Whether the picture was written: not if no line has two points of ``MIN_GAMES`` games.

    Raises:
        ConfigError: If there is no curve.
        ImportError: Without matplotlib.
        StorageError: If the file cannot be written.
    """
    runs = [curves] if isinstance(curves, WinCurve) else list(curves)
    if not runs:
        raise ConfigError("curves: expected one or more, got none: pass those that read_curve returns")
    names = list(dict.fromkeys(name for run in runs for name in run.wins))
    bands = {name: band_of(runs, name) for name in names}
    bands = {name: band for name, band in bands.items() if len(band[0])}
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError(f"draw_curve: expected matplotlib, got {error}: pip install matplotlib") from None
    if not bands:
        return False
    figure = Figure(figsize=(8, 4.5), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    for name, (places, line, low, high) in bands.items():
        color = COLORS.get(name)
        (drawn,) = axes.plot(places, line, color=color, linewidth=1.8, label=f"against {name}")
        axes.fill_between(places, low, high, color=drawn.get_color(), alpha=0.18, linewidth=0)
    dress(axes, title, xlabel, max(run.xs.max(initial=0) for run in runs))
    legend = "bands: 95% intervals" if len(runs) == 1 else f"bands: lowest and highest of {len(runs)} runs"
    axes.legend(loc="lower right", frameon=False, title=legend)
    path = Path(picture)
    try:
        make_folder(path.parent)
        replace_file(path, lambda file: figure.savefig(file, format=path.suffix.lstrip(".") or "png"))
    except (OSError, ValueError) as error:
        raise StorageError(f"picture: expected a PNG or SVG file to write, got {str(picture)!r} ({error})") from error
    return True


def dress(axes: Any, title: str, xlabel: str, last: float) -> None:
    """Set titles, ticks and grid of a plot whose places end at ``last``."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axes.set(title=title, xlabel=xlabel, ylabel="games won", xlim=(0, last), ylim=(0, 1))
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
