"""Finds for whom the game of a board goes on: boards alone do not tell which players have received their end."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards

__all__ = ["in_game"]


def in_game(boards: Boards) -> npt.NDArray[np.bool_]:
    """Return (B, P) bool, True for players whose team has a living player on a board with another living team."""
    alive, team = boards.players["alive"], boards.players["team"]
    friends = team[:, :, None] == team[:, None, :]
    goes_on = (alive[:, :, None] & alive[:, None, :] & ~friends).any(axis=(1, 2))
    playing: npt.NDArray[np.bool_] = (friends & alive[:, None, :]).any(axis=2) & goes_on[:, None]
    return playing
