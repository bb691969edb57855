"""Writes the ratings of a training to a table, and draws them: ``RatingCurve``."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from generals_env.errors import StorageError
from generals_env.learning.self_play.training_ratings import TrainingRatings
from generals_env.recorders.filesystem.atomic_files import make_folder, replace_file

__all__ = ["RatingCurve"]


class RatingCurve:
    """The ratings of a training over time, in ``ratings.csv`` and ``ratings.png`` of a folder.

    A run that continues in the same folder adds to the table.

    Attributes:
        table: The CSV file: ``minutes``, ``samples``, ``player``, ``elo`` with ``elo_low`` and ``elo_high``, ``games``,
            ``draws``, and ``wins_NAME`` and ``games_NAME`` of each anchor, which ``read_curve`` reads.
        picture: The curve; matplotlib draws it.
        rows: The rows of the table.
    """

    def __init__(self, folder: str | Path) -> None:
        """Read the table of an earlier run, if there is one.

        Raises:
            StorageError: If it cannot be read.
        """
        self.table, self.picture = Path(folder) / "ratings.csv", Path(folder) / "ratings.png"
        try:
            text = self.table.read_text("utf-8") if self.table.exists() else ""
            self.rows: list[dict[str, str]] = list(csv.DictReader(text.splitlines()))
            for row in self.rows:
                row["minutes"] = f"{float(row['minutes']):.3f}"
        except (OSError, KeyError, ValueError, csv.Error) as error:
            raise StorageError(f"folder: expected a table of ratings, got {str(self.table)!r} ({error!r:.200})") from error

    def add(self, ratings: TrainingRatings, minutes: float) -> None:
        """Add the latest rating after some minutes of training; write the table, and draw if matplotlib is installed.

        Raises:
            StorageError: If a file cannot be written.
        """
        latest = ratings.rated[-1]
        row = {"minutes": f"{minutes:.3f}", "samples": str(latest.samples), "player": latest.player}
        row |= {"elo": f"{latest.elo.value:.1f}", "elo_low": f"{latest.elo.low:.1f}", "elo_high": f"{latest.elo.high:.1f}"}
        row |= {"games": str(latest.games), "draws": f"{latest.draw_rate:.4f}"}
        for one in latest.results[: len(ratings.anchors)]:
            row |= {f"wins_{one.opponent}": f"{one.win_rate.value:.4f}", f"games_{one.opponent}": str(one.games)}
        self.rows.append(row)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in self.rows for name in row)), restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        try:
            make_folder(self.table.parent)
            replace_file(self.table, lambda file: file.write(text.getvalue().encode()))
        except OSError as error:
            raise StorageError(f"folder: expected one that can be written, got {str(self.table.parent)!r} ({error})") from error
        self.draw(ratings)

    def draw(self, ratings: TrainingRatings) -> bool:
        """Draw the ratings with their intervals, and a line for each anchor; return whether there is a picture.

        There is none without matplotlib, or of less than two ratings. Ends of intervals without limit are not drawn.

        Raises:
            StorageError: If the picture cannot be written.
        """
        try:
            from matplotlib.figure import Figure
        except ModuleNotFoundError:
            return False
        if len(self.rows) < 2:
            return False
        places = [float(row["minutes"]) for row in self.rows]
        elos, lows, highs = ([float(row[name]) for row in self.rows] for name in ("elo", "elo_low", "elo_high"))
        figure = Figure(figsize=(8, 4.5), dpi=200, layout="constrained")
        axes = figure.add_subplot()
        low, high = ([b if math.isfinite(b) else a for a, b in zip(elos, ends, strict=True)] for ends in (lows, highs))
        (line,) = axes.plot(places, elos, linewidth=1.8, label="the learner")
        axes.fill_between(places, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
        known = ratings.ratings()
        for player in ratings.anchors:
            value = known[player.name].elo.value
            axes.axhline(value, color="#777777", linewidth=0.8, linestyle="--")
            axes.annotate(player.name, (places[-1], value), ha="right", va="bottom", color="#555555")
        title = f"{ratings.options.kind}: {ratings.options.games} games against each opponent"
        axes.set(title=title, xlabel="minutes of training", ylabel="Elo")
        axes.grid(color="#dddddd", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper left", frameon=False, title="band: 95% interval")
        try:
            replace_file(self.picture, lambda file: figure.savefig(file, format="png"))
        except OSError as error:
            raise StorageError(f"folder: expected one that can be written, got {str(self.picture)!r} ({error})") from error
        return True
