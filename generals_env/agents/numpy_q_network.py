"""Plays a Q-network that ``generals-env train`` saved, with numpy alone.

The layers are those of ``recorders.training.q_network``; values equal torch's up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.agents.numpy_layers import CHANNELS, MAX_TILES, Floats, Layers, log_scaled, pool, relu
from generals_env.errors import ConfigError

__all__ = ["NumpyQNetwork"]

NEEDED = ("features.0.weight", "moves.weight", "passing.weight", "value.0.weight", "value.2.weight")


class NumpyQNetwork:
    """A policy for batches of observations: the legal action with the highest value.

    Attributes:
        channels: Channels of the observations: 9 of the layout standard, 21 of full.
        builds: Whether it was trained with the rules of the competition, so that it builds castles.
        blocks: Number of residual blocks.
    """

    def __init__(self, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take the weights by name.

        Raises:
            ConfigError: If they are not those of a network for single frames.
        """
        self._layers = Layers(weights, "QNetwork", NEEDED)
        self.channels = self._layers.inputs("features.0") // 9
        self.builds = "building.weight" in weights
        self.blocks = sum(name.endswith(".first.weight") for name in weights)
        if self.channels not in CHANNELS:
            raise ConfigError(
                f"policy: expected a network for 9 or 21 channels, got {self.channels}: train without stacked frames and memory"
            )

    def __call__(self, views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
        """Return the actions (n,) for observations (n, C, H, W) and masks (n, 9*H*W + 1)."""
        values = np.nan_to_num(self.values(views["observation"]), nan=-1e30, neginf=-1e30)
        legal = views["action_mask"][:, : values.shape[1]] != 0  # without builds, they are not considered
        actions: npt.NDArray[np.int64] = np.where(legal, values, -np.inf).argmax(axis=1)
        return actions

    def values(self, observations: Floats) -> Floats:
        """Return the value of each action, (n, A) float32, for observations (n, C, H, W)."""
        height, width = observations.shape[2:]
        rows = max(MAX_TILES // (height * width), 1)
        parts = [self._values(observations[low : low + rows]) for low in range(0, max(len(observations), 1), rows)]
        return np.concatenate(parts)

    def _values(self, observations: Floats) -> Floats:
        layers, count = self._layers, len(observations)
        x = log_scaled(observations.transpose(0, 2, 3, 1).astype(np.float32))
        x = relu(layers.convolve("features.0", x))
        for i in range(self.blocks):
            name = f"features.{i + 2}"
            inner = layers.convolve(f"{name}.first", x) + layers.multiply(f"{name}.whole", pool(x))[:, None, None]
            x = relu(x + layers.convolve(f"{name}.second", relu(inner)))
        board = pool(x)
        moves = layers.multiply("moves", x).reshape(count, *x.shape[1:3], 2, 4)
        parts = [moves.transpose(0, 3, 1, 2, 4).reshape(count, -1), layers.multiply("passing", board)]
        if self.builds:
            parts.append(layers.multiply("building", x).reshape(count, -1))
        advantages = np.concatenate(parts, axis=1)
        value = layers.multiply("value.2", relu(layers.multiply("value.0", board)))
        result: Floats = value + advantages - advantages.mean(axis=1, keepdims=True)
        return result
