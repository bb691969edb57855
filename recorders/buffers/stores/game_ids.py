"""Maps the ids of games to rows of a store's tables, and frees the rows of games without experiences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.storage.game_table import FREE_GAMES, FREED_GAMES, list_if_unused

__all__ = ["GameIdTable"]


class GameIdTable:
    """Holds which game is in which row of ``_tables``."""

    #: The ``Ring`` or ``Segments``.
    _tables: Any

    def __init__(self) -> None:
        """Begin without games."""
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}

    @property
    def games(self) -> int:
        """Number of games of the experiences stored."""
        return len(self._numbers)

    def _rows_of(self, names: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return the row of each game, -1 for a game without one."""
        return np.array([self._numbers.get(name, -1) for name in names], np.int32)

    def _name_games(self, names: Sequence[str], rows: npt.NDArray[np.int32]) -> None:
        """Store the rows of the games of a batch, -1 for a game without one, and free those that nothing refers to."""
        tables = self._tables
        for name, row in zip(names, rows.tolist(), strict=True):
            if row < 0:
                continue
            self._numbers[name] = row
            self._names[row] = name
        written = rows[rows >= 0]
        for row in written[tables.game_refs[written] == 0].tolist():  # none of its experiences could be written
            list_if_unused(tables, row)
        self._forget_games()

    def _forget_games(self) -> None:
        """Free the rows of games that nothing refers to."""
        tables, state = self._tables, self._tables.state
        for row in tables.freed_games[: state[FREED_GAMES]].tolist():
            tables.listed[row] = False
            if tables.game_refs[row] == 0:
                del self._numbers[self._names.pop(row)]
                tables.free_games[state[FREE_GAMES]] = row
                state[FREE_GAMES] += 1
        state[FREED_GAMES] = 0

    def _number_games(self, rows: npt.NDArray[np.void]) -> tuple[str, ...]:
        """Replace rows of games by their numbers in a batch, counted from 0, in place; return the ids by number."""
        names, rows["game"] = self._numbered(rows["game"])
        return names

    def _numbered(self, rows: npt.NDArray[np.int32]) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
        """Return the ids of the games in ``rows``, each once, and for each row the index of its id."""
        numbers, index = np.unique(rows, return_inverse=True)
        return tuple(self._names[number] for number in numbers.tolist()), index.astype(np.int32)
