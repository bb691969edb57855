"""Tells which tiles of a board a picture or a text shows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.observations.reference import visible_to

__all__ = ["seen_tiles"]


def seen_tiles(boards: Boards, b: int, player: int | None) -> npt.NDArray[np.bool_]:
    """Return (H*W,) bool: the tiles of board ``b`` that ``player`` sees; None sees all."""
    if player is None:
        return np.ones(boards.owner.shape[1], np.bool_)
    visible = np.full(boards.owner.shape[1], 0xFFFFFFFF, np.uint32)
    visible_to(boards, b, visible)
    return (visible >> np.uint32(player) & np.uint32(1)).astype(np.bool_)
