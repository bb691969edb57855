"""Holds what ``BoardStore`` and ``GameStore`` have in common: settings, the table of games, and arrays that grow."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from generals_env.engine.boards import Boards
from generals_env.engine.storage.game_table import FIRST, FREE_GAMES, NEXT
from generals_env.recorders.buffers.stores.game_ids import GameIdTable
from generals_env.recorders.buffers.stores.growable_tables import SMALL, allocated, free_rows, grown_tables, longer
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["GAME_ARRAYS", "GAME_STACK", "TableStore", "empty_game_arrays"]

#: Arrays of ``GameTable`` with a row for each game, and their stack of free rows, for ``TableStore._growing``.
GAME_ARRAYS = ("game_refs", "game_ground", "freed_games", "listed")
GAME_STACK = ("free_games", FREE_GAMES)

#: No table may have more rows: their numbers are int32.
MAX_ROWS = 2**31 - 1


class TableStore(GameIdTable):
    """A store whose experiences lie in a NamedTuple of arrays: a ``Ring`` or ``Segments``.

    Attributes:
        capacity: Maximum number of experiences.
        max_bytes: Maximum size of all arrays; None for no limit.
        like: A batch without experiences, with the players, shape, recipe and metadata of those stored.
        depth: Number of boards that an observation is made of: stacked frames.
    """

    #: Names of the arrays that grow together, their stack of free rows, and its column of ``state``, by table.
    _growing: ClassVar[dict[str, tuple[tuple[str, ...], str, int]]]

    def __init__(self, like: ExperienceBatch, capacity: int, max_bytes: int | None) -> None:
        """Set the limits; the subclass makes the arrays."""
        super().__init__()
        self.capacity = capacity
        self.max_bytes = max_bytes
        self.like = like.select(np.zeros(0, np.int64))
        self.depth = like.recipe.frames

    @property
    def first(self) -> int:
        """Key of the oldest experience."""
        return int(self._tables.state[FIRST])

    @property
    def next(self) -> int:
        """Key that the next experience will get."""
        return int(self._tables.state[NEXT])

    def _free_bytes(self) -> int | None:
        """Return how many more bytes the arrays may take, None for no limit."""
        return None if self.max_bytes is None else self.max_bytes - allocated(self._tables)

    def _max_rows(self, table: str) -> int:
        """Return how many rows a table of ``_growing`` may have."""
        return MAX_ROWS

    def _grow(self, table: str, count: int) -> bool:
        """Add at least ``count`` rows to a table; return False if a limit forbids it."""
        tables = self._tables
        if table not in self._growing:
            grown = grown_tables(tables.tables, table, count, self._free_bytes())
            if grown is not None:
                self._tables = tables._replace(tables=grown)
            return grown is not None
        names, stack, column = self._growing[table]
        free = getattr(tables, stack)
        old = len(free)
        new = min(old + max(old // 4, SMALL, count), self._max_rows(table))
        if new < old + count:
            return False
        larger: dict[str, Any] = {}
        for name in names:
            rows = getattr(tables, name)
            larger[name] = Boards._make(longer(array, new) for array in rows) if isinstance(rows, Boards) else longer(rows, new)
        larger[stack] = free_rows(old, new, free[: tables.state[column]])
        tables.state[column] += new - old
        self._tables = tables._replace(**larger)
        return True


def empty_game_arrays(first: int, *free: int) -> dict[str, Any]:
    """Return the arrays of a ``GameTable`` without games.

    Args:
        first: Key of the first experience.
        *free: Number of free rows of further tables, for the columns of ``state`` after those of ``GameTable``.
    """
    return {
        "game_refs": np.zeros(SMALL, np.int32),
        "game_ground": np.full(SMALL, -1, np.int32),
        "free_games": free_rows(0, SMALL),
        "freed_games": np.zeros(SMALL, np.int32),
        "listed": np.zeros(SMALL, np.bool_),
        "state": np.array([first, first, SMALL, 0, *free], np.int64),
    }
