"""Writes and reads the map of the live game: an array of numbers, sent as its change since the turn before.

The array is ``[width, height]``, the armies of all tiles, and one code a tile: a player's number, -1 neutral, -2 mountain,
-3 fog, -4 an obstacle in fog (mountain or city), -5 lookout, -6 observatory. A change alternates two counts: numbers that stay,
and numbers that are replaced by those behind the count.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import NEUTRAL
from generals_env.errors import StateError

__all__ = ["FOG", "OBSTACLE", "diff_map", "encode_map", "patch_map"]

FOG, OBSTACLE = -3, -4

Wholes = npt.NDArray[np.int64]


def encode_map(
    height: int,
    width: int,
    owner: npt.NDArray[np.integer],
    army: npt.NDArray[np.integer],
    visible: npt.NDArray[np.bool_],
    cities: Collection[int],
) -> Wholes:
    """Return the map as one player is sent it, (2 + 2*H*W,) int64.

    Args:
        height: H.
        width: W.
        owner: (H*W,) codes of ``engine.boards.Boards``.
        army: (H*W,).
        visible: (H*W,) bool, the tiles that the player sees.
        cities: Tiles that are obstacles out of sight, besides mountains, lookouts and observatories.
    """
    obstacle = owner < NEUTRAL
    obstacle[list(cities)] = True
    armies = np.where(visible, army, 0)
    codes = np.where(visible, owner, np.where(obstacle, OBSTACLE, FOG))
    return np.concatenate([[width, height], armies, codes]).astype(np.int64)


def diff_map(old: npt.NDArray[np.integer], new: npt.NDArray[np.integer]) -> list[int]:
    """Return the change from one array to another of the same length, or from an empty one."""
    unequal = np.ones(len(new), np.bool_) if len(old) != len(new) else old != new
    edges = [0, *(np.flatnonzero(unequal[1:] != unequal[:-1]) + 1).tolist(), len(new)]
    change: list[int] = [0] if unequal[0] else []
    for start, end in pairwise(edges):
        change.append(end - start)
        if unequal[start]:
            change.extend(new[start:end].tolist())
    return change


def patch_map(old: Sequence[int], change: Sequence[int], max_length: int) -> list[int]:
    """Return an array with a change applied.

    Args:
        old: The array before.
        change: Counts and numbers, see this module.
        max_length: Limit of the length of the result.

    Raises:
        StateError: If the change is malformed, keeps numbers that are not there, or the result is too long.
    """
    new: list[int] = []
    position, keeps = 0, True
    while position < len(change):
        count = change[position]
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise StateError(f"map: expected a count of numbers at {position} of the change, got {count!r:.80}")
        position += 1
        if len(new) + count > max_length:
            raise StateError(f"map: expected at most {max_length} numbers, got a change to at least {len(new) + count}")
        if keeps:
            if len(new) + count > len(old):
                raise StateError(f"map: expected a change of {len(old)} numbers, got one that keeps {len(new) + count}")
            new.extend(old[len(new) : len(new) + count])
        else:
            values = change[position : position + count]
            if len(values) < count or not all(type(value) is int for value in values):
                raise StateError(f"map: expected {count} whole numbers at {position} of the change, got {list(values)!r:.80}")
            new.extend(values)
            position += count
        keeps = not keeps
    return new
