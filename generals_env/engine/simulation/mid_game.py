"""Finds for whom the game of a board goes on, and draws the board with which a game begins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.jit import kernel
from generals_env.engine.splitmix import RandomState, random_below

__all__ = ["draw_index", "in_game"]


@kernel
def draw_index(rng: RandomState, b: int, count: int) -> int:
    """Return which of ``count`` boards a game begins with, as ``begin_board`` draws it from generator ``b``."""
    return random_below(rng, b, count)


def in_game(boards: Boards) -> npt.NDArray[np.bool_]:
    """Return (B, P) bool, True for players whose team has a living player on a board with another living team."""
    alive, team = boards.players["alive"], boards.players["team"]
    friends = team[:, :, None] == team[:, None, :]
    goes_on = (alive[:, :, None] & alive[:, None, :] & ~friends).any(axis=(1, 2))
    playing: npt.NDArray[np.bool_] = (friends & alive[:, None, :]).any(axis=2) & goes_on[:, None]
    return playing
