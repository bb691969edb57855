"""Loads the policy of a live client: built-in, saved, or a callable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

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
        name: A built-in policy, a checkpoint of ``generals-env train``, or ``module:callable`` that maps batches of
            observations to actions (``opponents.BatchPolicy``).
        seed: Seed of a built-in policy.

    Raises:
        ConfigError: If there is no such policy.
        StorageError: If the checkpoint is damaged.
    """
    if is_builtin(name):
        return Opponent(name, seed)
    if Path(name).is_file():
        from generals_env.recorders.training.network_policy import load_policy

        batches: Any = load_policy(name, seed=seed)
    elif ":" in name:
        batches = as_policy(load_callable("policy", name))
    else:
        raise ConfigError(f"policy: expected {POLICY_NAMES}, a checkpoint that exists or module:callable, got {name!r}")

    def choose(observation: Mapping[str, Any]) -> int:
        actions = batches({key: array[None] for key, array in observation.items()})
        return int(np.asarray(actions).reshape(-1)[0])

    return choose
