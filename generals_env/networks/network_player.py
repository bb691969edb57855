"""Computes the logits of a policy network with torch, for players of batches of games: ``TorchLogits``, ``torch_player``."""

from __future__ import annotations

from typing import Any

import numpy as np

from generals_env.agents.numpy_layers import Floats
from generals_env.agents.sampled_player import SampledPlayer

try:
    import torch

    from generals_env.engine.observations.reference import LAYOUTS
    from generals_env.networks.policy_file import PolicyFile
    from generals_env.networks.policy_network import PolicyNetwork
except ModuleNotFoundError as error:
    raise ImportError(f'network_player: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["TorchLogits", "torch_player"]


class TorchLogits:
    """The logits of a policy network, as ``SampledPlayer`` asks for them.

    Attributes:
        module: The network.
        channels: Channels of the observations.
        builds: Whether there are logits of builds.
    """

    def __init__(self, module: PolicyNetwork) -> None:
        """Compute with ``module``, on its device; it must be in evaluation mode."""
        self.module = module
        self.channels = len(LAYOUTS[module.layout])
        self.builds = module.builds

    def logits(self, observations: Floats) -> Floats:
        """Return the logits (n, A) float32 for observations (n, C, H, W) float32."""
        device = next(self.module.parameters()).device
        with torch.no_grad():
            logits, _ = self.module(torch.from_numpy(observations).to(device))
            result: Floats = logits.float().cpu().numpy().astype(np.float32, copy=False)
        return result


def torch_player(file: PolicyFile, device: Any = "cpu", temperature: float = 1.0, seed: int | None = None) -> SampledPlayer:
    """Return a policy for batches of observations that draws its actions from a network.

    Args:
        file: The network.
        device: A torch device or its name.
        temperature: See ``SampledPlayer``.
        seed: Seed of the draws; None for a random one.

    Raises:
        ConfigError: If the temperature is invalid.
    """
    network = file.network.to(device).eval()
    return SampledPlayer(TorchLogits(network), temperature, seed, step=file.step, made=file.made)
