"""Builds the metadata of recorded batches, as JSON takes it: version, rules, configuration, reward, policies, wrappers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from generals_env.config import GameConfig
from generals_env.env_spec import LEFT_OUT, json_value
from generals_env.recorders.formats.npz import SCHEMA
from generals_env.recorders.recording.wrapper_stack import WrapperStack
from generals_env.starts import StartBoards
from generals_env.version import __version__

__all__ = ["recording_metadata", "seed_of"]


def recording_metadata(config: GameConfig, stack: WrapperStack, policies: Sequence[Any] | None) -> dict[str, Any]:
    """Return the metadata that all batches of a recorder share.

    Args:
        config: Of the games.
        stack: The wrappers between environment and recorder.
        policies: Names of the players' policies, or other values that JSON takes; None where they are unknown.
    """
    reward = {name: float(weight) for name, weight in dataclasses.asdict(config.reward).items()}
    options = {name: value for name, value in dataclasses.asdict(config).items() if name not in LEFT_OUT}
    if isinstance(config.start, StartBoards):  # a recorded game has its own first board
        options["start"] = config.start.summary()
    return {
        "generals_env": __version__,
        "schema": SCHEMA,
        "rules": config.rules,
        "config": json_value(options),
        "reward": reward,
        "reward_hash": hashlib.sha256(json.dumps(reward, sort_keys=True).encode()).hexdigest()[:12],
        "seed": None,
        "policies": None if policies is None else json_value(list(policies)),
        "wrappers": list(stack.wrappers),
        "observations": "dense" if stack.dense else "boards",
    }


def seed_of(seed: Any) -> Any:
    """Return the seed that ``reset`` was given as JSON takes it."""
    if isinstance(seed, (list, tuple, np.ndarray)):
        return [seed_of(part) for part in seed]
    return None if seed is None else int(seed)
