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
        ground: (H*W + 1,) uint8, 1 for tiles that the walk may enter, the last entry 0; origins need not be ground.
        neighbours: (H*W, 4) int32.
        count: Number of origins.
        order: (H*W + 1,) int32, in: the origins; out: all tiles reached, in the order of their steps.
        steps: (H*W + 1,) int32, out.
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
            # Without branches: a processor cannot predict which neighbours are new. Off the board, -1 is the last entry.
            other = neighbours[tile, direction]
            known = steps[other]
            fresh = (known < 0) & (ground[other] != 0)
            steps[other] = ahead if fresh else known
            last = ahead if fresh & (other == goal) else last
            order[count] = other
            count += np.int64(fresh)
    return count
