"""Saves and loads policy networks: how the network is shaped, its weights, and how it was made.

A file is a checkpoint of ``recorders.training.checkpoints``, written atomically, verified by a digest, and read without running
code. Its head are the keys ``"kind"``, ``"network"`` (``PolicyNetwork.options``), ``"weights"``, ``"made"``, ``"step"`` and
``"fingerprint"``; a trainer adds keys of its own, so its checkpoints can be played and exported as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from generals_env.agents.weight_files import POLICY_NETWORK, NetworkWeights
from generals_env.errors import StorageError

try:
    import torch

    from generals_env.networks.fingerprint import check_fingerprint, fingerprint
    from generals_env.networks.policy_network import PolicyNetwork
    from generals_env.recorders.training.checkpoints import load_checkpoint, save_checkpoint
except ModuleNotFoundError as error:
    raise ImportError(f'policy_file: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = [
    "PolicyFile",
    "is_policy_content",
    "load_policy_network",
    "network_weights",
    "policy_content",
    "read_policy",
    "save_policy_network",
]


@dataclass(frozen=True)
class PolicyFile:
    """A policy network as it was saved.

    Attributes:
        network: The network, in evaluation mode, on the CPU.
        made: How it was made: plain values.
        step: Entries that it was trained on.
    """

    network: PolicyNetwork
    made: dict[str, Any] = field(default_factory=dict)
    step: int = 0


def policy_content(network: PolicyNetwork, made: Mapping[str, Any] | None = None, step: int = 0) -> dict[str, Any]:
    """Return the head of a checkpoint; a trainer adds keys of its own.

    Args:
        network: The network that is played.
        made: How it was made: strings, numbers, and lists and dicts of these.
        step: Entries that it was trained on.
    """
    weights = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    return {
        "kind": POLICY_NETWORK,
        "network": network.options(),
        "weights": weights,
        "made": dict(made or {}),
        "step": step,
        "fingerprint": fingerprint(network),
    }


def save_policy_network(path: str | Path, network: PolicyNetwork, made: Mapping[str, Any] | None = None, step: int = 0) -> None:
    """Write a network to a file; arguments as of ``policy_content``.

    Raises:
        StorageError: If the file cannot be written; the previous file is unchanged.
    """
    save_checkpoint(path, policy_content(network, made, step))


def load_policy_network(path: str | Path) -> PolicyFile:
    """Return the network of a file of ``save_policy_network``, or of a checkpoint of a trainer with the same head.

    Raises:
        StorageError: If there is no such file, it is damaged, or it holds no policy network.
    """
    content = load_checkpoint(path)
    if content is None:
        raise StorageError(
            f"path: expected a file of a policy network, got {str(path)!r}, which does not exist: check the path"
        )
    return read_policy(content, path)


def is_policy_content(content: Mapping[str, Any]) -> bool:
    """Return whether the content of a checkpoint is that of a policy network."""
    return content.get("kind") == POLICY_NETWORK


def read_policy(content: Mapping[str, Any], path: str | Path) -> PolicyFile:
    """Return the network of the content of a checkpoint.

    Args:
        content: The content.
        path: Its file, for errors.

    Raises:
        StorageError: If it is not one of a policy network, or the network answers differently than when it was saved.
    """
    try:
        if not is_policy_content(content):
            raise ValueError(f"its kind is {content.get('kind')!r:.80}")  # noqa: TRY301 - reported with the others
        network = PolicyNetwork(**content["network"])
        network.load_state_dict(content["weights"])
        file = PolicyFile(network.eval(), dict(content["made"]), int(content.get("step", 0)))
        saved = content.get("fingerprint")
        if saved is not None:
            check_fingerprint(network, saved, path)
    except StorageError:
        raise
    except Exception as error:
        # torch raises many types of errors for weights that do not fit.
        raise StorageError(
            f"path: expected a file of a policy network, got {str(path)!r} ({error}): pass one that save_policy_network or a "
            "trainer of generals_env.learning wrote"
        ) from error
    return file


def network_weights(file: PolicyFile) -> NetworkWeights:
    """Return a network as arrays, for players that need numpy alone."""
    weights = {name: tensor.detach().to(torch.float32).numpy() for name, tensor in file.network.state_dict().items()}
    return NetworkWeights(POLICY_NETWORK, weights, file.network.options(), file.made, file.step)
