"""Pools packed boards in tables whose rows are reference-counted and reused.

A board's count is the number of references to it, a ground's count the number of boards on it; a row of wide armies belongs to
one board. A row that nothing refers to goes on a stack of free rows. The row freed last is taken first, so that memory that was
never touched stays untouched.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined
from generals_env.engine.packed.gather import copy_armies, copy_ground, copy_packed_row
from generals_env.engine.packed.packing import PackedBoards, same_ground

__all__ = [
    "FREE_BOARDS",
    "FREE_GROUNDS",
    "FREE_WIDE",
    "NO_ARMIES",
    "NO_BOARDS",
    "NO_GAMES",
    "NO_GROUNDS",
    "NO_SEGMENTS",
    "TABLE_NAMES",
    "BoardTables",
    "add_board",
    "place_ground",
    "release_row",
    "shortage",
]

# Columns of ``BoardTables.free``.
FREE_BOARDS, FREE_GROUNDS, FREE_WIDE = range(3)

#: Codes that kernels return for a table without a free row; 0 for none.
NO_BOARDS, NO_GROUNDS, NO_ARMIES, NO_GAMES, NO_SEGMENTS = range(1, 6)

#: Names of the tables by these codes.
TABLE_NAMES = ("", "boards", "grounds", "armies", "games", "segments")


class BoardTables(NamedTuple):
    """R boards, G grounds, K rows of wide armies.

    Attributes:
        packed: The boards.
        board_refs: (R,) int32, number of references to a board.
        ground_refs: (G,) int32, number of boards on a ground.
        free_boards: (R,) int32, stack of free rows.
        free_grounds: (G,) int32, likewise.
        free_wide: (K,) int32, likewise.
        free: (3,) int64, number of entries of each stack.
    """

    packed: PackedBoards
    board_refs: npt.NDArray[np.int32]
    ground_refs: npt.NDArray[np.int32]
    free_boards: npt.NDArray[np.int32]
    free_grounds: npt.NDArray[np.int32]
    free_wide: npt.NDArray[np.int32]
    free: npt.NDArray[np.int64]


@inlined
def place_ground(tables: BoardTables, boards: PackedBoards, ground: int, known: int, likely: int) -> int:
    """Return the row of a ground of ``boards`` in the tables; copy it there if it is not there yet.

    Args:
        tables: The tables.
        boards: Where the ground comes from.
        ground: Its row in ``boards``.
        known: Its row in the tables, -1 if it was not copied yet.
        likely: A ground of the tables that may be equal to it, -1 for none.

    Returns:
        Its row in the tables, -1 if no row is free.
    """
    if known >= 0 and tables.ground_refs[known] > 0:
        return known
    packed = tables.packed
    if (
        likely >= 0
        and tables.ground_refs[likely] > 0
        and same_ground(
            boards.terrain, boards.players, boards.games, ground, packed.terrain, packed.players, packed.games, likely
        )
    ):
        return likely
    if tables.free[FREE_GROUNDS] == 0:
        return -1
    tables.free[FREE_GROUNDS] -= 1
    place = np.int64(tables.free_grounds[tables.free[FREE_GROUNDS]])
    copy_ground(boards, ground, packed, place)
    return place


@inlined
def shortage(tables: BoardTables, boards: PackedBoards, row: int) -> int:
    """Return 0 if the tables have room for board ``row`` without its ground, else the code of the full table."""
    if tables.free[FREE_BOARDS] == 0:
        return NO_BOARDS
    return NO_ARMIES if boards.entries[row]["wide"] >= 0 and tables.free[FREE_WIDE] == 0 else 0


@inlined
def add_board(tables: BoardTables, boards: PackedBoards, row: int, ground: int) -> int:
    """Copy board ``row`` of ``boards`` to a free row on ground ``ground`` of the tables, and return that row.

    The copy has one reference and no previous board.
    """
    tables.free[FREE_BOARDS] -= 1
    place = np.int64(tables.free_boards[tables.free[FREE_BOARDS]])
    wide = np.int64(boards.entries[row]["wide"])
    copy_packed_row(boards, row, tables.packed, place)
    tables.packed.entries[place]["ground"] = ground
    tables.packed.entries[place]["previous"] = -1
    tables.ground_refs[ground] += 1
    tables.board_refs[place] = 1
    if wide >= 0:
        tables.free[FREE_WIDE] -= 1
        spot = np.int64(tables.free_wide[tables.free[FREE_WIDE]])
        tables.packed.entries[place]["wide"] = spot
        copy_armies(boards, wide, tables.packed, spot)
    return place


@inlined
def release_row(tables: BoardTables, row: int) -> None:
    """Remove one reference to a board; free its row if it was the last one."""
    tables.board_refs[row] -= 1
    if tables.board_refs[row] == 0:
        tables.free_boards[tables.free[FREE_BOARDS]] = row
        tables.free[FREE_BOARDS] += 1
        wide = np.int64(tables.packed.entries[row]["wide"])
        if wide >= 0:
            tables.free_wide[tables.free[FREE_WIDE]] = wide
            tables.free[FREE_WIDE] += 1
        ground = np.int64(tables.packed.entries[row]["ground"])
        tables.ground_refs[ground] -= 1
        if tables.ground_refs[ground] == 0:
            tables.free_grounds[tables.free[FREE_GROUNDS]] = ground
            tables.free[FREE_GROUNDS] += 1
