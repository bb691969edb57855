"""Plans how to gather armies onto one tile: a tree of own land whose leaves with the smallest armies are pruned."""

from __future__ import annotations

import numpy as np

from generals_env.engine.jit import subroutine
from generals_env.engine.policies.hunter.facts import PLAYER_NUMBER
from generals_env.engine.policies.hunter.seat import Scratch, Seat, army_at, push_move
from generals_env.engine.policies.hunter.walking import walk_from

__all__ = ["gather"]

SEEN_OWN = 7
SEEN_ENEMY = 10


@subroutine
def grow_tree(seat: Seat, scratch: Scratch, root: int, depth: int) -> int:
    """Write the tree of own tiles around ``root``, at most ``depth`` steps deep; return the number of tiles in ``fields[0]``.

    The parent of a tile is the neighbour nearer to the root that has the largest army.
    """
    player = seat.facts[PLAYER_NUMBER]
    order = scratch.fields[0]
    steps = scratch.fields[1]
    parent = scratch.fields[2]
    children = scratch.fields[3]
    for tile in range(seat.codes.shape[0]):
        own = seat.codes[tile] >= SEEN_OWN and seat.codes[tile] < SEEN_ENEMY and seat.owner[tile] == player
        scratch.ground[tile] = 1 if own else 0
        children[tile] = 0
    order[0] = root
    count = walk_from(scratch.ground, scratch.neighbours, 1, order, steps, depth, -1)
    for k in range(1, count):
        tile = np.int64(order[k])
        most = -1
        for direction in range(4):
            other = scratch.neighbours[tile, direction]
            if other >= 0 and steps[other] == steps[tile] - 1 and (scratch.ground[other] != 0 or other == root):
                if seat.army[other] > most:
                    most = army_at(seat, np.int64(other))
                    parent[tile] = direction
        children[scratch.neighbours[tile, parent[tile]]] += 1
    return count


@subroutine
def gather(seat: Seat, scratch: Scratch, root: int, moves: int, depth: int, base: int, extra: int, plans: bool) -> int:
    """Choose how to bring armies from at most ``depth`` steps away to ``root`` in at most ``moves`` moves; return the army.

    Each tile of the tree moves once, towards the root, after all tiles behind it. Leaves are pruned in the order of their
    armies, the furthest first among equals; leaves without an army always are. With ``extra`` > 0 the pruning stops where
    ``(base + army) / (extra + moves)`` was largest; with ``extra`` 0 as soon as ``moves`` suffice; with ``extra`` < 0 before
    the army falls below ``base``.

    Returns:
        The army gathered; the number of moves is in ``scratch.rates[0]``.
    """
    order = scratch.fields[0]
    parent = scratch.fields[2]
    children = scratch.fields[3]
    cut = scratch.fields[4]
    count = grow_tree(seat, scratch, root, depth)
    kept = count - 1
    total = 0
    for k in range(1, count):
        total += max(army_at(seat, np.int64(order[k])) - 1, 0)
    level = 0
    pruned = 0
    best_total, best_moves, best_pruned = 0, 0, -1
    while True:
        lowest = 1 << 30
        for k in range(count - 1, 0, -1):
            tile = np.int64(order[k])
            if scratch.ground[tile] == 0 or children[tile] > 0:
                continue
            value = max(army_at(seat, tile) - 1, 0)
            if value > level:
                lowest = min(lowest, value)
                continue
            if extra < 0 and level > 0 and total - value < base:
                best_total, best_moves, best_pruned = total, kept, pruned
                break
            if extra >= 0 and level > 0 and kept <= moves:
                if best_pruned < 0 or (base + total) * (extra + best_moves) > (base + best_total) * (extra + kept):
                    best_total, best_moves, best_pruned = total, kept, pruned
                if extra == 0:
                    break
            scratch.ground[tile] = 0
            children[scratch.neighbours[tile, parent[tile]]] -= 1
            cut[pruned] = tile
            pruned += 1
            kept -= 1
            total -= value
        if kept <= 0 or (best_pruned >= 0 and extra <= 0):
            break
        level = max(level + 1, lowest) if lowest < 1 << 30 else level + 1
    if best_pruned < 0:
        best_pruned = pruned
    scratch.rates[0] = best_moves
    if plans:
        for k in range(best_pruned, pruned):
            scratch.ground[cut[k]] = 1
        for k in range(count - 1, 0, -1):
            tile = np.int64(order[k])
            if scratch.ground[tile] != 0:
                push_move(seat, 4 * tile + np.int64(parent[tile]))
    return best_total
