"""Defines the statistics of a replay buffer."""

from __future__ import annotations

import warnings
from typing import NamedTuple

from generals_env.pickling import pickled_as

__all__ = ["BufferStats"]


@pickled_as("generals_env.recorders")
class BufferStats(NamedTuple):
    """What a buffer holds and what became of the other experiences; ``added = size + dropped + removed``.

    Attributes:
        size: Number of experiences in the buffer.
        capacity: Maximum number.
        added: Written since the buffer was made.
        dropped: The oldest ones, dropped for new ones.
        removed: Removed by ``drain`` and ``clear``, or, with an ``overflow`` that drops nothing, after all readers had them.
        skipped: Not kept because of ``keep_probability``; they are not counted as added.
        games: Number of games of the experiences in the buffer.
        nbytes: Bytes in use.
        mean_reward: Mean reward of the experiences in the buffer; 0 if there are none.
        min_reward: Likewise the lowest one.
        max_reward: Likewise the highest one.
        dropped_newest: Dropped by ``overflow="drop_newest"`` because there was no room; they are not counted as added.
    """

    size: int
    capacity: int
    added: int
    dropped: int
    removed: int
    skipped: int
    games: int
    nbytes: int
    mean_reward: float
    min_reward: float
    max_reward: float
    dropped_newest: int = 0

    @property
    def least_reward(self) -> float:
        """Former name of ``min_reward``, for one release."""
        warn_renamed("least_reward", "min_reward")
        return self.min_reward

    @property
    def most_reward(self) -> float:
        """Former name of ``max_reward``, for one release."""
        warn_renamed("most_reward", "max_reward")
        return self.max_reward


def warn_renamed(old: str, new: str) -> None:
    """Warn of the use of a former name."""
    warnings.warn(
        f"BufferStats.{old}: expected the name {new}, got the former one: use {new}", DeprecationWarning, stacklevel=3
    )
