"""Counts the results of the most recent games: ``RollingResults``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["RollingResults"]

WON, LOST, TIED = range(3)


class RollingResults:
    """Results of the last games. They come in blocks, one for each rollout; the oldest blocks that are not needed are dropped.

    Attributes:
        window: Games that are kept at least; up to one block more are.
    """

    def __init__(self, window: int) -> None:
        """Keep at least ``window`` games."""
        self.window = window
        self._blocks: deque[npt.NDArray[np.int64]] = deque()

    def add(self, results: npt.ArrayLike) -> None:
        """Add a block, (3,): games won, lost, and drawn or cut off."""
        block = np.array(results, np.int64)
        if block.any():
            self._blocks.append(block)
        while len(self._blocks) > 1 and self.games - int(self._blocks[0].sum()) >= self.window:
            self._blocks.popleft()

    def clear(self) -> None:
        """Forget all games."""
        self._blocks.clear()

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """(3,) games won, lost, and drawn or cut off."""
        return np.sum(self._blocks, axis=0, dtype=np.int64) if self._blocks else np.zeros(3, np.int64)

    @property
    def games(self) -> int:
        """Number of games."""
        return int(self.counts.sum())

    @property
    def full(self) -> bool:
        """Whether there are as many games as the window."""
        return self.games >= self.window

    @property
    def win_rate(self) -> float:
        """Share of games won, 0 without games: a draw is no win."""
        return float(self.counts[WON]) / max(self.games, 1)

    @property
    def draw_rate(self) -> float:
        """Share of games drawn or cut off, 0 without games."""
        return float(self.counts[TIED]) / max(self.games, 1)

    def state(self) -> list[list[int]]:
        """Return the blocks, for a checkpoint."""
        return [block.tolist() for block in self._blocks]

    def restore(self, blocks: Iterable[Iterable[int]]) -> None:
        """Replace the blocks by those of a checkpoint."""
        self._blocks = deque(np.array(list(block), np.int64) for block in blocks)
