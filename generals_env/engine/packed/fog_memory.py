"""Packs what players remember under fog in 16 bits a tile, and expands it to the planes of ``engine.observations.fog_memory``.

A remembered tile is 0 if the player never saw it. Else bit 15 is set, bits 13-14 are its owner (``MINE``, ``THEIRS``,
``NEUTRAL``, ``OBSTACLE``), bits 11-12 its building (1 a city, 2 a general), and bits 0-10 its army, clipped to 0 to 1,000.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, GENERAL
from generals_env.engine.jit import inlined, kernel, subroutine
from generals_env.engine.observations.reference import ARMY_SCALE, visible_to
from generals_env.engine.packed.expand import FREE, Lines, empty_lines, is_plain, read_owners, read_seen, room_for_one
from generals_env.engine.packed.packing import PackedBoards, code_bits, unpack_row

__all__ = ["expand_memory", "recall_board", "recall_rows"]

MINE, THEIRS, NEUTRAL, OBSTACLE = range(4)
SEEN = 1 << 15
MAX_ARMY = 1000  # the highest army that observations distinguish


@subroutine
def remember_seen(packed: PackedBoards, row: int, player: int, width: int, lines: Lines) -> None:
    """Write the tiles that ``player`` sees into their memory, after ``lines`` was filled; other tiles stay as remembered."""
    ground = np.int64(packed.entries[row]["ground"])
    wide = np.int64(packed.entries[row]["wide"])
    shift = code_bits(packed.players.shape[1])
    friend = lines.friend[width + 1 :]
    for tile in range(lines.seen.shape[0]):
        if not lines.seen[tile]:
            continue
        code = lines.code[tile]
        if code < FREE:
            packed.memory[row, player, tile] = np.uint16(SEEN | OBSTACLE << 13)
            continue
        army = np.int64(packed.armies[wide, tile]) if wide >= 0 else np.int64(packed.tiles[row, tile]) >> shift
        owner = NEUTRAL
        if code > FREE:
            owner = MINE if friend[tile] else THEIRS
        terrain = packed.terrain[ground, tile]
        built = 1 if terrain == CITY else (2 if terrain == GENERAL else 0)
        shown = np.int64(min(max(army, 0), MAX_ARMY))
        packed.memory[row, player, tile] = np.uint16(SEEN | owner << 13 | built << 11 | shown)


@inlined
def recall_board(packed: PackedBoards, row: int, width: int, lines: Lines, visible: npt.NDArray[np.uint32]) -> None:
    """Write what every player remembers on a board, from the memory of its previous board and what the player sees.

    Args:
        packed: The boards, with memory.
        row: Row of the board.
        width: W.
        lines: Working memory.
        visible: (H*W,) uint32 from ``visible_to``; only read if the board wraps.
    """
    tiles = packed.tiles.shape[1]
    players = packed.players.shape[1]
    previous = np.int64(packed.entries[row]["previous"])
    plain = is_plain(packed, np.int64(packed.entries[row]["ground"]))
    for player in range(players):
        memory = packed.memory[row, player]
        if previous >= 0:
            old = packed.memory[previous, player]
            for tile in range(tiles):
                memory[tile] = old[tile]
        else:
            for tile in range(tiles):
                memory[tile] = np.uint16(0)
        read_owners(packed, row, player, width, lines)
        if plain:
            read_seen(packed, row, width, lines)
        else:
            for tile in range(tiles):
                lines.seen[tile] = np.uint8((visible[tile] >> np.uint32(player)) & np.uint32(1))
        remember_seen(packed, row, player, width, lines)


@kernel
def recall_rows(packed: PackedBoards, height: int, low: int, high: int) -> None:
    """Write what every player remembers on boards ``low`` to ``high``, see ``recall_board``.

    Args:
        packed: The boards; those before ``low`` have their memory, and previous boards come before their next ones. On a
            board without a previous board, players remember only what they see.
        height: H.
        low: First row.
        high: End of the rows.
    """
    tiles = packed.tiles.shape[1]
    width = tiles // height
    lines = empty_lines(tiles, width)
    board = room_for_one(packed)
    visible = np.zeros(tiles, np.uint32)
    for row in range(low, high):
        if not is_plain(packed, np.int64(packed.entries[row]["ground"])):
            unpack_row(packed, row, board, 0)
            visible_to(board, 0, visible)
        recall_board(packed, row, width, lines, visible)


@kernel
def expand_memory(
    packed: PackedBoards,
    index: npt.NDArray[np.int32],
    player: npt.NDArray[np.int8],
    low: int,
    high: int,
    full: bool,
    first: int,
    out: npt.NDArray[np.float32],
) -> None:
    """Write the planes of what ``player[i]`` remembers on board ``index[i]``, for i from ``low`` to ``high``.

    Args:
        packed: The boards, with memory.
        index: (n,) int32.
        player: (n,) int8.
        low: First row.
        high: End of the rows.
        full: Whether to write ``FULL_MEMORY``, else ``MEMORY``.
        first: Index of the first plane in ``out``.
        out: (n, C, H*W) float32.
    """
    zero, one = np.float32(0), np.float32(1)
    for i in range(low, high):
        known = packed.memory[index[i], player[i]]
        for tile in range(known.shape[0]):
            value = np.int64(known[tile])
            seen = value >= SEEN
            owner = (value >> 13) & 3
            built = (value >> 11) & 3
            shows_army = seen and (full or owner != NEUTRAL) and owner != OBSTACLE
            out[i, first, tile] = one if seen else zero
            out[i, first + 1, tile] = one if seen and owner == MINE else zero
            out[i, first + 2, tile] = one if seen and owner == THEIRS else zero
            out[i, first + 3, tile] = one if seen and owner == NEUTRAL else zero
            out[i, first + 4, tile] = np.float32(value & 0x7FF) / ARMY_SCALE if shows_army else zero
            out[i, first + 5, tile] = one if built else zero
            out[i, first + 6, tile] = one if seen and owner == OBSTACLE else zero
            if full:
                out[i, first + 7, tile] = one if built == 1 else zero
                out[i, first + 8, tile] = one if built == 2 and owner == THEIRS else zero
