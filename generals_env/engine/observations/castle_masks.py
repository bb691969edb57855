"""Keeps the builds in action masks up to date, with the rules of the competition."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.bitboards import NOTHING, Rows
from generals_env.engine.boards import PLAIN, Boards
from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.rules.castle_prices import PRICE_REACH, may_build
from generals_env.engine.rules.valid_moves import Tiles

__all__ = ["follow_builds", "write_builds"]


@inlined
def write_build(boards: Boards, b: int, player: int, tile: int, mask: npt.NDArray[np.int8]) -> None:
    """Write whether ``player`` may build on a tile."""
    mask[8 * boards.owner.shape[1] + 1 + tile] = np.int8(may_build(boards, b, player, tile))


@subroutine
def write_builds(boards: Boards, b: int, player: int, mask: npt.NDArray[np.int8]) -> None:
    """Write all builds of a player's mask, (9*H*W + 1,) int8."""
    for tile in range(boards.owner.shape[1]):
        write_build(boards, b, player, tile, mask)


@subroutine
def follow_builds(
    boards: Boards,
    b: int,
    masks: npt.NDArray[np.int8],
    touched: Tiles,
    start: Tiles,
    end: Tiles,
    changed: Rows,
    everywhere: bool,
) -> None:
    """Bring the builds of all masks up to date with a turn: those of touched tiles, and of tiles whose price it changed.

    Args:
        boards: The boards.
        b: Which of them.
        masks: (B, 2, 9*H*W + 1) int8, in and out.
        touched: (n,) int32, the touched tiles, see ``tile_sets``.
        start: (2,) int32, see ``take_actions``.
        end: (2,) int32, see there.
        changed: (2,) uint64, bits of the rows in which each player's land changed.
        everywhere: Whether any tile may differ: after growth of all land, or if a castle changed hands.
    """
    players = masks.shape[1]
    if everywhere:
        for player in range(players):
            write_builds(boards, b, player, masks[b, player])
        return
    for k in range(1, touched[0] + 1):
        tile = np.int64(touched[k])
        if boards.terrain[b, tile] == PLAIN:  # castles grow often, and no player may build there
            for player in range(players):
                if boards.owner[b, tile] == player or changed[player] != NOTHING:
                    write_build(boards, b, player, tile, masks[b, player])
    game = boards.games[b]
    width = game["width"]
    for player in range(players):
        if start[player] < 0 and end[player] >= 0:  # a castle: building near it costs its owner more
            row = end[player] // width
            column = end[player] - row * width
            for near_row in range(max(row - PRICE_REACH, 0), min(row + PRICE_REACH, game["rows"] - 1) + 1):
                left = max(column - PRICE_REACH, 0)
                right = min(column + PRICE_REACH, game["columns"] - 1)
                for near_column in range(left, right + 1):
                    write_build(boards, b, player, near_row * width + near_column, masks[b, player])
