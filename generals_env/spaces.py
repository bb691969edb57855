"""Makes the Gymnasium spaces of a configuration; each call returns a new space with its own random state."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from generals_env.config import GameConfig

__all__ = ["action_space", "observation_space", "state_space"]


def observation_space(config: GameConfig) -> spaces.Dict:
    """Return the space of one player's observations."""
    return spaces.Dict(
        {
            "observation": spaces.Box(0.0, 1.0, (len(config.channels), *config.shape), np.float32),
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
