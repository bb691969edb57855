"""Continues games several times over: ``branch`` of the vector environments."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_flag, check_integer, positive
from generals_env.concurrency.guard import Guard
from generals_env.config import GameConfig
from generals_env.engine.boards import Boards
from generals_env.engine.simulation.batch import Batch
from generals_env.engine.simulation.thinkers import copy_memories
from generals_env.errors import ConfigError
from generals_env.seeding import seed_states

__all__ = ["Branches"]


class Branches:
    """Methods of ``VectorBase`` for branches: environments whose games continue other games."""

    num_envs: int
    config: GameConfig
    batch: Batch
    listeners: list[Any]
    guard: Guard
    _done: npt.NDArray[np.bool_]
    _started: bool

    @property
    def branched(self) -> bool:
        """Whether this is a branch: its ended games stand still until they are reset, with zero rewards and no ends."""
        return not self.batch.restarts

    def branch(
        self,
        k: int,
        game: int | None = None,
        seed: int | Sequence[int | None] | None = None,
        common: bool = True,
        reuse: Self | None = None,
    ) -> Self:
        """Return an environment with k copies of a game, or of each game, that continue where it is; this one stays as it is.

        The copies of game b are games ``b * k`` to ``b * k + k - 1``. They have its board, its turn, its ends and what built-in
        opponents remember; any other opponent is copied. A game that ends stands still until it is reset:
        ``autoreset_mode`` is ``DISABLED``, but ``step`` goes on, with zero rewards and no ends for it; see ``going``.

        Args:
            k: Number of copies of each game.
            game: The game; None for all games.
            seed: Seed of the random numbers that built-in policies and later maps draw from now on: game b gets ``seed + b``
                for all its copies or, without ``common``, copy i gets ``seed + i``. None: the copies continue the random
                numbers of their game or, without ``common``, draw seeds from the operating system.
            common: Whether all copies of a game draw the same random numbers, so that they differ by actions only.
            reuse: An earlier result of the same call, to be overwritten instead of making a new environment.

        Raises:
            ConfigError: If an argument is invalid, or ``reuse`` is no branch of this configuration and size.
            StateError: Before the first reset, or after ``close``.
        """
        self._require_started("branch")
        positive("k", k)
        check_flag("common", common)
        games = np.arange(self.num_envs) if game is None else np.array([check_integer("game", game, 0, self.num_envs - 1)])
        index = np.repeat(games, k)
        with self.guard("branch"):
            states = branch_states(seed, len(games), k, common)
            other = self._resized(len(index)) if reuse is None else self._checked_reuse(reuse, len(index))
            ours = self.batch
            other.continue_games(ours.boards, index, ours.outcome.active[index], ours.outcome.illegal_count[index])
            other._done[:] = self._done[index]
            copy_memories(ours, other.batch, index)
            if states is None:
                other.batch.rng[:], other.batch.policy_rng[:] = ours.rng[index], ours.policy_rng[index]
            else:
                other.batch.seed(states, np.ones(len(index), np.bool_))
        return other

    def continue_games(
        self,
        boards: Boards,
        index: npt.NDArray[np.int64],
        active: npt.NDArray[np.bool_],
        illegal_count: npt.NDArray[np.int64],
    ) -> None:
        """Continue other games, as a branch.

        Args:
            boards: n boards of the configuration.
            index: (B,) int64, the board of each game.
            active: (B, P) bool, see ``Outcome``.
            illegal_count: (B, P) int64, see there.
        """
        self.batch.restarts = False
        self.batch.load(boards, index, active)
        self.batch.outcome.illegal_count[:] = illegal_count
        self._done[:] = ~active.any(axis=1)
        self._started = True
        for listener in self.listeners:
            listener.begin(self.batch.boards, np.ones(self.num_envs, np.bool_))

    def _checked_reuse(self, reuse: Any, count: int) -> Any:
        """Return an earlier branch; raise ``ConfigError`` if it does not fit."""
        if type(reuse) is not type(self) or not reuse.branched or reuse.num_envs != count or reuse.config != self.config:
            raise ConfigError(
                f"reuse: expected a branch of {count} games with the options of this environment, got {reuse!r:.200}: "
                "pass what an earlier call of branch returned, or None"
            )
        return reuse

    # --- Defined by VectorBase and its subclasses ---------------------------------------------------------------------

    def _require_started(self, name: str) -> None:
        raise NotImplementedError

    def _resized(self, count: int) -> Self:
        """Return an environment like this one with ``count`` games, in which no game has begun."""
        raise NotImplementedError


def branch_states(seed: int | Sequence[int | None] | None, games: int, k: int, common: bool) -> npt.NDArray[np.uint64] | None:
    """Return the states of the generators of k copies of each game, (games * k,) uint64; None to keep those of the games."""
    if seed is None and common:
        return None
    states, _ = seed_states(seed, games if common else games * k, fresh=True)
    return np.repeat(states, k) if common else states


def copied(opponent: Any) -> Any:
    """Return an opponent for another environment: a name as is, anything else as a copy."""
    return opponent if isinstance(opponent, str) else copy.deepcopy(opponent)
