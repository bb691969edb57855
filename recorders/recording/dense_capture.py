"""Captures observations as the environment returned them, where they cannot be derived from boards."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.errors import ConfigError, StateError
from generals_env.recorders.experience.dense_observations import Dense

__all__ = ["DenseObservationCapture", "tensor_of"]

Array = npt.NDArray[Any]


class DenseObservationCapture:
    """Keeps the observations of B games before and after each turn.

    A row is the observation of one player: B rows, or B*P where games return those of all players. Each turn takes two calls:
    ``turn`` when it was played, ``observe`` when the wrappers have returned its observations.
    """

    def __init__(self, players: int) -> None:
        """Set up for games that return the observations of ``players`` players each."""
        self._players = players
        self._arrays: list[Array] = []  # the observations of the next batch, as they came
        self._count = 0  # rows in them
        self._before: list[Array] = []
        self._after: list[Array] = []
        self._now = np.zeros(0, np.int64)  # rows of the newest observations
        self._due: Array | None = None  # indices into ``_now`` of players whose turn was played

    def turn(self, played: npt.NDArray[np.bool_]) -> None:
        """Record that a turn was played, and which players took part, (B, players) bool.

        Raises:
            StateError: If ``observe`` was not called since the turn before, or before the first.
        """
        if self._due is not None or self._now.shape != (played.size,):
            raise StateError(
                "env: expected wrappers that return observations after each turn and reset, got another turn: put "
                "the wrapper that skips steps around the recorder"
            )
        self._due = np.flatnonzero(played)

    def observe(self, observations: Any, final: dict[int, Any] | None = None) -> None:
        """Take the newest observations.

        Args:
            observations: Of all games, array or dict.
            final: Last observations of games that have ended and begun anew, by game.
        """
        rows = self._add(tensor_of(observations))
        if self._due is not None:
            after = rows.copy()
            for game, last in (final or {}).items():
                players = slice(game * self._players, (game + 1) * self._players)
                after[players] = self._add(tensor_of(last)[None])
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
        """Return the observations of the last ``count`` experiences, and keep only the newest ones.

        Raises:
            StateError: If there are observations of more or fewer experiences.
        """
        before, after = (np.concatenate([np.zeros(0, np.int64), *rows]) for rows in (self._before, self._after))
        if len(before) != count:
            raise StateError(
                f"env: expected wrappers that return the observations of {count} experiences, got those of {len(before)}: "
                "put the wrapper that skips steps around the recorder"
            )
        observations = np.concatenate(self._arrays) if self._arrays else np.zeros((0, 0), np.float32)
        dense = Dense(observations, before.astype(np.int32), after.astype(np.int32)).copied()
        self._arrays = [observations[self._now]]
        self._count = len(self._now)
        self._now = np.arange(self._count)
        self._before, self._after = [], []
        return dense


def tensor_of(observations: Any) -> Array:
    """Return the array in observations: an array, or a dict with an array ``"observation"``.

    Raises:
        ConfigError: If they are neither.
    """
    tensor = observations.get("observation") if isinstance(observations, dict) else observations
    if not isinstance(tensor, np.ndarray):
        raise ConfigError(
            f'env: expected observations that are arrays or dicts with an array "observation", got {observations!r:.200}: '
            "put the wrapper that returns others around the recorder"
        )
    return tensor
