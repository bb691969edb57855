"""Computes the policy network of ``generals_env.networks`` with numpy alone.

The layers are those of ``networks.policy_network``; logits and values equal torch's up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.agents.numpy_layers import CHANNELS, MAX_TILES, Floats, Layers, log_scaled, pool, relu
from generals_env.errors import ConfigError

__all__ = ["ARMIES", "VALUE_RANGE", "NumpyPolicyNetwork"]

NEEDED = ("features.0.weight", "moves.weight", "passing.weight", "value.0.weight", "value.2.weight")

#: Channels of armies and of totals of armies, on a logarithmic scale in the network.
ARMIES = (0, 1, 9, 16, 17)

#: Values lie between these where the network gives a distribution over bins.
VALUE_RANGE = (-1.5, 1.5)


class NumpyPolicyNetwork:
    """Maps observations (n, C, H, W) to logits (n, A) of the actions and values (n,), for boards of any size.

    Attributes:
        channels: Channels of the observations: 9 of the layout standard, 21 of full.
        builds: Whether the actions are those of the rules of the competition.
        blocks: Number of residual blocks.
    """

    def __init__(self, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take the weights by the names of torch's ``state_dict``.

        Raises:
            ConfigError: If they are not those of a policy network.
        """
        self._layers = Layers(weights, "policy network", NEEDED)
        self.channels = self._layers.inputs("features.0") // 9
        self.builds = self._layers.outputs("moves") == 9
        self.blocks = sum(name.endswith(".first.weight") for name in weights)
        if self.channels not in CHANNELS or self._layers.outputs("moves") not in (8, 9):
            raise ConfigError(
                f"policy: expected a network for 9 or 21 channels with 8 or 9 planes of moves, got {self.channels} and "
                f"{self._layers.outputs('moves')}: train it with this package"
            )
        self._armies = [channel for channel in ARMIES if channel < self.channels]
        low, high = VALUE_RANGE
        edges = np.linspace(low, high, self._layers.outputs("value.2") + 1, dtype=np.float32)
        self._centres = (edges[1:] + edges[:-1]) / 2

    def logits(self, observations: Floats) -> Floats:
        """Return the logits (n, A) float32 for observations (n, C, H, W)."""
        return self.outputs(observations)[0]

    def outputs(self, observations: Floats) -> tuple[Floats, Floats]:
        """Return the logits (n, A) and the values (n,), float32, for observations (n, C, H, W)."""
        height, width = observations.shape[2:]
        rows = max(MAX_TILES // (height * width), 1)
        parts = [self._outputs(observations[low : low + rows]) for low in range(0, max(len(observations), 1), rows)]
        logits, values = zip(*parts, strict=True)
        return np.concatenate(logits), np.concatenate(values)

    def _outputs(self, observations: Floats) -> tuple[Floats, Floats]:
        layers, count = self._layers, len(observations)
        x = observations.transpose(0, 2, 3, 1).astype(np.float32, order="C")
        x[..., self._armies] = log_scaled(x[..., self._armies])
        x = relu(layers.convolve("features.0", x))
        for i in range(self.blocks):
            name = f"features.{i + 2}"
            inner = layers.convolve(f"{name}.first", x) + layers.multiply(f"{name}.board", pool(x))[:, None, None]
            x = relu(x + layers.convolve(f"{name}.second", relu(inner)))
        board = pool(x)
        planes = layers.multiply("moves", x)
        moves = planes[..., :8].reshape(count, *x.shape[1:3], 2, 4).transpose(0, 3, 1, 2, 4)  # half, row, column, direction
        parts = [moves.reshape(count, -1), layers.multiply("passing", board)]
        if self.builds:
            parts.append(planes[..., 8].reshape(count, -1))
        outputs = layers.multiply("value.2", relu(layers.multiply("value.0", board)))
        return np.concatenate(parts, axis=1), self._values(outputs)

    def _values(self, outputs: Floats) -> Floats:
        """Return the values (n,) of outputs of the value head: one number, or logits of bins."""
        if outputs.shape[1] == 1:
            return outputs[:, 0]
        shares = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        values: Floats = shares @ self._centres / shares.sum(axis=1)
        return values
