"""Observations as an environment showed them, kept where boards do not tell them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.errors import ConfigError, StateError
from generals_env.recorders.experience.dense import Dense

__all__ = ["DenseObservationCapture", "tensor_of"]

Array = npt.NDArray[Any]


class DenseObservationCapture:
    """Keeps what B games show before and after each turn.

    One row is what one player is shown: B rows, or B*P where a game shows all players. A turn is told of in two calls: ``turn``
    when it was played, ``show`` when the wrappers have made observations of it.
    """

    def __init__(self, players: int) -> None:
        """Set up for games that show ``players`` players."""
        self._players = players
        self._arrays: list[Array] = []  # what was shown; together, the observations of the batch to come
        self._count = 0  # rows in them
        self._before: list[Array] = []
        self._after: list[Array] = []
        self._now = np.zeros(0, np.int64)  # rows of what is shown now
        self._due: Array | None = None  # of these, those whose turn was played

    def turn(self, played: npt.NDArray[np.bool_]) -> None:
        """Take note of a turn and of who played it, (B, players) bool.

        Raises:
            StateError: If nothing was shown since the turn before, or before the first.
        """
        if self._due is not None or self._now.shape != (played.size,):
            raise StateError("env: expected wrappers that show observations after each turn and reset, got another turn")
        self._due = np.flatnonzero(played)

    def show(self, observations: Any, final: dict[int, Any] | None = None) -> None:
        """Take what is shown now.

        Args:
            observations: Of all games, array or dict.
            final: Last observations of games that have ended and begun anew.
        """
        rows = self._add(tensor_of(observations))
        if self._due is not None:
            after = rows.copy()
            for game, last in (final or {}).items():
                places = slice(game * self._players, (game + 1) * self._players)
                after[places] = self._add(tensor_of(last)[None])
            self._before.append(self._now[self._due])
            self._after.append(after[self._due])
            self._due = None
        self._now = rows

    def _add(self, array: Array) -> npt.NDArray[np.int64]:
        shape = array.shape[1:] if self._players == 1 else array.shape[2:]
        array = np.array(array).reshape(-1, *shape)
        self._arrays.append(array)
        self._count += len(array)
        return np.arange(self._count - len(array), self._count)

    def take(self, count: int) -> Dense:
        """Return the observations of the last ``count`` experiences, and go on with what is shown now.

        Raises:
            StateError: If it was not shown what all of them led to.
        """
        before, after = (np.concatenate([np.zeros(0, np.int64), *part]) for part in (self._before, self._after))
        if len(before) != count:
            raise StateError(f"env: expected wrappers that show observations of {count} experiences, got {len(before)}")
        observations = np.concatenate(self._arrays) if self._arrays else np.zeros((0, 0), np.float32)
        dense = Dense(observations, before.astype(np.int32), after.astype(np.int32)).copied()
        self._arrays = [observations[self._now]]
        self._count = len(self._now)
        self._now = np.arange(self._count)
        self._before, self._after = [], []
        return dense


def tensor_of(observations: Any) -> Array:
    """Return the tensor of observations, which are one, or a dict with an entry ``"observation"``.

    Raises:
        ConfigError: If they are neither.
    """
    tensor = observations.get("observation") if isinstance(observations, dict) else observations
    if not isinstance(tensor, np.ndarray):
        raise ConfigError(f'env: expected observations that are arrays or dicts with "observation", got {observations!r:.200}')
    return tensor
