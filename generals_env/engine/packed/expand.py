"""Expands packed boards to observations and action masks, in loops that the compiler vectorises.

Equal to ``observe`` and ``action_mask`` of ``engine.observations.reference`` bit for bit, several times as fast. Rare cases
(boards that wrap, moves between team-mates) are unpacked and left to these two.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, COMPETITION_VERSION, GAME, GENERAL, PLAYER, TORUS, Boards
from generals_env.engine.jit import inlined, kernel, subroutine
from generals_env.engine.observations.reference import (
    ARMY_SCALE,
    CHANNELS,
    FULL_CHANNELS,
    SCOREBOARD,
    action_mask,
    count_scores,
    observe,
    scoreboard,
    visible_to,
)
from generals_env.engine.packed.build_masks import empty_build_scratch, write_packed_builds
from generals_env.engine.packed.packing import OWNER_OFFSET, PackedBoards, code_bits, unpack_row

__all__ = [
    "FREE",
    "Lines",
    "empty_lines",
    "expand_masks",
    "expand_views",
    "is_plain",
    "read_owners",
    "read_seen",
    "room_for_one",
]

#: The lowest owner code of a tile that is no obstacle, that of a neutral tile; the codes above it are those of players.
FREE = OWNER_OFFSET - 1

STANDARD, FULL = len(CHANNELS), len(FULL_CHANNELS)


class Lines(NamedTuple):
    """Working memory for one observation. A framed array has a row of zeros before and after its tiles."""

    code: npt.NDArray[np.uint8]  # (H*W,) owner + 6
    seen: npt.NDArray[np.uint8]  # (H*W,) 1 on visible tiles
    scaled: npt.NDArray[np.float32]  # (H*W,) armies
    friend: npt.NDArray[np.uint8]  # framed, 1 on tiles of the player's team
    near: npt.NDArray[np.uint8]  # framed, 1 on tiles above, at and below these
    not_first: npt.NDArray[np.uint8]  # (H*W,) 0 in the first column
    not_last: npt.NDArray[np.uint8]  # (H*W,) 0 in the last column


@subroutine
def read_codes(packed: PackedBoards, row: int, code: npt.NDArray[np.uint8]) -> None:
    """Write the owner codes of a packed board."""
    low = np.int16((1 << code_bits(packed.players.shape[1])) - 1)
    for tile in range(code.shape[0]):
        code[tile] = np.uint8(packed.tiles[row, tile] & low)


@subroutine
def find_seen(lines: Lines, width: int) -> None:
    """Write which tiles lie in the 3x3 neighbourhood of the team's tiles."""
    frame = width + 1
    # Flat loops with tables for the edges, as loops over single rows are too short to be vectorised; and slices, as an index
    # that might be negative is not vectorised at all.
    above, here, below = lines.friend[1:], lines.friend[frame:], lines.friend[frame + width :]
    near = lines.near[frame:]
    for tile in range(lines.seen.shape[0]):
        near[tile] = above[tile] | here[tile] | below[tile]
    left, right = lines.near[width:], lines.near[frame + 1 :]
    for tile in range(lines.seen.shape[0]):
        lines.seen[tile] = near[tile] | (left[tile] & lines.not_first[tile]) | (right[tile] & lines.not_last[tile])


@inlined
def read_owners(packed: PackedBoards, row: int, player: int, width: int, lines: Lines) -> None:
    """Write the owner codes of a packed board, and which tiles belong to the player's team."""
    ground = np.int64(packed.entries[row]["ground"])
    team = np.uint32(0)
    for other in range(packed.players.shape[1]):
        if packed.players[ground, other]["team"] == packed.players[ground, player]["team"]:
            team |= np.uint32(1) << np.uint32(other + OWNER_OFFSET)
    read_codes(packed, row, lines.code)
    friend = lines.friend[width + 1 :]
    for tile in range(lines.code.shape[0]):
        friend[tile] = np.uint8((team >> np.uint32(lines.code[tile])) & np.uint32(1))


