"""Plays the games of a learner against one opponent: ``GameGroup``."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.config import GameConfig
from generals_env.engine.observations.potential import potentials
from generals_env.learning.rollouts.opponent_mix import SELF
from generals_env.opponents import BatchPolicy, as_policy
from generals_env.vector import GeneralsVector

__all__ = ["GameGroup", "Turn"]

Array = npt.NDArray[Any]


class Turn(NamedTuple):
    """What a turn brought the learner's seats.

    Attributes:
        rewards: (n,) float32.
        gains: (n,) float32, ``gamma * Phi(s') - Phi(s)`` of the potential.
        terminated: (n,) bool.
        truncated: (n,) bool.
        outcomes: (n,) int8, 1 for a game that was won, -1 for one that was lost, 0 for others.
        finals: (k, C, H, W) float32, the final observations of truncated seats, in their order.
    """

    rewards: npt.NDArray[np.float32]
    gains: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    outcomes: npt.NDArray[np.int8]
    finals: npt.NDArray[np.float32]


class GameGroup:
    """B games of two players against one opponent; the learner has each seat in half of the games, or both in all.

    Attributes:
        name: Name of the opponent.
        venv: The games.
        game: (n,) int64, the game of each of the learner's seats.
        player: (n,) int64, the player of each seat.
        results: (3,) int64, games won, lost, and drawn or cut off since ``take_results``.
    """

    def __init__(
        self, name: str, games: int, config: GameConfig, seed: int, gamma: float, shaping: Array, opponent: Any = None
    ) -> None:
        """Begin the games.

        Args:
            name: A built-in policy, ``"self"``, or a name for ``opponent``.
            games: B.
            config: Options of the games; the rewards of a victory and a defeat differ.
            seed: Seed of the maps.
            gamma: Discount of the potential.
            shaping: (3,) float64, weights of the potential, see ``engine.observations.potential``.
            opponent: A policy for batches of observations; None for one that ``name`` names.
        """
        self.name = name
        self.venv = GeneralsVector(games, config, copy=False)
        self.venv.reset(seed=seed)
        seats = np.arange(2 * games) if name == SELF else np.arange(games) * 2 + np.arange(games) % 2
        self.game, self.player = np.divmod(seats, 2)
        self.gamma, self.shaping = gamma, shaping
        self.policy: BatchPolicy | str | None = None if name == SELF else as_policy(name if opponent is None else opponent)
        self.results = np.zeros(3, np.int64)
        self._potential = self._potentials(self.venv.batch.boards)

    def observations(self) -> tuple[Array, Array]:
        """Return views of all observations (B*2, H*W, C) float32 and masks (B*2, A) int8; the next turn overwrites them."""
        views = self.venv.batch.views
        tensors, masks = views.observations, views.masks
        return tensors.reshape(-1, *tensors.shape[2:]), masks.reshape(-1, masks.shape[-1])

    def rows(self) -> npt.NDArray[np.int64]:
        """Return the rows of the learner's seats in ``observations``, (n,)."""
        return 2 * self.game + self.player

    def lessons(self, teacher: str) -> npt.NDArray[np.int64]:
        """Return what a built-in policy without a memory would play in the learner's seats now, (n,)."""
        return self.venv.act((teacher, teacher))[self.game, self.player]

    def play(self, actions: npt.NDArray[np.int64]) -> Turn:
        """Play one turn with the actions (n,) of the learner's seats."""
        every = self._opponent_actions()
        every[self.game, self.player] = actions
        _, rewards, terminated, truncated, infos = self.venv.step(every)
        rewards, terminated, truncated = (array[self.game, self.player] for array in (rewards, terminated, truncated))
        ended = terminated | truncated
        # A victory and a defeat replace all other rewards of their turn; those of a cut-off are of any sign.
        ends = self.venv.config.reward
        outcomes = (rewards == np.float32(ends.win_game)).astype(np.int8) - (rewards == np.float32(ends.lose_game))
        outcomes[~terminated] = 0
        now = self._potentials(self.venv.batch.boards)
        reached = now.copy()
        config = self.venv.config
        finals = np.zeros((0, len(config.channels), *config.shape), np.float32)
        if ended.any():
            final = self.venv.final_boards
            over = infos["_final_obs"]
            reached[over] = self._potentials(final)
            seats = np.flatnonzero(truncated)
            if len(seats):
                views = [infos["final_obs"][self.game[i]]["observation"][self.player[i]] for i in seats]
                finals = np.stack(views)
            one_each = ended if self.name != SELF else ended & (self.player == 0)
            won, lost = one_each & (outcomes > 0), one_each & (outcomes < 0)
            self.results += (won.sum(), lost.sum(), (one_each & ~won & ~lost).sum())
        gains = self.gamma * np.where(terminated, 0, reached[self.game, self.player]) - self._potential[self.game, self.player]
        self._potential = now
        return Turn(rewards.copy(), gains.astype(np.float32), terminated.copy(), truncated.copy(), outcomes, finals)

    def take_results(self) -> npt.NDArray[np.int64]:
        """Return the results since the last call, (3,): games won, lost, and drawn or cut off."""
        results = self.results.copy()
        self.results[:] = 0
        return results

    def _opponent_actions(self) -> npt.NDArray[np.int64]:
        """Return actions (B, 2) with those of the opponent's seats."""
        if self.policy is None:
            return np.zeros((self.venv.num_envs, 2), np.int64)
        if isinstance(self.policy, str):
            return self.venv.act((self.policy, self.policy))
        seen = {name: array[self.game, 1 - self.player] for name, array in self.venv.observe().items()}
        every = np.zeros((self.venv.num_envs, 2), np.int64)
        every[self.game, 1 - self.player] = self.policy(seen)
        return every

    def _potentials(self, boards: Any) -> npt.NDArray[np.float32]:
        out = np.zeros(boards.players.shape, np.float32)
        if self.shaping.any():
            potentials(boards, self.shaping, out)
        return out
