"""Packed boards that many refer to, in tables whose rows are counted and used again.

Boards are counted by who refers to them, grounds by the boards on them; a row of wide armies belongs to one board. What nobody
refers to goes back on a stack of free rows, the last one freed being the first one taken, so that memory that was never
touched stays untouched.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined
from generals_env.engine.packed.gather import copy_armies, copy_ground, copy_row
from generals_env.engine.packed.packing import PackedBoards, same_ground

__all__ = [
    "FIRST",
    "FREED_GAMES",
    "FREE_BOARDS",
    "FREE_GAMES",
    "FREE_GROUNDS",
    "FREE_WIDE",
    "NEXT",
    "SHORT_OF",
    "BoardTables",
    "add_board",
    "place_ground",
    "release_row",
]

#: Columns of the state of all that keeps experiences in tables: first and next key, entries of the stacks of games.
FIRST, NEXT, FREE_GAMES, FREED_GAMES = range(4)

# Columns of ``BoardTables.free``.
FREE_BOARDS, FREE_GROUNDS, FREE_WIDE = range(3)

#: Tables that may be used up, by the number with which a kernel says so; 0 says that none is.
SHORT_OF = ("", "boards", "grounds", "armies", "games", "segments")


class BoardTables(NamedTuple):
    """R boards, G grounds, K rows of wide armies.

    Attributes:
        packed: The boards.
        board_refs: (R,) int32, how many refer to a board.
        ground_refs: (G,) int32, how many boards stand on a ground.
        free_boards: (R,) int32, stack of free rows.
        free_grounds: (G,) int32, likewise.
        free_wide: (K,) int32, likewise.
        free: (3,) int64, how many entries each stack has.
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
    """Return where a ground of ``boards`` lies in the tables, brought there if it must be.

    Args:
        tables: The tables.
        boards: Where the ground comes from.
        ground: Which of theirs.
        known: Where it was brought before, -1 if it was not.
        likely: A ground of the tables that may equal it, -1 for none.

    Returns:
        Its row; -1 if there is no room.
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
    """Return 0 if there is room for board ``row`` beside its ground, else what there is no room for, see ``SHORT_OF``."""
    if tables.free[FREE_BOARDS] == 0:
        return 1
    return 3 if boards.entries[row]["wide"] >= 0 and tables.free[FREE_WIDE] == 0 else 0


@inlined
def add_board(tables: BoardTables, boards: PackedBoards, row: int, ground: int) -> int:
    """Copy board ``row`` of ``boards``, standing on ground ``ground`` of the tables, to a free row, and return that.

    It is referred to once, and there is no board before it.
    """
    tables.free[FREE_BOARDS] -= 1
    place = np.int64(tables.free_boards[tables.free[FREE_BOARDS]])
    wide = np.int64(boards.entries[row]["wide"])
    copy_row(boards, row, tables.packed, place)
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
    """Let go of a board; free it if nobody else refers to it."""
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
