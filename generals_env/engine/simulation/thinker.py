"""Defines ``Thinker``, a policy that remembers what it saw, and what it reads of a batch."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.observations.incremental import Observations
from generals_env.engine.simulation.turn_outcome import Outcome

__all__ = ["PlayedBatch", "Thinker"]


class PlayedBatch(Protocol):
    """The part of a ``Batch`` that thinkers use; see there."""

    boards: Boards
    outcome: Outcome
    views: Observations
    policy_rng: npt.NDArray[np.uint64]
    thinkers: dict[int, Thinker]


class Thinker(Protocol):
    """A policy with a memory of each seat of a batch. Copies and pickles of the batch contain it.

    A new game is noticed by ``Outcome.begun``. A seat may be asked twice in a turn, and not at all in another one.

    Attributes:
        cost: How many turns of a game the kernel plays in the time of one choice; by it the games are divided among threads.
    """

    cost: int

    def choose(self, batch: PlayedBatch, policies: npt.NDArray[np.int64], low: int, high: int) -> None:
        """Write the actions of its seats in games ``low`` to ``high`` into ``batch.outcome.actions``.

        Several threads call it at once, for games of their own.

        Args:
            batch: The batch that it was made for, or a copy of it.
            policies: (P,) int64, codes of the seats; those of other policies are to be left as they are.
            low: First game.
            high: One more than the last game.
        """

    def continue_games(self, other: Any, index: npt.NDArray[np.int64]) -> None:
        """Remember in each game what another thinker of this kind remembers in game ``index`` (B,) of its batch."""
