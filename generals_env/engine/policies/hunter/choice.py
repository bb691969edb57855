"""Chooses the hunter's action for one seat: planned moves, and new plans where they end or no longer fit."""

from __future__ import annotations

import numpy as np

from generals_env.engine.jit import subroutine
from generals_env.engine.policies.hunter.attack import kill, measure_ways, push
from generals_env.engine.policies.hunter.belief import believed_home, look, measure_home
from generals_env.engine.policies.hunter.defence import earliest_threat, strike
from generals_env.engine.policies.hunter.expansion import expand
from generals_env.engine.policies.hunter.facts import ENEMY_ARMY, GENERAL_TILE, OWN_ARMY, PLAYER_NUMBER, RIVALS, TURN
from generals_env.engine.policies.hunter.gathering import gather
from generals_env.engine.policies.hunter.memory import (
    AIM,
    BEGUN,
    CONTACT,
    COUNT,
    ENEMY_HOME,
    HEAD,
    LAST_TURN,
    OPENING,
    PLAN,
)
from generals_env.engine.policies.hunter.opening import OPENING_TURNS, plan_opening
from generals_env.engine.policies.hunter.seat import Scratch, Seat

__all__ = ["choose"]

SEEN_OWN, SEEN_ENEMY = 7, 10
CYCLE = 50
GATHER_FROM, GATHER_UNTIL = 10, 28


@subroutine
def begin(seat: Seat, scratch: Scratch, begun: int) -> None:
    """Forget the game before, and plan the opening if the game begins."""
    seat.words[:] = 0
    seat.words[BEGUN] = begun
    seat.words[ENEMY_HOME] = -1
    seat.words[CONTACT] = -1
    seat.words[AIM] = -1
    for tile in range(seat.flags.shape[0]):
        seat.flags[tile] = 0
    measure_home(seat, scratch)
    if seat.facts[TURN] == 0 and seat.facts[GENERAL_TILE] >= 0:
        plan_opening(seat, scratch)


@subroutine
def next_move(seat: Seat, scratch: Scratch) -> int:
    """Take planned moves from the queue until one fits the board; return it, -1 to wait, -2 if none is left."""
    player = seat.facts[PLAYER_NUMBER]
    while seat.words[HEAD] < seat.words[COUNT]:
        move = np.int64(seat.queue[seat.words[HEAD]])
        seat.words[HEAD] += 1
        if move < 0:
            return -1
        tile = move // 4
        other = np.int64(scratch.neighbours[tile, move % 4])
        if seat.codes[tile] < SEEN_OWN or seat.owner[tile] != player or seat.army[tile] < 2:
            continue
        code = seat.codes[other]
        if code < SEEN_OWN or code >= SEEN_ENEMY:
            if np.int64(seat.army[tile]) - 1 <= np.int64(seat.army[other]):
                break  # what is in the way is stronger than it was: the rest of the plan is void
        return move
    seat.words[HEAD] = 0
    seat.words[COUNT] = 0
    seat.words[OPENING] = 0
    return -2


@subroutine
def largest_stack(seat: Seat) -> int:
    """Return the own tile with the largest army, -1 if none can move."""
    player = seat.facts[PLAYER_NUMBER]
    best = -1
    largest = 1
    for tile in range(seat.codes.shape[0]):
        if SEEN_OWN <= seat.codes[tile] < SEEN_ENEMY and seat.owner[tile] == player and seat.army[tile] > largest:
            largest = np.int64(seat.army[tile])
            best = tile
    return best


@subroutine
def spearhead(seat: Seat, scratch: Scratch, target: int) -> int:
    """Return the own tile nearest to the target, the one with the larger army among several."""
    player = seat.facts[PLAYER_NUMBER]
    count = measure_ways(seat, scratch, target)
    best = -1
    nearest = -1
    for k in range(count):
        tile = np.int64(scratch.fields[0, k])
        steps = np.int64(scratch.fields[1, tile])
        if nearest >= 0 and steps > nearest:
            break
        if SEEN_OWN <= seat.codes[tile] < SEEN_ENEMY and seat.owner[tile] == player:
            if best < 0 or seat.army[tile] > seat.army[best]:
                best = tile
                nearest = steps
    return best


@subroutine
def make_plan(seat: Seat, scratch: Scratch) -> None:
    """Plan the next moves by the clock of 50 turns."""
    turn = seat.facts[TURN]
    clock = turn % CYCLE
    contact = seat.words[CONTACT] >= 0
    target = seat.words[ENEMY_HOME]
    if target < 0:
        target = believed_home(seat, scratch)
    seat.words[AIM] = target
    if target < 0:
        expand(seat, scratch, 0, 1)
        return
    if (contact or turn >= 100) and GATHER_FROM <= clock < GATHER_UNTIL:
        root = spearhead(seat, scratch, target)
        if root >= 0 and gather(seat, scratch, root, GATHER_UNTIL - clock, 64, True) > 0:
            return
    if not contact and expand(seat, scratch, 1, 2):
        return
    stack = largest_stack(seat)
    if (contact or turn >= 100) and stack >= 0 and seat.army[stack] >= 8:
        if push(seat, scratch, stack, target, 8):
            return
    if expand(seat, scratch, 1, 4):
        return
    root = spearhead(seat, scratch, target)
    if root >= 0 and gather(seat, scratch, root, 12, 64, True) > 0:
        return
    if stack >= 0 and push(seat, scratch, stack, target, 8):
        return
    expand(seat, scratch, 0, 1)


@subroutine
def defend(seat: Seat, scratch: Scratch, threat: int) -> int:
    """Return the move against a threat, -2 if there is none."""
    move = strike(seat, scratch, threat)
    if move >= 0:
        return move
    seat.words[HEAD] = 0
    seat.words[COUNT] = 0
    steps = np.int64(seat.home[threat])
    gathered = gather(seat, scratch, seat.facts[GENERAL_TILE], max(steps - 1, 1), steps, True)
    if gathered == 0:
        return -2
    return next_move(seat, scratch)


@subroutine
def choose(seat: Seat, scratch: Scratch, begun: int, level: int, rng: np.ndarray, player: int) -> int:
    """Return the action of the seat."""
    turn = seat.facts[TURN]
    passing = 8 * seat.codes.shape[0]
    if seat.words[BEGUN] != begun or seat.words[LAST_TURN] != turn - 1:
        begin(seat, scratch, begun)
    seat.words[LAST_TURN] = turn
    enemies = look(seat)
    move = -2
    home = seat.words[ENEMY_HOME]
    if home >= 0:
        move = kill(seat, scratch, home, 8)
    if move < 0 and enemies > 0:
        threat = earliest_threat(seat)
        if threat >= 0:
            move = defend(seat, scratch, threat)
    if move == -2 or (move < 0 and home >= 0):
        move = next_move(seat, scratch)
    if move == -2:
        make_plan(seat, scratch)
        move = next_move(seat, scratch)
    return move if move >= 0 else passing