@inlined
def read_seen(packed: PackedBoards, row: int, width: int, lines: Lines) -> None:
    """Write which tiles the team sees, on a board that does not wrap, after ``read_owners``."""
    if packed.games[np.int64(packed.entries[row]["ground"])]["fog"]:
        find_seen(lines, width)
    else:
        for tile in range(lines.seen.shape[0]):
            lines.seen[tile] = np.uint8(1)


@subroutine
def read_view(packed: PackedBoards, row: int, player: int, width: int, lines: Lines) -> None:
    """Write what the channels of an observation are made of."""
    wide = np.int64(packed.entries[row]["wide"])
    shift = np.int32(code_bits(packed.players.shape[1]))
    read_owners(packed, row, player, width, lines)
    read_seen(packed, row, width, lines)
    tiles = lines.code.shape[0]
    if wide < 0:
        for tile in range(tiles):
            army = np.float32(np.int32(packed.tiles[row, tile]) >> shift) / ARMY_SCALE
            lines.scaled[tile] = max(min(army, np.float32(1)), np.float32(0))
    else:
        for tile in range(tiles):
            army = np.float32(packed.armies[wide, tile]) / ARMY_SCALE
            lines.scaled[tile] = max(min(army, np.float32(1)), np.float32(0))


@subroutine
def write_view(terrain: npt.NDArray[np.int8], width: int, lines: Lines, out: npt.NDArray[np.float32]) -> None:
    """Write the nine channels, (9, H*W)."""
    code, seen, scaled = lines.code, lines.seen, lines.scaled
    friend = lines.friend[width + 1 :]
    tiles = code.shape[0]
    zero, one = np.float32(0), np.float32(1)
    # One loop a channel: with several arrays written to, the compiler cannot see that they do not overlap.
    for tile in range(tiles):
        out[0, tile] = scaled[tile] if friend[tile] & seen[tile] else zero
    for tile in range(tiles):
        out[1, tile] = scaled[tile] if (code[tile] > FREE) & (friend[tile] == 0) & (seen[tile] != 0) else zero
    for tile in range(tiles):
        out[2, tile] = one if friend[tile] & seen[tile] else zero
    for tile in range(tiles):
        out[3, tile] = one if (code[tile] > FREE) & (friend[tile] == 0) & (seen[tile] != 0) else zero
    for tile in range(tiles):
        out[4, tile] = one if (code[tile] == FREE) & (seen[tile] != 0) else zero
    for tile in range(tiles):
        built = (terrain[tile] == GENERAL) | (terrain[tile] == CITY)
        out[5, tile] = one if built & (code[tile] >= FREE) & (seen[tile] != 0) else zero
    for tile in range(tiles):
        out[6, tile] = one if (code[tile] < FREE) & (seen[tile] != 0) else zero
    for tile in range(tiles):
        out[7, tile] = one if seen[tile] else zero
    for tile in range(tiles):
        out[8, tile] = zero if seen[tile] else one


@subroutine
def write_full(
    board: Boards, player: int, width: int, lines: Lines, scores: npt.NDArray[np.int64], out: npt.NDArray[np.float32]
) -> None:
    """Write what the full layout adds, (21, H*W) from channel 9 on, for a board unpacked as board 0."""
    terrain = board.terrain[0]
    code, seen, scaled = lines.code, lines.seen, lines.scaled
    friend = lines.friend[width + 1 :]
    tiles = code.shape[0]
    zero, one = np.float32(0), np.float32(1)
    for tile in range(tiles):
        out[9, tile] = scaled[tile] if (code[tile] == FREE) & (seen[tile] != 0) else zero
    for tile in range(tiles):
        out[10, tile] = one if (terrain[tile] == CITY) & (code[tile] >= FREE) & (seen[tile] != 0) else zero
    for tile in range(tiles):
        out[11, tile] = one if (terrain[tile] == GENERAL) & (friend[tile] != 0) & (seen[tile] != 0) else zero
    for tile in range(tiles):
        enemy = (code[tile] > FREE) & (friend[tile] == 0)
        out[12, tile] = one if (terrain[tile] == GENERAL) & enemy & (seen[tile] != 0) else zero
    for tile in range(tiles):
        out[13, tile] = one if (seen[tile] == 0) & ((code[tile] < FREE) | (terrain[tile] == CITY)) else zero
    count_scores(board, 0, scores)
    shares = scoreboard(board, 0, player, scores)
    for k in range(len(shares)):
        out[SCOREBOARD + k] = shares[k]


