"""Rewards on the way that leave the best policies what they are."""

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


#: Rewards have 32 bits: a larger weight would leave nothing of them.
MAX_WEIGHT = 1e6


class Shaping(ArrayTransform):
    """Keeps the potential of every game and player."""

    name = "PotentialShaping"

    def __init__(self, env: Any, gamma: float, weights: dict[str, float]) -> None:
        """Set the potential up; errors as in ``PotentialShaping``."""
        super().__init__(env)
        if not is_number(gamma) or not 0 <= gamma <= 1:
            raise ConfigError(f"gamma: expected a discount from 0 to 1, got {gamma!r:.80}")
        for name, weight in weights.items():
            if not is_number(weight) or not abs(weight) <= MAX_WEIGHT:
                raise ConfigError(f"{name}: expected a number of at most {MAX_WEIGHT:g}, got {weight!r:.80}")
        self.gamma = np.float32(gamma)
        self.weights = np.array(list(weights.values()), np.float64)
        self._potential = self._potentials(self.games.batch.boards)

    def observe(self, seen: Observations, begun: Flags, stepped: bool) -> Observations:
        """Take note of where the next turn starts; observations stay."""
        if not stepped:
            self._potential = self._potentials(self.games.batch.boards)
        return seen

    def rewards(self, rewards: Array, terminated: Array, going: Flags, ended: Flags) -> Array:
        """Return rewards with the gain in potential."""
        now = self._potentials(self.games.batch.boards)
        reached = now.copy()
        if ended.any() and self.games.final_boards is not None:  # ``now`` is that of the new games
            reached[ended] = self._potentials(self.games.final_boards)
        reached[terminated] = 0
        gain = self.gamma * reached - self._potential
        gain[~going] = 0
        self._potential = now
        shaped: Array = rewards + gain
        return shaped

    def _potentials(self, boards: Boards) -> npt.NDArray[np.float32]:
        """Return the potentials of the players who are shown, (B,) or (B, P) float32."""
        out = np.empty(boards.players.shape, np.float32)
        potentials(boards, self.weights, out)
        return out[:, self.games.player] if isinstance(self.games, GeneralsSingleVector) else out


def PotentialShaping(  # noqa: N802 - named as Gymnasium names wrappers
    env: Env, gamma: float = 0.99, land: float = 0.0, army: float = 0.0, cities: float = 0.0
) -> Env:
    """Return ``env`` with rewards ``r + gamma * Phi(s') - Phi(s)``.

    ``Phi`` is the sum over land, army and cities of ``weight * (own - enemy) / (own + enemy)`` on the full board, of a
    player's team and of all its enemies; generals are no cities. It is 0 where a player's game has terminated: over a game
    that terminates the shaped return, discounted with ``gamma``, is the return minus ``Phi`` of the first board, whatever was
    played. So every policy stays exactly as good, compared with others, as it was (Ng, Harada and Russell, "Policy
    invariance under reward transformations", ICML 1999; for several players Devlin and Kudenko, "Theoretical considerations
    of potential-based reward shaping for multi-agent systems", AAMAS 2011). A game that is truncated has not ended: there
    ``Phi`` is that of the true last board, and a learner that bootstraps there sees no difference either.

    The reward weight ``army_advantage`` gives such an advantage every turn instead, which does change what is best.

    Args:
        env: A ``GeneralsVector``, ``GeneralsSingleVector`` or ``GeneralsSingle``, wrapped or not.
        gamma: The learner's own discount, 0 to 1; with another one the best policies may change.
        land: Weight of the share of land; 0 leaves it out.
        army: Likewise of the armies.
        cities: Likewise of the cities.

    Raises:
        ConfigError: If ``env`` is none of these, ``gamma`` no discount, or a weight not finite or beyond a million.
    """
    weights = {"land": land, "army": army, "cities": cities}
    return wrapped(env, Shaping(env, gamma, weights), gamma=gamma, **weights)
