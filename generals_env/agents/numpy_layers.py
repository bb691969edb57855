"""Layers of networks over boards in numpy: features (n, H, W, C) float32, results as those of torch up to rounding."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.errors import ConfigError

__all__ = ["CHANNELS", "Floats", "Layers", "log_scaled", "pool", "relu"]

SCALE = np.float32(1000)  # army of an observation of 1, as in the networks
CHANNELS = (9, 21)  # of the layouts standard and full

#: Tiles that are computed at a time: what the layers read and write then stays in the cache.
MAX_TILES = 4096

Floats = npt.NDArray[np.floating[Any]]  # float32


class Layers:
    """The layers of a network by the names that torch gives them, with weights in the order that products of matrices need."""

    def __init__(self, weights: Mapping[str, npt.NDArray[Any]], network: str, needed: Iterable[str]) -> None:
        """Take the weights of a network.

        Args:
            weights: Arrays by name, as of ``state_dict`` in torch.
            network: What it is, for errors.
            needed: Names that must be there.

        Raises:
            ConfigError: If one is missing, or the layers do not fit each other.
        """
        if missing := [name for name in needed if name not in weights]:
            raise ConfigError(f"policy: expected the weights of a {network}, got none of {missing[0]}: train with generals-env")
        self._matrices: dict[str, Floats] = {}
        self._biases: dict[str, Floats] = {}
        for name, array in weights.items():
            layer, _, kind = name.rpartition(".")
            given = np.asarray(array, np.float32)
            if kind == "bias":
                self._biases[layer] = given
            elif given.ndim == 4:  # (out, in, rows, columns), to tiles in the order of ``convolve``
                self._matrices[layer] = np.ascontiguousarray(given.transpose(2, 3, 1, 0).reshape(-1, len(given)))
            else:
                self._matrices[layer] = np.ascontiguousarray(given.T)

    def outputs(self, name: str) -> int:
        """Return how many numbers a layer gives for each tile or board."""
        return int(self._matrices[name].shape[1])

    def inputs(self, name: str) -> int:
        """Return how many numbers a layer takes: for a convolution of 3x3, nine for each feature."""
        return int(self._matrices[name].shape[0])

    def multiply(self, name: str, x: Floats) -> Floats:
        """Return a linear layer, or a convolution of one tile, of x (..., C)."""
        matrix = self._matrices[name]
        result: Floats = x.reshape(-1, x.shape[-1]) @ matrix + self._biases[name]
        return result.reshape(*x.shape[:-1], matrix.shape[1])

    def convolve(self, name: str, x: Floats) -> Floats:
        """Return a convolution of 3x3 tiles of x (n, H, W, C), with zeros beyond the edge."""
        count, height, width, channels = x.shape
        padded = np.zeros((count, height + 2, width + 2, channels), np.float32)
        padded[:, 1:-1, 1:-1] = x
        around = np.empty((count, height, width, 9, channels), np.float32)
        for i in range(3):
            for j in range(3):
                around[:, :, :, 3 * i + j] = padded[:, i : i + height, j : j + width]
        return self.multiply(name, around.reshape(count, height, width, 9 * channels))


def relu(x: Floats) -> Floats:
    """Set negative numbers to zero, in place, and return them."""
    return np.maximum(x, 0, out=x)


def pool(x: Floats) -> Floats:
    """Return the mean and the maximum of each feature over the board, (n, 2 * C)."""
    return np.concatenate([x.mean(axis=(1, 2)), x.max(axis=(1, 2))], axis=1)


def log_scaled(x: Floats) -> Floats:
    """Return armies on a logarithmic scale, on which small ones differ; 0 and 1 stay."""
    scaled: Floats = np.log1p(SCALE * np.maximum(x, 0)) / np.float32(math.log1p(SCALE))
    return scaled
