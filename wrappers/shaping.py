"""Implements ``PotentialShaping``, a wrapper that adds potential-based shaping to the rewards."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arguments import is_number
from generals_env.engine.boards import Boards
from generals_env.engine.observations.potential import potentials
from generals_env.errors import ConfigError
from generals_env.single import GeneralsSingleVector
from generals_env.wrappers.array_transform import Array, ArrayTransform, Env, Flags, Observations, wrapped

__all__ = ["PotentialShaping"]

#: Rewards are float32: with a larger weight, rounding would erase the other terms.
MAX_WEIGHT = 1e6


class Shaping(ArrayTransform):
    """Transform that holds the potential of each game and player."""

    name = "PotentialShaping"
    any_dtype = True  # observations are not changed

    def __init__(self, env: Any, gamma: float, weights: dict[str, float]) -> None:
        """Compute the initial potential; errors as in ``PotentialShaping``."""
        super().__init__(env)
        if not is_number(gamma) or not 0 <= gamma <= 1:
            raise ConfigError(f"gamma: expected a discount from 0 to 1, got {gamma!r:.80}: pass that of the learner")
        for name, weight in weights.items():
            if not is_number(weight) or not abs(weight) <= MAX_WEIGHT:
                raise ConfigError(f"{name}: expected a number of at most {MAX_WEIGHT:g}, got {weight!r:.80}")
        self.gamma = np.float32(gamma)
        self.weights = np.array(list(weights.values()), np.float64)
        self._potential = self._potentials(self.games.batch.boards)

    def observe(self, seen: Observations, begun: Flags, stepped: bool) -> Observations:
        """Update the potential after a reset; observations are not changed."""
        if not stepped:
            self._potential = self._potentials(self.games.batch.boards)
        return seen

    def rewards(self, rewards: Array, terminated: Array, going: Flags, ended: Flags) -> Array:
        """Return the rewards plus the gain in potential."""
        now = self._potentials(self.games.batch.boards)
        reached = now.copy()
        if ended.any() and self.games.final_boards is not None:  # ``now`` is the potential of the new games
            reached[ended] = self._potentials(self.games.final_boards)
        reached[terminated] = 0
        gain = self.gamma * reached - self._potential
        gain[~going] = 0
        self._potential = now
        shaped: Array = rewards + gain
        return shaped

    def _potentials(self, boards: Boards) -> npt.NDArray[np.float32]:
        """Return the potentials of the players that the environment returns, (B,) or (B, P) float32."""
        out = np.empty(boards.players.shape, np.float32)
        potentials(boards, self.weights, out)
        return out[:, self.games.player] if isinstance(self.games, GeneralsSingleVector) else out


def PotentialShaping(  # noqa: N802 - named as Gymnasium names wrappers
    env: Env, gamma: float = 0.99, land: float = 0.0, army: float = 0.0, cities: float = 0.0
) -> Env:
    """Return ``env`` with rewards ``r + gamma * Phi(s') - Phi(s)``.

    ``Phi`` is the sum over land, army and cities of ``weight * (own - enemy) / (own + enemy)`` on the full board, where own is
    the player's team and enemy all other teams; generals do not count as cities. ``Phi`` is 0 after termination, so the shaped
    return of a terminated game, discounted with ``gamma``, is the return minus ``Phi`` of the first board, for any actions.
    Shaping therefore preserves the order of policies (Ng, Harada and Russell, "Policy invariance under reward
    transformations", ICML 1999; for several players Devlin and Kudenko, "Theoretical considerations of potential-based reward
    shaping for multi-agent systems", AAMAS 2011). A truncated game has not ended: its ``Phi`` is that of the final board, so
    the order is also preserved for learners that bootstrap there.

    The reward weight ``army_advantage`` gives such an advantage in every turn instead, which changes the optimal policy.

    Args:
        env: A ``GeneralsVector``, ``GeneralsSingleVector`` or ``GeneralsSingle``, wrapped or not.
        gamma: Discount of the learner, 0 to 1; with another value the optimal policy may change.
        land: Weight of the share of land; 0 disables it.
        army: Weight of the share of armies.
        cities: Weight of the share of cities.

    Raises:
        ConfigError: If ``env`` is not one of these, ``gamma`` is not from 0 to 1, or a weight is not finite or over a million.
    """
    weights = {"land": land, "army": army, "cities": cities}
    return wrapped(env, Shaping(env, gamma, weights), gamma=gamma, **weights)
