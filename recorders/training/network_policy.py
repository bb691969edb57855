"""Loads the network of a trainer's checkpoint, and plays by it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arguments import is_number
from generals_env.errors import ConfigError, StorageError

try:
    import torch

    from generals_env.recorders.experience.recipe import Recipe
    from generals_env.recorders.training.checkpoints import load_checkpoint
    from generals_env.recorders.training.q_network import QNetwork
except ModuleNotFoundError as error:
    raise ImportError(f'network_policy: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["NetworkPolicy", "load_network", "load_policy", "network_size", "read_network"]


class NetworkPolicy:
    """Plays the legal action with the highest value; an opponent or policy for batches of observations.

    Attributes:
        network: The network.
        channels: Channels of the observations that it was trained on: 9 of the layout standard, 21 of full, for each frame.
        step: Steps that the trainer had taken.
        random_moves: Share of moves that are random legal actions.
    """

    def __init__(self, network: QNetwork, step: int = 0, random_moves: float = 0.0, seed: int | None = None) -> None:
        """Play by ``network``; arguments as of ``load_policy``.

        Raises:
            ConfigError: If ``random_moves`` is not a number from 0 to 1.
        """
        if not is_number(random_moves) or not 0 <= random_moves <= 1:
            raise ConfigError(f"random_moves: expected a number from 0 to 1, got {random_moves!r}")
        self.network = network
        self.channels: int = network.features[0].in_channels  # type: ignore[assignment]
        self.step = step
        self.random_moves = float(random_moves)
        self._rng = np.random.default_rng(seed)

    def __call__(self, views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
        """Return the actions (n,) for observations (n, C, H, W) and masks (n, A).

        Raises:
            ConfigError: If the observations have other channels, or the masks other actions, than those of the training.
        """
        observations, masks = views["observation"], np.ascontiguousarray(views["action_mask"])
        if observations.shape[1] != self.channels:
            raise ConfigError(
                f"observation: expected {self.channels} channels, as in the training of the network, got "
                f"{observations.shape[1]}: play with the same layout and frames, or train another network"
            )
        wanted = Recipe(builds=self.network.builds).actions(observations.shape[-2:])
        if masks.shape[1] != wanted:
            raise ConfigError(
                f"action_mask: expected {wanted} actions, as in the training of the network, got {masks.shape[1]}: play with "
                "the same rules, or train another network"
            )
        device = next(self.network.parameters()).device
        with torch.no_grad():
            states = torch.from_numpy(np.ascontiguousarray(observations, np.float32)).to(device)
            legal = torch.from_numpy(masks != 0).to(device)
            values = torch.nan_to_num(self.network(states).float(), nan=-1e30, neginf=-1e30)
            actions: npt.NDArray[np.int64] = values.masked_fill(~legal, -torch.inf).argmax(1).cpu().numpy()
        if self.random_moves:
            chosen = np.flatnonzero(self._rng.random(len(actions)) < self.random_moves)
            scores = np.where(masks[chosen] != 0, self._rng.random(masks[chosen].shape), -1.0)
            actions[chosen] = scores.argmax(axis=1)
        return actions


def load_policy(
    checkpoint: str | Path, *, device: Any = "cpu", random_moves: float = 0.0, seed: int | None = None
) -> NetworkPolicy:
    """Return the policy of a checkpoint that ``DistributedTrainer`` or ``generals-env train`` saved of a ``QNetwork``.

    Args:
        checkpoint: The file.
        device: A torch device or its name.
        random_moves: Share of moves that are random legal actions: without memory, a policy may otherwise move back and forth
            for ever.
        seed: Seed of the random moves; None for a random one.

    Raises:
        ConfigError: If ``random_moves`` is not a number from 0 to 1.
        StorageError: If there is no such file, it is damaged, or it is of another network.
    """
    network, step = load_network(checkpoint)
    return NetworkPolicy(network.to(device).eval(), step, random_moves, seed)


def load_network(checkpoint: str | Path) -> tuple[QNetwork, int]:
    """Return the network of a checkpoint, and the steps that its trainer had taken; errors as of ``load_policy``."""
    content = load_checkpoint(checkpoint)
    if content is None:
        raise StorageError(f"checkpoint: expected a file of generals-env train, got {str(checkpoint)!r}, which does not exist")
    return read_network(content, checkpoint)


def read_network(content: Mapping[str, Any], checkpoint: str | Path) -> tuple[QNetwork, int]:
    """Return the network and the steps of the content of a checkpoint; errors as of ``load_policy``.

    Args:
        content: The content.
        checkpoint: Its file, for errors.
    """
    try:
        weights = content["model"]
        inputs, channels, blocks = network_size(weights)
        network = QNetwork((inputs, 1, 1), channels, blocks, builds="building.weight" in weights)
        network.load_state_dict(weights)
        step = int(content["step"])
    except Exception as error:
        # torch raises many types of errors for weights that do not fit.
        raise StorageError(
            f"checkpoint: expected one of a QNetwork, got {str(checkpoint)!r} ({error}): pass one that generals-env train "
            "saved, or load other networks with generals_env.networks.saved_players.load_player"
        ) from error
    return network, step


def network_size(weights: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return the channels of the observations, the features per tile and the blocks of a ``QNetwork`` from its weights.

    So checkpoints need not store them, and those of earlier versions can be used, too.
    """
    channels, inputs = weights["features.0.weight"].shape[:2]
    blocks = sum(re.fullmatch(r"features\.\d+\.first\.weight", name) is not None for name in weights)
    return inputs, channels, blocks
