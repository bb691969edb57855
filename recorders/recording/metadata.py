"""What a recorder tells of where its experience comes from: the metadata of its batches, as JSON takes it."""

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
from generals_env.version import __version__

__all__ = ["recording_metadata", "seed_of"]


def recording_metadata(config: GameConfig, observed: WrapperStack, policies: Sequence[Any] | None) -> dict[str, Any]:
    """Return what all batches of a recorder have in common."""
    reward = {name: float(weight) for name, weight in dataclasses.asdict(config.reward).items()}
    options = {name: value for name, value in dataclasses.asdict(config).items() if name not in LEFT_OUT}
    return {
        "generals_env": __version__,
        "schema": SCHEMA,
        "rules": config.rules,
        "config": json_value(options),
        "reward": reward,
        "reward_hash": hashlib.sha256(json.dumps(reward, sort_keys=True).encode()).hexdigest()[:12],
        "seed": None,
        "policies": None if policies is None else json_value(list(policies)),
        "wrappers": list(observed.wrappers),
        "observations": "dense" if observed.dense else "boards",
    }


def seed_of(seed: Any) -> Any:
    """Return what ``reset`` was given as JSON takes it."""
    if isinstance(seed, (list, tuple, np.ndarray)):
        return [seed_of(part) for part in seed]
    return None if seed is None else int(seed)
