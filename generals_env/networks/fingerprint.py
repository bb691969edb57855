"""Recognises a network by what it answers to fixed states, so that another one than was saved is never played unnoticed.

Weights that load are not proof: a network whose inputs are scaled otherwise, or whose outputs are in another order, has weights
of the same shapes. Its answers differ.
"""

from __future__ import annotations

from generals_env.engine.observations.reference import LAYOUTS
from generals_env.errors import StorageError
from generals_env.networks.policy_network import PolicyNetwork

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError as error:
    raise ImportError(f'fingerprint: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["check_fingerprint", "fingerprint"]

STATES, BOARD = 2, 6

#: Maximum relative difference: processors and versions of torch round differently.
TOLERANCE = 1e-3


def fixed_states(channels: int) -> Tensor:
    """Return states (2, C, 6, 6) float32 with numbers from 0 to 1, made by whole numbers alone: equal on all machines."""
    count = STATES * channels * BOARD * BOARD
    numbers = torch.arange(count, dtype=torch.int64) * 40503 % 65536
    return (numbers.float() / 65536).view(STATES, channels, BOARD, BOARD)


def fingerprint(network: PolicyNetwork) -> Tensor:
    """Return the logits and values of a network in fixed states, (n,) float32 on the CPU."""
    weight = next(network.parameters())
    training = network.training
    network.eval()
    with torch.no_grad():
        logits, outputs = network(fixed_states(len(LAYOUTS[network.layout])).to(weight.device))
        values = network.values(outputs)
    network.train(training)
    return torch.cat([logits.float().flatten(), values]).cpu()


def check_fingerprint(network: PolicyNetwork, saved: Tensor, path: object) -> None:
    """Compare a network with its fingerprint.

    Args:
        network: The network as it was loaded.
        saved: What ``fingerprint`` returned when it was saved.
        path: The file, for the error.

    Raises:
        StorageError: If it answers differently.
    """
    found = fingerprint(network)
    scale = max(float(saved.abs().max()), 1.0) if saved.numel() else 1.0
    if saved.shape != found.shape or not float((saved - found).abs().max()) <= TOLERANCE * scale:
        raise StorageError(
            f"path: expected the network that was trained, got {str(path)!r}, whose network answers differently in fixed "
            "states: load it with the version of generals_env that saved it"
        )
