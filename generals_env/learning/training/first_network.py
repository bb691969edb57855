"""Makes the network that a training begins with: ``first_network``."""

from __future__ import annotations

from generals_env.errors import ConfigError
from generals_env.learning.ppo_config import PPOConfig
from generals_env.networks.policy_file import load_policy_network
from generals_env.networks.policy_network import PolicyNetwork

__all__ = ["first_network"]


def first_network(config: PPOConfig) -> PolicyNetwork:
    """Return the network of ``config.initial`` with its weights, or one of the size in ``config`` with random weights.

    Raises:
        ConfigError: If the network of the file takes other observations than ``config.layout``.
        StorageError: If the file does not exist, is damaged, or holds no policy network.
    """
    if config.initial is None:
        return PolicyNetwork(config.layout, config.channels, config.blocks, value_bins=config.value_bins)
    network = load_policy_network(config.initial).network
    if network.layout != config.layout or network.builds:
        raise ConfigError(
            f"initial: expected a network for the layout {config.layout!r} without builds, got layout {network.layout!r}"
            f"{' with builds' if network.builds else ''}: pass another file, or layout={network.layout!r}"
        )
    return network
