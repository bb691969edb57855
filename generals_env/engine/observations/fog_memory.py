"""Adds planes to an observation that remember tiles which fog hides now."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import kernel
from generals_env.engine.observations.reference import SCOREBOARD

__all__ = ["FULL_MEMORY", "MEMORY", "remember"]

#: Planes of memory, in order; a tile that was never seen is zero in all of them, one in sight is remembered as it is.
#:
#: - seen: 1 where the tile was ever in sight.
#: - last_own, last_enemy, last_neutral: its owner when last seen.
#: - last_army: the army that stood there, scaled as in the observation. The standard layout has no army of neutral
#:   tiles, so there it is 0.
#: - last_city_or_general, last_mountain: its kind when last seen.
MEMORY = ("seen", "last_own", "last_enemy", "last_neutral", "last_army", "last_city_or_general", "last_mountain")

#: Planes of memory for the full layout, which distinguishes cities from generals.
FULL_MEMORY = (*MEMORY, "last_city", "last_enemy_general")


@kernel
def remember(observations: npt.NDArray[np.float32], begun: npt.NDArray[np.bool_], out: npt.NDArray[np.float32]) -> None:
    """Copy observations, and bring the planes of memory behind them up to date.

    An observation of zeros only, as an eliminated player gets, clears the memory.

    Args:
        observations: (n, 9, H*W) or (n, 21, H*W) float32, the standard or the full layout.
        begun: (n,) bool, True if the game is new: the memory starts empty.
        out: (n, 9 + 7, H*W) or (n, 21 + 9, H*W) float32, in and out: the observation, then ``MEMORY`` or ``FULL_MEMORY``.
    """
    channels = observations.shape[1]
    planes = out.shape[1] - channels
    full = channels > SCOREBOARD
    zero = np.float32(0)
    for i in range(observations.shape[0]):
        for channel in range(channels):
            for tile in range(observations.shape[2]):
                out[i, channel, tile] = observations[i, channel, tile]
        for tile in range(observations.shape[2]):
            if observations[i, 7, tile] == zero:
                if begun[i] or observations[i, 8, tile] == zero:
                    for plane in range(planes):
                        out[i, channels + plane, tile] = zero
                continue
            army = observations[i, 0, tile] + observations[i, 1, tile]
            out[i, channels, tile] = np.float32(1)
            out[i, channels + 1, tile] = observations[i, 2, tile]
            out[i, channels + 2, tile] = observations[i, 3, tile]
            out[i, channels + 3, tile] = observations[i, 4, tile]
            out[i, channels + 5, tile] = observations[i, 5, tile]
            out[i, channels + 6, tile] = observations[i, 6, tile]
            if full:
                army += observations[i, 9, tile]
                out[i, channels + 7, tile] = observations[i, 10, tile]
                out[i, channels + 8, tile] = observations[i, 12, tile]
            out[i, channels + 4, tile] = army
