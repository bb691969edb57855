"""Long work on many games in short pieces, so that it can be stopped between two of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Span", "joined"]

#: Turns of games in the first piece: some milliseconds.
FIRST_TURNS = 4096

#: Turns of a game played on end at the least: its board stays in the cache meanwhile.
MIN_STRETCH = 128

#: Seconds that a piece is to take. Calling a kernel takes some microseconds; stopping takes as long as a piece.
MIN_SECONDS, MAX_SECONDS = 0.01, 0.02

#: From the first game, the game behind the last and turns to the first board without a fair map, or -1.
Run = Callable[[int, int, int], int]


class Span:
    """Games ``low`` to ``high`` on the way through the turns that they are to play.

    Attributes:
        left: Turns that the games from ``at`` on still have to play; the others are a stretch further.
        fair: Whether all boards had a fair map so far.
    """

    def __init__(self, low: int, high: int, turns: int, fresh: npt.NDArray[np.bool_]) -> None:
        """Begin before the first turn; games of ``fresh`` (B,) begin anew, and are no more in it then."""
        self.left = turns
        self.fair = True
        self._low, self._high, self._at = low, high, low
        self._fresh = fresh
        self._most = FIRST_TURNS  # turns of games in a piece
        self._stretch = 0  # turns of a game in a piece

    def advance(self, run: Run) -> None:
        """Play a piece of it with ``run``."""
        low, high = self._at, self._high
        if low == self._low:
            self._stretch = min(self.left, max(self._most // (high - low), MIN_STRETCH))
        high = min(high, low + max(self._most // self._stretch, 1))
        began = perf_counter()
        self.fair = run(low, high, self._stretch) < 0
        took = perf_counter() - began
        if not self.fair:
            self.left = 0
            return
        self._fresh[low:high] = False
        if took < MIN_SECONDS:
            self._most *= 2
        elif took > MAX_SECONDS:
            self._most = max(self._most // 2, MIN_STRETCH)
        self._at = high
        if high == self._high:
            self._at = self._low
            self.left -= self._stretch


def joined(parts: list[Future[Any]]) -> list[Any]:
    """Return what calls in other threads gave; no exception leaves, of these calls or a signal, while one of them runs."""
    try:
        wait(parts)
    except BaseException:
        wait(parts)
        raise
    return [part.result() for part in parts]
