"""Holds what a turn of B games gives the players: the actions played, rewards, ends and counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["DRAWS", "GAMES", "ILLEGAL", "TRUNCATED", "TURNS", "WINS", "Outcome"]

# Columns of ``Outcome.counts``; behind them, one for each player's wins.
TURNS, GAMES, DRAWS, TRUNCATED, ILLEGAL, WINS = range(6)


class Outcome(NamedTuple):
    """The actions of a turn and its result for the players of B games.

    Attributes:
        actions: (B, P) int64, in and out: indices within range; those that are not legal are replaced by the pass.
        active: (B, P) bool, True until the player's game ends.
        illegal: (B, P) bool, True for an action that was not legal.
        illegal_count: (B, P) int64, illegal actions in this game.
        rewards: (B, P) float32.
        terminated: (B, P) bool, True if the player's game ended with this turn.
        truncated: (B, P) bool, True if the game was cut off after this turn.
        counts: (B, 5 + P) int64, sums since they were last set to zero: turns, games, draws, truncated games, illegal
            actions, and wins of each player.
        begun: (B,) int64, games begun on each board so far: policies with memory notice a new game by it.
    """

    actions: npt.NDArray[np.int64]
    active: npt.NDArray[np.bool_]
    illegal: npt.NDArray[np.bool_]
    illegal_count: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]
    begun: npt.NDArray[np.int64]
