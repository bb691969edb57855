"""Plays a network that ``generals-env train`` saved, with numpy alone: an archive needs neither torch nor the checkpoint.

The layers are those of ``recorders.training.q_network``; values equal torch's up to rounding.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.errors import ConfigError, StorageError

__all__ = ["NumpyNetwork", "load_weights", "save_weights"]

SCALE = 1000.0  # army of an observation of 1, as in the network
CHANNELS = (9, 21)
MAX_BYTES = 2**26  # of one layer in a file

Floats = npt.NDArray[np.floating[Any]]  # float32


class NumpyNetwork:
    """A policy for batches of observations: the legal action with the highest value.

    Attributes:
        channels: Channels of the observations: 9 of the layout standard, 21 of full.
        builds: Whether it was trained with the rules of the competition, so that it builds castles.
    """

    def __init__(self, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take the weights by name.

        Raises:
            ConfigError: If they are not those of a network for single frames.
        """
        self._weights = {name: np.ascontiguousarray(array, np.float32) for name, array in weights.items()}
        needed = ("features.0.weight", "moves.weight", "passing.weight", "value.0.weight", "value.2.weight")
        if missing := [name for name in needed if name not in self._weights]:
            raise ConfigError(f"policy: expected the weights of a QNetwork, got none of {missing[0]}: train with generals-env")
        self.channels = int(self._weights["features.0.weight"].shape[1])
        self.builds = "building.weight" in self._weights
        self.blocks = sum(name.endswith(".first.weight") for name in self._weights)
        if self.channels not in CHANNELS:
            raise ConfigError(
                f"policy: expected a network for 9 or 21 channels, got {self.channels}: train without stacked frames and memory"
            )

    def __call__(self, views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
        """Return the actions (n,) for observations (n, C, H, W) and masks (n, 9*H*W + 1)."""
        actions = []
        for observation, mask in zip(views["observation"], views["action_mask"], strict=True):
            values = self.values(observation)
            legal = mask[: len(values)] != 0  # without builds, they are not considered
            actions.append(int(np.where(legal, np.nan_to_num(values, nan=-1e30, neginf=-1e30), -np.inf).argmax()))
        return np.array(actions, np.int64)

    def values(self, observation: Floats) -> Floats:
        """Return the value of each action, (A,) float32, for one observation (C, H, W)."""
        x = np.log1p(np.float32(SCALE) * np.maximum(observation, 0)) / np.float32(math.log1p(SCALE))
        x = np.maximum(self._convolve("features.0", x), 0)
        for i in range(self.blocks):
            name = f"features.{i + 2}"
            whole = self._multiply(f"{name}.whole", pool(x))
            inner = np.maximum(self._convolve(f"{name}.first", x) + whole[:, None, None], 0)
            x = np.maximum(x + self._convolve(f"{name}.second", inner), 0)
        board = pool(x)
        parts = [self._point("moves", x).reshape(2, 4, *x.shape[1:]).transpose(0, 2, 3, 1).ravel()]
        parts.append(self._multiply("passing", board))
        if self.builds:
            parts.append(self._point("building", x).ravel())
        advantages = np.concatenate(parts)
        value = self._multiply("value.2", np.maximum(self._multiply("value.0", board), 0))
        result: Floats = value + advantages - advantages.mean()
        return result

    def _multiply(self, name: str, x: Floats) -> Floats:
        result: Floats = self._weights[f"{name}.weight"] @ x + self._weights[f"{name}.bias"]
        return result

    def _point(self, name: str, x: Floats) -> Floats:
        """Convolve with a kernel of one tile."""
        weight = self._weights[f"{name}.weight"][:, :, 0, 0]
        result: Floats = weight @ x.reshape(len(x), -1) + self._weights[f"{name}.bias"][:, None]
        return result

    def _convolve(self, name: str, x: Floats) -> Floats:
        """Convolve with a kernel of 3x3 tiles, zeros beyond the edge."""
        weight = self._weights[f"{name}.weight"]
        _, height, width = x.shape
        padded = np.zeros((len(x), height + 2, width + 2), np.float32)
        padded[:, 1:-1, 1:-1] = x
        shifted = [padded[:, i : i + height, j : j + width].reshape(len(x), -1) for i in range(3) for j in range(3)]
        flat = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)  # the order of ``shifted``
        result: Floats = flat @ np.concatenate(shifted) + self._weights[f"{name}.bias"][:, None]
        return result.reshape(len(weight), height, width)


def pool(x: Floats) -> Floats:
    """Return mean and maximum of each feature over the board."""
    return np.concatenate([x.mean(axis=(1, 2)), x.max(axis=(1, 2))])


def save_weights(path: Path, weights: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write weights to an ``.npz`` file; equal weights give equal bytes."""
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **{name: np.asarray(weights[name]) for name in sorted(weights)})


def load_weights(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read weights from an ``.npz`` file.

    Raises:
        StorageError: If it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            large = [entry.filename for entry in archive.infolist() if entry.file_size > MAX_BYTES]
        if not large:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise StorageError(
            f"policy: expected a file of weights that generals-env pack wrote, got {str(path)!r} ({error})"
        ) from error
    raise StorageError(f"policy: expected layers of at most {MAX_BYTES:,} bytes, got more in {large[0]} of {str(path)!r}")
