"""What a replay buffer keeps experiences in: the protocol that the three stores implement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.statistics_columns import StatisticsColumns

__all__ = ["Store"]


Keys = npt.NDArray[np.int64]


class Store(Protocol):
    """How experiences are kept: each has a key, the count of those before it; ``first`` to ``next - 1`` are there."""

    capacity: int
    like: ExperienceBatch

    @property
    def first(self) -> int:
        """Key of the oldest experience."""

    @property
    def next(self) -> int:
        """Key that the next experience will get."""

    @property
    def games(self) -> int:
        """How many games the experiences are of."""

    @property
    def nbytes(self) -> int:
        """Bytes in use."""

    def put(self, batch: ExperienceBatch, kept: npt.NDArray[np.bool_] | None = None) -> None:
        """Write a batch, or of it what is to be kept; the oldest experiences make room."""

    def reserve(self, batch: ExperienceBatch) -> bool:
        """Return whether a batch fits without dropping anything."""

    def drop(self, count: int) -> None:
        """Drop the oldest experiences."""

    def take(self, keys: Keys, out: ExperienceBatch | None = None) -> ExperienceBatch:
        """Return experiences with boards of their own; ``out`` may be what an earlier call gave for as many keys."""

    def follow(self, keys: Keys, turns: int) -> Keys:
        """Return keys of the same player's turns from there on, (n, turns); -1 where there are no more."""

    def rewards(self) -> npt.NDArray[np.float32]:
        """Return the rewards of all experiences, in any order."""

    def between(self, low: int, high: int) -> Iterator[ExperienceBatch]:
        """Yield experiences ``low`` to ``high`` in the order in which they were written."""

    def columns(self, low: int, high: int) -> Iterator[StatisticsColumns]:
        """Yield columns of the same, of which ``rewards`` are the engine's."""
