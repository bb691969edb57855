"""Chooses the hunter's action for one seat: planned moves, and new plans where they end or no longer fit."""

from __future__ import annotations

import numpy as np

from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.policies.hunter.attack import added_army, kill, measure_ways, push
from generals_env.engine.policies.hunter.belief import believed_home, look, measure_home
from generals_env.engine.policies.hunter.castles import build_now
from generals_env.engine.policies.hunter.defence import earliest_threat, strike
from generals_env.engine.policies.hunter.expansion import expand
from generals_env.engine.policies.hunter.facts import GENERAL_TILE, PLAYER_NUMBER, TURN
from generals_env.engine.policies.hunter.gathering import gather
from generals_env.engine.policies.hunter.memory import (
    AIM,
    BEGUN,
    COUNT,
    ENEMY_HOME,
    HEAD,
    HOME_TILE,
    LAST_TURN,
    SEEN,
    STACK,
)
from generals_env.engine.policies.hunter.opening import plan_opening
from generals_env.engine.policies.hunter.seat import Field, Scratch, Seat, army_at
from generals_env.engine.splitmix import next_bits

__all__ = ["choose"]

FOG, SEEN_MOUNTAIN, SEEN_NEUTRAL, SEEN_OWN, SEEN_ENEMY = 1, 3, 4, 7, 10
CYCLE = 50
FIRST_GROWTH, BEFORE_GROWTH = 100, 38  # from this turn on, expand in the last turns before all land grows
MAX_GATHER = 40
HASTE = 1


@inlined
def follow_home(seat: Seat, scratch: Scratch) -> None:
    """Measure the way home anew where the own general is another tile than before: after a trade of generals, or a leap."""
    if seat.words[HOME_TILE] != seat.facts[GENERAL_TILE]:
        seat.words[HOME_TILE] = seat.facts[GENERAL_TILE]
        measure_home(seat, scratch)


@subroutine
def begin(seat: Seat, scratch: Scratch, begun: int) -> None:
    """Forget the game before, and plan the opening if the game begins."""
    seat.words[:] = 0
    seat.words[BEGUN] = begun
    seat.words[ENEMY_HOME] = -1
    seat.words[AIM] = -1
    seat.words[STACK] = -1
    seat.words[HOME_TILE] = -1
    for tile in range(seat.flags.shape[0]):
        seat.flags[tile] = 0
    follow_home(seat, scratch)
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
        if other < 0 or seat.codes[other] == SEEN_MOUNTAIN:
            continue  # no plan enters these; a move into them would be illegal
        code = seat.codes[other]
        if code < SEEN_OWN or code >= SEEN_ENEMY:
            if army_at(seat, tile) - 1 <= army_at(seat, np.int64(other)):
                break  # what is in the way is stronger than it was: the rest of the plan is void
        return move
    seat.words[HEAD] = 0
    seat.words[COUNT] = 0
    return -2


@subroutine
def largest_stack(seat: Seat) -> int:
    """Return the own tile with the largest army, -1 if none can move."""
    player = seat.facts[PLAYER_NUMBER]
    best = -1
    largest = 1
    for tile in range(seat.codes.shape[0]):
        if SEEN_OWN <= seat.codes[tile] < SEEN_ENEMY and seat.owner[tile] == player and seat.army[tile] > largest:
            largest = army_at(seat, tile)
            best = tile
    return best


@subroutine
def spearhead(seat: Seat, scratch: Scratch, target: int) -> int:
    """Return the own tile nearest to the target, the one with the larger army among several."""
    player = seat.facts[PLAYER_NUMBER]
    count = measure_ways(seat, scratch, target, -1)
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
def way_cost(seat: Seat, scratch: Scratch, start: int, steps: Field) -> int:
    """Return the army that a walk from ``start`` down the field ``steps`` loses to what it captures."""
    player = seat.facts[PLAYER_NUMBER]
    cost = 0
    place = start
    while steps[place] > 0:
        best = -(1 << 30)
        choice = place
        for direction in range(4):
            other = scratch.neighbours[place, direction]
            if other >= 0 and steps[other] == steps[place] - 1:
                added = added_army(seat, np.int64(other), player)
                if added > best:
                    best = added
                    choice = np.int64(other)
        cost -= best
        place = choice
    return cost


@subroutine
def plan_attack(seat: Seat, scratch: Scratch, target: int, stack: int) -> bool:
    """Gather to the place from which an attack on ``target`` brings the most army for its turns, or push from there."""
    front = spearhead(seat, scratch, target)
    if front < 0:
        return False
    steps = scratch.fields[5]
    for tile in range(steps.shape[0]):
        steps[tile] = scratch.fields[1, tile]
    best, best_top, best_low = -1, -(1 << 30), 1
    for candidate in range(2):
        root = front if candidate == 0 else stack
        if root < 0 or steps[root] < 0 or (candidate == 1 and root == front):
            continue
        base = army_at(seat, np.int64(root)) - 1 - way_cost(seat, scratch, root, steps)
        extra = np.int64(steps[root]) + 4
        total = gather(seat, scratch, root, MAX_GATHER, 64, base, extra, False)
        top, low = base + total, extra + scratch.rates[0]
        if best < 0 or top * best_low > best_top * low:
            best, best_top, best_low = root, top, low
    if best < 0:
        return False
    base = army_at(seat, np.int64(best)) - 1 - way_cost(seat, scratch, best, steps)
    extra = np.int64(steps[best]) + 4
    gather(seat, scratch, best, MAX_GATHER, 64, base, extra, True)
    seat.words[STACK] = best
    return seat.words[COUNT] > 0


