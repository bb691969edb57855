"""Makes the torch network of weights in arrays, such as those of the agents that the package ships."""

from __future__ import annotations

from generals_env.agents.shipped import is_shipped, shipped_network
from generals_env.agents.weight_files import POLICY_NETWORK, NetworkWeights
from generals_env.errors import StorageError
from generals_env.networks.saved_players import load_network_weights

try:
    import torch
    from torch import nn

    from generals_env.networks.policy_network import PolicyNetwork
    from generals_env.recorders.training.q_network import QNetwork
except ModuleNotFoundError as error:
    raise ImportError(f'torch_networks: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["named_weights", "torch_network"]


def named_weights(name: str) -> NetworkWeights:
    """Return the network of an agent of the package, of a checkpoint or of a file of weights.

    Raises:
        ConfigError: If there is no such agent.
        StorageError: If there is no such file, it is damaged, or it is of another network.
    """
    return shipped_network(name) if is_shipped(name) else load_network_weights(name)


def torch_network(network: NetworkWeights) -> PolicyNetwork | QNetwork:
    """Return a network with these weights, in evaluation mode, on the CPU: to train it further, or to export it.

    Raises:
        StorageError: If the weights do not fit the options, or there are no options, as in files of earlier versions.
    """
    kind: type[nn.Module] = PolicyNetwork if network.kind == POLICY_NETWORK else QNetwork
    try:
        module: PolicyNetwork | QNetwork = kind(**network.options)  # type: ignore[assignment]
        module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in network.weights.items()})
    except (TypeError, ValueError, RuntimeError) as error:
        raise StorageError(
            f"policy: expected weights and options of a network, got others ({error}): pass the checkpoint itself"
        ) from error
    return module.eval()
