"""Defines the kind of a batch (players, recipe, shape, metadata), and decides which batches can be concatenated."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np

from generals_env.errors import ConfigError
from generals_env.recorders.experience.data import ExperienceData
from generals_env.recorders.experience.recipe import Recipe

__all__ = ["BatchKind", "TensorKind"]

#: Dtype and shape of one dense observation.
DenseKind = tuple[np.dtype[Any], tuple[int, ...]]


class TensorKind(NamedTuple):
    """The properties that all tensors of a batch share. States of equal kinds fit into one array.

    Attributes:
        players: Players of a game.
        recipe: How observations are derived from boards.
        dtype: Of states.
        shape: Of one state.
    """

    players: int
    recipe: Recipe
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        """Return a description for error texts."""
        return f"{self.players} players, observations {self.shape} {self.dtype}, {self.recipe}"


class BatchKind(NamedTuple):
    """The properties that all experiences of a batch share. Batches of equal kinds can be concatenated without a change.

    Attributes:
        players: Players of a game.
        recipe: How observations and masks are derived from boards.
        dense: Dtype and shape of dense observations; None without them.
        shape: H and W of the boards.
        metadata: Those of the batch, or a value that the caller compares instead.
    """

    players: int
    recipe: Recipe
    dense: DenseKind | None
    shape: tuple[int, int]
    metadata: Mapping[str, Any] | Hashable

    @classmethod
    def of(cls, batch: ExperienceData) -> BatchKind:
        """Return the kind of a batch."""
        dense = None if batch.dense is None else (batch.dense.observations.dtype, batch.dense.observations.shape[1:])
        return cls(batch.players, batch.recipe, dense, batch.shape, batch.metadata)

    def joins(self, other: BatchKind) -> bool:
        """Return whether ``concat`` takes both, which pads boards and keeps the metadata that both have."""
        return self[:3] == other[:3]

    def require_joins(self, name: str, other: BatchKind) -> None:
        """Check that ``concat`` takes both.

        Args:
            name: Of the argument that holds the other batch, for the error.
            other: Its kind.

        Raises:
            ConfigError: If they differ in the number of players, the recipe or the kind of dense observations.
        """
        if other.players != self.players:
            raise ConfigError(f"{name}: expected games of {self.players} players, got {other.players}: keep other games apart")
        if other.recipe.builds != self.recipe.builds:
            rules = "with", "without"
            wanted, got = rules if self.recipe.builds else rules[::-1]
            raise ConfigError(
                f"{name}: expected games {wanted} builds, got games {got} them: the rules of the competition have more actions;"
                " keep its games apart"
            )
        if other.recipe != self.recipe or (other.dense is None) != (self.dense is None):
            raise ConfigError(
                f"{name}: expected observations made as {self.recipe}, got {other.recipe}: keep batches of other wrappers apart"
            )
        if other.dense != self.dense:
            raise ConfigError(
                f"{name}: expected observations of {self.dense}, got {other.dense}: keep batches of other wrappers apart"
            )

    @property
    def tensors(self) -> TensorKind:
        """The kind of the batch's tensors."""
        derived = np.dtype(np.float32), (self.recipe.frames * self.recipe.channels, *self.shape)
        return TensorKind(self.players, self.recipe, *(self.dense or derived))
