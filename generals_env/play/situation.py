"""Defines ``Situation``, what an agent chooses an action from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards

__all__ = ["Situation"]


@dataclass(frozen=True)
class Situation:
    """What an agent chooses from: its own copy, as the game goes on while it thinks.

    Attributes:
        tensor: (21, H, W) float32, the full layout.
        mask: (A,) int8.
        boards: One board, the whole state: for the agent's referee, which shows a program only what its seat sees.
        player: Seat of the agent.
    """

    tensor: npt.NDArray[np.float32]
    mask: npt.NDArray[np.int8]
    boards: Boards
    player: int
