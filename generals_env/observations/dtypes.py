"""Defines the dtypes of observations, ``DTYPES``, and converts observations between them: ``to_float32`` and ``as_dtype``."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from generals_env.engine.observations.dtypes import ARMY_CHANNELS, ARMY_LEVELS, HIGH, LEVEL_ARMIES, MAX_SHARE
from generals_env.engine.observations.reference import ARMY_SCALE, FULL_CHANNELS, LAYOUTS, SCOREBOARD
from generals_env.errors import ConfigError

__all__ = ["DTYPES", "as_dtype", "check_dtype", "highs", "to_float32"]

#: Dtypes of observations.
DTYPES = tuple(map(np.dtype, (np.float32, np.float16, np.uint8)))

#: An array of numpy or a tensor of torch.
Array = TypeVar("Array")

#: (21, 256) float32, the value that each level of a channel stands for; levels above the channel's maximum do not occur.
VALUES = np.tile(np.arange(256, dtype=np.float32), (len(FULL_CHANNELS), 1))
VALUES[ARMY_CHANNELS, : len(LEVEL_ARMIES)] = LEVEL_ARMIES.astype(np.float32) / ARMY_SCALE
VALUES[SCOREBOARD:] /= np.float32(MAX_SHARE)


def check_dtype(dtype: Any) -> np.dtype[Any]:
    """Return a dtype of observations; raise ``ConfigError`` if it is not one of ``DTYPES``."""
    try:
        known: np.dtype[Any] = np.dtype(dtype)
    except (TypeError, ValueError):
        known = np.dtype(np.void)
    if dtype is None or known not in DTYPES:
        raise ConfigError(f"dtype: expected one of {', '.join(map(str, DTYPES))}, got {dtype!r:.200}")
    return known


def highs(channels: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the maximum of each channel of an observation, (channels,)."""
    return HIGH[:channels] if dtype == np.uint8 else np.ones(channels, dtype)


def to_float32(observation: Array) -> Array:
    """Return observations of any dtype of ``DTYPES`` as float32, for numpy arrays and torch tensors, on the tensor's device.

    The result is what an environment with ``dtype="float32"`` shows, up to the rounding of the other dtype. For ``"uint8"``
    armies up to 127 and all channels that are 0 or 1 are exact.

    Args:
        observation: (..., C, H, W), C = 9 or 21. Float32 is returned as is.

    Raises:
        ConfigError: If the dtype or the number of channels is another one.
    """
    seen: Any = observation
    kind = str(seen.dtype).removeprefix("torch.")
    if kind == "float32":
        return observation
    if kind not in map(str, DTYPES) or seen.ndim < 3 or seen.shape[-3] not in map(len, LAYOUTS.values()):
        raise ConfigError(
            f"observation: expected (..., C, H, W) of {', '.join(map(str, DTYPES))} with 9 or 21 channels, "
            f"got {kind} of shape {tuple(seen.shape)}: pass it as the environment returned it"
        )
    torch: Any = None
    if not isinstance(seen, np.ndarray):
        import torch
    planes: Any = seen.astype(np.float32) if torch is None else seen.float()
    if kind == "uint8":
        for channel in (*ARMY_CHANNELS, *range(SCOREBOARD, len(FULL_CHANNELS))):
            if channel < seen.shape[-3]:
                levels = seen[..., channel, :, :]
                values = VALUES[channel]
                planes[..., channel, :, :] = (
                    values[levels] if torch is None else torch.tensor(values, device=seen.device)[levels.int()]
                )
    converted: Array = planes
    return converted


def as_dtype(planes: npt.NDArray[np.float32], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return float32 observations, (..., C, H, W), as an environment with another dtype shows them."""
    if dtype != np.uint8:
        return planes.astype(dtype, copy=False)
    levels = planes.astype(np.uint8)
    for channel in (*ARMY_CHANNELS, *range(SCOREBOARD, len(FULL_CHANNELS))):
        if channel < planes.shape[-3]:
            share = planes[..., channel, :, :]
            if channel in ARMY_CHANNELS:
                levels[..., channel, :, :] = ARMY_LEVELS[np.rint(share * ARMY_SCALE).astype(np.int64)]
            else:
                levels[..., channel, :, :] = np.float32(MAX_SHARE) * share + np.float32(0.5)
    return levels
