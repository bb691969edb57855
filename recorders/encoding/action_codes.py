"""Encodes actions as one-byte codes: a move usually starts on the tile that the player's last move reached."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.recorders.experience.bounds_checks import check_range

__all__ = ["JUMPS", "PASS", "coded_actions", "decoded_actions"]

# Codes: the direction of a move, plus HALF for half of the army and JUMPS for another tile; or PASS.
HALF, JUMPS, PASS = 4, 8, 16


def strides(shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Return the distance to the tile above, below, left and right; beyond an edge it is another tile, which does no harm."""
    return np.array([-shape[1], shape[1], -1, 1])


def coded_actions(rows: npt.NDArray[np.void], shape: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Return a code for each action, and the source tiles of moves that do not start on the target of the player's last move.

    Args:
        rows: Experiences, sorted by game and player.
        shape: H and W.
    """
    number = np.arange(len(rows))
    half, rest = np.divmod(rows["action"], 4 * shape[0] * shape[1])
    source, direction = np.divmod(rest, 4)
    moves = half < 2
    begins = (np.diff(rows["game"], prepend=-1) != 0) | (np.diff(rows["player_id"], prepend=np.int8(-1)) != 0)
    start = np.maximum.accumulate(np.where(begins, number, 0))
    last = np.maximum.accumulate(np.where(moves, number, -1))
    last = np.concatenate([[-1], last[:-1]])[: len(rows)]
    target = source + strides(shape)[direction]
    jumps = moves & ((last < start) | (target[last] != source))
    codes = np.where(moves, direction + HALF * half + JUMPS * jumps, PASS).astype(np.uint8)
    return codes, source[jumps]


def decoded_actions(
    codes: npt.NDArray[np.uint8], sources: npt.NDArray[np.int32], shape: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """Return the actions that ``coded_actions`` encoded, (n,) int64; raise ``ValueError`` for other codes or tiles."""
    check_range("codes", codes, PASS + 1, minimum=0)
    tiles, number = shape[0] * shape[1], np.arange(len(codes))
    moves, jumps = codes < PASS, codes & JUMPS > 0
    distance = np.where(moves, strides(shape)[codes & 3], 0)
    gone = np.cumsum(distance) - distance  # distance from the first source to that of each move, without jumps
    start = np.maximum.accumulate(np.where(jumps, number, 0))
    first = np.zeros(len(codes), np.int64)
    first[jumps] = sources
    source = np.where(moves, first[start] + gone - gone[start], 0)
    check_range("source", source, tiles, minimum=0)
    half = (codes & HALF > 0) * 4 * tiles
    actions: npt.NDArray[np.int64] = np.where(moves, half + 4 * source + (codes & 3), 8 * tiles)
    return actions
