"""Draws in proportion to priorities: a binary tree of sums, and one of the least, in arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import kernel

__all__ = ["draw_slots", "set_priorities"]

Tree = npt.NDArray[np.float64]


@kernel
def set_priorities(sums: Tree, least: Tree, slots: npt.NDArray[np.int64], priorities: npt.NDArray[np.float64]) -> None:
    """Write priorities of slots, one after another: where a slot comes twice, the last one counts.

    Args:
        sums: (2 * L,) float64, L a power of two: leaf s is entry ``L + s``, the parent of entry k is ``k // 2``.
        least: (2 * L,) float64, likewise with the least of the priorities that are not 0; infinity for none.
        slots: (n,) int64.
        priorities: (n,) float64; 0 takes a slot out.
    """
    leaves = sums.shape[0] // 2
    for i in range(slots.shape[0]):
        node = leaves + slots[i]
        sums[node] = priorities[i]
        least[node] = priorities[i] if priorities[i] > 0 else np.inf
        node //= 2
        while node > 0:
            # Added up anew, not corrected: differences would pile rounding errors up.
            sums[node] = sums[2 * node] + sums[2 * node + 1]
            least[node] = min(least[2 * node], least[2 * node + 1])
            node //= 2


@kernel
def draw_slots(sums: Tree, points: npt.NDArray[np.float64], slots: npt.NDArray[np.int64]) -> None:
    """Write in which slot each point of the line from 0 to the sum of all priorities lies.

    Args:
        sums: As in ``set_priorities``.
        points: (n,) float64, from 0 to 1, of the whole line.
        slots: (n,) int64, out: slots whose priority is not 0.
    """
    leaves = sums.shape[0] // 2
    for i in range(points.shape[0]):
        point = points[i] * sums[1]
        node = 1
        while node < leaves:
            node *= 2
            # Rounding may lead past the last slot that has a priority: there is nothing to the right then.
            if point >= sums[node] and sums[node + 1] > 0:
                point -= sums[node]
                node += 1
        slots[i] = node - leaves
