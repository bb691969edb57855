"""Prices castles and tells where a player may build one, with the rules of the competition (rules C7 and C8)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, GENERAL, PLAIN, Boards
from generals_env.engine.jit import inlined, subroutine

__all__ = ["BASE_PRICE", "PRICE_REACH", "SURCHARGE", "SURCHARGE_STEP", "castle_price", "may_build"]

#: Price of a castle far from all castles and the general of its builder.
BASE_PRICE = 35
#: What one of them adds at distance 0, and what a step takes off.
SURCHARGE, SURCHARGE_STEP = 14, 2
#: The maximum distance at which one of them adds to the price.
PRICE_REACH = (SURCHARGE - 1) // SURCHARGE_STEP


@subroutine
def castle_price(
    owner: npt.NDArray[np.int8],
    terrain: npt.NDArray[np.int8],
    player: int,
    tile: int,
    rows: int,
    columns: int,
    width: int,
) -> int:
    """Return what a castle on ``tile`` costs ``player``: more near castles and generals that he owns.

    Args:
        owner: (H*W,) int8, of one board.
        terrain: (H*W,) int8.
        player: The builder.
        tile: The tile.
        rows: Rows of the board, without padding.
        columns: Columns of the board, without padding.
        width: W.
    """
    row = tile // width
    column = tile - row * width
    price = BASE_PRICE
    for near_row in range(max(row - PRICE_REACH, 0), min(row + PRICE_REACH, rows - 1) + 1):
        far = abs(near_row - row)
        left = max(column - PRICE_REACH + far, 0)
        right = min(column + PRICE_REACH - far, columns - 1)
        for near_column in range(left, right + 1):
            near = near_row * width + near_column
            built = (terrain[near] == CITY) | (terrain[near] == GENERAL)
            if built and owner[near] == player:
                price += SURCHARGE - SURCHARGE_STEP * (far + abs(near_column - column))
    return price


@inlined
def may_build(boards: Boards, b: int, player: int, tile: int) -> bool:
    """Return whether ``player`` may build a castle on ``tile`` now: his own, neither general nor castle, and paid for."""
    army = boards.army[b, tile]
    if boards.owner[b, tile] != player or army < BASE_PRICE or boards.terrain[b, tile] != PLAIN:
        return False
    if not boards.players[b, player]["alive"]:
        return False
    game = boards.games[b]
    price = castle_price(boards.owner[b], boards.terrain[b], player, tile, game["rows"], game["columns"], game["width"])
    return bool(army >= price)
