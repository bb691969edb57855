"""Measures distances by walking from a list of tiles over the ground."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import subroutine
from generals_env.engine.policies.hunter.seat import Field

__all__ = ["EVERYWHERE", "walk_from"]

#: No limit for the steps of a walk.
EVERYWHERE = 1 << 30


@subroutine
def walk_from(
    ground: npt.NDArray[np.uint8],
    neighbours: npt.NDArray[np.int32],
    count: int,
    order: Field,
    steps: Field,
    last: int,
    goal: int,
) -> int:
    """Write the number of steps from the nearest origin to each tile, -1 where no way leads.

    Args:
        ground: (H*W,) uint8, 1 for tiles that the walk may enter; origins need not be ground.
        neighbours: (H*W, 4) int32.
        count: Number of origins.
        order: (H*W,) int32, in: the origins; out: all tiles reached, in the order of their steps.
        steps: (H*W,) int32, out.
        last: The walk may end once it has this many steps behind it: tiles further away are then not reached.
        goal: A tile: the walk ends once all tiles nearer than it are reached; -1 for none.

    Returns:
        The number of tiles reached.
    """
    for tile in range(steps.shape[0]):
        steps[tile] = -1
    for k in range(count):
        steps[order[k]] = 0
    head = 0
    while head < count:
        tile = order[head]
        head += 1
        ahead = steps[tile] + 1
        if ahead > last:
            return count
        for direction in range(4):
            other = neighbours[tile, direction]
            if other >= 0 and ground[other] != 0 and steps[other] < 0:
                steps[other] = ahead
                if other == goal:
                    last = ahead
                order[count] = other
                count += 1
    return count
