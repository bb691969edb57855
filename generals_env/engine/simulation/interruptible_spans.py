"""Divides long play of many games into short slices, so that it can be interrupted between two of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MIN_STRETCH", "Span", "joined"]

#: Turns of games in the first slice: some milliseconds.
FIRST_TURNS = 4096

#: Minimum turns of a game played in one go: its board stays in the cache meanwhile.
MIN_STRETCH = 128

#: Seconds that a slice should take. A kernel call costs some microseconds; an interrupt waits for the end of a slice.
MIN_SECONDS, MAX_SECONDS = 0.01, 0.02

#: Takes the first game, one more than the last game, and turns; returns the first board without a fair map, or -1.
Run = Callable[[int, int, int], int]


class Span:
    """Progress of games ``low`` to ``high`` through a number of turns.

    Attributes:
        left: Turns still to be played; games already played in the current pass have one stretch less to play.
        fair: Whether all boards had a fair map so far.
    """

    def __init__(self, low: int, high: int, turns: int, fresh: npt.NDArray[np.bool_], cost: int = 1) -> None:
        """Start before the first turn.

        Args:
            low: First game.
            high: One more than the last game.
            turns: Turns of each game.
            fresh: (B,) bool; games that are True begin anew and are then set to False.
            cost: How long a turn takes, in turns of the policies of the kernel.
        """
        self.left = turns
        self.fair = True
        self._low, self._high, self._at = low, high, low
        self._fresh = fresh
        self._min_stretch = MIN_STRETCH if cost == 1 else 1
        self._max_turns = max(FIRST_TURNS // cost, 1)  # maximum turns of games in a slice
        self._stretch = 0  # turns of a game in a slice

    def advance(self, run: Run) -> None:
        """Play the next slice with ``run``."""
        low, high = self._at, self._high
        if low == self._low:
            self._stretch = min(self.left, max(self._max_turns // (high - low), self._min_stretch))
        high = min(high, low + max(self._max_turns // self._stretch, 1))
        began = perf_counter()
        self.fair = run(low, high, self._stretch) < 0
        took = perf_counter() - began
        if not self.fair:
            self.left = 0
            return
        self._fresh[low:high] = False
        if took < MIN_SECONDS:
            self._max_turns *= 2
        elif took > MAX_SECONDS:
            self._max_turns = max(self._max_turns // 2, self._min_stretch)
        self._at = high
        if high == self._high:
            self._at = self._low
            self.left -= self._stretch


def joined(parts: list[Future[Any]]) -> list[Any]:
    """Wait for calls in other threads and return their results; exceptions, also of signals, are raised when all have ended."""
    try:
        wait(parts)
    except BaseException:
        wait(parts)
        raise
    return [part.result() for part in parts]
