"""Plans the capture of free or weakly held tiles: the chain of own tiles that takes the most for its moves."""

from __future__ import annotations

import numpy as np

from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.policies.hunter.facts import PLAYER_NUMBER
from generals_env.engine.policies.hunter.seat import MAX_GAIN, Scratch, Seat, army_at, push_move
from generals_env.engine.policies.hunter.walking import EVERYWHERE, walk_from

__all__ = ["expand"]

FOG, SEEN_NEUTRAL, SEEN_OWN, SEEN_ENEMY = 1, 4, 7, 10  # codes of ``observations.tile_codes``
MAX_CAPTURES = 12  # of one chain


@inlined
def price_of(seat: Seat, tile: int) -> int:
    """Return the army that capturing a tile costs, a large number for own land and walls."""
    code = np.int64(seat.codes[tile])
    if code == FOG:
        return 1
    if code == SEEN_NEUTRAL or code >= SEEN_ENEMY:
        return max(army_at(seat, tile), 0) + 1
    return 1 << 30


@subroutine
def capture_from(seat: Seat, scratch: Scratch, place: int, carry: int, marks: int, plans: bool) -> int:
    """Walk from ``place`` over tiles to capture while the army lasts; return the worth: 1 a free tile, 2 an enemy's."""
    taken = scratch.fields[4]
    worth = 0
    for _ in range(MAX_CAPTURES):
        best = -1
        choice = -1
        for direction in range(4):
            other = scratch.neighbours[place, direction]
            if other < 0 or taken[other] == marks:
                continue
            cost = price_of(seat, np.int64(other))
            if cost > carry:
                continue
            score = 64 if seat.codes[other] >= SEEN_ENEMY else 0
            for turn in range(4):
                after = scratch.neighbours[other, turn]
                if after >= 0 and taken[after] != marks and price_of(seat, np.int64(after)) <= 2:
                    score += 1
            if score > best:
                best = score
                choice = direction
        if choice < 0:
            break
        if plans:
            push_move(seat, 4 * place + choice)
        place = np.int64(scratch.neighbours[place, choice])
        taken[place] = marks
        carry -= price_of(seat, place)
        worth += 2 if seat.codes[place] >= SEEN_ENEMY else 1
        if carry < 1:
            break
    return worth


@subroutine
def expand(seat: Seat, scratch: Scratch, low: int, high: int) -> bool:
    """Plan the best chain of captures; return False if none is worth at least ``low`` for ``high`` moves."""
    player = seat.facts[PLAYER_NUMBER]
    tiles = seat.codes.shape[0]
    order = scratch.fields[0]
    steps = scratch.fields[1]
    gain = scratch.fields[2]
    ahead = scratch.fields[3]
    taken = scratch.fields[4]
    count = 0
    for tile in range(tiles):
        own = seat.codes[tile] >= SEEN_OWN and seat.owner[tile] == player
        scratch.ground[tile] = 1 if own else 0
        taken[tile] = 0
        code = seat.codes[tile]
        if code == FOG or code == SEEN_NEUTRAL or code >= SEEN_ENEMY:  # noqa: PLR1714, SIM109 - a membership test compiles slowly
            order[count] = tile
            count += 1
    origins = count
    count = walk_from(scratch.ground, scratch.neighbours, count, order, steps, EVERYWHERE, -1)
    best_worth, best_moves, best = 0, 1, -1
    stamp = 0
    for k in range(origins, count):
        tile = np.int64(order[k])
        army = army_at(seat, tile) - 1
        gain[tile] = army
        ahead[tile] = -1
        distance = np.int64(steps[tile])
        if distance > 1:
            most = -(1 << 30)
            for direction in range(4):
                other = scratch.neighbours[tile, direction]
                if other >= 0 and scratch.ground[other] != 0 and steps[other] == distance - 1 and gain[other] > most:
                    most = np.int64(gain[other])
                    ahead[tile] = direction
            gain[tile] = min(army + most, MAX_GAIN)
        if army < 1:
            continue
        place = tile
        while steps[place] > 1:
            place = np.int64(scratch.neighbours[place, ahead[place]])
        stamp += 1
        worth = capture_from(seat, scratch, place, np.int64(gain[tile]), stamp, False)
        moves = distance - 1 + min(worth, MAX_CAPTURES)
        if worth > 0 and (
            worth * best_moves > best_worth * moves or (worth * best_moves == best_worth * moves and worth > best_worth)
        ):
            best_worth, best_moves, best = worth, moves, tile
    if best < 0 or best_worth * high < low * best_moves:
        return False
    place = best
    carry = np.int64(gain[best])
    while steps[place] > 1:
        push_move(seat, 4 * place + np.int64(ahead[place]))
        place = np.int64(scratch.neighbours[place, ahead[place]])
    capture_from(seat, scratch, place, carry, stamp + 1, True)
    return True
