"""Networks with random weights, and observations and masks for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from generals_env.networks.policy_network import PolicyNetwork

__all__ = ["policy_network", "random_views"]


def policy_network(builds: bool = False, value_bins: int = 0, layout: str = "full", seed: int = 1) -> PolicyNetwork:
    """Return a small network whose logits differ much: with nearly equal ones, parity would say little."""
    torch.manual_seed(seed)
    network = PolicyNetwork(layout, 8, 2, builds, value_bins)
    with torch.no_grad():
        network.moves.weight *= 50
        network.passing.weight *= 20
    return network.eval()


def random_views(count: int, channels: int, height: int, width: int, planes: int, seed: int = 1) -> dict[str, Any]:
    """Return observations with armies and flags, and masks of which passing and three in ten others are legal."""
    rng = np.random.default_rng(seed)
    observations = rng.integers(0, 2, (count, channels, height, width)).astype(np.float32)
    observations[:, :2] *= rng.integers(0, 300, (count, 2, height, width)) / np.float32(1000)
    masks = rng.random((count, planes * height * width + 1)) < 0.3
    masks[:, 8 * height * width] = True
    return {"observation": observations, "action_mask": masks.astype(np.int8)}
