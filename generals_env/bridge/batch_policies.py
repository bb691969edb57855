"""Loads policies for batches of observations by name: checkpoints, models of Stable-Baselines3, and callables of modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.agents.shipped import is_shipped
from generals_env.bridge.named_objects import load_callable
from generals_env.errors import ConfigError, StorageError
from generals_env.networks.saved_players import load_player
from generals_env.opponents import POLICY_NAMES, BatchPolicy, as_policy

__all__ = ["PROGRAM", "is_file", "load_batch_policy"]

#: Begins the name of a player that is a program.
PROGRAM = "stdio:"

#: Algorithms of Stable-Baselines3 by the class that their files can be loaded with, the masked one first.
ALGORITHMS = (("sb3_contrib", "MaskablePPO"), ("stable_baselines3", "PPO"))


def is_file(name: str) -> bool:
    """Return whether there is a file of a name; a name that no file can have is none."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # too long, or with a null byte
        return False


def load_batch_policy(argument: str, name: str, trust: bool = False, random_moves: float = 0.0) -> BatchPolicy | str:
    """Return the policy of a file or of a module, or the name of a built-in policy if the callable stands for one.

    Args:
        argument: Name of the argument, for errors.
        name: A saved network, an agent of the package (``trained``), a ``.zip`` file of Stable-Baselines3, or
            ``module:callable``.
        trust: Whether to load files that can run code of their own: those of Stable-Baselines3.
        random_moves: Share of the moves of a Q-network that are random legal ones; a policy network draws its moves.

    Raises:
        ConfigError: If there is no such policy, a library is not installed, or the file would have to be trusted.
        StorageError: If the file cannot be loaded.
    """
    if is_shipped(name):
        return as_policy(name)
    if is_file(name):
        path = Path(name)
        return load_model(argument, path, trust) if path.suffix == ".zip" else load_checkpoint(argument, path, random_moves)
    if ":" in name:
        return as_policy(load_callable(argument, name))
    raise ConfigError(
        f"{argument}: expected {POLICY_NAMES}, trained, a saved network, a .zip file of Stable-Baselines3, "
        f"module:callable or {PROGRAM}COMMAND, got {name!r}: check its spelling"
    )


def load_checkpoint(argument: str, path: Path, random_moves: float) -> BatchPolicy:
    """Return the policy of a saved network."""
    try:
        policy: BatchPolicy = load_player(path, random_moves=random_moves)
    except ImportError as error:
        raise ConfigError(f"{argument}: expected torch for a checkpoint, got none ({error})") from error
    return policy


def load_model(argument: str, path: Path, trust: bool) -> BatchPolicy:
    """Return the policy of a file of Stable-Baselines3, which unpickles objects and so can run any code."""
    if not trust:
        raise ConfigError(
            f"{argument}: expected a file that runs no code, got {path.name!r}: files of Stable-Baselines3 hold pickled "
            "objects; generals-env arena loads one that you made yourself with --trust"
        )
    failures = []
    for module, algorithm in ALGORITHMS:
        try:
            model = load_callable(argument, f"{module}:{algorithm}.load")(path, device="cpu")
        except Exception as error:  # unpickling raises any exception
            failures.append(f"{algorithm}: {error!r:.200}")
            continue
        return SB3Policy(model, masked=module == "sb3_contrib")
    raise StorageError(
        f"{argument}: expected a file of MaskablePPO or PPO, got {path.name!r} ({'; '.join(failures)}): "
        "check the file and its libraries"
    )


class SB3Policy:
    """Plays by a model of Stable-Baselines3; actions are sampled, as in its training.

    Attributes:
        channels: Channels of the observations that it takes.
    """

    def __init__(self, model: Any, masked: bool) -> None:
        """Play by ``model``; ``masked`` tells whether its ``predict`` takes masks."""
        self.model = model
        self.masked = masked
        model.policy.set_training_mode(False)
        try:
            self.channels = int(model.observation_space["observation"].shape[0])
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ConfigError(
                f"player: expected a model for observations of this package, got one for {model.observation_space!r:.200}"
            ) from error

    def __call__(self, views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.integer[Any]]:
        """Return (n,) actions."""
        fits, masks = self._inputs(views)
        actions: npt.NDArray[np.integer[Any]] = self.model.predict(fits, **masks)[0]
        return actions

    def probabilities(self, views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.floating[Any]]:
        """Return the probabilities (n, A) from which actions are sampled, for callers that draw themselves."""
        import torch

        fits, masks = self._inputs(views)
        with torch.no_grad():
            seen, _ = self.model.policy.obs_to_tensor(fits)
            shares: npt.NDArray[np.floating[Any]] = self.model.policy.get_distribution(seen, **masks).distribution.probs.numpy()
        return shares

    def _inputs(self, views: Mapping[str, npt.NDArray[Any]]) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Return observations in the form of the training, and the masks if the model takes them."""
        space = self.model.observation_space["observation"]
        if views["observation"].shape[1:] != space.shape:
            raise ConfigError(
                f"player: expected boards of the training, observations {space.shape}, got {views['observation'].shape[1:]}: "
                "play on boards of that size"
            )
        fits = {**views, "observation": views["observation"].astype(space.dtype, copy=False)}
        return fits, {"action_masks": views["action_mask"]} if self.masked else {}
