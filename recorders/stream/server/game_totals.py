"""Sums up experiences by game and player, and gives each game an integer index while it has experiences."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import MAX_PLAYERS
from generals_env.recorders.experience.statistics_columns import StatisticsColumns

__all__ = ["GameTotals", "Rows", "merge_rows"]

ROW = np.dtype(
    [
        ("game", np.int32),
        ("player", np.int8),
        ("count", np.int64),
        ("reward", np.float64),
        ("squares", np.float64),
        ("min_reward", np.float32),
        ("max_reward", np.float32),
        ("oldest", np.int64),
        ("newest", np.int64),
    ]
)

#: Sums of experiences: ``game``, an index of ``GameTotals``; ``player``; ``count``; ``reward``, the sum of rewards;
#: ``squares``, the sum of their squares; ``min_reward`` and ``max_reward``; ``oldest`` and ``newest``, in ns since 1970.
Rows = npt.NDArray[np.void]

#: The ufunc that merges each column of rows with the same game and player.
MERGE = {
    "count": np.add,
    "reward": np.add,
    "squares": np.add,
    "min_reward": np.minimum,
    "max_reward": np.maximum,
    "oldest": np.minimum,
    "newest": np.maximum,
}

INITIAL_GAMES = 64  # games in the first table


class GameTotals:
    """Counts of experiences by game and player, and the index of each game that has any.

    Attributes:
        counts: (M, P) int64, by index of the game and player; rows of unused indices are zero.
    """

    def __init__(self) -> None:
        """Start with no games."""
        self.counts = np.zeros((INITIAL_GAMES, MAX_PLAYERS), np.int64)
        self._indices: dict[str, int] = {}
        self._ids: list[str] = [""] * INITIAL_GAMES
        self._free = list(range(INITIAL_GAMES))

    @property
    def games(self) -> frozenset[str]:
        """The ids of all games that have experiences."""
        return frozenset(self._indices)

    def indices_of(self, games: Collection[str]) -> npt.NDArray[np.int32]:
        """Return the indices of games; ids without experiences are left out."""
        return np.array([self._indices[game] for game in games if game in self._indices], np.int32)

    def ids_of(self, indices: npt.NDArray[np.int64]) -> list[str]:
        """Return the ids of games by their indices."""
        return [self._ids[index] for index in indices.tolist()]

    def add(self, columns: StatisticsColumns) -> Rows:
        """Add experiences to the counts, and return one row for each, in their order."""
        indices = np.zeros(len(columns.game_ids), np.int32)
        for game in np.unique(columns.game).tolist():
            indices[game] = self._index_of(columns.game_ids[game])
        rows = np.empty(len(columns), ROW)
        rows["game"], rows["player"], rows["count"] = indices[columns.game], columns.player_id, 1
        rows["reward"] = rows["min_reward"] = rows["max_reward"] = columns.rewards
        rows["squares"] = np.square(rows["reward"])
        rows["oldest"] = rows["newest"] = columns.collected_at
        np.add.at(self.counts, (rows["game"], rows["player"]), 1)
        return rows

    def remove(self, rows: Rows) -> None:
        """Subtract the experiences of these rows, and free the indices of games that have none left."""
        np.subtract.at(self.counts, (rows["game"], rows["player"]), rows["count"])
        for index in np.unique(rows["game"]).tolist():
            if not self.counts[index].any():
                del self._indices[self._ids[index]]
                self._free.append(index)

    def _index_of(self, game: str) -> int:
        index = self._indices.get(game)
        if index is None:
            if not self._free:
                count = len(self._ids)
                self.counts = np.concatenate([self.counts, np.zeros_like(self.counts)])
                self._ids += [""] * count
                self._free = list(range(count, 2 * count))
            index = self._indices[game] = self._free.pop()
            self._ids[index] = game
        return index


def merge_rows(rows: Rows) -> Rows:
    """Merge rows of the same game and player into one each."""
    if not len(rows):
        return rows
    keys: npt.NDArray[Any] = rows["game"].astype(np.int64) << 8 | rows["player"]
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    rows = rows[order]
    table: Rows = rows[starts]
    for name, ufunc in MERGE.items():
        table[name] = ufunc.reduceat(rows[name], starts)
    return table
