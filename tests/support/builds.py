"""The rules of the competition for builds, tile by tile: prices, and where a player may build."""

from __future__ import annotations

import numpy as np

from generals_env.engine.boards import CITY, COMPETITION_VERSION, GENERAL, PLAIN, TOUCH_SHIFT, Boards
from generals_env.engine.packed.packing import PackedBoards


def price_of(boards: Boards, b: int, player: int, tile: int) -> int:
    """Return the price of a castle: 35, and for each own general and castle 14 less twice the steps to it, if positive."""
    width = int(boards.games[b]["width"])
    price = 35
    for other in np.flatnonzero((boards.owner[b] == player) & np.isin(boards.terrain[b], (CITY, GENERAL))).tolist():
        steps = abs(other // width - tile // width) + abs(other % width - tile % width)
        price += max(14 - 2 * steps, 0)
    return price


def buildable(boards: Boards, b: int, player: int) -> np.ndarray:
    """Return on which tiles a player may build, (H*W,) int8."""
    allowed = np.zeros(boards.owner.shape[1], np.int8)
    if boards.players[b, player]["alive"] and boards.games[b]["version"] == COMPETITION_VERSION:
        for tile in np.flatnonzero(boards.owner[b] == player).tolist():
            allowed[tile] = boards.terrain[b, tile] == PLAIN and boards.army[b, tile] >= price_of(boards, b, player, tile)
    return allowed


def under_competition(boards: Boards | PackedBoards, touch: int = 800) -> None:
    """Set the rules of boards, in place, to those of the competition, without other modifiers."""
    boards.games["version"] = COMPETITION_VERSION
    boards.games["modifiers"] = touch << TOUCH_SHIFT
