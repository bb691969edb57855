"""Writes tensors in the dtype they have: float32, float16 (its bits as uint16, as numba has no float16) or uint8.

A comparison of dtypes is a constant for the compiler, so a kernel contains the code of one dtype only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined
from generals_env.engine.observations.reference import ARMY_SCALE, CHANNELS, FULL_CHANNELS, SCOREBOARD

__all__ = ["ARMY_CHANNELS", "ARMY_LEVELS", "HIGH", "LEVEL_ARMIES", "MAX_SHARE", "write_army", "write_channels", "write_share"]

STANDARD = len(CHANNELS)

UINT8, HALF = np.dtype(np.uint8), np.dtype(np.uint16)

#: Channels that hold armies.
ARMY_CHANNELS = (0, 1, 9)

MAX_ARMY = int(ARMY_SCALE)  # larger armies are shown as this one
EXACT, STEP = 128, 8  # armies below EXACT have a level of their own, larger ones share it with the nearest of every STEP
MAX_SHARE = 255

#: (238,) int64, the army that each level of a uint8 tensor stands for.
LEVEL_ARMIES = np.concatenate([np.arange(EXACT), np.arange(EXACT, MAX_ARMY + 1, STEP)])

#: (21,) uint8, the maximum of each channel of a uint8 tensor.
HIGH = np.array(
    [len(LEVEL_ARMIES) - 1 if c in ARMY_CHANNELS else 1 if c < SCOREBOARD else MAX_SHARE for c in range(len(FULL_CHANNELS))],
    np.uint8,
)

ARMIES = np.arange(MAX_ARMY + 1)

#: (1001,) each army in a tensor of uint8 and of float16.
ARMY_LEVELS = np.where(ARMIES < EXACT, ARMIES, EXACT + (ARMIES - EXACT + STEP // 2) // STEP).astype(np.uint8)
ARMY_BITS = (ARMIES.astype(np.float32) / ARMY_SCALE).astype(np.float16).view(np.uint16)

#: (13, 14) float32, the channels of a tile at each code (see ``tile_codes``), without its army.
CHANNELS_AT = np.zeros((13, SCOREBOARD), np.float32)
for code_, channels_ in enumerate(
    (
        (), (8,), (8, 13), (6, 7),
        (4, 7), (4, 5, 7, 10), (4, 5, 7),
        (2, 7), (2, 5, 7, 10), (2, 5, 7, 11),
        (3, 7), (3, 5, 7, 10), (3, 5, 7, 12),
    )
):  # fmt: skip
    CHANNELS_AT[code_, channels_] = 1
CHANNEL_LEVELS_AT = CHANNELS_AT.astype(np.uint8)
CHANNEL_BITS_AT = CHANNELS_AT.astype(np.float16).view(np.uint16)


@inlined
def copy_row(row: npt.NDArray[Any], tensor: npt.NDArray[Any], tile: int) -> None:
    """Copy the channels of a tile."""
    for channel in range(STANDARD):
        tensor[tile, channel] = row[channel]
    if tensor.shape[1] > STANDARD:
        for channel in range(STANDARD, SCOREBOARD):
            tensor[tile, channel] = row[channel]


@inlined
def write_channels(tensor: npt.NDArray[Any], tile: int, code: int) -> None:
    """Write the channels of a tile with a code; its army is written as 0.

    Args:
        tensor: (H*W, C), out.
        tile: The tile.
        code: See ``tile_codes``.
    """
    if tensor.dtype == UINT8:
        copy_row(CHANNEL_LEVELS_AT[code], tensor, tile)
    elif tensor.dtype == HALF:
        copy_row(CHANNEL_BITS_AT[code], tensor, tile)
    else:
        copy_row(CHANNELS_AT[code], tensor, tile)


@inlined
def write_army(tensor: npt.NDArray[Any], tile: int, channel: int, army: int) -> None:
    """Write the army of a tile."""
    if tensor.dtype == UINT8:
        tensor[tile, channel] = ARMY_LEVELS[min(max(army, 0), MAX_ARMY)]
    elif tensor.dtype == HALF:
        tensor[tile, channel] = ARMY_BITS[min(max(army, 0), MAX_ARMY)]
    else:
        tensor[tile, channel] = max(min(np.float32(army) / ARMY_SCALE, np.float32(1)), np.float32(0))


@inlined
def write_share(tensor: npt.NDArray[Any], tile: int, channel: int, share: np.float32) -> None:
    """Write a value that is the same on every tile, 0 or from 2**-14 to 1."""
    if tensor.dtype == UINT8:
        tensor[tile, channel] = np.uint8(np.float32(MAX_SHARE) * share + np.float32(0.5))
    elif tensor.dtype == HALF:
        bits = np.float32(share).view(np.uint32)
        rounded = (bits + np.uint32(0xFFF) + (bits >> np.uint32(13) & np.uint32(1))) >> np.uint32(13)
        tensor[tile, channel] = np.uint16(rounded - np.uint32(112 << 10)) if share > 0 else np.uint16(0)
    else:
        tensor[tile, channel] = share
