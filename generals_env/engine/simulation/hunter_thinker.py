"""Lets the hunter play seats of a batch: its memory, and one kernel for all of its seats in a range of games."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.policies.hunter.kernels import choose_all
from generals_env.engine.policies.hunter.memory import new_memory
from generals_env.engine.simulation.thinker import PlayedBatch

__all__ = ["HunterThinker"]


class HunterThinker:
    """The hunter's memory of each seat of a batch; see ``thinkers.Thinker``.

    Attributes:
        cost: See there.
        memory: A row for each seat: row ``b * P + player``.
    """

    cost = 4

    def __init__(self, batch: PlayedBatch) -> None:
        """Begin without a memory."""
        games, players, tiles = batch.views.tile_codes.shape
        self.memory = new_memory(games * players, tiles)

    def choose(self, batch: PlayedBatch, policies: npt.NDArray[np.int64], low: int, high: int) -> None:
        """Write the actions of the hunter's seats; see ``thinkers.Thinker.choose``."""
        boards, outcome = batch.boards, batch.outcome
        choose_all(
            boards.owner,
            boards.army,
            boards.players,
            boards.games,
            batch.views.tile_codes,
            outcome.active,
            outcome.actions,
            batch.policy_rng,
            policies,
            outcome.begun,
            *self.memory,
            low,
            high,
        )

    def continue_games(self, other: Any, index: npt.NDArray[np.int64]) -> None:
        """Take the memories of other games; see ``thinker.Thinker.continue_games``."""
        players = len(self.memory[0]) // len(index)
        rows = (index[:, None] * players + np.arange(players)).ravel()
        for name in self.memory._fields:
            getattr(self.memory, name)[:] = getattr(other.memory, name)[rows]
