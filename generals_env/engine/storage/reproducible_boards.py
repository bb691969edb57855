"""Classifies boards by whether resimulation leads to them, and rebuilds all boards from those that have to be kept.

A board has one of three origins. It is *played* if it has a previous board and executing the recorded actions there leads to
it, tile by tile. It is *repeated* if it equals the board in the row before it, as where a recording was split. Every other
board is *kept*. A previous board always comes in an earlier row.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined, kernel
from generals_env.engine.packed.packing import Counts, PackedBoards, pack_row, unpack_row
from generals_env.engine.storage.resimulate import (
    SimulationScratch,
    empty_scratch,
    list_growing_tiles,
    resimulate_turn,
    same_board,
)

__all__ = ["KEPT", "PLAYED", "REPEATED", "classify_board_origins", "play_boards"]

KEPT, PLAYED, REPEATED = range(3)


@inlined
def read_actions(
    rows: npt.NDArray[np.void],
    ending: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    b: int,
    before: int,
    scratch: SimulationScratch,
) -> bool:
    """Write the actions that led to board ``b`` to ``scratch``; return False if not all of them were for board ``before``."""
    tiles, players = scratch.boards.owner.shape[1], scratch.actions.shape[0]
    for player in range(players):
        scratch.actions[player] = 8 * tiles
    for k in range(first[b], first[b + 1]):
        row = ending[k]
        if rows[row]["state_index"] != before or rows[row]["steps"] != 1:
            return False
        scratch.actions[rows[row]["player_id"]] = rows[row]["action"]
    return True


@kernel
def classify_board_origins(
    packed: PackedBoards,
    rows: npt.NDArray[np.void],
    ending: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    low: int,
    high: int,
    origins: npt.NDArray[np.uint8],
) -> None:
    """Write the origins of boards ``low`` to ``high``.

    Args:
        packed: The boards. What players remember is ignored.
        rows: (n,) records of ``EXPERIENCE``.
        ending: (n,) int64, numbers of ``rows`` in the order of their next boards.
        first: (N + 1,) int64, where in ``ending`` the rows of each board begin.
        low: First board.
        high: End of the boards.
        origins: (N,) uint8, out.
    """
    scratch = empty_scratch(packed.tiles.shape[1], packed.players.shape[1])
    two = scratch.boards
    present = np.int64(-1)  # row of the board in ``scratch``
    for b in range(low, high):
        origins[b] = KEPT
        unpack_row(packed, b, two, 1)
        before = np.int64(packed.entries[b]["previous"])
        if 0 <= before < b and read_actions(rows, ending, first, b, before, scratch):
            if present != before:
                unpack_row(packed, before, two, 0)
                list_growing_tiles(two, 0, scratch.growing)
            resimulate_turn(two, 0, scratch)
            if same_board(two, 0, two, 1):
                origins[b] = PLAYED
                present = np.int64(b)
                continue
        present = np.int64(-1)
        if b > 0:
            unpack_row(packed, b - 1, two, 0)
            if same_board(two, 0, two, 1):
                origins[b] = REPEATED


@kernel
def play_boards(
    kept: PackedBoards,
    rows: npt.NDArray[np.void],
    ending: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    origins: npt.NDArray[np.uint8],
    previous: npt.NDArray[np.int32],
    out: PackedBoards,
    counts: Counts,
) -> bool:
    """Write all boards, each by its origin; what players remember is not written.

    Args:
        kept: The boards that are kept, in order.
        rows: See ``classify_board_origins``, as for the next two.
        ending: (n,) int64.
        first: (N + 1,) int64.
        origins: (N,) uint8; the first board is not repeated.
        previous: (N,) int32, the board before each, -1 for none; lower than the board itself where that is played.
        out: Boards, out.
        counts: (2,) int64, in and out: number of grounds and rows of wide armies in ``out``.

    Returns:
        Whether there was room for all grounds and wide armies, with one row of each to spare.
    """
    scratch = empty_scratch(out.tiles.shape[1], out.players.shape[1])
    two = scratch.boards
    place = np.int64(0)
    for b in range(origins.shape[0]):  # ``scratch`` holds board ``b - 1``
        before = np.int64(previous[b])
        if origins[b] == KEPT:
            unpack_row(kept, place, two, 0)
            list_growing_tiles(two, 0, scratch.growing)
            place += 1
        elif origins[b] == PLAYED:
            if before != b - 1:
                unpack_row(out, before, two, 0)
                list_growing_tiles(two, 0, scratch.growing)
            read_actions(rows, ending, first, b, before, scratch)
            resimulate_turn(two, 0, scratch)
        likely = before if 0 <= before < b else np.int64(b - 1)
        ground = np.int64(out.entries[likely]["ground"]) if likely >= 0 else np.int64(-1)
        pack_row(two, 0, out, b, ground, before, counts)
        if counts[0] >= out.terrain.shape[0] or counts[1] >= out.armies.shape[0]:
            return False
    return True
