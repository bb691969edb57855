"""Transforms packed boards by the eight symmetries of the square."""

from __future__ import annotations

import numpy as np

from generals_env.engine.jit import kernel
from generals_env.engine.packed.packing import PackedBoards
from generals_env.engine.symmetry import Symmetries, image

__all__ = ["turn_packed"]


@kernel
def turn_packed(packed: PackedBoards, symmetries: Symmetries, height: int, width: int) -> None:
    """Transform packed boards in place; no two share a ground.

    Args:
        packed: N boards.
        symmetries: (N,) int64; those from 4 on only where H = W.
        height: H.
        width: W.
    """
    tiles = packed.tiles.shape[1]
    players = packed.players.shape[1]
    images = np.empty(tiles, np.int32)
    old = np.empty(tiles, np.int32)
    for b in range(symmetries.shape[0]):
        symmetry = symmetries[b]
        if symmetry == 0:
            continue
        ground = np.int64(packed.entries[b]["ground"])
        wide = np.int64(packed.entries[b]["wide"])
        rows, columns = packed.games[ground]["rows"], packed.games[ground]["columns"]
        for tile in range(tiles):
            images[tile] = image(symmetry, tile, height, width, rows, columns)
            old[tile] = packed.tiles[b, tile]
        for tile in range(tiles):
            packed.tiles[b, images[tile]] = old[tile]
        for tile in range(tiles):
            old[tile] = packed.terrain[ground, tile]
        for tile in range(tiles):
            packed.terrain[ground, images[tile]] = old[tile]
        if wide >= 0:
            for tile in range(tiles):
                old[tile] = packed.armies[wide, tile]
            for tile in range(tiles):
                packed.armies[wide, images[tile]] = old[tile]
        for player in range(players):
            home = packed.players[ground, player]["general"]
            if home >= 0:
                packed.players[ground, player]["general"] = images[home]
            if packed.memory.shape[0]:
                for tile in range(tiles):
                    old[tile] = packed.memory[b, player, tile]
                for tile in range(tiles):
                    packed.memory[b, player, images[tile]] = old[tile]
        if symmetry & 4:
            packed.games[ground]["rows"] = columns
            packed.games[ground]["columns"] = rows
