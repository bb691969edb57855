"""Records a live game as its player saw it: what is in fog is not part of the record."""

from __future__ import annotations

import numpy as np

from generals_env.engine.boards import Boards
from generals_env.live.belief import BeliefBoard
from generals_env.replay.recorded_game import UNKNOWN, RecordedGame
from generals_env.replay.recorded_turns import MAX_BOARD_TILES

__all__ = ["LiveRecord"]


class LiveRecord:
    """Collects the boards of a game.

    Attributes:
        whole: False once the game was too long to keep: later turns are missing.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.whole = True
        self._boards: list[Boards] = []

    def take(self, belief: BeliefBoard) -> None:
        """Add the board of a turn."""
        if (len(self._boards) + 1) * belief.height * belief.width > MAX_BOARD_TILES:
            self.whole = False
            return
        self._boards.append(belief.board())

    def game(self, belief: BeliefBoard, outcome: str) -> RecordedGame | None:
        """Return the record; None without two boards. No action is known: the server queues moves, and may drop one."""
        if len(self._boards) < 2:
            return None
        return RecordedGame(
            boards=Boards._make(np.concatenate(fields) for fields in zip(*self._boards, strict=True)),
            actions=np.full((len(self._boards) - 1, belief.start.players), UNKNOWN, np.int64),
            id=belief.start.replay_id,
            names=belief.start.usernames,
            details={
                "source": "live game, as one player saw it",
                "seat": str(belief.start.player),
                "outcome": outcome,
                "whole": str(self.whole),
            },
        )
