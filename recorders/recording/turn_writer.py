"""Writes turns as a batch of games tells them into a ``TurnBatcher``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.simulation.outcome import Outcome
from generals_env.recorders.recording.turn_batcher import TurnBatcher

__all__ = ["TurnWriter"]


class TurnWriter:
    """Writes what many games tell into a journal. It does not know the recorder, which can be dropped while games go on."""

    def __init__(self, journal: TurnBatcher) -> None:
        self.journal = journal

    def begin(self, boards: Boards, which: npt.NDArray[np.bool_]) -> None:
        """Take note of games that have begun."""
        if not self.journal.closed:
            self.journal.begin(boards, which)

    def turn(self, boards: Boards, outcome: Outcome, active: npt.NDArray[np.bool_]) -> None:
        """Take one turn of all games."""
        journal = self.journal
        if journal.closed:
            return
        journal.turn(
            boards,
            0,
            outcome.actions,
            active,
            outcome.illegal,
            outcome.rewards,
            outcome.terminated,
            outcome.truncated,
        )
        if journal.shown is not None:
            journal.shown.turn(active if journal.seat < 0 else active[:, journal.seat])

    def stepped(self) -> None:
        """Hand over what is full."""
        if not self.journal.closed:
            self.journal.write()
