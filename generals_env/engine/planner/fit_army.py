"""Puts armies on hidden tiles of the enemy, or takes some, until he has as many as the scoreboard tells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.jit import subroutine
from generals_env.engine.observations.tile_codes import SEEN_MOUNTAIN
from generals_env.engine.splitmix import RandomState, random_below

__all__ = ["fit_army"]

NEAR = 3  # steps from where an army went out of sight within which it is put again


@subroutine
def add_army(
    boards: Boards,
    b: int,
    enemy: int,
    hidden: npt.NDArray[np.int32],
    count: int,
    army: int,
    loss: npt.NDArray[np.int64],
    rng: RandomState,
) -> None:
    """Put armies on hidden enemy tiles: where one went out of sight, on the general, as a stack, and scattered.

    Args:
        boards: The boards.
        b: Which of them.
        enemy: The player whose armies they are.
        hidden: (T,) int32, hidden tiles of the enemy.
        count: Number of these.
        army: The army to put.
        loss: See ``show_sight``.
        rng: (B,) uint64, generators.
    """
    width = boards.games[b]["width"]
    home = np.int64(boards.players[b, enemy]["general"])
    if loss[1] > 2:
        nearest = -1
        least = NEAR + 1
        for k in range(count):
            tile = np.int64(hidden[k])
            steps = abs(tile // width - loss[0] // width) + abs(tile % width - loss[0] % width)
            if steps < least:
                least = steps
                nearest = tile
        if nearest >= 0:
            part = min(army, loss[1])
            boards.army[b, nearest] += part
            army -= part
    if army > 8:
        stack = army // 4 + random_below(rng, b, army // 2)
        boards.army[b, hidden[random_below(rng, b, count)]] += stack
        army -= stack
        scattered = army // 2
        army -= scattered
        for _ in range(scattered):
            boards.army[b, hidden[random_below(rng, b, count)]] += 1
    holds = False
    for k in range(count):
        holds = holds or hidden[k] == home
    boards.army[b, home if holds else np.int64(hidden[0])] += army


@subroutine
def fit_army(
    boards: Boards,
    b: int,
    enemy: int,
    codes: npt.NDArray[np.uint8],
    total: int,
    loss: npt.NDArray[np.int64],
    rng: RandomState,
    hidden: npt.NDArray[np.int32],
) -> None:
    """Add armies to hidden enemy tiles, or take some from the largest, until the enemy has ``total``."""
    count = 0
    army = np.int64(0)
    for tile in range(codes.shape[0]):
        if boards.owner[b, tile] == enemy:
            army += boards.army[b, tile]
            if codes[tile] < SEEN_MOUNTAIN:
                hidden[count] = tile
                count += 1
    if count == 0:
        return
    if army < total:
        add_army(boards, b, enemy, hidden, count, total - army, loss, rng)
    left = np.int64(1)
    while army > total:
        best = np.int64(hidden[0])
        for k in range(count):
            if boards.army[b, hidden[k]] > boards.army[b, best]:
                best = np.int64(hidden[k])
        if boards.army[b, best] <= left:
            if left == 0:
                return
            left = np.int64(0)
            continue
        part = min(army - total, boards.army[b, best] - left)
        boards.army[b, best] -= part
        army -= part
