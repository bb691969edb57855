"""Gathers rows of packed boards into new arrays, with their grounds, wide armies and what players remember."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined, kernel
from generals_env.engine.packed.packing import Counts, PackedBoards, empty_packed, trimmed

__all__ = ["copy_armies", "copy_ground", "copy_packed_row", "gather"]


@inlined
def copy_ground(packed: PackedBoards, ground: int, out: PackedBoards, to: int) -> None:
    """Copy a ground."""
    # Rows first: an index of two numbers in a loop is three times as slow.
    old, new = packed.terrain[ground], out.terrain[to]
    for tile in range(new.shape[0]):
        new[tile] = old[tile]
    for player in range(packed.players.shape[1]):
        out.players[to, player] = packed.players[ground, player]
    out.games[to] = packed.games[ground]


@inlined
def copy_armies(packed: PackedBoards, wide: int, out: PackedBoards, to: int) -> None:
    """Copy a row of wide armies."""
    old, new = packed.armies[wide], out.armies[to]
    for tile in range(new.shape[0]):
        new[tile] = old[tile]


@inlined
def copy_packed_row(packed: PackedBoards, row: int, out: PackedBoards, to: int) -> None:
    """Copy tiles, entry and memory of a board; the entry still refers to rows of ``packed``."""
    old, new = packed.tiles[row], out.tiles[to]
    for tile in range(new.shape[0]):
        new[tile] = old[tile]
    out.entries[to] = packed.entries[row]
    if out.memory.shape[0]:
        for player in range(packed.memory.shape[1]):
            known, copied = packed.memory[row, player], out.memory[to, player]
            for tile in range(copied.shape[0]):
                copied[tile] = known[tile]


@kernel
def gather_rows(
    packed: PackedBoards,
    index: npt.NDArray[np.int64],
    places: npt.NDArray[np.int32],
    grounds: npt.NDArray[np.int32],
    out: PackedBoards,
    counts: Counts,
) -> None:
    """Copy rows ``index`` to rows 0 to n - 1.

    Args:
        packed: The boards.
        index: (n,) int64.
        places: (N,) int32, the new row of each row, -1 for those that are not copied.
        grounds: (G,) int32, in and out: the new row of each ground, -1 for those that are not copied yet.
        out: Boards, out, with room for n boards and all their grounds and wide armies.
        counts: (2,) int64, in and out: number of grounds and rows of wide armies in ``out``.
    """
    for i in range(index.shape[0]):
        row = index[i]
        copy_packed_row(packed, row, out, i)
        ground = np.int64(packed.entries[row]["ground"])
        if grounds[ground] < 0:
            grounds[ground] = counts[0]
            copy_ground(packed, ground, out, counts[0])
            counts[0] += 1
        out.entries[i]["ground"] = grounds[ground]
        wide = np.int64(packed.entries[row]["wide"])
        if wide >= 0:
            copy_armies(packed, wide, out, counts[1])
            out.entries[i]["wide"] = counts[1]
            counts[1] += 1
        previous = np.int64(packed.entries[row]["previous"])
        out.entries[i]["previous"] = places[previous] if previous >= 0 else -1


def gather(packed: PackedBoards, index: npt.NDArray[np.integer]) -> PackedBoards:
    """Return the boards in rows ``index`` (n,), in new arrays; ``previous`` of a board that is not among them becomes -1."""
    rows = np.ascontiguousarray(index, np.int64)
    places = np.full(len(packed.tiles), -1, np.int32)
    places[rows] = np.arange(len(rows))
    grounds = np.full(len(packed.games), -1, np.int32)
    tiles, players = packed.tiles.shape[1], packed.players.shape[1]
    grounds_bound = min(len(rows), len(packed.games))
    wide = int((packed.entries["wide"][rows] >= 0).sum())
    out = empty_packed(len(rows), tiles, players, grounds_bound, wide, remembers=len(packed.memory) > 0)
    counts = np.zeros(2, np.int64)
    gather_rows(packed, rows, places, grounds, out, counts)
    return trimmed(out, len(rows), *counts)