@subroutine
def write_moves(packed: PackedBoards, row: int, player: int, width: int, lines: Lines, words: npt.NDArray[np.uint32]) -> None:
    """Write for each tile (H*W,) which of its four directions are legal, a byte each, for a player without team-mates."""
    ground = np.int64(packed.entries[row]["ground"])
    wide = np.int64(packed.entries[row]["wide"])
    shift = np.int32(code_bits(packed.players.shape[1]))
    tiles = lines.code.shape[0]
    frame = width + 1
    alive = packed.players[ground, player]["alive"]
    read_codes(packed, row, lines.code)
    own = np.uint8(player + OWNER_OFFSET) if alive else np.uint8(255)
    if wide < 0:
        for tile in range(tiles):
            lines.seen[tile] = np.uint8((lines.code[tile] == own) & ((np.int32(packed.tiles[row, tile]) >> shift) >= 2))
    else:
        for tile in range(tiles):
            lines.seen[tile] = np.uint8((lines.code[tile] == own) & (packed.armies[wide, tile] >= 2))
    free = lines.friend[frame:]
    for tile in range(tiles):
        free[tile] = np.uint8(lines.code[tile] >= FREE)
    up, down, left, right = lines.friend[1:], lines.friend[frame + width :], lines.friend[width:], lines.friend[frame + 1 :]
    for tile in range(tiles):
        word = (
            np.uint32(up[tile])
            | np.uint32(down[tile]) << np.uint32(8)
            | np.uint32(left[tile] & lines.not_first[tile]) << np.uint32(16)
            | np.uint32(right[tile] & lines.not_last[tile]) << np.uint32(24)
        )
        words[tile] = word if lines.seen[tile] else np.uint32(0)


@kernel
def empty_lines(tiles: int, width: int) -> Lines:
    """Return working memory for an observation, with the edges marked."""
    lines = Lines(
        np.zeros(tiles, np.uint8),
        np.zeros(tiles, np.uint8),
        np.zeros(tiles, np.float32),
        np.zeros(tiles + 2 * width + 2, np.uint8),
        np.zeros(tiles + 2 * width + 2, np.uint8),
        np.zeros(tiles, np.uint8),
        np.zeros(tiles, np.uint8),
    )
    for tile in range(tiles):
        column = tile % width
        lines.not_first[tile] = np.uint8(column != 0)
        lines.not_last[tile] = np.uint8(column != width - 1)
    return lines


@subroutine
def is_plain(packed: PackedBoards, ground: int) -> bool:
    """Return whether a board does not wrap."""
    return bool(packed.games[ground]["modifiers"] & TORUS == 0)


@subroutine
def plays_alone(packed: PackedBoards, ground: int, player: int) -> bool:
    """Return whether a player has no team-mates."""
    team = packed.players[ground, player]["team"]
    for other in range(packed.players.shape[1]):
        if other != player and packed.players[ground, other]["team"] == team:
            return False
    return True


