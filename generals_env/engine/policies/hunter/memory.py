"""Defines what the hunter remembers of a game: a row of a few arrays for each seat."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "AIM",
    "BEGUN",
    "COUNT",
    "ENEMY_HELD",
    "ENEMY_HOME",
    "HEAD",
    "HOME_TILE",
    "LAST_ACTION",
    "LAST_BUILD",
    "LAST_TURN",
    "QUEUE",
    "SEEN",
    "STACK",
    "WORDS",
    "Memory",
    "new_memory",
]

#: Entries of ``Memory.words``:
#:
#: - BEGUN, LAST_TURN: games begun on the board, and the turn, at the last decision.
#: - HEAD, COUNT: the next planned move and the number of planned moves.
#: - AIM: tile that the plan goes to, -1 for none.
#: - ENEMY_HOME: tile of the enemy's general, -1 if unknown.
#: - STACK: tile of the army that pushes, -1 for none.
#: - HOME_TILE: tile of the own general when ``Memory.home`` was measured.
#: - LAST_BUILD: turn of the last castle, 0 for none.
#: - LAST_ACTION: the action of the last decision, for a seat that is asked twice in a turn.
BEGUN, LAST_TURN, HEAD, COUNT, AIM, ENEMY_HOME, STACK, HOME_TILE, LAST_BUILD, LAST_ACTION = range(10)
WORDS = 10

#: Bits of ``Memory.flags``: the tile was seen; an enemy held it at some time when it was.
SEEN, ENEMY_HELD = 1, 2

#: Maximum number of planned moves.
QUEUE = 128


class Memory(NamedTuple):
    """What the hunter remembers, a row for each seat.

    Attributes:
        words: (rows, WORDS) int64, see the entries of this module.
        flags: (rows, tiles) uint8, bits of what was seen on each tile.
        home: (rows, tiles) int16, steps from the own general, -1 where no way is known.
        queue: (rows, QUEUE) int16, planned moves, ``4 * tile + direction``; -1 waits a turn.
    """

    words: npt.NDArray[np.int64]
    flags: npt.NDArray[np.uint8]
    home: npt.NDArray[np.int16]
    queue: npt.NDArray[np.int16]


def new_memory(rows: int, tiles: int) -> Memory:
    """Return the memory of ``rows`` seats on boards of ``tiles`` tiles, of no game yet."""
    words = np.zeros((rows, WORDS), np.int64)
    words[:, BEGUN] = -1
    words[:, LAST_TURN] = -2
    return Memory(
        words=words,
        flags=np.zeros((rows, tiles), np.uint8),
        home=np.zeros((rows, tiles), np.int16),
        queue=np.zeros((rows, QUEUE), np.int16),
    )
