"""Plays many games at once for all players: ``GeneralsVector``, and ``make_vec``, which makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import gymnasium.vector
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from generals_env.actions import check_actions
from generals_env.arguments import check_options, positive
from generals_env.concurrency.interrupts import pending
from generals_env.config import OPTIONS, GameConfig
from generals_env.opponents import policy_codes
from generals_env.spaces import action_space, observation_space
from generals_env.vector_base import Observations, TurnListener, VectorBase

__all__ = ["GeneralsVector", "PlayCounts", "TurnListener", "VectorBase", "make_vec"]

#: Signature of ``Batch.play``: turns, policy codes (P,), games to restart (B,), whether to pause, function to call then; sums.
Play = Callable[
    [int, npt.NDArray[np.int64], npt.NDArray[np.bool_], Callable[[], bool], Callable[[], None]], npt.NDArray[np.int64]
]


class PlayCounts(NamedTuple):
    """Counts of ``GeneralsVector.play`` over all games.

    Attributes:
        turns: Turns played, summed over games.
        games: Games that ended.
        wins: Games won by each player (team-mates win together).
        draws: Games that ended without a living player.
        truncated: Games that were truncated.
        illegal: Illegal actions; built-in policies choose none.
    """

    turns: int
    games: int
    wins: tuple[int, ...]
    draws: int
    truncated: int
    illegal: int


class GeneralsVector(VectorBase, gymnasium.vector.VectorEnv[Any, Any, Any]):
    """B games with all P players: arrays (B, P, ...); see ``VectorBase`` for the methods.

    For Gymnasium, each environment has observations, actions and rewards with a first axis of players.

    An eliminated player of a running game observes zeros, can only pass and gets no reward; ``terminated`` is true in one step
    only.
    """

    def __init__(
        self,
        num_envs: int,
        config: GameConfig,
        copy: bool = True,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        threads: int | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        """Create the games; see ``generals_env.make_vec``."""
        super().__init__(num_envs, config, copy, autoreset_mode, threads, dtype)
        self.single_observation_space = batch_space(observation_space(config, self.dtype), config.players)
        self.single_action_space = batch_space(action_space(config), config.players)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def act(self, policies: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the actions that built-in policies choose now, (B, P) int64.

        Args:
            policies: One built-in name a player, see ``generals_env.opponents.policy_code``.

        Raises:
            ConfigError: If a policy is unknown, or their number is not that of the players.
            StateError: Before the first reset, or after ``close``.
        """
        codes = self._codes(policies)
        with self.guard("act"):
            self._require_started("act")
            self.batch.act(codes)
            return self.batch.outcome.actions.copy()

    def play(self, turns: int, policies: Sequence[str]) -> PlayCounts:
        """Play built-in policies against each other, updating tensors and masks every turn; ended games are replaced at once.

        In a branch they stand still instead. This is the fastest way to play, as only sums return to Python. ``step``,
        ``state`` and ``boards`` continue where it ends. The autoreset mode has no effect.

        Ctrl-C stops it within a fraction of a second, also in the middle of a long call. Each game is then between two turns
        and can be continued, but some games have played more turns than others, and the counts are lost.

        Args:
            turns: Number of turns of each game.
            policies: One built-in name a player, see ``generals_env.opponents.policy_code``.

        Returns:
            Counts of turns, games and their ends.

        Raises:
            ConfigError: If ``turns`` is not a positive integer, a policy is unknown, their number is not that of the players,
                or no fair map was found.
            StateError: Before the first reset, or after ``close``.
        """
        with self.guard("play"):
            self.check_play(turns, policies)
            try:
                return self.play_by(self.batch.play, turns, policies)
            finally:
                if self._started:
                    for listener in self.listeners:  # they did not receive these turns
                        listener.begin(self.batch.boards, self.going)

    def check_play(self, turns: int, policies: Sequence[str]) -> npt.NDArray[np.int64]:
        """Validate the arguments of ``play`` and return the codes of the policies, (P,) int64."""
        positive("turns", turns)
        codes = self._codes(policies)
        self._require_started("play")
        return codes

    def play_by(self, play: Play, turns: int, policies: Sequence[str]) -> PlayCounts:
        """Do what ``play`` does, with a function in place of ``Batch.play`` and without notifying listeners."""
        with self.guard("play"):
            codes = self.check_play(turns, policies)
            fresh = np.zeros_like(self._done) if self.branched else self._done
            sums = play(turns, codes, fresh, pending, self._pause)
            if self.branched:
                self._done |= self._ended()
        if not len(sums):
            self._fail()
        turns, games, draws, truncated, illegal, *wins = sums.tolist()
        return PlayCounts(turns, games, tuple(wins), draws, truncated, illegal)

    def observe(self) -> Observations:
        """Return the current observations of all players, as ``step`` does; errors as in ``state``."""
        self._require_started("observe")
        return self._observe()

    def _codes(self, policies: Sequence[str]) -> npt.NDArray[np.int64]:
        return policy_codes(policies, self.config.players)

    def _resized(self, count: int) -> Self:
        return type(self)(count, self.config, self.copy, AutoresetMode.DISABLED, self.batch.threads, self.dtype)

    def _take(self, actions: Any) -> None:
        self.batch.outcome.actions[:] = check_actions(actions, (self.num_envs, self.config.players), self.config.actions)

    def _ended(self) -> npt.NDArray[np.bool_]:
        return np.logical_not(self.batch.outcome.active.any(axis=1))


def make_vec(
    num_envs: int,
    copy: bool = True,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    threads: int | None = None,
    max_episode_steps: int | None = None,
    dtype: npt.DTypeLike = np.float32,
    **options: Any,
) -> GeneralsVector:
    """Return a vector environment of many games; see ``generals_env.make_vec``."""
    check_options(make_vec, options, OPTIONS)
    config = GameConfig.from_options(**options).limited(max_episode_steps)
    return GeneralsVector(num_envs, config, copy, autoreset_mode, threads, dtype)