@kernel
def expand_views(
    packed: PackedBoards,
    index: npt.NDArray[np.int32],
    player: npt.NDArray[np.int8],
    height: int,
    low: int,
    high: int,
    full: bool,
    first: int,
    out: npt.NDArray[np.float32],
) -> None:
    """Write the observation of ``player[i]`` on board ``index[i]``, for i from ``low`` to ``high``.

    Args:
        packed: The boards.
        index: (n,) int32.
        player: (n,) int8.
        height: H.
        low: First row.
        high: End of the rows.
        full: Whether to write the full layout.
        first: Index of its first channel in ``out``.
        out: (n, C, H*W) float32, see ``observations.reference.observe``.
    """
    tiles = packed.tiles.shape[1]
    width = tiles // height
    lines = empty_lines(tiles, width)
    channels = FULL if full else STANDARD
    board = room_for_one(packed)
    visible = np.zeros(tiles, np.uint32)
    scores = np.zeros((packed.players.shape[1], 2), np.int64)
    for i in range(low, high):
        row = np.int64(index[i])
        ground = np.int64(packed.entries[row]["ground"])
        if is_plain(packed, ground):
            read_view(packed, row, np.int64(player[i]), width, lines)
            write_view(packed.terrain[ground], width, lines, out[i, first:])
            if full:
                unpack_row(packed, row, board, 0)
                write_full(board, np.int64(player[i]), width, lines, scores, out[i, first:])
        else:
            unpack_row(packed, row, board, 0)
            visible_to(board, 0, visible)
            observe(board, 0, np.int64(player[i]), visible, out[i, first : first + channels])


@kernel
def expand_masks(
    packed: PackedBoards,
    index: npt.NDArray[np.int32],
    player: npt.NDArray[np.int8],
    height: int,
    low: int,
    high: int,
    out: npt.NDArray[np.int8],
) -> None:
    """Write the action mask of ``player[i]`` on board ``index[i]``, for i from ``low`` to ``high``.

    Args:
        packed: The boards.
        index: (n,) int32.
        player: (n,) int8.
        height: H.
        low: First row.
        high: End of the rows.
        out: (n, 8*H*W + 1) int8, see ``observations.reference.action_mask``; (n, 9*H*W + 1) to write the builds of boards with
            the rules of the competition, too, and 0 for those of other boards.
    """
    tiles = packed.tiles.shape[1]
    width = tiles // height
    lines = empty_lines(tiles, width)
    words = np.zeros(tiles, np.uint32)
    moves = words.view(np.int8)
    board = room_for_one(packed)
    has_builds = out.shape[1] > 8 * tiles + 1
    build_scratch = empty_build_scratch(tiles)
    for i in range(low, high):
        row = np.int64(index[i])
        ground = np.int64(packed.entries[row]["ground"])
        builds = has_builds and packed.games[ground]["version"] == COMPETITION_VERSION
        if has_builds and not builds:
            for k in range(8 * tiles + 1, out.shape[1]):
                out[i, k] = np.int8(0)
        if is_plain(packed, ground) and plays_alone(packed, ground, np.int64(player[i])):
            write_moves(packed, row, np.int64(player[i]), width, lines, words)
            for k in range(4 * tiles):
                out[i, k] = moves[k]
            for k in range(4 * tiles):
                out[i, 4 * tiles + k] = moves[k]
            out[i, 8 * tiles] = np.int8(1)
        else:
            unpack_row(packed, row, board, 0)
            board.games[0]["version"] = 0  # without builds, for which there may be no room, and which are written below
            action_mask(board, 0, np.int64(player[i]), out[i, : 8 * tiles + 1])
            read_codes(packed, row, lines.code)
        if builds:
            write_packed_builds(packed, row, np.int64(player[i]), height, lines.code, build_scratch, out[i, 8 * tiles + 1 :])


@kernel
def room_for_one(packed: PackedBoards) -> Boards:
    """Return an empty board of the shape of packed ones."""
    tiles, players = packed.tiles.shape[1], packed.players.shape[1]
    return Boards(
        np.zeros((1, tiles), np.int8),
        np.zeros((1, tiles), np.int32),
        np.zeros((1, tiles), np.int8),
        np.zeros((1, players), PLAYER),
        np.zeros(1, GAME),
    )
