"""Makes a player of the arena of the network of a learner as it is now: ``snapshot``."""

from __future__ import annotations

import copy
import hashlib

import numpy as np

from generals_env.agents.sampled_player import SampledPlayer
from generals_env.arena.players import CHECKPOINT, Player
from generals_env.networks.network_player import TorchLogits
from generals_env.networks.policy_network import PolicyNetwork

__all__ = ["network_of", "snapshot"]

DIGITS = 8  # of the digest of the weights in a name


def snapshot(network: PolicyNetwork, name: str) -> Player:
    """Return a player of a copy of a network, which draws its actions, as in training.

    Its name ends with the first digits of the SHA-256 of the weights: so the selves of two trainings are different players,
    whatever they are named, and results of one are never taken for those of the other.
    """
    frozen = copy.deepcopy(network).eval().requires_grad_(False)
    digest = hashlib.sha256()
    for key, tensor in frozen.state_dict().items():
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(tensor.detach().float().cpu().numpy()).tobytes())
    text = digest.hexdigest()
    policy = SampledPlayer(TorchLogits(frozen), seed=0)
    return Player(
        f"{name}-{text[:DIGITS]}", name, CHECKPOINT, f"sha256 of the weights:{text}", policy=policy, channels=policy.channels
    )


def network_of(player: Player) -> PolicyNetwork:
    """Return the network of a player that ``snapshot`` made."""
    network: PolicyNetwork = player.policy.network.module  # type: ignore[union-attr]
    return network
