"""Writes plans: sequences of moves of one seat, made from what it sees, that a playout tries before a fast policy goes on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import NEUTRAL
from generals_env.engine.jit import kernel
from generals_env.engine.observations.tile_codes import BLANK, FOG_OBSTACLE, SEEN_MOUNTAIN, SEEN_NEUTRAL
from generals_env.engine.rules.valid_moves import neighbour

__all__ = ["gather_plan", "ground_of", "steps_from", "walk_plan"]


def ground_of(codes: npt.NDArray[np.uint8], kinds: npt.NDArray[np.int8], mountain: int) -> npt.NDArray[np.bool_]:
    """Return (T,) bool, tiles that can certainly be entered, but for neutral cities.

    Args:
        codes: (T,) uint8, see ``Sight``.
        kinds: (T,) int8, known terrain, see ``Record``.
        mountain: Code of a mountain.
    """
    unknown = (codes == FOG_OBSTACLE) & ((kinds < 0) | (kinds == mountain))
    blocked: npt.NDArray[np.bool_] = (codes == BLANK) | (codes == SEEN_MOUNTAIN) | unknown | (codes == SEEN_NEUTRAL + 1)
    return ~blocked


@kernel
def steps_from(
    ground: npt.NDArray[np.bool_], origin: int, width: int, rows: int, columns: int, distance: npt.NDArray[np.int32]
) -> None:
    """Write the steps from ``origin`` over ``ground`` (T,) bool into ``distance`` (T,) int32, -1 where none lead."""
    queue = np.empty(ground.shape[0], np.int32)
    distance[:] = -1
    distance[origin] = 0
    queue[0] = origin
    count = 1
    k = 0
    while k < count:
        tile = np.int64(queue[k])
        k += 1
        row = tile // width
        for direction in range(4):
            other = neighbour(row, tile - row * width, direction, width, rows, columns, False)
            if other >= 0 and distance[other] < 0 and ground[other]:
                distance[other] = distance[tile] + 1
                queue[count] = other
                count += 1


@kernel
def walk_plan(
    distance: npt.NDArray[np.int32],
    owner: npt.NDArray[np.int8],
    army: npt.NDArray[np.int32],
    player: int,
    start: int,
    width: int,
    rows: int,
    columns: int,
    first: int,
    plan: npt.NDArray[np.int64],
) -> int:
    """Write a walk of the army on ``start`` down to distance 0, along the tiles that cost it least of all shortest paths.

    Args:
        distance: (T,) int32, steps to the target, -1 where none lead there.
        owner: (T,) int8, see ``Sight``.
        army: (T,) int32, see there.
        player: The seat.
        start: Tile of the army.
        width: Columns of the arrays.
        rows: Rows of the board.
        columns: Columns of the board.
        first: Index in the plan of the first move.
        plan: (K,) int64, in and out: action indices; the rest is -1.

    Returns:
        The index after the last move.
    """
    tile = start
    k = first
    while k < plan.shape[0] and distance[tile] > 0:
        row = tile // width
        best = -1
        best_gain = -(1 << 40)
        action = -1
        for direction in range(4):
            other = neighbour(row, tile - row * width, direction, width, rows, columns, False)
            if other < 0 or distance[other] != distance[tile] - 1:
                continue
            gain = 0
            if owner[other] == player:
                gain = army[other]
            elif owner[other] != NEUTRAL or army[other] > 0:
                gain = 1 - army[other]
            if gain > best_gain:
                best_gain = gain
                best = other
                action = 4 * tile + direction
        if best < 0:
            break
        plan[k] = action
        k += 1
        tile = best
    return k


@kernel
def gather_plan(
    owner: npt.NDArray[np.int8],
    army: npt.NDArray[np.int32],
    player: int,
    root: int,
    turns: int,
    width: int,
    rows: int,
    columns: int,
    keep: int,
    plan: npt.NDArray[np.int64],
) -> int:
    """Write moves that bring the most army to ``root`` in ``turns`` turns along a tree of own tiles, leaves first.

    Args:
        owner: (T,) int8, see ``Sight``.
        army: (T,) int32, see there.
        player: The seat.
        root: The tile to gather on.
        turns: Number of moves at most.
        width: Columns of the arrays.
        rows: Rows of the board.
        columns: Columns of the board.
        keep: A tile that sends nothing, -1 for none.
        plan: (K,) int64, out: action indices from index 0; the rest is left.

    Returns:
        The number of moves.
    """
    tiles = owner.shape[0]
    depth = np.full(tiles, -1, np.int64)  # in the tree
    step = np.empty(tiles, np.int64)  # direction to the parent
    distance = np.empty(tiles, np.int64)
    value = np.empty(tiles, np.int64)
    way = np.empty(tiles, np.int64)
    queue = np.empty(tiles, np.int64)
    depth[root] = 0
    turns = min(turns, plan.shape[0])
    used = 0
    while used < turns:
        count = 0
        for tile in range(tiles):
            distance[tile] = -1
            if depth[tile] >= 0:
                distance[tile] = 0
                value[tile] = 0
                queue[count] = tile
                count += 1
        best = -1
        best_rate = 0.0
        k = 0
        while k < count:
            tile = queue[k]
            k += 1
            if distance[tile] == turns - used:
                continue
            row = tile // width
            for direction in range(4):
                other = neighbour(row, tile - row * width, direction, width, rows, columns, False)
                if other < 0 or owner[other] != player or distance[other] >= 0 or other == keep:
                    continue
                distance[other] = distance[tile] + 1
                value[other] = value[tile] + army[other] - 1
                way[other] = direction ^ 1  # back
                queue[count] = other
                count += 1
                rate = value[other] / distance[other]
                if rate > best_rate:
                    best_rate = rate
                    best = other
        if best < 0:
            break
        tile = best
        length = distance[best]
        while distance[tile] > 0:
            step[tile] = way[tile]
            row = tile // width
            queue[distance[tile] - 1] = tile
            tile = neighbour(row, tile - row * width, way[tile], width, rows, columns, False)
        for k in range(length):
            depth[queue[k]] = depth[tile] + k + 1
        used += length
    for k in range(used):  # the deepest tile sends first
        deepest = -1
        for tile in range(tiles):
            if depth[tile] > 0 and (deepest < 0 or depth[tile] > depth[deepest]):
                deepest = tile
        plan[k] = 4 * deepest + step[deepest]
        depth[deepest] = -1
    return used
