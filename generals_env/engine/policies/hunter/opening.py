"""Plans the first 50 turns: trips of the general's army over fresh tiles, the best of many simulated at turn 0.

All walls are known at turn 0. The general has grown by one every second turn; a trip takes all of that, and each fresh tile
costs one. The plan with the largest land at turn 50 is kept.
"""

from __future__ import annotations

import numpy as np

from generals_env.engine.jit import subroutine
from generals_env.engine.policies.hunter.facts import GENERAL_TILE
from generals_env.engine.policies.hunter.memory import COUNT, HEAD
from generals_env.engine.policies.hunter.seat import Field, Scratch, Seat, is_wall
from generals_env.engine.splitmix import next_bits

__all__ = ["OPENING_TURNS", "plan_opening"]

OPENING_TURNS = 50
TRIALS = 80
FRESH_TRIALS = 15  # drawn anew; the others change the best plan from some turn on
LAST_LAUNCH = 26  # the latest turn of the first trip
FIRST_CUT = 16
HURRY = 44  # turn from which a trip leaves with an army of one
BEST_LAND = 25


@subroutine
def leave_land(scratch: Scratch, taken: Field, stamp: int, place: int, rotation: int) -> int:
    """Return the direction of the shortest way over own tiles to one with a fresh neighbour, -1 if there is none."""
    order = scratch.fields[1]
    first = scratch.fields[2]
    marks = scratch.fields[3]
    ground = scratch.ground
    order[0] = place
    marks[place] = stamp
    first[place] = -1
    head = 0
    count = 1
    while head < count:
        tile = order[head]
        head += 1
        for turn in range(4):
            direction = (turn + rotation) & 3
            other = scratch.neighbours[tile, direction]
            if other < 0 or ground[other] == 0:
                continue
            if taken[other] != stamp:
                return first[tile] if tile != place else direction
            if marks[other] != stamp:
                marks[other] = stamp
                first[other] = direction if tile == place else first[tile]
                order[count] = other
                count += 1
    return -1


@subroutine
def choose_step(seat: Seat, scratch: Scratch, taken: Field, stamp: int, place: int, carry: int, outward: int) -> int:
    """Return the direction of the fresh neighbour to enter next, -1 if there is none."""
    bits = next_bits(scratch.rng, 0)
    best = -1
    choice = -1
    for direction in range(4):
        other = scratch.neighbours[place, direction]
        if other < 0 or scratch.ground[other] == 0 or taken[other] == stamp:
            continue
        free = 0
        for turn in range(4):
            after = scratch.neighbours[other, turn]
            if after >= 0 and scratch.ground[after] != 0 and taken[after] != stamp:
                free += 1
        score = np.int64((bits >> np.uint64(8 * direction)) & np.uint64(15))
        if carry > 1 and free > 0:
            score += 32
        if seat.home[other] > seat.home[place]:
            score += outward
        if score > best:
            best = score
            choice = direction
    return choice


@subroutine
def try_opening(seat: Seat, scratch: Scratch, stamp: int, best: int, fresh: bool) -> int:
    """Simulate one opening into ``scratch.moves``; return its land at turn 50.

    Args:
        seat: With the best plan so far in its queue.
        scratch: Scratch.
        stamp: A number for this trial.
        best: Land of the best plan; a trial that cannot reach more ends early.
        fresh: Whether all of it is drawn anew; otherwise it begins as the best plan does, up to a turn drawn at random.
    """
    taken = scratch.fields[0]
    moves = scratch.moves
    general = seat.facts[GENERAL_TILE]
    bits = next_bits(scratch.rng, 0)
    launch = LAST_LAUNCH - np.int64(bits & np.uint64(7))
    patience = 1 + np.int64((bits >> np.uint64(3)) & np.uint64(1))
    outward = 4 * np.int64((bits >> np.uint64(5)) & np.uint64(3))
    rotation = np.int64((bits >> np.uint64(8)) & np.uint64(3))
    cut = 0
    if not fresh:
        cut = FIRST_CUT + np.int64((bits >> np.uint64(16)) & np.uint64(31))
    taken[general] = stamp
    place = general
    land, used, carry, turn = 1, 0, 0, 0
    while turn < OPENING_TURNS:
        copies = turn < cut
        if carry == 0:
            place = general
            ready = turn // 2 - used
            waits = turn < launch or ready < 1 or (ready < patience and turn < HURRY)
            if copies:
                waits = seat.queue[turn] < 0
            if waits:
                moves[turn] = -1
                turn += 1
                continue
            if land + OPENING_TURNS - turn < best:
                return 0
            carry = ready
            used += carry
        direction = -1
        if copies and seat.queue[turn] // 4 == place:
            direction = np.int64(seat.queue[turn]) & 3
        elif not copies:
            direction = choose_step(seat, scratch, taken, stamp, place, carry, outward)
            if direction < 0:
                direction = leave_land(scratch, taken, stamp, place, rotation)
        if direction < 0:
            carry = 0  # no way leads on: the army stays
            continue
        moves[turn] = 4 * place + direction
        turn += 1
        place = np.int64(scratch.neighbours[place, direction])
        if taken[place] != stamp:
            taken[place] = stamp
            land += 1
            carry -= 1
    return land


@subroutine
def plan_opening(seat: Seat, scratch: Scratch) -> None:
    """Plan the moves of the first 50 turns; the game is at turn 0."""
    tiles = seat.codes.shape[0]
    for tile in range(tiles):
        scratch.ground[tile] = 0 if is_wall(seat.codes[tile]) else 1
        scratch.fields[0, tile] = 0
        scratch.fields[3, tile] = 0
    scratch.rng[0] = np.uint64(seat.facts[GENERAL_TILE] + 1)
    best = 0
    for trial in range(TRIALS):
        land = try_opening(seat, scratch, trial + 1, best, trial < FRESH_TRIALS)
        if land >= best:
            best = max(best, land)
            for turn in range(OPENING_TURNS):
                seat.queue[turn] = scratch.moves[turn]
            if land >= BEST_LAND:
                break
    seat.words[HEAD] = 0
    seat.words[COUNT] = OPENING_TURNS
