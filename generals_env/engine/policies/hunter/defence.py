"""Defends the general against the earliest threat in sight."""

from __future__ import annotations

import numpy as np

from generals_env.engine.jit import subroutine
from generals_env.engine.policies.hunter.facts import GENERAL_TILE, PLAYER_NUMBER
from generals_env.engine.policies.hunter.seat import Scratch, Seat

__all__ = ["earliest_threat", "strike"]

SEEN_OWN, SEEN_ENEMY = 7, 10
WATCHED = 12  # steps from the general within which enemies are threats


@subroutine
def earliest_threat(seat: Seat) -> int:
    """Return the nearest enemy tile whose army is larger than that of the general, -1 if there is none."""
    general = seat.facts[GENERAL_TILE]
    if general < 0:
        return -1
    guard = np.int64(seat.army[general])
    threat = -1
    nearest = WATCHED + 1
    for tile in range(seat.codes.shape[0]):
        if seat.codes[tile] >= SEEN_ENEMY:
            steps = np.int64(seat.home[tile])
            if 0 < steps < nearest and np.int64(seat.army[tile]) - 1 > guard + steps // 2:
                threat = tile
                nearest = steps
    return threat


@subroutine
def strike(seat: Seat, scratch: Scratch, threat: int) -> int:
    """Return the move of the largest army beside the threat if it takes it, -1 otherwise."""
    player = seat.facts[PLAYER_NUMBER]
    largest = np.int64(seat.army[threat]) + 1
    move = -1
    for direction in range(4):
        other = scratch.neighbours[threat, direction]
        if other >= 0 and SEEN_OWN <= seat.codes[other] < SEEN_ENEMY and seat.owner[other] == player:
            if np.int64(seat.army[other]) > largest:
                largest = np.int64(seat.army[other])
                move = 4 * np.int64(other) + (direction ^ 1)
    return move
