"""Makes the player of a saved network, whatever it is: the one place that decides by the content of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from generals_env.agents.weight_files import Q_NETWORK, NetworkWeights, load_weights
from generals_env.agents.weight_players import weight_player
from generals_env.errors import StorageError

__all__ = ["load_network_weights", "load_player"]

#: Suffix of files of weights, which need no torch.
WEIGHTS = ".npz"


def load_player(
    path: str | Path, *, device: Any = "cpu", temperature: float = 1.0, random_moves: float = 0.0, seed: int | None = None
) -> Any:
    """Return the policy of a file for batches of observations: an opponent, or a player of the arena.

    A file of a policy network gives a ``SampledPlayer``; a checkpoint of ``generals-env train`` a policy that plays the action
    of the highest value; a file of weights (``.npz``) either of them, computed with numpy.

    Args:
        path: The file.
        device: A torch device or its name; files of weights are computed on the CPU.
        temperature: Of a policy network, see ``SampledPlayer``.
        random_moves: Of a Q-network with torch: share of moves that are random legal actions.
        seed: Seed of the draws; None for a random one.

    Raises:
        ConfigError: If an option is invalid.
        ImportError: If torch is missing and the file needs it.
        StorageError: If there is no such file, it is damaged, or it is of another network.
    """
    if Path(path).suffix == WEIGHTS:
        return weight_player(load_weights(Path(path)), temperature, seed)
    content = checkpoint_content(path)
    from generals_env.networks.policy_file import is_policy_content, read_policy
    from generals_env.recorders.training.network_policy import NetworkPolicy, read_network

    if is_policy_content(content):
        from generals_env.networks.network_player import torch_player

        return torch_player(read_policy(content, path), device, temperature, seed)
    network, step = read_network(content, path)
    return NetworkPolicy(network.to(device).eval(), step, random_moves, seed)


def load_network_weights(path: str | Path) -> NetworkWeights:
    """Return the network of a checkpoint or of a file of weights as arrays.

    Raises:
        ImportError: If torch is missing and the file needs it.
        StorageError: If there is no such file, it is damaged, or it is of another network.
    """
    if Path(path).suffix == WEIGHTS:
        return load_weights(Path(path))
    content = checkpoint_content(path)
    from generals_env.networks.policy_file import is_policy_content, network_weights, read_policy
    from generals_env.recorders.training.network_policy import network_size, read_network

    if is_policy_content(content):
        return network_weights(read_policy(content, path))
    network, step = read_network(content, path)
    weights = {name: tensor.detach().float().cpu().numpy() for name, tensor in network.state_dict().items()}
    inputs, channels, blocks = network_size(network.state_dict())
    options = {"state_shape": [inputs, 1, 1], "channels": channels, "blocks": blocks, "builds": network.builds}
    return NetworkWeights(Q_NETWORK, weights, options, {}, step)


def checkpoint_content(path: str | Path) -> dict[str, Any]:
    """Return what a checkpoint holds; errors as of ``load_player``."""
    from generals_env.recorders.training.checkpoints import load_checkpoint

    content = load_checkpoint(path)
    if content is None:
        raise StorageError(f"checkpoint: expected a saved network, got {str(path)!r}, which does not exist: check the path")
    return content
