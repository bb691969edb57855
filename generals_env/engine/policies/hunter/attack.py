"""Plans attacks: the way of an army to a target, and the way of the army that takes the enemy's general."""

from __future__ import annotations

import numpy as np

from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.policies.hunter.facts import PLAYER_NUMBER, TOUCH_TURN_FACT, TURN
from generals_env.engine.policies.hunter.memory import ENEMY_HELD, STACK
from generals_env.engine.policies.hunter.seat import MAX_GAIN, Scratch, Seat, army_at, is_wall, push_move
from generals_env.engine.policies.hunter.walking import EVERYWHERE, walk_from

__all__ = ["kill", "measure_ways", "push"]

FOG, SEEN_OWN, SEEN_ENEMY = 1, 7, 10


@subroutine
def measure_ways(seat: Seat, scratch: Scratch, target: int, start: int) -> int:
    """Write the steps from each tile to ``target`` into the second field, the tiles in order into the first.

    With ``start`` >= 0, tiles further away than it may be left out.
    """
    for tile in range(seat.codes.shape[0]):
        scratch.ground[tile] = 0 if is_wall(seat.codes[tile]) else 1
    scratch.fields[0, 0] = target
    return walk_from(scratch.ground, scratch.neighbours, 1, scratch.fields[0], scratch.fields[1], EVERYWHERE, start)


@inlined
def added_army(seat: Seat, tile: int, player: int) -> int:
    """Return what entering a tile adds to an army that goes on: negative for enemies and free land."""
    code = np.int64(seat.codes[tile])
    if code < SEEN_OWN:
        if code == FOG:
            return -2 if seat.flags[tile] & ENEMY_HELD else -1
        return -max(army_at(seat, tile), 0) - 1
    if code >= SEEN_ENEMY:
        return -army_at(seat, tile) - 1
    return army_at(seat, tile) - 1 if seat.owner[tile] == player else 0


@subroutine
def push(seat: Seat, scratch: Scratch, start: int, target: int, most: int) -> bool:
    """Plan up to ``most`` steps of the army on ``start`` to ``target``, as long as it captures what it enters."""
    player = seat.facts[PLAYER_NUMBER]
    measure_ways(seat, scratch, target, start)
    steps = scratch.fields[1]
    if steps[start] < 1:
        return False
    carry = army_at(seat, np.int64(start)) - 1
    place = start
    seat.words[STACK] = start
    for _ in range(most):
        choice = -1
        best = -(1 << 30)
        for direction in range(4):
            other = scratch.neighbours[place, direction]
            if other < 0 or steps[other] < 0 or steps[other] != steps[place] - 1:
                continue
            added = added_army(seat, np.int64(other), player)
            if carry + added < 0 or (added < 0 and carry + added < 0):
                continue
            score = added
            if seat.codes[other] >= SEEN_ENEMY:
                score = 1000 + added
            if score > best:
                best = score
                choice = direction
        if choice < 0:
            break
        push_move(seat, 4 * place + choice)
        place = np.int64(scratch.neighbours[place, choice])
        carry += added_army(seat, place, player)
        seat.words[STACK] = place
        if carry < 1 or place == target:
            break
    return place != start


@subroutine
def kill(seat: Seat, scratch: Scratch, home: int, margin: int) -> int:
    """Return the move of the nearest army that takes the enemy's general on ``home`` with what it gathers on its way, or -1."""
    player = seat.facts[PLAYER_NUMBER]
    order = scratch.fields[0]
    steps = scratch.fields[1]
    gain = scratch.fields[2]
    for tile in range(seat.codes.shape[0]):
        steps[tile] = -1
    guard = max(army_at(seat, np.int64(home)), 1) if seat.codes[home] >= SEEN_OWN else margin
    touch = seat.facts[TOUCH_TURN_FACT]
    if 0 <= touch <= seat.facts[TURN]:
        guard = 0  # any army that enters wins
    order[0] = home
    steps[home] = 0
    head, count = 0, 1
    while head < count:
        tile = np.int64(order[head])
        head += 1
        distance = np.int64(steps[tile])
        most = -(1 << 30)
        choice = -1
        for direction in range(4):
            other = scratch.neighbours[tile, direction]
            if other < 0:
                continue
            if steps[other] < 0:
                if not is_wall(seat.codes[other]):
                    steps[other] = distance + 1
                    order[count] = other
                    count += 1
            elif steps[other] < distance and gain[other] > most:
                most = np.int64(gain[other])
                choice = direction
        if tile == home:
            gain[tile] = -guard - 1
            continue
        gain[tile] = min(max(most + added_army(seat, tile, player), -MAX_GAIN), MAX_GAIN)
        if seat.codes[tile] < SEEN_OWN or seat.codes[tile] >= SEEN_ENEMY or seat.owner[tile] != player or seat.army[tile] < 2:
            continue
        if gain[tile] - distance // 2 >= 0:
            return 4 * tile + choice
    return -1
