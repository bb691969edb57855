"""Makes the player of a file of weights, with numpy alone."""

from __future__ import annotations

from pathlib import Path

from generals_env.agents.numpy_policy_network import NumpyPolicyNetwork
from generals_env.agents.numpy_q_network import NumpyQNetwork
from generals_env.agents.sampled_player import SampledPlayer
from generals_env.agents.weight_files import POLICY_NETWORK, NetworkWeights, load_weights

__all__ = ["load_weight_player", "weight_player"]


def load_weight_player(path: Path, temperature: float = 1.0, seed: int | None = None) -> SampledPlayer | NumpyQNetwork:
    """Return the player of a file; arguments as of ``weight_player``.

    Raises:
        ConfigError: If it is not one of a network that numpy can play.
        StorageError: If the file cannot be read.
    """
    return weight_player(load_weights(path), temperature, seed)


def weight_player(network: NetworkWeights, temperature: float = 1.0, seed: int | None = None) -> SampledPlayer | NumpyQNetwork:
    """Return a policy for batches of observations: drawn actions of a policy network, the best ones of a Q-network.

    Args:
        network: The network.
        temperature: Of a policy network, see ``SampledPlayer``.
        seed: Seed of the draws; None for a random one.

    Raises:
        ConfigError: If the weights are not those of a network of the kind.
    """
    if network.kind == POLICY_NETWORK:
        logits = NumpyPolicyNetwork(network.weights)
        return SampledPlayer(logits, temperature, seed, step=network.step, made=network.made)
    return NumpyQNetwork(network.weights)
