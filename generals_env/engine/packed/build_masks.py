"""Writes which tiles of packed boards a player may build on, by the rules of the competition.

Equal to the builds in ``action_mask`` of ``engine.observations.reference``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, GENERAL, PLAIN
from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.packed.packing import OWNER_OFFSET, PackedBoards, code_bits
from generals_env.engine.rules.castle_prices import BASE_PRICE, PRICE_REACH, SURCHARGE, SURCHARGE_STEP

__all__ = ["may_build_packed", "write_packed_builds"]


@inlined
def is_structure(terrain: int) -> bool:
    """Return whether a terrain is a general or a castle, which make castles near them dearer."""
    return terrain in (GENERAL, CITY)


@subroutine
def may_build_packed(packed: PackedBoards, row: int, player: int, tile: int, height: int) -> bool:
    """Return whether a player may build on a tile of packed board ``row``."""
    ground = np.int64(packed.entries[row]["ground"])
    wide = np.int64(packed.entries[row]["wide"])
    shift = code_bits(packed.players.shape[1])
    low = (1 << shift) - 1
    width = packed.tiles.shape[1] // height
    value = np.int64(packed.tiles[row, tile])
    if (value & low) - OWNER_OFFSET != player or not packed.players[ground, player]["alive"]:
        return False
    if packed.terrain[ground, tile] != PLAIN:
        return False
    price = BASE_PRICE
    for y in range(max(tile // width - PRICE_REACH, 0), min(tile // width + PRICE_REACH + 1, height)):
        for x in range(max(tile % width - PRICE_REACH, 0), min(tile % width + PRICE_REACH + 1, width)):
            other = y * width + x
            if is_structure(packed.terrain[ground, other]):
                holder = (np.int64(packed.tiles[row, other]) & low) - OWNER_OFFSET
                if holder == player:
                    price += max(SURCHARGE - SURCHARGE_STEP * (abs(y - tile // width) + abs(x - tile % width)), 0)
    army = np.int64(packed.armies[wide, tile]) if wide >= 0 else value >> shift
    return bool(army >= price)


@subroutine
def write_packed_builds(
    packed: PackedBoards,
    row: int,
    player: int,
    height: int,
    code: npt.NDArray[np.uint8],
    prices: npt.NDArray[np.int32],
    out: npt.NDArray[np.int8],
) -> None:
    """Write for each tile whether a player may build on it.

    Args:
        packed: The boards.
        row: Row of the board.
        player: The player.
        height: H.
        code: (H*W,) uint8, owner + 6.
        prices: (H*W,) int32, overwritten.
        out: (H*W,) int8.
    """
    ground = np.int64(packed.entries[row]["ground"])
    wide = np.int64(packed.entries[row]["wide"])
    shift = np.int32(code_bits(packed.players.shape[1]))
    terrain, tiles = packed.terrain[ground], packed.tiles[row]
    count = code.shape[0]
    width = count // height
    own = np.uint8(player + OWNER_OFFSET) if packed.players[ground, player]["alive"] else np.uint8(255)
    for tile in range(count):
        prices[tile] = np.int32(BASE_PRICE)
    for tile in range(count):
        if code[tile] == own and is_structure(terrain[tile]):
            row_here, column_here = tile // width, tile % width
            for y in range(max(row_here - PRICE_REACH, 0), min(row_here + PRICE_REACH + 1, height)):
                for x in range(max(column_here - PRICE_REACH, 0), min(column_here + PRICE_REACH + 1, width)):
                    extra = SURCHARGE - SURCHARGE_STEP * (abs(y - row_here) + abs(x - column_here))
                    prices[y * width + x] += np.int32(max(extra, 0))
    if wide < 0:
        for tile in range(count):
            pays = (np.int32(tiles[tile]) >> shift) >= prices[tile]
            out[tile] = np.int8((code[tile] == own) & (terrain[tile] == PLAIN) & pays)
    else:
        armies = packed.armies[wide]
        for tile in range(count):
            out[tile] = np.int8((code[tile] == own) & (terrain[tile] == PLAIN) & (armies[tile] >= prices[tile]))
