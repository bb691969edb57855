"""Experiences summed up by game and player, and games counted while there are experiences of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import MAX_PLAYERS
from generals_env.recorders.experience.statistics_columns import StatisticsColumns

__all__ = ["GameTotals", "Rows", "grouped"]

ROW = np.dtype(
    [
        ("game", np.int32),
        ("player", np.int8),
        ("count", np.int64),
        ("reward", np.float64),
        ("least", np.float32),
        ("most", np.float32),
        ("oldest", np.int64),
        ("newest", np.int64),
    ]
)

#: Sums of experiences: ``game``, a number of a ``GameTotals``; ``player``; ``count``; ``reward``, the sum; ``least`` and
#: ``most`` of rewards; ``oldest`` and ``newest``, in ns since 1970.
Rows = npt.NDArray[np.void]

#: How each column of two rows becomes that of one.
TOGETHER = {
    "count": np.add,
    "reward": np.add,
    "least": np.minimum,
    "most": np.maximum,
    "oldest": np.minimum,
    "newest": np.maximum,
}

SMALL = 64  # games that there is room for at first


class GameTotals:
    """How many experiences of each game and player there are, and numbers for games that there are any of.

    Attributes:
        counts: (M, P) int64, by number of the game and player; rows of numbers that no game has are zero.
    """

    def __init__(self) -> None:
        """Count nothing yet."""
        self.counts = np.zeros((SMALL, MAX_PLAYERS), np.int64)
        self._numbers: dict[str, int] = {}
        self._names: list[str] = [""] * SMALL
        self._free = list(range(SMALL))

    @property
    def games(self) -> frozenset[str]:
        """The ids of all games."""
        return frozenset(self._numbers)

    def numbers_of(self, games: Collection[str]) -> npt.NDArray[np.int32]:
        """Return the numbers of those games that there are."""
        return np.array([self._numbers[game] for game in games if game in self._numbers], np.int32)

    def names_of(self, numbers: npt.NDArray[np.int64]) -> list[str]:
        """Return the ids of games by their numbers."""
        return [self._names[number] for number in numbers.tolist()]

    def add(self, columns: StatisticsColumns) -> Rows:
        """Count experiences, and return a row for each, in their order."""
        numbers = np.zeros(len(columns.game_ids), np.int32)
        for place in np.unique(columns.game).tolist():
            numbers[place] = self._number(columns.game_ids[place])
        rows = np.empty(len(columns), ROW)
        rows["game"], rows["player"], rows["count"] = numbers[columns.game], columns.player_id, 1
        rows["reward"] = rows["least"] = rows["most"] = columns.rewards
        rows["oldest"] = rows["newest"] = columns.collected_at
        np.add.at(self.counts, (rows["game"], rows["player"]), 1)
        return rows

    def remove(self, rows: Rows) -> None:
        """Count the experiences of these rows no more, and forget games that there are none of then."""
        np.subtract.at(self.counts, (rows["game"], rows["player"]), rows["count"])
        for number in np.unique(rows["game"]).tolist():
            if not self.counts[number].any():
                del self._numbers[self._names[number]]
                self._free.append(number)

    def _number(self, game: str) -> int:
        number = self._numbers.get(game)
        if number is None:
            if not self._free:
                known = len(self._names)
                self.counts = np.concatenate([self.counts, np.zeros_like(self.counts)])
                self._names += [""] * known
                self._free = list(range(known, 2 * known))
            number = self._numbers[game] = self._free.pop()
            self._names[number] = game
        return number


def grouped(rows: Rows) -> Rows:
    """Return rows of the same game and player as one."""
    if not len(rows):
        return rows
    keys: npt.NDArray[Any] = rows["game"].astype(np.int64) << 8 | rows["player"]
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    rows = rows[order]
    table: Rows = rows[starts]
    for name, ufunc in TOGETHER.items():
        table[name] = ufunc.reduceat(rows[name], starts)
    return table
