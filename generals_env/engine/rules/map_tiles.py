"""Walks over the ground of a new map, and puts the players on it: what the generators of maps share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.bitboards import NOTHING, ONE, bit_at, count_bits, lowest_bit
from generals_env.engine.boards import CITY, GENERAL, MOUNTAIN, NEUTRAL, OWNER_MOUNTAIN, Boards
from generals_env.engine.jit import subroutine
from generals_env.engine.splitmix import RandomState, random_below

__all__ = ["CITY_ARMY", "mark_ground", "populate", "random_tile", "walk"]

#: Armies of new cities, both ends included (ladder games).
CITY_ARMY = (40, 50)


@subroutine
def mark_ground(terrain: npt.NDArray[np.int8], width: int, rows: int, columns: int, lines: npt.NDArray[np.uint64]) -> None:
    """Write the tiles without mountains into the first of ``lines`` (see ``walk``)."""
    for row in range(rows):
        word = NOTHING
        for column in range(columns):
            if terrain[row * width + column] != MOUNTAIN:
                word |= bit_at(column)
        lines[0, row + 1] = word


@subroutine
def walk(
    width: int,
    rows: int,
    origin: int,
    limit: int,
    writes: bool,
    distance: npt.NDArray[np.int32],
    lines: npt.NDArray[np.uint64],
) -> int:
    """Return how many tiles lie within ``limit`` steps from ``origin``.

    A step extends all tiles at the edge of the reached area at once: they are bits of words, one word a row.

    Args:
        width: Width of the arrays.
        rows: Rows of the board.
        origin: Tile to begin at.
        limit: Maximum number of steps.
        writes: Whether to write the distances as well.
        distance: (H*W,) int32, out: steps from the origin, -1 for tiles further away.
        lines: (4, H + 2) uint64: tiles without mountains, then three rows of scratch; row r of the board is entry r + 1, and
            entries around the board are empty.
    """
    if writes:
        for tile in range(distance.shape[0]):
            distance[tile] = -1
        distance[origin] = 0
    for row in range(rows + 2):
        for line in range(1, 4):
            lines[line, row] = NOTHING
    first = origin // width + 1
    last = first
    lines[1, first] = bit_at(origin % width)
    lines[2, first] = lines[1, first]
    count = 1
    for steps in range(1, limit + 1):
        first = max(first - 1, 1)  # the edge moves by a row at most
        last = min(last + 1, rows)
        for row in range(first, last + 1):
            edge = lines[2, row]
            word = (edge << ONE) | (edge >> ONE) | lines[2, row - 1] | lines[2, row + 1]
            lines[3, row] = word & lines[0, row] & ~lines[1, row]
        ended = True
        for row in range(first, last + 1):
            word = lines[3, row]
            lines[1, row] |= word
            lines[2, row] = word
            ended = ended and word == NOTHING
            count += count_bits(word)
            if writes:
                while word != NOTHING:
                    distance[(row - 1) * width + lowest_bit(word)] = steps
                    word &= word - ONE
        if ended:
            break
    return count


@subroutine
def random_tile(rng: RandomState, b: int, width: int, rows: int, columns: int) -> int:
    """Draw a tile of the board uniformly."""
    k = random_below(rng, b, rows * columns)
    return k // columns * width + k % columns


@subroutine
def populate(boards: Boards, b: int, rng: RandomState, seats: npt.NDArray[np.int64]) -> None:
    """Set owners, armies and counters of a new game on the terrain."""
    terrain = boards.terrain[b]
    for tile in range(terrain.shape[0]):
        boards.owner[b, tile] = OWNER_MOUNTAIN if terrain[tile] == MOUNTAIN else NEUTRAL
        boards.army[b, tile] = 0
        if terrain[tile] == CITY:
            boards.army[b, tile] = CITY_ARMY[0] + random_below(rng, b, CITY_ARMY[1] - CITY_ARMY[0] + 1)
    players = seats.shape[0]
    for player in range(players):  # seats are assigned at random, not in the order of drawing
        other = player + random_below(rng, b, players - player)
        seat = seats[other]
        seats[other] = seats[player]
        seats[player] = seat
        boards.players[b, player]["general"] = seat
        boards.owner[b, seat] = player
        boards.army[b, seat] = 1
        terrain[seat] = GENERAL
        boards.players[b, player]["alive"] = True
        boards.players[b, player]["surrendered"] = -1
    boards.games[b]["turn"] = 0
    boards.games[b]["last_move"] = 0
