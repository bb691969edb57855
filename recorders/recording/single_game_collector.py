"""Collects the turns of one game from its environment for a ``TurnBatcher``."""

from __future__ import annotations

import numpy as np

from generals_env.collector import Transition
from generals_env.engine.boards import Boards
from generals_env.recorders.recording.turn_batcher import TurnBatcher

__all__ = ["GameCollector"]


class GameCollector:
    """A ``Collector`` that records one game after another."""

    def __init__(self, batcher: TurnBatcher) -> None:
        """Record with ``batcher``."""
        self.turn_batcher = batcher
        self._boards: Boards | None = None

    def on_state_transition(self, transition: Transition) -> None:
        """Record one turn of one game."""
        batcher = self.turn_batcher
        if batcher.closed:
            return
        boards, continues, active, actions, illegal, rewards, terminated, truncated = transition
        if not continues:
            batcher.interrupt()
        if boards is not self._boards:  # an environment passes the same arrays turn after turn
            self._boards = boards
            if not batcher.fits(boards):
                batcher.finish(goes_on=False)
        batcher.turn(boards, 1, actions[None], active[None], illegal[None], rewards[None], terminated[None], truncated[None])
        batcher.write()

    def on_game_end(self) -> None:
        """Let the next turn begin a new game."""
        self.turn_batcher.leave(np.ones(1, np.bool_))
