"""What games are called whose experiences lie in tables, and when they are forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.storage.board_pool import FIRST, FREE_GAMES, FREED_GAMES, NEXT
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["GameIdTable"]

Keys = npt.NDArray[np.int64]


class GameIdTable:
    """What ``BoardStore`` and ``GameStore`` have in common: keys, and a row of their tables for each game.

    Attributes:
        capacity: How many experiences there is room for.
        max_bytes: Of all arrays; None for no limit.
        like: A batch without experiences, with the players, shape, recipe and metadata of what is held.
        depth: How many boards an experience needs to be shown: frames that are stacked.
    """

    def __init__(self, like: ExperienceBatch, capacity: int, max_bytes: int | None) -> None:
        """Know no game yet."""
        self.capacity = capacity
        self.max_bytes = max_bytes
        self.like = like.select(np.zeros(0, np.int64))
        self.depth = like.recipe.frames
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}

    @property
    def _tables(self) -> Any:
        """The ``Ring`` or ``Segments``."""
        raise NotImplementedError

    @property
    def first(self) -> int:
        """Key of the oldest experience."""
        return int(self._tables.state[FIRST])

    @property
    def next(self) -> int:
        """Key that the next experience will get."""
        return int(self._tables.state[NEXT])

    @property
    def games(self) -> int:
        """How many games the experiences are of."""
        return len(self._numbers)

    def _rows_of(self, names: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return the row of each game, -1 for those that have none."""
        return np.array([self._numbers.get(name, -1) for name in names], np.int32)

    def _name_games(self, names: Sequence[str], rows: npt.NDArray[np.int32]) -> None:
        """Take note of games that were written, or were to be, and forget those that nobody refers to."""
        tables, state = self._tables, self._tables.state
        for name, row in zip(names, rows.tolist(), strict=True):
            if row < 0:
                continue
            self._numbers[name] = row
            self._names[row] = name
            if tables.game_refs[row] == 0 and not tables.listed[row]:  # nothing of it could be written
                tables.listed[row] = True
                tables.freed_games[state[FREED_GAMES]] = row
                state[FREED_GAMES] += 1
        self._forget_games()

    def _forget_games(self) -> None:
        """Forget games that nobody refers to any more."""
        tables, state = self._tables, self._tables.state
        for row in tables.freed_games[: state[FREED_GAMES]].tolist():
            tables.listed[row] = False
            if tables.game_refs[row] == 0:
                del self._numbers[self._names.pop(row)]
                tables.free_games[state[FREE_GAMES]] = row
                state[FREE_GAMES] += 1
        state[FREED_GAMES] = 0

    def _number_games(self, rows: npt.NDArray[np.void]) -> tuple[str, ...]:
        """Number the games of experiences as batches do, from 0 on, in place, and return their names."""
        names, rows["game"] = self._numbered(rows["game"])
        return names

    def _numbered(self, rows: npt.NDArray[np.int32]) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
        """Return the names of games by their rows, and for each row given which of the names it is."""
        numbers, index = np.unique(rows, return_inverse=True)
        return tuple(self._names[number] for number in numbers.tolist()), index.astype(np.int32)
