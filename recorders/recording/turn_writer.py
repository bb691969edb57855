"""Writes turns as a batch of games tells them into a ``TurnBatcher``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.simulation.batch_kernel import Outcome
from generals_env.recorders.recording.turn_batcher import TurnBatcher

__all__ = ["TurnWriter"]


class TurnWriter:
    """Writes what many games tell into a batcher. It does not know the recorder, which can be dropped while games go on."""

    def __init__(self, batcher: TurnBatcher) -> None:
        self.turn_batcher = batcher

    def begin(self, boards: Boards, which: npt.NDArray[np.bool_]) -> None:
        """Take note of games that have begun."""
        if not self.turn_batcher.closed:
            self.turn_batcher.begin(boards, which)

    def turn(self, boards: Boards, outcome: Outcome, active: npt.NDArray[np.bool_]) -> None:
        """Take one turn of all games."""
        batcher = self.turn_batcher
        if batcher.closed:
            return
        batcher.turn(
            boards,
            0,
            outcome.actions,
            active,
            outcome.illegal,
            outcome.rewards,
            outcome.terminated,
            outcome.truncated,
        )
        if batcher.dense_capture is not None:
            batcher.dense_capture.turn(active if batcher.seat < 0 else active[:, batcher.seat])

    def stepped(self) -> None:
        """Hand over what is full."""
        if not self.turn_batcher.closed:
            self.turn_batcher.write()
