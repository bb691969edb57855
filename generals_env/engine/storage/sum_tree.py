"""Implements a sum tree and a min tree in arrays, for sampling in proportion to priorities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import kernel

__all__ = ["draw_slots", "set_priorities"]

Tree = npt.NDArray[np.float64]


@kernel
def set_priorities(sums: Tree, minima: Tree, slots: npt.NDArray[np.int64], priorities: npt.NDArray[np.float64]) -> None:
    """Set the priorities of slots, in order: if a slot occurs twice, the last priority counts.

    Args:
        sums: (2 * L,) float64, L a power of two: leaf s is entry ``L + s``, the parent of entry k is ``k // 2``.
        minima: (2 * L,) float64, likewise the minimum of the priorities that are not 0; infinity for none.
        slots: (n,) int64.
        priorities: (n,) float64; a slot with 0 is never drawn.
    """
    leaves = sums.shape[0] // 2
    for i in range(slots.shape[0]):
        node = leaves + slots[i]
        sums[node] = priorities[i]
        minima[node] = priorities[i] if priorities[i] > 0 else np.inf
        node //= 2
        while node > 0:
            # Added up again, not corrected by the difference: rounding errors would accumulate.
            sums[node] = sums[2 * node] + sums[2 * node + 1]
            minima[node] = min(minima[2 * node], minima[2 * node + 1])
            node //= 2


@kernel
def draw_slots(sums: Tree, points: npt.NDArray[np.float64], slots: npt.NDArray[np.int64]) -> None:
    """Write the slot that each point of the interval from 0 to the sum of all priorities falls into.

    Args:
        sums: As in ``set_priorities``.
        points: (n,) float64 from 0 to 1, in units of the sum.
        slots: (n,) int64, out: slots whose priority is not 0.
    """
    leaves = sums.shape[0] // 2
    for i in range(points.shape[0]):
        point = points[i] * sums[1]
        node = 1
        while node < leaves:
            node *= 2
            # Because of rounding a point may lie beyond the last slot with a priority: then stay left of the empty half.
            if point >= sums[node] and sums[node + 1] > 0:
                point -= sums[node]
                node += 1
        slots[i] = node - leaves
