"""Makes the Gymnasium spaces of a configuration; each call returns a new space with its own random state."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from generals_env.config import GameConfig
from generals_env.observations.dtypes import highs

__all__ = ["action_space", "observation_space", "state_space"]


def observation_space(config: GameConfig, dtype: npt.DTypeLike = np.float32) -> spaces.Dict:
    """Return the space of one player's observations."""
    shape, kind = (len(config.channels), *config.shape), np.dtype(dtype)
    high = np.broadcast_to(highs(shape[0], kind)[:, None, None], shape)
    return spaces.Dict(
        {
            "observation": spaces.Box(np.zeros(shape, kind), high, shape, kind.type),
            "action_mask": spaces.Box(0, 1, (config.actions,), np.int8),
        }
    )


def action_space(config: GameConfig) -> spaces.Discrete:
    """Return the space of one player's actions."""
    return spaces.Discrete(config.actions)


def state_space(config: GameConfig) -> spaces.Box:
    """Return the space of the full board."""
    info = np.iinfo(np.int32)
    return spaces.Box(int(info.min), int(info.max), (3, *config.shape), np.int32)
