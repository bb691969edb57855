"""Passes the turns of a batch of games on to a ``TurnBatcher``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.simulation.turn_outcome import Outcome
from generals_env.recorders.recording.turn_batcher import TurnBatcher

__all__ = ["TurnWriter"]


class TurnWriter:
    """Listener of a batch of games that records them.

    It holds no reference to the recorder, so that a recorder which is dropped is closed while the games go on.
    """

    def __init__(self, batcher: TurnBatcher) -> None:
        self.turn_batcher = batcher

    def begin(self, boards: Boards, which: npt.NDArray[np.bool_]) -> None:
        """Record that games have begun."""
        if not self.turn_batcher.closed:
            self.turn_batcher.begin(boards, which)

    def turn(self, boards: Boards, outcome: Outcome, active: npt.NDArray[np.bool_]) -> None:
        """Record one turn of all games."""
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
        """Offer finished batches to the sink."""
        if not self.turn_batcher.closed:
            self.turn_batcher.write()
