"""Keeps the table of games behind stored experiences: which rows are free, and how much refers to each game.

``Ring`` and ``Segments`` both hold the arrays that ``GameTable`` names, and their kernels share the functions of this module.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined
from generals_env.engine.packed.packing import PackedBoards
from generals_env.engine.storage.board_pool import NO_GROUNDS, BoardTables, add_board, place_ground, shortage

__all__ = [
    "FIRST",
    "FREED_GAMES",
    "FREE_GAMES",
    "NEXT",
    "GameTable",
    "add_game_board",
    "claim_game",
    "list_if_unused",
    "release_game",
]

#: Columns of ``GameTable.state``: first and next key, number of entries of the two stacks of games.
FIRST, NEXT, FREE_GAMES, FREED_GAMES = range(4)


class GameTable(Protocol):
    """The arrays that ``Ring`` and ``Segments`` have in common, for M games."""

    @property
    def tables(self) -> BoardTables:
        """The boards."""

    @property
    def game_refs(self) -> npt.NDArray[np.int32]:
        """(M,) how many experiences (in ``Ring``) or segments (in ``Segments``) refer to a game."""

    @property
    def game_ground(self) -> npt.NDArray[np.int32]:
        """(M,) ground of the game's board that was added last, -1 for none."""

    @property
    def free_games(self) -> npt.NDArray[np.int32]:
        """(M,) stack of free rows."""

    @property
    def freed_games(self) -> npt.NDArray[np.int32]:
        """(M,) stack of games that nothing refers to, and whose ids have not been removed yet."""

    @property
    def listed(self) -> npt.NDArray[np.bool_]:
        """(M,) whether a game is in ``freed_games``."""

    @property
    def state(self) -> npt.NDArray[np.int64]:
        """(4 or more,) see ``FIRST``, ``NEXT``, ``FREE_GAMES`` and ``FREED_GAMES``."""


@inlined
def claim_game(table: GameTable, games: npt.NDArray[np.int32], number: int) -> int:
    """Take a free row for game ``number`` of a batch, write it to ``games`` (g,) and return it; -1 if no row is free."""
    state = table.state
    if state[FREE_GAMES] == 0:
        return -1
    state[FREE_GAMES] -= 1
    game = np.int64(table.free_games[state[FREE_GAMES]])
    games[number] = game
    table.game_refs[game] = 0
    table.game_ground[game] = -1
    return game


def list_if_unused(table: GameTable, game: int) -> None:
    """Add a game to ``freed_games`` if nothing refers to it."""
    if table.game_refs[game] == 0 and not table.listed[game]:
        table.listed[game] = True
        table.freed_games[table.state[FREED_GAMES]] = game
        table.state[FREED_GAMES] += 1


list_unused = inlined(list_if_unused)  # for kernels


@inlined
def release_game(table: GameTable, game: int) -> None:
    """Remove one reference to a game."""
    table.game_refs[game] -= 1
    list_unused(table, game)


@inlined
def add_game_board(table: GameTable, boards: PackedBoards, row: int, game: int, known: int) -> int:
    """Copy board ``row`` of ``boards`` to the tables, referred to once, on a ground that is shared with its game if equal.

    Args:
        table: The table.
        boards: Where the board comes from.
        row: Which of its rows.
        game: The game's row.
        known: Row of the board's ground in the tables, -1 if it was not copied yet.

    Returns:
        The board's row in the tables, or minus the code of the table that is full, see ``TABLE_NAMES``.
    """
    short = shortage(table.tables, boards, row)
    if short:
        return -short
    origin = np.int64(boards.entries[row]["ground"])
    ground = place_ground(table.tables, boards, origin, known, np.int64(table.game_ground[game]))
    if ground < 0:
        return -NO_GROUNDS
    table.game_ground[game] = ground
    return add_board(table.tables, boards, row, ground)
