"""Defines ``Collector``, the protocol of objects that environments notify of each turn, and ``Transition``, what they get."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards

__all__ = ["Collector", "Transition"]


class Transition(NamedTuple):
    """One turn of one game. The arrays belong to the environment, which overwrites them in the next turn: copy what you keep.

    Attributes:
        boards: Two boards, row 0 before the turn and row 1 after it.
        continues: Whether row 0 equals row 1 of the previous transition; False after a reset, surrender or restore.
        active: (P,) bool, players whose game had not ended before the turn.
        actions: (P,) int64, actions as executed: an illegal action became a pass.
        illegal: (P,) bool, players whose action was illegal.
        rewards: (P,) float32.
        terminated: (P,) bool, players whose game ended with this turn.
        truncated: (P,) bool, players whose game was truncated after this turn.
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
    """Receives every turn of one game; for many games at once see ``generals_env.vector.TurnListener``."""

    def on_state_transition(self, transition: Transition) -> None:
        """Receive a turn; called exactly once a turn, also when an action was illegal."""

    def on_game_end(self) -> None:
        """Receive the end of the game: it is over for all players, or a reset abandoned it."""
