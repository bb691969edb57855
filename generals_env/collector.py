"""What an environment tells those who listen to it. The engine knows nothing of them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards

__all__ = ["Collector", "Transition"]


class Transition(NamedTuple):
    """One turn of one game. The arrays belong to the environment and change with the next turn: copy what is to stay.

    Attributes:
        boards: Two boards, row 0 before the turn and row 1 after it.
        continues: Whether row 0 equals row 1 of the transition before (not so after a reset, surrender or restore).
        active: (P,) bool, whose game had not ended before the turn.
        actions: (P,) int64, what was executed; an illegal action counts as pass.
        illegal: (P,) bool, whose action was not legal.
        rewards: (P,) float32.
        terminated: (P,) bool, whose game ended with this turn.
        truncated: (P,) bool, whose game was cut off after this turn.
    """

    boards: Boards
    continues: bool
    active: npt.NDArray[np.bool_]
    actions: npt.NDArray[np.int64]
    illegal: npt.NDArray[np.bool_]
    rewards: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]


class Collector(Protocol):
    """Listens to every turn of one game; for many games at once see ``generals_env.vector.TurnListener``."""

    def on_state_transition(self, transition: Transition) -> None:
        """Take one turn of one game; called exactly once a turn, also when an action was illegal."""

    def on_game_end(self) -> None:
        """Take note that the game is over for all its players, or was left by a reset."""
