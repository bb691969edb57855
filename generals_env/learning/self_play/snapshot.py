"""Makes a player of the arena of the network of a learner as it is now: ``snapshot``."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arena.players import CHECKPOINT, Player
from generals_env.learning.rollouts.collector import log_shares
from generals_env.networks.policy_network import PolicyNetwork

try:
    import torch
except ModuleNotFoundError as error:
    raise ImportError(f'snapshot: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["SnapshotPolicy", "snapshot"]

DIGITS = 8  # of the digest of the weights in a name


class SnapshotPolicy:
    """Plays by a network with the probabilities that it learned, as in training: the best action alone runs into loops.

    Attributes:
        network: The network.
        channels: Channels of the observations that it takes.
    """

    def __init__(self, network: PolicyNetwork) -> None:
        """Play by ``network``."""
        self.network = network
        self.channels: int = network.features[0].in_channels  # type: ignore[assignment]
        self._rng = np.random.default_rng(0)

    def probabilities(self, views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        """Return the probabilities (n, A) of the actions for observations (n, C, H, W) and masks (n, A)."""
        device = next(self.network.parameters()).device
        states = torch.from_numpy(np.ascontiguousarray(views["observation"], np.float32)).to(device)
        legal = torch.from_numpy(np.ascontiguousarray(views["action_mask"]) != 0).to(device)
        with torch.no_grad():
            logits, _ = self.network(states)
            shares: npt.NDArray[np.float32] = log_shares(logits, legal).exp().cpu().numpy()
        return shares

    def __call__(self, views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
        """Return actions (n,)."""
        shares = self.probabilities(views)
        with np.errstate(divide="ignore"):
            scores = np.log(shares) - np.log(self._rng.standard_exponential(shares.shape))
        actions: npt.NDArray[np.int64] = scores.argmax(1)
        return actions


def snapshot(network: PolicyNetwork, name: str) -> Player:
    """Return a player of a copy of a network; its name ends with the first digits of the SHA-256 of the weights.

    So the selves of two trainings are different players, whatever they are named: results of one are none of the other.
    """
    frozen = copy.deepcopy(network).eval().requires_grad_(False)
    digest = hashlib.sha256()
    for key, tensor in frozen.state_dict().items():
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(tensor.detach().float().cpu().numpy()).tobytes())
    policy = SnapshotPolicy(frozen)
    text = digest.hexdigest()
    return Player(
        f"{name}-{text[:DIGITS]}", name, CHECKPOINT, f"sha256 of the weights:{text}", policy=policy, channels=policy.channels
    )
