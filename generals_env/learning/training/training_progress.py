"""Shows one line while a network is trained: the minutes left, samples a second, and wins: ``TrainingProgress``."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

__all__ = ["TrainingProgress", "describe"]

WINS, GAMES = "wins_", "games_"

#: Games of which a share of wins is shown at least: the older ones count less and less.
RECENT = 200.0


class TrainingProgress:
    """A bar and a line of text; on no terminal, nothing.

    ::

        with TrainingProgress(minutes=20) as progress:
            trainer.train(20, progress.report)

    Attributes:
        text: The line as it is shown.
    """

    def __init__(self, minutes: float, console: Console | None = None) -> None:
        """Show the progress of a training of so many minutes."""
        self.text = ""
        self._minutes = minutes
        self._won: dict[str, float] = {}
        self._games: dict[str, float] = {}
        self._before: tuple[float, float] | None = None
        self._rate = 0.0
        self._bar = Progress(BarColumn(), TextColumn("{task.description}"), console=console, transient=False)
        self._task = self._bar.add_task("training", total=minutes)

    def __enter__(self) -> Self:
        """Begin to show."""
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Leave the last line."""
        self._bar.stop()

    def report(self, figures: Mapping[str, float]) -> None:
        """Show the figures of an iteration, as ``PPO.train`` reports them."""
        now = (figures["minutes"], figures["samples"])
        if self._before is not None and now[0] > self._before[0]:
            self._rate = (now[1] - self._before[1]) / (60 * (now[0] - self._before[0]))
        self._before = now
        for name, games in figures.items():
            if name.startswith(GAMES):
                self._count(name.removeprefix(GAMES), games, figures.get(WINS + name.removeprefix(GAMES), 0.0))
        self.text = describe(self._minutes - now[0], now[1], self._rate, self.wins())
        self._bar.update(self._task, completed=now[0], description=self.text)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(line, soft_wrap=True)

    def wins(self) -> dict[str, float]:
        """Return the share of recent games won, by opponent; of those that were played."""
        return {name: self._won[name] / games for name, games in self._games.items() if games}

    def _count(self, name: str, games: float, share: float) -> None:
        kept = max(0.0, 1 - games / RECENT)
        self._games[name] = kept * self._games.get(name, 0.0) + games
        self._won[name] = kept * self._won.get(name, 0.0) + games * share


def describe(left: float, samples: float, rate: float, wins: Mapping[str, float]) -> str:
    """Return the line: minutes left, samples, samples a second, and the shares of wins."""
    parts = [f"{max(left, 0.0):.1f} minutes left", f"{samples:,.0f} samples"]
    if rate:
        parts.append(f"{rate:,.0f}/s")
    if wins:
        parts.append("wins: " + ", ".join(f"{share:.0%} {name}" for name, share in wins.items()))
    return ", ".join(parts)
