"""Generates random numbers with SplitMix64, one 64-bit state a board: a game does not depend on its neighbours or on threads.

Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined

__all__ = ["RandomState", "next_bits", "random_below", "random_float"]

#: (B,) uint64, one generator a board.
RandomState = npt.NDArray[np.uint64]


@inlined
def next_bits(rng: RandomState, b: int) -> np.uint64:
    """Advance generator ``b`` and return 64 random bits."""
    rng[b] += np.uint64(0x9E3779B97F4A7C15)
    bits = rng[b]
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.uint64(bits ^ (bits >> np.uint64(31)))


@inlined
def random_below(rng: RandomState, b: int, limit: int) -> int:
    """Return a uniform integer in ``[0, limit)``, ``0 < limit < 2**31`` (bias below ``limit / 2**32``)."""
    return int((next_bits(rng, b) >> np.uint64(32)) * np.uint64(limit) >> np.uint64(32))


@inlined
def random_float(rng: RandomState, b: int) -> float:
    """Return a uniform float in ``[0, 1)`` of 53 bits."""
    return float(next_bits(rng, b) >> np.uint64(11)) * (1.0 / 9007199254740992.0)
