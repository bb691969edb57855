"""Groups what one seat sees and remembers, and the scratch arrays of the hunter's kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.policies.hunter.memory import COUNT

__all__ = ["FIELDS", "MAX_GAIN", "Field", "Scratch", "Seat", "army_at", "fill_neighbours", "is_wall", "push_move"]

#: (H*W,) int32, a number for each tile.
Field = npt.NDArray[np.int32]

#: Rows of ``Scratch.fields``.
FIELDS = 6

#: Bound of an army that is summed along a way: sums of huge armies would not fit the 32 bits of a field.
MAX_GAIN = 1 << 29

FOG_OBSTACLE, SEEN_MOUNTAIN, NEUTRAL_CITY = 2, 3, 5  # codes of ``observations.tile_codes``


class Seat(NamedTuple):
    """What a seat sees and remembers.

    Attributes:
        codes: (H*W,) uint8, see ``observations.tile_codes``.
        owner: (H*W,) int8, valid where the code shows the tile.
        army: (H*W,) int32, valid there.
        facts: (FACTS,) int64, see ``hunter.facts``.
        words: (WORDS,) int64, see ``hunter.memory``.
        flags: (H*W,) uint8, see there.
        home: (H*W,) int16, see there.
        queue: (QUEUE,) int16, see there.
    """

    codes: npt.NDArray[np.uint8]
    owner: npt.NDArray[np.int8]
    army: npt.NDArray[np.int32]
    facts: npt.NDArray[np.int64]
    words: npt.NDArray[np.int64]
    flags: npt.NDArray[np.uint8]
    home: npt.NDArray[np.int16]
    queue: npt.NDArray[np.int16]


class Scratch(NamedTuple):
    """Arrays that the subroutines use; nothing in them outlives a decision, except the neighbours.

    Attributes:
        neighbours: (H*W, 4) int32, the tile in each direction, -1 off the board.
        ground: (H*W + 1,) uint8, 1 for tiles that a walk may enter; the last entry, 0, is beyond the edge of the board.
        fields: (FIELDS, H*W + 1) int32.
        moves: (QUEUE,) int16, the moves of an opening that is being simulated.
        rates: (2,) int64, out: the number of moves of ``gather``; the army that ``earliest_threat`` finds missing.
        rng: (1,) uint64, the generator of openings.
    """

    neighbours: npt.NDArray[np.int32]
    ground: npt.NDArray[np.uint8]
    fields: npt.NDArray[np.int32]
    moves: npt.NDArray[np.int16]
    rates: npt.NDArray[np.int64]
    rng: npt.NDArray[np.uint64]


@subroutine
def fill_neighbours(neighbours: npt.NDArray[np.int32], width: int) -> None:
    """Write the neighbours of each tile; moves across the edge of a torus are not considered."""
    tiles = neighbours.shape[0]
    for tile in range(tiles):
        column = tile % width
        neighbours[tile, 0] = tile - width if tile >= width else -1
        neighbours[tile, 1] = tile + width if tile + width < tiles else -1
        neighbours[tile, 2] = tile - 1 if column > 0 else -1
        neighbours[tile, 3] = tile + 1 if column < width - 1 else -1


@inlined
def army_at(seat: Seat, tile: int) -> int:
    """Return the army on a tile in sight."""
    return np.int64(seat.army[tile])


@inlined
def is_wall(code: int) -> bool:
    """Return whether a tile of this code is taken for impassable: a mountain, an obstacle in fog or a neutral city."""
    return code == FOG_OBSTACLE or code == SEEN_MOUNTAIN or code == NEUTRAL_CITY  # noqa: PLR1714


@inlined
def push_move(seat: Seat, move: int) -> None:
    """Append a planned move; moves beyond the size of the queue are dropped."""
    count = seat.words[COUNT]
    if count < seat.queue.shape[0]:
        seat.queue[count] = np.int16(move)
        seat.words[COUNT] = count + 1
