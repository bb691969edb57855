"""Games as the boards that playing does not lead to, and the actions from there on; played again when they are read.

A board comes about in one of three ways. It is *played* if it has a board before it and playing what was done there leads to
it, tile by tile. It is *repeated* if it is the board in front of it once more, as where a recording was cut in two. Every
other board is *kept*. Boards are in an order in which those before them come first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined, kernel
from generals_env.engine.packed.packing import Counts, PackedBoards, pack_row, unpack_row
from generals_env.engine.storage.resimulate import SimulationScratch, empty_table, list_growing, play_turn, same_board

__all__ = ["KEPT", "PLAYED", "REPEATED", "classify_board_origins", "play_boards"]

KEPT, PLAYED, REPEATED = range(3)


@inlined
def take_orders(
    rows: npt.NDArray[np.void],
    ending: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    b: int,
    before: int,
    table: SimulationScratch,
) -> bool:
    """Write on the table what was done to come to board ``b``; return False if not all of it was done on board ``before``."""
    tiles, players = table.boards.owner.shape[1], table.actions.shape[0]
    for player in range(players):
        table.actions[player] = 8 * tiles
    for k in range(first[b], first[b + 1]):
        row = ending[k]
        if rows[row]["state_index"] != before or rows[row]["steps"] != 1:
            return False
        table.actions[rows[row]["player_id"]] = rows[row]["action"]
    return True


@kernel
def classify_board_origins(
    packed: PackedBoards,
    rows: npt.NDArray[np.void],
    ending: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    low: int,
    high: int,
    ways: npt.NDArray[np.uint8],
) -> None:
    """Tell in which way boards ``low`` to ``high`` come about.

    Args:
        packed: The boards. What players remember is not looked at.
        rows: (n,) records of ``EXPERIENCE``.
        ending: (n,) int64, rows in the order of the boards after them.
        first: (N + 1,) int64, where in ``ending`` those of each board begin.
        low: First board.
        high: First board not to look at.
        ways: (N,) uint8, out.
    """
    table = empty_table(packed.tiles.shape[1], packed.players.shape[1])
    two = table.boards
    present = np.int64(-1)  # which board stands on the table
    for b in range(low, high):
        ways[b] = KEPT
        unpack_row(packed, b, two, 1)
        before = np.int64(packed.entries[b]["previous"])
        if 0 <= before < b and take_orders(rows, ending, first, b, before, table):
            if present != before:
                unpack_row(packed, before, two, 0)
                list_growing(two, 0, table.growing)
            play_turn(two, 0, table)
            if same_board(two, 0, two, 1):
                ways[b] = PLAYED
                present = np.int64(b)
                continue
        present = np.int64(-1)
        if b > 0:
            unpack_row(packed, b - 1, two, 0)
            if same_board(two, 0, two, 1):
                ways[b] = REPEATED


@kernel
def play_boards(
    kept: PackedBoards,
    rows: npt.NDArray[np.void],
    ending: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    ways: npt.NDArray[np.uint8],
    previous: npt.NDArray[np.int32],
    out: PackedBoards,
    counts: Counts,
) -> bool:
    """Write all boards, each in its way; what players remember is not written.

    Args:
        kept: The boards that are kept, in order.
        rows: As in ``classify_board_origins``, as the next two.
        ending: (n,) int64.
        first: (N + 1,) int64.
        ways: (N,) uint8; the first board is not repeated.
        previous: (N,) int32, the board before each, -1 for none; lower than the board itself where that is played.
        out: Where to.
        counts: (2,) int64, in and out: how many grounds and rows of wide armies there are.

    Returns:
        Whether there was room for all grounds and wide armies; one of each stays free.
    """
    table = empty_table(out.tiles.shape[1], out.players.shape[1])
    two = table.boards
    place = np.int64(0)
    for b in range(ways.shape[0]):  # the board in front stands on the table
        before = np.int64(previous[b])
        if ways[b] == KEPT:
            unpack_row(kept, place, two, 0)
            list_growing(two, 0, table.growing)
            place += 1
        elif ways[b] == PLAYED:
            if before != b - 1:
                unpack_row(out, before, two, 0)
                list_growing(two, 0, table.growing)
            take_orders(rows, ending, first, b, before, table)
            play_turn(two, 0, table)
        likely = before if 0 <= before < b else np.int64(b - 1)
        ground = np.int64(out.entries[likely]["ground"]) if likely >= 0 else np.int64(-1)
        pack_row(two, 0, out, b, ground, before, counts)
        if counts[0] >= out.terrain.shape[0] or counts[1] >= out.armies.shape[0]:
            return False
    return True
