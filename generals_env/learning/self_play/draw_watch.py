"""Warns when draws creep up, as they do where a learner that plays itself learns not to lose: ``DrawWatch``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.learning.self_play.rolling_results import RollingResults

__all__ = ["DrawWatch"]

ROUNDING = 1e-9  # of sums of shares

logger = logging.getLogger(__name__)


class DrawWatch:
    """Follows the share of games drawn or cut off against each opponent.

    Attributes:
        games: Games that a share is of, at least.
        rise: Rise above the lowest share so far at which a warning is logged; the next one comes after a further such rise.
    """

    def __init__(self, games: int = 500, rise: float = 0.1) -> None:
        """Begin without games."""
        self.games, self.rise = games, rise
        self._windows: dict[str, RollingResults] = {}
        self._lowest: dict[str, float] = {}
        self._warned: dict[str, float] = {}

    def clear(self) -> None:
        """Forget all games, for a stage with other ones."""
        for kept in (self._windows, self._lowest, self._warned):
            kept.clear()

    def observe(self, results: Mapping[str, npt.ArrayLike]) -> list[str]:
        """Count the games of a rollout, (3,) won, lost, drawn by name of the opponent; log and return the warnings."""
        found = []
        for name, counts in results.items():
            window = self._windows.setdefault(name, RollingResults(self.games))
            window.add(counts)
            if not window.full or not np.any(counts):
                continue
            share = window.draw_rate
            lowest = self._lowest[name] = min(self._lowest.get(name, 1.0), share)
            if share < lowest + self.rise - ROUNDING:
                self._warned.pop(name, None)
            elif share >= self._warned.get(name, lowest) + self.rise - ROUNDING:
                self._warned[name] = share
                found.append(
                    f"draws against {name} creep up: {share:.1%} of the last {window.games:,} games were drawn or cut off, "
                    f"{lowest:.1%} at the lowest: let the learner meet other opponents, or punish a cut-off"
                )
        for line in found:
            logger.warning("%s", line)
        return found

    def figures(self) -> dict[str, float]:
        """Return the share of draws by opponent, for the log."""
        return {f"draws_{name}": window.draw_rate for name, window in self._windows.items() if window.games}

    def state(self) -> dict[str, Any]:
        """Return numbers and texts for a checkpoint."""
        windows = {name: window.state() for name, window in self._windows.items()}
        return {"windows": windows, "lowest": dict(self._lowest), "warned": dict(self._warned)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state`` of another watch."""
        self.clear()
        for name, blocks in state["windows"].items():
            self._windows[name] = RollingResults(self.games)
            self._windows[name].restore(blocks)
        self._lowest |= state["lowest"]
        self._warned |= state["warned"]
