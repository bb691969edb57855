"""Compares the outputs of a network that two libraries compute, and the time they take: ``compare_outputs``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from generals_env.agents.numpy_layers import Floats
from generals_env.agents.numpy_policy_network import ARMIES, NumpyPolicyNetwork
from generals_env.agents.numpy_q_network import NumpyQNetwork
from generals_env.agents.weight_files import POLICY_NETWORK, NetworkWeights
from generals_env.errors import StateError
from generals_env.networks.onnx_export import Outputs

__all__ = ["BOARDS", "TOLERANCE", "Parity", "compare_outputs", "numpy_outputs", "random_observations"]

#: Boards on which networks are compared, rows and columns.
BOARDS = ((4, 4), (5, 9), (8, 8), (20, 20))

BATCH = 5  # boards of a size

#: Largest difference of an output, as a share of the largest output of the same board, and at least of 1.
TOLERANCE = 1e-4

SECONDS = 0.2  # of each measurement of time


@dataclass(frozen=True)
class Parity:
    """The comparison on boards of one size.

    Attributes:
        board: Rows and columns.
        difference: Largest absolute difference of an output.
        bound: What it may be at most.
        milliseconds: Of one observation alone, the expected library's and the other one's.
    """

    board: tuple[int, int]
    difference: float
    bound: float
    milliseconds: tuple[float, float]


def compare_outputs(
    expected: Outputs, found: Outputs, channels: int, boards: Sequence[tuple[int, int]] = BOARDS, seed: int = 0
) -> list[Parity]:
    """Compute random observations of several sizes with two libraries, and compare the outputs.

    Args:
        expected: The network as it was trained.
        found: The same network by another library.
        channels: Channels of the observations.
        boards: Sizes of the boards.
        seed: Seed of the observations.

    Raises:
        StateError: If outputs differ by more than rounding does.
    """
    rng = np.random.default_rng(seed)
    compared = []
    for board in boards:
        observations = random_observations(rng, BATCH, channels, board)
        one, two = expected(observations), found(observations)
        if [part.shape for part in one] != [part.shape for part in two]:
            shapes = ([part.shape for part in one], [part.shape for part in two])
            raise StateError(f"export: expected outputs of the shapes {shapes[0]}, got {shapes[1]} on {board}: report it")
        difference = max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True))
        bound = TOLERANCE * max(1.0, *(float(np.abs(part).max()) for part in one))
        if not difference <= bound:
            found_text = f"got {difference:.3g} on {board}: report it"
            raise StateError(f"export: expected outputs that differ by {bound:.1g} at most, {found_text}")
        single = observations[:1]
        compared.append(Parity(board, difference, bound, (milliseconds(expected, single), milliseconds(found, single))))
    return compared


def random_observations(rng: np.random.Generator, count: int, channels: int, board: tuple[int, int]) -> Floats:
    """Return observations (n, C, H, W) float32: armies of 0 to 300 on some tiles, flags on others."""
    shape = (count, channels, *board)
    observations = rng.integers(0, 2, shape).astype(np.float32)
    for channel in (channel for channel in ARMIES if channel < channels):
        observations[:, channel] *= rng.integers(0, 300, (count, *board)) / np.float32(1000)
    return observations


def milliseconds(outputs: Outputs, observations: Floats) -> float:
    """Return the least time of a call, after one that prepares it."""
    outputs(observations)
    least, end = float("inf"), time.perf_counter() + SECONDS
    while (began := time.perf_counter()) < end:
        outputs(observations)
        least = min(least, time.perf_counter() - began)
    return 1000 * least


def numpy_outputs(network: NetworkWeights) -> Outputs:
    """Return a function that computes a network with numpy.

    Raises:
        ConfigError: If numpy cannot play it: a network for stacked frames.
    """
    if network.kind == POLICY_NETWORK:
        return NumpyPolicyNetwork(network.weights).outputs
    values = NumpyQNetwork(network.weights).values
    return lambda observations: (values(observations),)
