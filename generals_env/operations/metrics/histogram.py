"""Counts values in buckets, and merges mean and variance of batches without a second look at the values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LATENCY_BOUNDS", "REWARD_BOUNDS", "Histogram", "Moments"]

#: Bounds of the guide's reward buckets, ``LinearBuckets(-1, 0.1, 21)`` without the rounding errors of its additions.
REWARD_BOUNDS = tuple(number / 10 for number in range(-10, 11))

#: Seconds.
LATENCY_BOUNDS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Floats = npt.NDArray[np.floating[Any]]


class Histogram:
    """Counts of values by bucket, and their sum; the caller makes sure that one thread at a time uses it.

    Attributes:
        bounds: Upper bounds of the buckets; a value equal to a bound belongs to its bucket.
        counts: (len(bounds) + 1,) int64, values in each bucket, and above the last bound.
        total: Sum of the values.
    """

    def __init__(self, bounds: Sequence[float], dtype: npt.DTypeLike = np.float64) -> None:
        """Begin without values.

        Args:
            bounds: Upper bounds, ascending.
            dtype: Dtype in which values are compared with the bounds: that of the values, as the float32 nearest to 0.1 is
                larger than the float64 nearest to it.
        """
        self.bounds = tuple(bounds)
        self.counts = np.zeros(len(self.bounds) + 1, np.int64)
        self.total = 0.0
        self._edges = np.array(self.bounds, dtype)

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[np.searchsorted(self._edges, value)] += 1
        self.total += value

    def add_many(self, values: Floats, zeros: int = 0) -> None:
        """Count an array of values, and ``zeros`` times the value 0."""
        self.counts += np.bincount(np.searchsorted(self._edges, values), minlength=len(self.counts))
        self.counts[np.searchsorted(self._edges, 0)] += zeros
        self.total += float(values.sum(dtype=np.float64))


class Moments:
    """Count, mean, standard deviation, minimum and maximum of all values (the method of Chan, Golub and LeVeque, 1979).

    Attributes:
        count: Number of values.
        mean: Their mean, nan without values; likewise ``min`` and ``max``.
    """

    def __init__(self) -> None:
        """Begin without values."""
        self.count = 0
        self.mean = self.min = self.max = math.nan
        self._squares = 0.0  # sum of the squared distances from the mean

    @property
    def deviation(self) -> float:
        """Standard deviation of the values as a population, nan without values."""
        return math.sqrt(self._squares / self.count) if self.count else math.nan

    def add(self, values: Floats, zeros: int = 0) -> None:
        """Add an array of values, and ``zeros`` times the value 0."""
        count = len(values) + zeros
        if not count:
            return
        wide = values.astype(np.float64)
        mean = float(wide.sum()) / count
        squares = float(np.square(wide - mean).sum()) + zeros * mean * mean
        bounds = [float(wide.min()), float(wide.max())] if len(wide) else []
        bounds += [0.0] if zeros else []
        if not self.count:
            self.count, self.mean, self._squares, self.min, self.max = count, mean, squares, min(bounds), max(bounds)
            return
        total, distance = self.count + count, mean - self.mean
        self._squares += squares + distance * distance * self.count * count / total
        self.mean += distance * count / total
        self.count, self.min, self.max = total, min(self.min, *bounds), max(self.max, *bounds)
