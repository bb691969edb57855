"""Keeps sets of tiles of each board as bits: land of each player, tiles in sight, tiles that a turn touched.

Code that changes a board lists the tiles that it touched: (2*H*W + 3*P + 1,) int32, their number and then the tiles. Listing
too many, or one twice, costs time, never correctness.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.bitboards import NOTHING, ONE, Rows, all_below, bit_at, lowest_bit, spread
from generals_env.engine.boards import CITY, GENERAL, SWAMP, TORUS, Boards
from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.rules.valid_moves import Tiles, neighbour

__all__ = [
    "TileSets",
    "add_castle",
    "follow_sight",
    "index_growing_tiles",
    "touch",
    "touch_all",
    "touch_neighbours",
    "touch_row",
]


class TileSets(NamedTuple):
    """Sets of tiles of B boards, derived from their state and kept up to date, so that a turn need not search for them.

    Attributes:
        land: (B, P, H) uint64, tiles of each player, one bit a column.
        movable: (B, P, H) uint64, tiles from which he has a legal move.
        seen: (B, P, H) uint64, tiles he sees.
        built: (B, H) uint64, cities and generals.
        passable: (B, H) uint64, tiles that can be entered.
        exits: (B, H*W) uint8, bit d is set if the neighbour in direction d is passable.
        growing: (B, H*W + 1) int16, the number of cities and swamps, then their tiles.
        scores: (B, P, 2) int64, land and army of each player, kept only where rewards or the layout need them.
    """

    land: npt.NDArray[np.uint64]
    movable: npt.NDArray[np.uint64]
    seen: npt.NDArray[np.uint64]
    built: npt.NDArray[np.uint64]
    passable: npt.NDArray[np.uint64]
    exits: npt.NDArray[np.uint8]
    growing: npt.NDArray[np.int16]
    scores: npt.NDArray[np.int64]


@inlined
def touch(touched: Tiles, tile: int) -> None:
    """Append a tile to the list of touched tiles."""
    count = touched[0] + 1
    touched[count] = tile
    touched[0] = count


@inlined
def touch_all(touched: Tiles, tiles: int) -> None:
    """List every tile once."""
    touched[0] = tiles
    for tile in range(tiles):
        touched[tile + 1] = tile


@inlined
def touch_row(touched: Tiles, word: np.uint64, first: int) -> None:
    """Append the tiles of a row, as bits; ``first`` is the first tile of the row."""
    while word != NOTHING:
        touch(touched, first + lowest_bit(word))
        word &= word - ONE


@subroutine
def touch_neighbours(boards: Boards, b: int, touched: Tiles, row_of: npt.NDArray[np.int32]) -> None:
    """Append the neighbours of all touched tiles; all tiles if that would be many."""
    game = boards.games[b]
    width = game["width"]
    wraps = game["modifiers"] & TORUS != 0
    tiles = boards.owner.shape[1]
    count = touched[0]
    if 8 * count > tiles:
        touch_all(touched, tiles)
        return
    for k in range(1, count + 1):
        tile = np.int64(touched[k])
        row = np.int64(row_of[tile])
        for direction in range(4):
            other = neighbour(row, tile - row * width, direction, width, game["rows"], game["columns"], wraps)
            if other >= 0:
                touch(touched, other)


@subroutine
def index_growing_tiles(boards: Boards, b: int, sets: TileSets) -> None:
    """Write the sets ``growing`` and ``built`` from the terrain."""
    width = boards.games[b]["width"]
    count = 0
    for row in range(boards.games[b]["height"]):
        word = NOTHING
        for column in range(width):
            kind = boards.terrain[b, row * width + column]
            if kind == CITY or kind == SWAMP:  # noqa: PLR1714, SIM109 - a membership test compiles slowly
                count += 1
                sets.growing[b, count] = row * width + column
            if kind == CITY or kind == GENERAL:  # noqa: PLR1714, SIM109
                word |= bit_at(column)
        sets.built[b, row] = word
    sets.growing[b, 0] = count


@inlined
def add_castle(boards: Boards, b: int, sets: TileSets, tile: int) -> None:
    """Add a castle to the sets ``growing`` and ``built``."""
    width = boards.games[b]["width"]
    row = tile // width
    count = np.int64(sets.growing[b, 0]) + 1
    sets.growing[b, count] = tile
    sets.growing[b, 0] = count
    sets.built[b, row] |= bit_at(tile - row * width)


@inlined
def land_of_team(boards: Boards, b: int, sets: TileSets, player: int, row: int, teams: bool) -> np.uint64:
    """Return the tiles of a row that belong to ``player`` or his team-mates."""
    word = sets.land[b, player, row]
    if teams:
        for other in range(boards.players.shape[1]):
            if boards.players[b, other]["team"] == boards.players[b, player]["team"]:
                word |= sets.land[b, other, row]
    return word


@inlined
def follow_sight(boards: Boards, b: int, sets: TileSets, player: int, rows: np.uint64, teams: bool, changes: Rows) -> np.uint64:
    """Bring the set of tiles that ``player`` sees up to date; return the rows in which it may have changed, as bits.

    Args:
        boards: The boards.
        b: Which of them.
        sets: TileSets of the boards.
        player: The player.
        rows: Rows in which land of his team changed, as bits.
        teams: Whether some players are friends.
        changes: (H,) uint64, out: tiles that came into sight or left it, valid only in the rows returned.
    """
    game = boards.games[b]
    if rows == NOTHING or not game["fog"]:
        return NOTHING
    wraps = game["modifiers"] & TORUS != 0
    height = np.int64(game["rows"] if wraps else game["height"])
    columns = np.int64(game["columns"] if wraps else game["width"])
    near = rows | spread(rows & all_below(height), height, wraps)
    left = near
    while left != NOTHING:
        row = lowest_bit(left)
        left &= left - ONE
        word = NOTHING
        if row < height:  # on a torus the padding is never seen
            word = land_of_team(boards, b, sets, player, row, teams)
            if row > 0:
                word |= land_of_team(boards, b, sets, player, row - 1, teams)
            elif wraps:
                word |= land_of_team(boards, b, sets, player, height - 1, teams)
            if row < height - 1:
                word |= land_of_team(boards, b, sets, player, row + 1, teams)
            elif wraps:
                word |= land_of_team(boards, b, sets, player, 0, teams)
            word = spread(word, columns, wraps)
        changes[row] = word ^ sets.seen[b, player, row]
        sets.seen[b, player, row] = word
    return near
