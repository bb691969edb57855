"""Actions of one player after another as a code each: a move mostly begins where the last one went."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.recorders.experience.integrity import below

__all__ = ["JUMPS", "PASS", "coded_actions", "decoded_actions"]

# Codes: the direction, and these.
HALF, JUMPS, PASS = 4, 8, 16


def strides(shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Return how far the tile lies off that is up, down, left, right; at an edge it is only a guess."""
    return np.array([-shape[1], shape[1], -1, 1])


def coded_actions(rows: npt.NDArray[np.void], shape: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Return actions as a code each, and tiles for those that do not begin where the player's last move went.

    Args:
        rows: By game and player.
        shape: H and W.
    """
    number = np.arange(len(rows))
    half, rest = np.divmod(rows["action"], 4 * shape[0] * shape[1])
    source, direction = np.divmod(rest, 4)
    moves = half < 2
    others = (np.diff(rows["game"], prepend=-1) != 0) | (np.diff(rows["player_id"], prepend=np.int8(-1)) != 0)
    start = np.maximum.accumulate(np.where(others, number, 0))
    last = np.maximum.accumulate(np.where(moves, number, -1))
    last = np.concatenate([[-1], last[:-1]])[: len(rows)]
    target = source + strides(shape)[direction]
    jumps = moves & ((last < start) | (target[last] != source))
    codes = np.where(moves, direction + HALF * half + JUMPS * jumps, PASS).astype(np.uint8)
    return codes, source[jumps]


def decoded_actions(
    codes: npt.NDArray[np.uint8], sources: npt.NDArray[np.int32], shape: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """Return the actions of which ``coded_actions`` made codes and tiles, (n,) int64; raise ``ValueError`` for others."""
    below("codes", codes, PASS + 1, least=0)
    tiles, number = shape[0] * shape[1], np.arange(len(codes))
    moves, jumps = codes < PASS, codes & JUMPS > 0
    way = np.where(moves, strides(shape)[codes & 3], 0)
    gone = np.cumsum(way) - way  # all the way to the source of each move, if none jumped
    start = np.maximum.accumulate(np.where(jumps, number, 0))
    first = np.zeros(len(codes), np.int64)
    first[jumps] = sources
    source = np.where(moves, first[start] + gone - gone[start], 0)
    below("source", source, tiles, least=0)
    half = (codes & HALF > 0) * 4 * tiles
    actions: npt.NDArray[np.int64] = np.where(moves, half + 4 * source + (codes & 3), 8 * tiles)
    return actions
