"""Defines the protocol of a store: what a replay buffer needs of the object that holds its experiences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.statistics_columns import StatisticsColumns

__all__ = ["Keys", "Store"]

Keys = npt.NDArray[np.int64]


class Store(Protocol):
    """Holds experiences by key, the number of experiences written before; keys ``first`` to ``next - 1`` are stored.

    Attributes:
        capacity: Maximum number of experiences.
        like: A batch without experiences, with the players, shape, recipe and metadata of those stored.
    """

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
        """Number of games of the experiences stored."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""

    def put(self, batch: ExperienceBatch, kept: npt.NDArray[np.bool_] | None = None) -> None:
        """Write a batch, or those of its experiences that are ``kept`` (n,); drop the oldest if there is no room."""

    def reserve(self, batch: ExperienceBatch) -> bool:
        """Return whether a batch fits without dropping experiences."""

    def drop(self, count: int) -> None:
        """Drop the oldest experiences."""

    def take(self, keys: Keys, out: ExperienceBatch | None = None) -> ExperienceBatch:
        """Return experiences with boards of their own; reuse the arrays of ``out``, the result of a call for as many keys."""

    def follow(self, keys: Keys, turns: int) -> Keys:
        """Return for each key the keys of the same player's next turns, itself first, (n, turns); -1 after the last."""

    def rewards(self) -> npt.NDArray[np.float32]:
        """Return the rewards of all experiences, in any order."""

    def between(self, low: int, high: int) -> Iterator[ExperienceBatch]:
        """Yield experiences ``low`` to ``high`` in the order in which they were written."""

    def columns(self, low: int, high: int) -> Iterator[StatisticsColumns]:
        """Yield their columns; ``rewards`` are those of the engine, without shaping."""
