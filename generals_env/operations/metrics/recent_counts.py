"""Remembers counts of the last seconds, for rates and for the entropy of recent actions."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

__all__ = ["RecentCounts"]

STEP = 0.5  # seconds between two snapshots

Counts = npt.NDArray[np.int64]


class RecentCounts:
    """Counts that only grow, and their growth over the last seconds."""

    def __init__(self, size: int, seconds: float, now: float) -> None:
        """Begin with zeros.

        Args:
            size: Number of counts.
            seconds: Length of the window.
            now: The present time.
        """
        self.counts: Counts = np.zeros(size, np.int64)
        self._seconds = seconds
        self._snapshots: deque[tuple[float, Counts]] = deque([(now, self.counts.copy())])

    def snapshot(self, now: float) -> None:
        """Remember the present counts, unless the last time was a moment ago; call it before counting."""
        if now - self._snapshots[-1][0] < STEP:
            return
        self._snapshots.append((now, self.counts.copy()))
        while len(self._snapshots) > 1 and self._snapshots[1][0] <= now - self._seconds:
            self._snapshots.popleft()

    def growth(self, now: float) -> tuple[Counts, float]:
        """Return how much the counts have grown in the window, and its length in seconds."""
        self.snapshot(now)
        since, before = self._snapshots[0]
        return self.counts - before, now - since
