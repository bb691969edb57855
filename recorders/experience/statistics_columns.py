"""Defines the columns of experiences that statistics need, without boards, so that stores read them cheaply."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from generals_env.recorders.experience.batch import ExperienceBatch

__all__ = ["StatisticsColumns", "statistics_columns"]


@dataclass(frozen=True, eq=False)
class StatisticsColumns:
    """Some columns of n experiences; see ``ExperienceBatch``.

    Attributes:
        game_ids: One string per game.
        game: (n,) int32, index into ``game_ids``.
        player_id: (n,) int8.
        rewards: (n,) float32, as ``ExperienceBatch.rewards`` returns them.
        collected_at: (n,) int64.
    """

    game_ids: tuple[str, ...]
    game: npt.NDArray[np.int32]
    player_id: npt.NDArray[np.int8]
    rewards: npt.NDArray[np.float32]
    collected_at: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of experiences."""
        return len(self.game)


def statistics_columns(batch: ExperienceBatch) -> StatisticsColumns:
    """Return the columns of a batch."""
    return StatisticsColumns(batch.game_ids, batch.game, batch.player_id, batch.rewards(), batch.collected_at)
