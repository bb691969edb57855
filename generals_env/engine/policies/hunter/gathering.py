"""Plans how to gather armies onto one tile: a tree of own land whose leaves with the smallest armies are pruned."""

from __future__ import annotations

import numpy as np

from generals_env.engine.jit import subroutine
from generals_env.engine.policies.hunter.facts import PLAYER_NUMBER
from generals_env.engine.policies.hunter.seat import Scratch, Seat, push_move
from generals_env.engine.policies.hunter.walking import walk_from

__all__ = ["gather"]

SEEN_OWN = 7
SEEN_ENEMY = 10


@subroutine
def gather(seat: Seat, scratch: Scratch, root: int, moves: int, depth: int, plans: bool) -> int:
    """Plan at most ``moves`` moves that bring armies from at most ``depth`` steps away to ``root``; return the army gathered.

    Each tile of the tree moves once, towards the root, after all tiles behind it. While the tree has too many tiles, the
    leaves with the smallest armies are pruned, the furthest first; leaves without an army always are.
    """
    player = seat.facts[PLAYER_NUMBER]
    tiles = seat.codes.shape[0]
    order = scratch.fields[0]
    steps = scratch.fields[1]
    parent = scratch.fields[2]
    children = scratch.fields[3]
    for tile in range(tiles):
        own = seat.codes[tile] >= SEEN_OWN and seat.codes[tile] < SEEN_ENEMY and seat.owner[tile] == player
        scratch.ground[tile] = 1 if own else 0
        children[tile] = 0
    order[0] = root
    count = walk_from(scratch.ground, scratch.neighbours, 1, order, steps)
    kept = 0
    for k in range(1, count):
        tile = np.int64(order[k])
        if steps[tile] > depth:
            count = k
            break
        most = -1
        for direction in range(4):
            other = scratch.neighbours[tile, direction]
            if other >= 0 and steps[other] == steps[tile] - 1 and (scratch.ground[other] != 0 or other == root):
                weight = np.int64(seat.army[other])
                if weight > most:
                    most = weight
                    parent[tile] = direction
        children[scratch.neighbours[tile, parent[tile]]] += 1
        kept += 1
    level = 0
    while True:
        lowest = 1 << 30
        for k in range(count - 1, 0, -1):
            tile = np.int64(order[k])
            if scratch.ground[tile] == 0 or children[tile] > 0:
                continue
            value = max(np.int64(seat.army[tile]) - 1, 0)
            if value <= level and (level == 0 or kept > moves):
                scratch.ground[tile] = 0
                children[scratch.neighbours[tile, parent[tile]]] -= 1
                kept -= 1
            else:
                lowest = min(lowest, value)
        if kept <= moves:
            break
        level = max(level + 1, lowest)
    total = 0
    for k in range(count - 1, 0, -1):
        tile = np.int64(order[k])
        if scratch.ground[tile] != 0:
            total += max(np.int64(seat.army[tile]) - 1, 0)
            if plans:
                push_move(seat, 4 * tile + np.int64(parent[tile]))
    return total