@subroutine
def make_plan(seat: Seat, scratch: Scratch) -> None:
    """Plan the next moves."""
    turn = seat.facts[TURN]
    target = seat.words[ENEMY_HOME]
    stack = seat.words[STACK]
    player = seat.facts[PLAYER_NUMBER]
    if stack >= 0 and (seat.owner[stack] != player or seat.codes[stack] < SEEN_OWN or seat.army[stack] < 3):
        stack = -1
    aim = seat.words[AIM]
    if target < 0 and stack >= 0 and aim >= 0 and seat.codes[aim] == FOG and seat.flags[aim] & SEEN == 0:
        target = aim  # a push goes on to where it went
    if target < 0:
        target = believed_home(seat, scratch, stack if stack >= 0 else seat.facts[GENERAL_TILE])
    seat.words[AIM] = target
    if target < 0:
        expand(seat, scratch, 0, 1)
        return
    if stack >= 0 and push(seat, scratch, stack, target, 8):
        return
    seat.words[STACK] = -1
    if turn >= FIRST_GROWTH and turn % CYCLE >= BEFORE_GROWTH and expand(seat, scratch, 1, 1):
        return
    if plan_attack(seat, scratch, target, largest_stack(seat)):
        return
    stack = largest_stack(seat)
    if stack >= 0 and push(seat, scratch, stack, target, 8):
        return
    expand(seat, scratch, 0, 1)


@subroutine
def defend(seat: Seat, scratch: Scratch, threat: int) -> int:
    """Return the move against a threat, -2 if there is none."""
    move = strike(seat, scratch, threat)
    if move >= 0:
        return move
    steps = np.int64(seat.home[threat])
    missing = scratch.rates[1]
    general = seat.facts[GENERAL_TILE]
    gather(seat, scratch, general, 64, steps - 1, missing, -1, False)
    if scratch.rates[0] + HASTE < steps:
        return -2  # there is time
    seat.words[HEAD] = 0
    seat.words[COUNT] = 0
    gather(seat, scratch, general, max(steps - 1, 1), steps - 1, missing, -1, True)
    return next_move(seat, scratch)


@subroutine
def stray(seat: Seat, scratch: Scratch, bits: np.uint64) -> int:
    """Return a random legal move of the first own army in a random order of the tiles, -1 if there is none."""
    tiles = seat.codes.shape[0]
    player = seat.facts[PLAYER_NUMBER]
    first = np.int64((bits >> np.uint64(32)) * np.uint64(tiles) >> np.uint64(32))
    for k in range(tiles):
        tile = (first + k) % tiles
        if SEEN_OWN <= seat.codes[tile] < SEEN_ENEMY and seat.owner[tile] == player and seat.army[tile] >= 2:
            for turn in range(4):
                direction = (np.int64(bits & np.uint64(3)) + turn) & 3
                other = scratch.neighbours[tile, direction]
                if other >= 0 and seat.codes[other] >= SEEN_NEUTRAL:
                    return 4 * tile + direction
    return -1


@subroutine
def choose(seat: Seat, scratch: Scratch, begun: int, level: int, rng: np.ndarray, player: int) -> int:
    """Return the action of the seat."""
    turn = seat.facts[TURN]
    passing = 8 * seat.codes.shape[0]
    if seat.words[BEGUN] != begun or seat.words[LAST_TURN] >= turn:
        begin(seat, scratch, begun)
    elif seat.words[LAST_TURN] < turn - 1:  # others played the seat meanwhile
        seat.words[HEAD] = 0
        seat.words[COUNT] = 0
    seat.words[LAST_TURN] = turn
    follow_home(seat, scratch)
    enemies = look(seat)
    move = -2
    home = seat.words[ENEMY_HOME]
    if home >= 0:
        move = kill(seat, scratch, home, 8)
    if move < 0 and enemies:
        threat = earliest_threat(seat, scratch)
        if threat >= 0:
            move = defend(seat, scratch, threat)
    if move == -2 or (move < 0 and home >= 0):
        move = next_move(seat, scratch)
    if move == -2:
        tile = seat.words[STACK]
        if build_now(seat, tile if tile >= 0 else largest_stack(seat)):
            return passing + 1 + (tile if tile >= 0 else largest_stack(seat))
        make_plan(seat, scratch)
        move = next_move(seat, scratch)
    if level > 0 and (next_bits(rng, player) & np.uint64(3)) < np.uint64(level):
        move = stray(seat, scratch, next_bits(rng, player))
    return move if move >= 0 else passing
