"""Implements ``FogMemory``, a wrapper that adds planes of what the player last saw of each tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from generals_env.engine.observations.fog_memory import FULL_MEMORY, MEMORY, remember
from generals_env.engine.observations.reference import SCOREBOARD
from generals_env.errors import ConfigError
from generals_env.wrappers.array_transform import ArrayTransform, Env, Flags, Observations, wrapped

__all__ = ["FULL_MEMORY", "MEMORY", "FogMemory"]


class Memory(ArrayTransform):
    """Transform that holds the observation and memory of each game and player."""

    name = "FogMemory"

    def __init__(self, env: Any) -> None:
        """Allocate the memory; errors as in ``FogMemory``."""
        super().__init__(env)
        *lead, channels, height, width = self.shape
        if channels != len(self.games.config.channels):
            raise ConfigError(
                f"env: expected the {len(self.games.config.channels)} channels of the environment, got {channels}; "
                "FogMemory goes below wrappers that change them: apply it first"
            )
        planes = len(FULL_MEMORY if channels > SCOREBOARD else MEMORY)
        self._known = np.zeros((*lead, channels + planes, height, width), np.float32)

    def space(self) -> spaces.Dict:
        """Return the space with the additional channels."""
        tensors = spaces.Box(0.0, 1.0, self._known.shape[1:], np.float32)
        return spaces.Dict({"observation": tensors, "action_mask": self.below["action_mask"]})

    def observe(self, seen: Observations, begun: Flags, stepped: bool) -> Observations:
        """Return the observations with the planes of memory."""
        self._remember(seen, begun, self._known)
        known = self._known.copy() if self.games.copy else self._known
        return {"observation": known, "action_mask": seen["action_mask"]}

    def last(self, rows: npt.NDArray[np.intp], seen: Observations) -> Observations:
        """Return the final observations of games that ended, with the planes of memory."""
        known = self._known[rows]
        self._remember(seen, np.zeros(len(rows), np.bool_), known)
        return {"observation": known, "action_mask": seen["action_mask"]}

    @staticmethod
    def _remember(seen: Observations, begun: Flags, known: npt.NDArray[np.float32]) -> None:
        """Update ``known``; games and players are flattened to one axis for the kernel."""
        tensors = seen["observation"]
        *lead, channels, height, width = tensors.shape
        count = int(np.prod(lead))
        rows = np.ascontiguousarray(tensors).reshape(count, channels, height * width)
        planes = known.reshape(count, known.shape[-3], height * width)
        remember(rows, np.repeat(begun, count // len(begun)), planes)


def FogMemory(env: Env) -> Env:  # noqa: N802 - named as Gymnasium names wrappers
    """Return ``env`` with planes of memory after the channels of its observations.

    ====================  ==========================================================================================
    plane                 value of each tile
    ====================  ==========================================================================================
    seen                  1 if the player saw it at any time in this game
    last_own              1 if it belonged to the player or a team-mate when last seen
    last_enemy            1 if it belonged to an enemy when last seen
    last_neutral          1 if it was neutral when last seen
    last_army             the army when last seen, scaled as in the observation; 0 for neutral tiles in the standard
                          layout, which has no channel for their armies
    last_city_or_general  1 if a city or general stood there
    last_mountain         1 if it was a mountain
    last_city             1 if a city stood there (full layout only)
    last_enemy_general    1 if an enemy's general stood there (full layout only)
    ====================  ==========================================================================================

    A tile that was never seen is zero in all planes; a visible tile has its current values, so the planes contain all that the
    player knows of the board. Memory is cleared at the beginning of a game, and for eliminated players. Apply this wrapper
    before wrappers that change the channels.

    Args:
        env: A ``GeneralsVector``, ``GeneralsSingleVector`` or ``GeneralsSingle``, wrapped or not.

    Raises:
        ConfigError: If ``env`` is not one of these, or a wrapper below changed the channels.
    """
    return wrapped(env, Memory(env))
