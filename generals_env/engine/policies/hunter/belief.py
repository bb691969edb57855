"""Keeps what was seen of each tile and chooses the tile where the enemy's general is looked for."""

from __future__ import annotations

import numpy as np

from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.policies.hunter.facts import GENERAL_TILE, RIVALS
from generals_env.engine.policies.hunter.memory import ENEMY_HELD, ENEMY_HOME, SEEN
from generals_env.engine.policies.hunter.seat import Field, Scratch, Seat, is_wall
from generals_env.engine.policies.hunter.walking import EVERYWHERE, walk_from

__all__ = ["believed_home", "look", "measure_home"]

MAX_DEPTH, MAX_AWAY = 3, 8  # steps beyond which tiles in the fog, and far from land never held by enemies, count alike

FOG, SEEN_MOUNTAIN, SEEN_ENEMY, ENEMY_GENERAL = 1, 3, 10, 12  # codes of ``observations.tile_codes``


@subroutine
def measure_home(seat: Seat, scratch: Scratch) -> None:
    """Write the steps from the own general to each tile."""
    tiles = seat.codes.shape[0]
    for tile in range(tiles):
        scratch.ground[tile] = 0 if is_wall(seat.codes[tile]) else 1
    scratch.fields[0, 0] = max(seat.facts[GENERAL_TILE], 0)
    walk_from(scratch.ground, scratch.neighbours, 1, scratch.fields[0], scratch.fields[1], EVERYWHERE, -1)
    for tile in range(tiles):
        seat.home[tile] = np.int16(scratch.fields[1, tile])


@inlined
def look(seat: Seat) -> bool:
    """Remember what is in sight; return whether an enemy is."""
    codes = seat.codes
    flags = seat.flags
    highest = np.uint8(0)
    for tile in range(codes.shape[0]):  # without branches: several tiles at once
        code = codes[tile]
        flags[tile] |= np.uint8(code >= SEEN_MOUNTAIN) | np.uint8(np.uint8(code >= SEEN_ENEMY) * np.uint8(ENEMY_HELD))
        highest = max(highest, code)
    if highest == ENEMY_GENERAL:
        for tile in range(codes.shape[0]):
            if codes[tile] == ENEMY_GENERAL:
                seat.words[ENEMY_HOME] = tile
    else:
        known = seat.words[ENEMY_HOME]
        if known >= 0 and codes[known] >= SEEN_MOUNTAIN:
            seat.words[ENEMY_HOME] = -1
    return bool(highest >= SEEN_ENEMY)


@inlined
def steps_or(steps: Field, tile: int, limit: int) -> int:
    """Return the steps to a tile, ``limit`` for tiles that are further away."""
    return np.int64(steps[tile]) if steps[tile] >= 0 else limit


@subroutine
def believed_home(seat: Seat, scratch: Scratch, start: int) -> int:
    """Return the tile where the enemy's general is looked for next, -1 if no tile is left.

    It was never seen, lies as far from the own general as the generators of maps demand, deep in the fog and near land where
    enemies were seen; before that, near the middle of all such tiles.
    """
    tiles = seat.codes.shape[0]
    order = scratch.fields[0]
    near = scratch.fields[1]
    depth = scratch.fields[2]
    count = 0
    apart = np.int64(0.75 * np.sqrt(tiles)) if seat.facts[RIVALS] == 1 else 2
    for tile in range(tiles):
        scratch.ground[tile] = 0 if is_wall(seat.codes[tile]) else 1
        if seat.flags[tile] & SEEN:
            order[count] = tile
            count += 1
    walk_from(scratch.ground, scratch.neighbours, count, order, depth, MAX_DEPTH, -1)
    count = 0
    for tile in range(tiles):
        if seat.flags[tile] & ENEMY_HELD:
            order[count] = tile
            count += 1
    contact = count > 0
    if not contact:
        # The middle of all tiles in question: the one with the least sum of distances, from rows and columns.
        width = scratch.neighbours[0, 1]
        rows, columns, total = 0, 0, 0
        for tile in range(tiles):
            if seat.codes[tile] == FOG and seat.flags[tile] & SEEN == 0 and seat.home[tile] >= apart:
                rows += tile // width
                columns += tile % width
                total += 1
        if total == 0:
            return -1
        row, column = rows // total, columns // total
        best, least = -1, 1 << 30
        for tile in range(tiles):
            if seat.codes[tile] == FOG and seat.flags[tile] & SEEN == 0 and seat.home[tile] >= apart:
                away = abs(tile // width - row) + abs(tile % width - column)
                if away < least:
                    best, least = tile, away
        return best
    walk_from(scratch.ground, scratch.neighbours, count, order, near, EVERYWHERE, -1)
    away = scratch.fields[3]
    count = 0
    for tile in range(tiles):
        if seat.flags[tile] & (ENEMY_HELD | SEEN) == SEEN:
            order[count] = tile
            count += 1
    walk_from(scratch.ground, scratch.neighbours, count, order, away, MAX_AWAY, -1)
    reach = scratch.fields[4]
    count = 0
    if start >= 0:
        order[0] = start
        count = 1
    walk_from(scratch.ground, scratch.neighbours, count, order, reach, EVERYWHERE, -1)
    best, most = -1, -(1 << 30)
    for tile in range(tiles):
        if seat.codes[tile] == FOG and seat.flags[tile] & SEEN == 0 and seat.home[tile] >= apart and near[tile] >= 0:
            score = 6 * steps_or(depth, tile, MAX_DEPTH) + 4 * steps_or(away, tile, MAX_AWAY) - 4 * np.int64(near[tile])
            score -= 2 * np.int64(reach[tile])
            if score > most:
                best, most = tile, score
    return best
