"""Writes which tiles of packed boards a player may build on, by the rules of the competition.

Equal to the builds in ``action_mask`` of ``engine.observations.reference``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, GENERAL, PLAIN
from generals_env.engine.jit import inlined, kernel, subroutine
from generals_env.engine.packed.packing import OWNER_OFFSET, PackedBoards, code_bits
from generals_env.engine.rules.castle_prices import BASE_PRICE, PRICE_REACH, SURCHARGE, SURCHARGE_STEP

__all__ = ["BuildScratch", "empty_build_scratch", "may_build_packed", "write_packed_builds"]


@inlined
def is_structure(terrain: int) -> bool:
    """Return whether a terrain is a general or a castle, which make castles near them dearer."""
    return bool((terrain == GENERAL) | (terrain == CITY))


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


class BuildScratch(NamedTuple):
    """Working memory for the builds of one mask."""

    flags: npt.NDArray[np.uint8]  # (H*W,) rounded up to whole words: 1 where the player may build if the army pays
    words: npt.NDArray[np.uint64]  # the same memory, eight tiles at a time
    built: npt.NDArray[np.uint8]  # likewise: 1 on the player's general and castles
    built_words: npt.NDArray[np.uint64]
    structures: npt.NDArray[np.int32]  # (H*W,) their tiles


@kernel
def empty_build_scratch(tiles: int) -> BuildScratch:
    """Return working memory for boards of this many tiles."""
    flags = np.zeros((tiles + 7) // 8 * 8, np.uint8)
    built = np.zeros((tiles + 7) // 8 * 8, np.uint8)
    return BuildScratch(flags, flags.view(np.uint64), built, built.view(np.uint64), np.zeros(tiles, np.int32))


@subroutine
def flag_candidates(
    packed: PackedBoards, row: int, player: int, code: npt.NDArray[np.uint8], flags: npt.NDArray[np.uint8]
) -> None:
    """Flag the plain tiles of a living player whose army pays the lowest price."""
    ground = np.int64(packed.entries[row]["ground"])
    wide = np.int64(packed.entries[row]["wide"])
    terrain, tiles = packed.terrain[ground], packed.tiles[row]
    own = np.uint8(player + OWNER_OFFSET) if packed.players[ground, player]["alive"] else np.uint8(255)
    if wide < 0:
        lowest = np.int16(BASE_PRICE << code_bits(packed.players.shape[1]))  # the owner is in the bits below the army
        for tile in range(code.shape[0]):
            flags[tile] = np.uint8((code[tile] == own) & (terrain[tile] == PLAIN) & (tiles[tile] >= lowest))
    else:
        armies = packed.armies[wide]
        for tile in range(code.shape[0]):
            flags[tile] = np.uint8((code[tile] == own) & (terrain[tile] == PLAIN) & (armies[tile] >= BASE_PRICE))


@subroutine
def list_structures(packed: PackedBoards, row: int, player: int, code: npt.NDArray[np.uint8], scratch: BuildScratch) -> int:
    """List the tiles of a player's general and castles, and return their number."""
    terrain = packed.terrain[np.int64(packed.entries[row]["ground"])]
    own, flags = np.uint8(player + OWNER_OFFSET), scratch.built
    for tile in range(code.shape[0]):
        flags[tile] = np.uint8((code[tile] == own) & ((terrain[tile] == GENERAL) | (terrain[tile] == CITY)))
    count = 0
    for word in range(scratch.built_words.shape[0]):
        if scratch.built_words[word] == 0:
            continue
        for tile in range(8 * word, min(8 * word + 8, code.shape[0])):
            if flags[tile]:
                scratch.structures[count] = tile
                count += 1
    return count


@subroutine
def write_packed_builds(
    packed: PackedBoards,
    row: int,
    player: int,
    height: int,
    code: npt.NDArray[np.uint8],
    scratch: BuildScratch,
    out: npt.NDArray[np.int8],
) -> None:
    """Write for each tile whether a player may build on it.

    Args:
        packed: The boards.
        row: Row of the board.
        player: The player.
        height: H.
        code: (H*W,) uint8, owner + 6.
        scratch: Working memory.
        out: (H*W,) int8.
    """
    wide = np.int64(packed.entries[row]["wide"])
    shift = code_bits(packed.players.shape[1])
    width = code.shape[0] // height
    flag_candidates(packed, row, player, code, scratch.flags)
    for tile in range(out.shape[0]):
        out[tile] = np.int8(0)
    built = -1
    for word in range(scratch.words.shape[0]):
        if scratch.words[word] == 0:  # few armies pay even the lowest price
            continue
        if built < 0:
            built = list_structures(packed, row, player, code, scratch)
        for tile in range(8 * word, min(8 * word + 8, out.shape[0])):
            if scratch.flags[tile] == 0:
                continue
            price = BASE_PRICE
            for k in range(built):
                other = np.int64(scratch.structures[k])
                steps = abs(other // width - tile // width) + abs(other % width - tile % width)
                price += max(SURCHARGE - SURCHARGE_STEP * steps, 0)
            army = np.int64(packed.armies[wide, tile]) if wide >= 0 else np.int64(packed.tiles[row, tile]) >> shift
            out[tile] = np.int8(army >= price)
