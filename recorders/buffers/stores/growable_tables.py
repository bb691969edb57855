"""Allocates and grows tables of packed boards, and measures their memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.packed.packing import PackedBoards, empty_packed
from generals_env.engine.storage.board_pool import FREE_BOARDS, FREE_GROUNDS, FREE_WIDE, BoardTables

__all__ = ["SMALL", "allocated", "empty_tables", "free_rows", "grown_tables", "longer", "row_bytes", "used_bytes"]

#: Initial number of rows of a table, and the minimum that it grows by.
SMALL = 64

GROWTH = 1.5

Array = npt.NDArray[Any]

#: Names of the arrays that grow together, the stack of free rows last, and its column of ``BoardTables.free``.
GROUPS = {
    "boards": (("tiles", "entries", "memory", "board_refs", "free_boards"), FREE_BOARDS),
    "grounds": (("terrain", "players", "games", "ground_refs", "free_grounds"), FREE_GROUNDS),
    "armies": (("armies", "free_wide"), FREE_WIDE),
}


def empty_tables(boards: int, tiles: int, players: int, remembers: bool) -> BoardTables:
    """Return tables for ``boards`` boards. Rows that were never written take no memory."""
    return BoardTables(
        packed=empty_packed(boards, tiles, players, SMALL, SMALL, remembers),
        board_refs=np.zeros(boards, np.int32),
        ground_refs=np.zeros(SMALL, np.int32),
        free_boards=free_rows(0, boards),
        free_grounds=free_rows(0, SMALL),
        free_wide=free_rows(0, SMALL),
        free=np.array([boards, SMALL, SMALL], np.int64),
    )


def grown_tables(tables: BoardTables, group: str, count: int, room: int | None) -> BoardTables | None:
    """Return tables with at least ``count`` more rows in one group of arrays, None if that takes over ``room`` bytes."""
    names, column = GROUPS[group]
    arrays = {name: array_of(tables, name) for name in names}
    if not len(arrays.get("memory", ())):
        arrays.pop("memory", None)
    old = len(arrays[names[-1]])
    new = old + max(int((GROWTH - 1) * old), SMALL, count)
    if room is not None:
        new = min(new, old + max(room, 0) // sum(map(row_bytes, arrays.values())))
        if new < old + count:
            return None
    free = arrays.pop(names[-1])[: tables.free[column]]
    larger = {name: longer(array, new) for name, array in arrays.items()}
    larger[names[-1]] = free_rows(old, new, free)
    tables.free[column] += new - old
    boards = tables.packed._replace(**{name: array for name, array in larger.items() if name in PackedBoards._fields})
    return tables._replace(packed=boards, **{name: array for name, array in larger.items() if name in BoardTables._fields})


def used_bytes(tables: BoardTables) -> int:
    """Return the size of the rows in use in bytes."""
    size = 0
    for names, column in GROUPS.values():
        arrays = [array_of(tables, name) for name in names]
        used = len(arrays[-1]) - int(tables.free[column])
        size += used * sum(row_bytes(array) for array in arrays if len(array))
    return size


def array_of(tables: BoardTables, name: str) -> Array:
    """Return an array of the tables or of their boards."""
    array: Array = getattr(tables, name) if name in BoardTables._fields else getattr(tables.packed, name)
    return array


def allocated(tables: Any) -> int:
    """Return the size of all arrays of a NamedTuple and of NamedTuples in it in bytes, whether in use or not."""
    return sum(field.nbytes if isinstance(field, np.ndarray) else allocated(field) for field in tables)


def row_bytes(array: Array) -> int:
    """Return the size of one row in bytes."""
    return array.itemsize * math.prod(array.shape[1:])


def longer(array: Array, count: int) -> Array:
    """Return a copy of an array with ``count`` rows; new rows are zero, unless rows are large: those are not initialised."""
    make = np.zeros if row_bytes(array) < 256 or array.dtype.names else np.empty
    new: Array = make((count, *array.shape[1:]), array.dtype)
    new[: len(array)] = array
    return new


def free_rows(low: int, high: int, old: npt.NDArray[np.int32] | None = None) -> npt.NDArray[np.int32]:
    """Return a stack for ``high`` rows: free rows ``low`` to ``high - 1``, the lowest on top, above them those of ``old``."""
    new = np.zeros(high, np.int32)
    new[: high - low] = np.arange(low, high, dtype=np.int32)[::-1]
    if old is not None:
        new[high - low : high - low + len(old)] = old
    return new
