"""Loads the policy of a live client: built-in, saved, or a callable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from generals_env.agents.shipped import is_shipped, shipped_player
from generals_env.bridge.named_objects import load_callable
from generals_env.errors import ConfigError
from generals_env.opponents import POLICY_NAMES, as_policy, is_builtin
from generals_env.wrappers import Opponent

__all__ = ["LivePolicy", "load_live_policy"]

#: Chooses an action index for the observation of one player.
LivePolicy = Callable[[Mapping[str, Any]], int]


def load_live_policy(name: str, seed: int | None = None) -> LivePolicy:
    """Return the policy that a name stands for.

    Args:
        name: A built-in policy, a saved network, an agent of the package (``trained``), or ``module:callable`` that maps
            batches of observations to actions (``opponents.BatchPolicy``).
        seed: Seed of a built-in policy, and of a network that draws its actions.

    Raises:
        ConfigError: If there is no such policy.
        StorageError: If the checkpoint is damaged.
    """
    if is_builtin(name):
        return Opponent(name, seed)
    if is_shipped(name):
        batches: Any = shipped_player(name, seed)
    elif Path(name).is_file():
        from generals_env.networks.saved_players import load_player

        batches = load_player(name, seed=seed)
    elif ":" in name:
        batches = as_policy(load_callable("policy", name))
    else:
        raise ConfigError(
            f"policy: expected {POLICY_NAMES}, trained, a checkpoint that exists or module:callable, got {name!r}"
        )

    return BatchesOfOne(batches)


class BatchesOfOne:
    """Plays one game by a policy for batches of observations.

    Attributes:
        channels: Channels of the observations that it takes, 9 unless the policy tells.
    """

    def __init__(self, policy: Any) -> None:
        """Play by ``policy``."""
        self.policy = policy
        self.channels: int = getattr(policy, "channels", 9)

    def __call__(self, observation: Mapping[str, Any]) -> int:
        """Return the action for an observation."""
        actions = self.policy({key: array[None] for key, array in observation.items()})
        return int(np.asarray(actions).reshape(-1)[0])
