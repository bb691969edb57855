"""Keeps past selves of a learner as opponents, and chooses who of them plays: ``OpponentPool``.

Vinyals et al., "Grandmaster level in StarCraft II using multi-agent reinforcement learning", 2019, describe prioritised
fictitious self-play: opponents that the learner does not beat are met more often.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_integer, is_number, shown
from generals_env.errors import ConfigError
from generals_env.learning.self_play.rolling_results import RollingResults
from generals_env.networks.policy_network import PolicyNetwork

__all__ = ["SAMPLINGS", "OpponentPool", "PoolMember", "PoolOptions"]

#: How members are chosen: by the share of games that the learner did not win, all alike, or the latest one only.
SAMPLINGS = ("losses", "uniform", "latest")


@dataclass(frozen=True)
class PoolOptions:
    """Options of a pool.

    Attributes:
        size: Members at most.
        beaten: Share of the games against the pool that the learner must win, draws not counted as won, to become a member.
        games: Games that the share is of, at least.
        every: Rollouts after which it becomes a member whatever the share is.
        sampling: ``"losses"``, ``"uniform"`` or ``"latest"``.
    """

    size: int = 8
    beaten: float = 0.6
    games: int = 300
    every: int = 100
    sampling: str = "losses"

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: If one is invalid.
        """
        for name in ("size", "games", "every"):
            check_integer(name, getattr(self, name), 1, 10**9)
        if not is_number(self.beaten) or not 0 <= self.beaten <= 1:
            raise ConfigError(f"beaten: expected a share from 0 to 1, got {shown(self.beaten)}")
        if self.sampling not in SAMPLINGS:
            raise ConfigError(f"sampling: expected one of {', '.join(SAMPLINGS)}, got {shown(self.sampling)}")


@dataclass
class PoolMember:
    """A past self.

    Attributes:
        number: How many became members before it; it stays when others are removed.
        samples: Samples that it had learned from.
        network: Its network, which does not learn.
        results: The learner's last games against it.
    """

    number: int
    samples: int
    network: PolicyNetwork
    results: RollingResults


class OpponentPool:
    """Past selves of a learner, at most ``options.size``.

    Where the pool is full, the member that the learner beats most makes room; without results, the oldest.

    Attributes:
        options: The options.
        members: The members, the oldest first.
        rng: Draws opponents and their actions.
    """

    def __init__(self, options: PoolOptions, network: PolicyNetwork, seed: int) -> None:
        """Begin with ``network``, which is copied, as the only member."""
        self.options = options
        self.members: list[PoolMember] = []
        self.rng = np.random.default_rng(seed)
        self._added = self._rollouts = 0
        self._since = RollingResults(options.games)  # games against all members since the latest one
        self.add(network, 0)

    def add(self, network: PolicyNetwork, samples: int) -> PoolMember:
        """Make a copy of a network a member, and remove one if there are too many."""
        frozen = copy.deepcopy(network).eval().requires_grad_(False)
        if len(self.members) >= self.options.size:
            kept = self.options.sampling != "losses"
            self.members.pop(0 if kept else int(np.argmin(self._openness())))
        member = PoolMember(self._added, samples, frozen, RollingResults(self.options.games))
        self.members.append(member)
        self._added += 1
        self._rollouts = 0
        self._since.clear()
        return member

    def _openness(self) -> npt.NDArray[np.float64]:
        """Return the share of games that the learner did not win, by member; 1 without games."""
        games = np.array([member.results.games for member in self.members], np.float64)
        wins = np.array([member.results.counts[0] for member in self.members], np.float64)
        return (games - wins + 1) / (games + 1)

    def weights(self) -> npt.NDArray[np.float64]:
        """Return the probabilities with which members are drawn, (m,), which sum to 1."""
        found = np.ones(len(self.members))
        if self.options.sampling == "latest":
            found[:-1] = 0
        elif self.options.sampling == "losses":
            found = self._openness()
        return np.asarray(found / found.sum(), np.float64)

    def draw(self, count: int) -> npt.NDArray[np.int64]:
        """Return the numbers of members for ``count`` games."""
        numbers = np.array([member.number for member in self.members], np.int64)
        return np.asarray(self.rng.choice(numbers, count, p=self.weights()), np.int64)

    def __contains__(self, number: int) -> bool:
        """Return whether there is a member of a number."""
        return any(member.number == number for member in self.members)

    def __getitem__(self, number: int) -> PoolMember:
        """Return the member of a number; raise ``KeyError`` if it was removed."""
        for member in self.members:
            if member.number == number:
                return member
        raise KeyError(number)

    def count(self, number: int, results: npt.ArrayLike) -> None:
        """Count games of the learner against a member, (3,): won, lost, and drawn or cut off."""
        self[number].results.add(results)
        self._since.add(results)

    def after_rollout(self, network: PolicyNetwork, samples: int) -> bool:
        """Make the learner a member if it beats the pool, or if it has not become one for long; return whether it did."""
        self._rollouts += 1
        beaten = self._since.full and self._since.win_rate >= self.options.beaten
        if beaten or self._rollouts >= self.options.every:
            self.add(network, samples)
            return True
        return False

    def figures(self) -> dict[str, float]:
        """Return the number of members, all that there were, and the share of games won since the latest, for the log."""
        return {"pool_members": len(self.members), "pool_added": self._added, "pool_wins": self._since.win_rate}

    def state(self) -> dict[str, Any]:
        """Return tensors, numbers and texts for a checkpoint."""
        members = [
            {
                "number": member.number,
                "samples": member.samples,
                "options": member.network.options(),
                "weights": member.network.state_dict(),
                "results": member.results.state(),
            }
            for member in self.members
        ]
        counts = {"added": self._added, "rollouts": self._rollouts, "since": self._since.state()}
        return {"members": members, "random": self.rng.bit_generator.state, **counts}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state`` of another pool; networks go to the device of the ones here."""
        device = next(self.members[0].network.parameters()).device
        self.members = []
        for kept in state["members"]:
            network = PolicyNetwork(**kept["options"])
            network.load_state_dict(kept["weights"])
            results = RollingResults(self.options.games)
            results.restore(kept["results"])
            network.to(device).eval().requires_grad_(False)
            self.members.append(PoolMember(kept["number"], kept["samples"], network, results))
        self._added, self._rollouts = state["added"], state["rollouts"]
        self._since.restore(state["since"])
        self.rng.bit_generator.state = state["random"]
