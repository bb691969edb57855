"""Implements ``Opponent``, a built-in policy as a function from one observation to an action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from generals_env.engine.boards import COMPETITION_VERSION, LIVE_VERSION
from generals_env.engine.observations.reference import LAYOUTS
from generals_env.engine.policies.reference import expander_action, random_action
from generals_env.engine.rules.action_space import action_count
from generals_env.errors import ConfigError
from generals_env.observations.dtypes import to_float32
from generals_env.opponents import POLICIES
from generals_env.seeding import seed_state

__all__ = ["OPPONENTS", "Opponent"]

OPPONENTS = POLICIES


class Opponent:
    """A built-in policy with its own random state; the actions it returns are legal moves or the pass, never builds.

    ``random`` chooses uniformly among the legal moves. ``expander`` expands its land, captures cities when it can, and attacks
    enemies that it sees.
    """

    def __init__(self, name: str, seed: int | None = None) -> None:
        """Create the policy.

        Raises:
            ConfigError: If the name is unknown, or the seed is not a non-negative integer.
        """
        if name not in OPPONENTS:
            raise ConfigError(f"opponent: expected one of {', '.join(OPPONENTS)}, got {name!r}")
        self.name = name
        self._rng = seed_state(seed)

    def __call__(self, observation: Mapping[str, Any]) -> int:
        """Return an action.

        Args:
            observation: ``"observation"`` (C, H, W), C = 9 or 21, and ``"action_mask"`` int8 (8*H*W + 1,), with the rules
                of the competition (9*H*W + 1,), as environments return them.

        Raises:
            ConfigError: If ``observation`` is not such a dict.
        """
        try:
            mask = np.ascontiguousarray(observation["action_mask"], np.int8)
            seen = np.asarray(observation["observation"])
            tensor = np.ascontiguousarray(to_float32(seen) if seen.dtype == np.uint8 else seen, np.float32)
            channels, height, width = tensor.shape
            fits = channels in map(len, LAYOUTS.values()) and mask.shape in [
                (action_count(rules, height * width),) for rules in (LIVE_VERSION, COMPETITION_VERSION)
            ]
        except (KeyError, TypeError, ValueError, IndexError):
            fits = False
        if not fits:
            raise ConfigError(
                "observation: expected a dict of observation (9 or 21, H, W) and action_mask (8*H*W + 1,) or (9*H*W + 1,), "
                f"got {observation!r:.200}: pass the observation of one player"
            )
        if self.name == "random":
            return int(random_action(mask[: 8 * height * width + 1], self._rng, 0))  # without builds
        return int(expander_action(tensor.reshape(channels, height * width), mask, height, width, self._rng, 0))
