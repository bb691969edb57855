"""Defends the general against the earliest threat in sight."""

from __future__ import annotations

import numpy as np

from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.policies.hunter.facts import GENERAL_TILE, PLAYER_NUMBER, TOUCH_TURN_FACT, TURN
from generals_env.engine.policies.hunter.seat import Scratch, Seat, army_at

__all__ = ["earliest_threat", "strike"]

SEEN_OWN, SEEN_ENEMY = 7, 10
WATCHED = 16  # steps from the general within which enemies are threats
SPARE = 2


@inlined
def arriving_army(seat: Seat, scratch: Scratch, threat: int) -> int:
    """Return the army with which the enemy on ``threat`` reaches the general by the way that costs it the least."""
    army = army_at(seat, np.int64(threat)) - 1
    place = threat
    while seat.home[place] > 1 and army > 0:
        least = 1 << 30
        choice = -1
        for direction in range(4):
            other = scratch.neighbours[place, direction]
            if other >= 0 and seat.home[other] == seat.home[place] - 1:
                code = seat.codes[other]
                cost = 1
                if SEEN_OWN <= code < SEEN_ENEMY:
                    cost = army_at(seat, np.int64(other)) + 1
                elif code >= SEEN_ENEMY:
                    cost = 1 - army_at(seat, np.int64(other))
                if cost < least:
                    least = cost
                    choice = np.int64(other)
        if choice < 0:
            break
        army -= least
        place = choice
    return army


@subroutine
def earliest_threat(seat: Seat, scratch: Scratch) -> int:
    """Return the nearest enemy tile whose army would take the general, -1 if there is none.

    The army that is missing at the general is written to ``scratch.rates[1]``.
    """
    general = seat.facts[GENERAL_TILE]
    if general < 0:
        return -1
    guard = army_at(seat, np.int64(general))
    growth = 1
    touch = seat.facts[TOUCH_TURN_FACT]
    if 0 <= touch <= seat.facts[TURN]:
        guard = 0  # any army that enters wins
        growth = 0
    threat = -1
    nearest = WATCHED + 1
    for tile in range(seat.codes.shape[0]):
        if seat.codes[tile] >= SEEN_ENEMY:
            steps = np.int64(seat.home[tile])
            if 0 < steps < nearest and army_at(seat, tile) - 1 > guard + growth * (steps // 2):
                missing = arriving_army(seat, scratch, tile) - guard - growth * (steps // 2)
                if missing > 0:
                    threat = tile
                    nearest = steps
                    scratch.rates[1] = missing + SPARE
    return threat


@subroutine
def strike(seat: Seat, scratch: Scratch, threat: int) -> int:
    """Return the move of the largest army beside the threat if it takes it, -1 otherwise."""
    player = seat.facts[PLAYER_NUMBER]
    largest = army_at(seat, np.int64(threat)) + 1
    move = -1
    for direction in range(4):
        other = scratch.neighbours[threat, direction]
        if other >= 0 and SEEN_OWN <= seat.codes[other] < SEEN_ENEMY and seat.owner[other] == player:
            if army_at(seat, np.int64(other)) > largest:
                largest = army_at(seat, np.int64(other))
                move = 4 * np.int64(other) + (direction ^ 1)
    return move
