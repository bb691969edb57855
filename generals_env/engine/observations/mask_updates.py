"""Keeps action masks up to date: of single tiles, or whole masks from the tiles from which a player can move."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.bitboards import NOTHING, ONE, bit_at, lowest_bit
from generals_env.engine.boards import TORUS, Boards
from generals_env.engine.jit import inlined
from generals_env.engine.observations.tile_sets import TileSets
from generals_env.engine.rules.valid_moves import may_enter, neighbour

__all__ = ["clear_mask", "own_tile", "rewrite_mask", "write_mask"]


@inlined
def legal_directions(boards: Boards, b: int, player: int, tile: int, row: int, column: int, exits: int) -> int:
    """Return in which directions ``player`` may move from his ``tile``, as bits 0-3; for games with teams."""
    game = boards.games[b]
    wraps = game["modifiers"] & TORUS != 0
    army = boards.army[b, tile]
    directions = 0
    for direction in range(4):
        if exits >> direction & 1:
            target = neighbour(row, column, direction, game["width"], game["rows"], game["columns"], wraps)
            if may_enter(army, player, boards.owner[b, target], boards.players[b]):
                directions |= 1 << direction
    return directions


@inlined
def write_mask(mask: npt.NDArray[np.int8], tiles: int, tile: int, directions: int) -> None:
    """Write the moves of a tile on a board of ``tiles``, four whole and four half ones, from ``directions`` as bits 0-3."""
    # Bit d moves to byte d; LLVM then writes four bytes at once.
    four = np.uint32(directions * 0x204081 & 0x01010101)
    first = 4 * tile
    second = first + 4 * tiles
    mask[first] = np.int8(four & np.uint32(1))
    mask[first + 1] = np.int8(four >> np.uint32(8) & np.uint32(1))
    mask[first + 2] = np.int8(four >> np.uint32(16) & np.uint32(1))
    mask[first + 3] = np.int8(four >> np.uint32(24))
    mask[second] = np.int8(four & np.uint32(1))
    mask[second + 1] = np.int8(four >> np.uint32(8) & np.uint32(1))
    mask[second + 2] = np.int8(four >> np.uint32(16) & np.uint32(1))
    mask[second + 3] = np.int8(four >> np.uint32(24))


@inlined
def clear_mask(mask: npt.NDArray[np.int8], tiles: int) -> None:
    """Allow only the pass, on a board of ``tiles``."""
    for action in range(mask.shape[0]):
        mask[action] = np.int8(0)
    mask[8 * tiles] = np.int8(1)


@inlined
def rewrite_mask(sets: TileSets, mask: npt.NDArray[np.int8], b: int, player: int, width: int) -> None:
    """Write the mask of ``player`` from his movable tiles; for games without teams."""
    tiles = sets.exits.shape[1]
    clear_mask(mask, tiles)
    for row in range(sets.movable.shape[2]):
        word = sets.movable[b, player, row]
        while word != NOTHING:
            tile = row * width + lowest_bit(word)
            word &= word - ONE
            write_mask(mask, tiles, tile, np.int64(sets.exits[b, tile]))


@inlined
def own_tile(
    boards: Boards,
    b: int,
    sets: TileSets,
    mask: npt.NDArray[np.int8],
    player: int,
    row: int,
    column: int,
    teams: bool,
    writes: bool,
) -> None:
    """Bring a tile that ``player`` owns up to date: whether it is movable, and with ``writes`` its entries of the mask."""
    tile = row * boards.games[b]["width"] + column
    directions = 0
    if boards.players[b, player]["alive"] and boards.army[b, tile] >= 1:
        directions = np.int64(sets.exits[b, tile])
        if teams:
            directions = legal_directions(boards, b, player, tile, row, column, directions)
        elif boards.army[b, tile] < 2:
            directions = 0
    bit = bit_at(column)
    was = sets.movable[b, player, row] & bit != NOTHING
    if writes and (teams or was != (directions != 0)):  # without teams all moves of a tile become legal together
        write_mask(mask, sets.exits.shape[1], tile, directions)
    if was != (directions != 0):
        sets.movable[b, player, row] ^= bit
