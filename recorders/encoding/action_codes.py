"""Encodes actions as one-byte codes: a move usually starts on the tile that the player's last move reached, or built on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.recorders.experience.bounds_checks import check_range

__all__ = ["BUILD", "JUMPS", "PASS", "coded_actions", "decoded_actions"]

# Codes: the direction of a move, plus HALF for half of the army and JUMPS for another tile; PASS; or BUILD, also plus JUMPS.
HALF, JUMPS, PASS, BUILD = 4, 8, 16, 17


def strides(shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Return the distance to the tile above, below, left and right; beyond an edge it is another tile, which does no harm."""
    return np.array([-shape[1], shape[1], -1, 1])


def coded_actions(rows: npt.NDArray[np.void], shape: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Return a code for each action, and the tiles of those that do not start on the target of the player's last one.

    The tile of a move is its source; the tile of a build is its target, too; a pass has none.

    Args:
        rows: Experiences, sorted by game and player.
        shape: H and W.
    """
    number = np.arange(len(rows))
    passes = 8 * shape[0] * shape[1]
    half, rest = np.divmod(rows["action"], passes // 2)
    source, direction = np.divmod(rest, 4)
    moves, builds = rows["action"] < passes, rows["action"] > passes
    source = np.where(builds, rows["action"] - passes - 1, source)
    acts = moves | builds
    begins = (np.diff(rows["game"], prepend=-1) != 0) | (np.diff(rows["player_id"], prepend=np.int8(-1)) != 0)
    start = np.maximum.accumulate(np.where(begins, number, 0))
    last = np.maximum.accumulate(np.where(acts, number, -1))
    last = np.concatenate([[-1], last[:-1]])[: len(rows)]
    target = source + np.where(moves, strides(shape)[direction], 0)
    jumps = acts & ((last < start) | (target[last] != source))
    codes = np.where(moves, direction + HALF * half, np.where(builds, BUILD, PASS)) + JUMPS * jumps
    return codes.astype(np.uint8), source[jumps].astype(np.int32)


def decoded_actions(
    codes: npt.NDArray[np.uint8], sources: npt.NDArray[np.int32], shape: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """Return the actions that ``coded_actions`` encoded, (n,) int64; raise ``ValueError`` for other codes or tiles."""
    builds = codes & ~np.uint8(JUMPS) == BUILD
    if (codes[~builds] > PASS).any():
        raise ValueError(f"codes: expected integers from 0 to {BUILD}, or {BUILD + JUMPS}")
    tiles, number = shape[0] * shape[1], np.arange(len(codes))
    moves, jumps = codes < PASS, codes & JUMPS > 0
    distance = np.where(moves, strides(shape)[codes & 3], 0)
    gone = np.cumsum(distance) - distance  # distance from the first source to that of each move, without jumps
    start = np.maximum.accumulate(np.where(jumps, number, 0))
    first = np.zeros(len(codes), np.int64)
    first[jumps] = sources
    source = np.where(moves | builds, first[start] + gone - gone[start], 0)
    check_range("source", source, tiles, minimum=0)
    half = (codes & HALF > 0) * 4 * tiles
    others = 8 * tiles + np.where(builds, 1 + source, 0)
    actions: npt.NDArray[np.int64] = np.where(moves, half + 4 * source + (codes & 3), others)
    return actions
