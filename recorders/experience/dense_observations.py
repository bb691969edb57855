"""Holds dense observations: arrays of custom wrappers, which cannot be derived from boards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Dense"]


@dataclass(frozen=True, eq=False)
class Dense:
    """Observations before and after each of n experiences.

    Attributes:
        observations: (m, ...) of any dtype.
        before: (n,) int32, row of the observation before the action.
        after: (n,) int32, row of the one after it.
    """

    observations: npt.NDArray[Any]
    before: npt.NDArray[np.int32]
    after: npt.NDArray[np.int32]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.observations.nbytes + self.before.nbytes + self.after.nbytes

    def take(self, after: bool, out: npt.NDArray[Any]) -> None:
        """Write the observations before or after each experience."""
        # In its other modes numpy writes to a copy first.
        np.take(self.observations, self.after if after else self.before, axis=0, out=out, mode="clip")

    def rows(self, index: Any) -> Dense:
        """Return the experiences at ``index``, with all observations."""
        return Dense(self.observations, self.before[index], self.after[index])

    def copied(self) -> Dense:
        """Return the same experiences with only the observations that they need, in new arrays."""
        needed, inverse = np.unique(np.concatenate([self.before, self.after]), return_inverse=True)
        places: npt.NDArray[np.int32] = inverse.astype(np.int32)
        return Dense(self.observations[needed], places[: len(self.before)], places[len(self.before) :])

    @staticmethod
    def concat(parts: list[Dense]) -> Dense:
        """Concatenate the experiences of all parts."""
        starts = np.cumsum([0, *(len(part.observations) for part in parts[:-1])]).astype(np.int32)
        return Dense(
            np.concatenate([part.observations for part in parts]),
            np.concatenate([part.before + start for part, start in zip(parts, starts, strict=True)]),
            np.concatenate([part.after + start for part, start in zip(parts, starts, strict=True)]),
        )
