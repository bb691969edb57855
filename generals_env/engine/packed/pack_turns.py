"""Packs the boards of a batch turn by turn; the boards of a game share one ground as long as it stays the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.jit import kernel
from generals_env.engine.packed.packing import Counts, PackedBoards, pack_row

__all__ = ["pack_turn"]


@kernel
def pack_turn(boards: Boards, packed: PackedBoards, first: int, grounds: npt.NDArray[np.int64], counts: Counts) -> None:
    """Pack board b of a batch to row ``first + b``.

    Args:
        boards: B boards.
        packed: Packed boards, out, with room for B more grounds and B more rows of wide armies.
        first: Row of the first board.
        grounds: (B,) int64, in and out: the ground of the last packed board of each game, -1 for none.
        counts: (2,) int64, in and out: number of grounds and rows of wide armies.
    """
    for b in range(boards.owner.shape[0]):
        grounds[b] = pack_row(boards, b, packed, first + b, grounds[b], -1, counts)
