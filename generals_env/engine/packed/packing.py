"""Packs boards losslessly in two bytes a tile, and unpacks them.

A tile is one 16-bit integer: the owner in the low bits, the army above them. With two players 13 bits are left for the army
(-4,096 to 4,095), with up to ten 12, with up to sixteen 11; a board with an army outside that range is *wide*: it has a row of
32-bit armies. Terrain, generals, teams, living players and the rules are the *ground* of a board; consecutive boards share it
until a general is captured or a player leaves.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import GAME, OWNER_OBSERVATORY, PLAYER, Boards
from generals_env.engine.jit import inlined, kernel, subroutine

__all__ = [
    "ENTRY",
    "OWNER_OFFSET",
    "Counts",
    "PackedBoards",
    "bits_of",
    "code_bits",
    "empty_packed",
    "first_rows",
    "pack",
    "pack_row",
    "packed_of",
    "planes_of",
    "same_ground",
    "trimmed",
    "unpack",
    "unpack_row",
]

#: Fields of each board beside its tiles.
#:
#: - ground: row of ``terrain``, ``players`` and ``games``.
#: - previous: row of the board one turn before, -1 where a game begins or that board is not stored.
#: - wide: row of ``armies`` of a wide board, else -1.
#: - turn, last_move: as in ``GAME``.
ENTRY = np.dtype([(name, np.int32) for name in ("ground", "wide", "turn", "last_move", "previous")])

#: Added to an owner, so that the lowest becomes 0.
OWNER_OFFSET = -OWNER_OBSERVATORY


#: Maximum size of the array that a view keeps alive, in sizes of the view.
MAX_KEPT = 1.25

#: (2,) number of grounds and rows of wide armies in packed boards.
Counts = npt.NDArray[np.int64]


class PackedBoards(NamedTuple):
    """N boards of H x W tiles and P players, G grounds, K rows of wide armies.

    Attributes:
        tiles: (N, H*W) int16, ``army << bits | owner + 6`` with ``bits = code_bits(P)``.
        entries: (N,) records of ``ENTRY``.
        terrain: (G, H*W) int8.
        players: (G, P) records of ``PLAYER``.
        games: (G,) records of ``GAME``, turn and last_move 0.
        armies: (K, H*W) int32.
        memory: (N, P, H*W) uint16, what each player remembers (see ``engine.packed.fog_memory``); (0, P, H*W) without memory.
    """

    tiles: npt.NDArray[np.int16]
    entries: npt.NDArray[np.void]
    terrain: npt.NDArray[np.int8]
    players: npt.NDArray[np.void]
    games: npt.NDArray[np.void]
    armies: npt.NDArray[np.int32]
    memory: npt.NDArray[np.uint16]


def bits_of(players: int) -> int:
    """Return the number of bits of a tile that hold its owner."""
    return 3 if players <= 2 else (4 if players <= 10 else 5)


code_bits = inlined(bits_of)  # for kernels


def empty_packed(
    count: int, tiles: int, players: int, grounds: int = 0, wide: int = 0, remembers: bool = False
) -> PackedBoards:
    """Return room for packed boards. Grounds and entries are zeros, so that the padding of records is always the same."""
    return PackedBoards(
        tiles=np.empty((count, tiles), np.int16),
        entries=np.zeros(count, ENTRY),
        terrain=np.empty((grounds, tiles), np.int8),
        players=np.zeros((grounds, players), PLAYER),
        games=np.zeros(grounds, GAME),
        armies=np.empty((wide, tiles), np.int32),
        memory=np.empty((count if remembers else 0, players, tiles), np.uint16),
    )


@inlined
def write_tiles(boards: Boards, b: int, packed: PackedBoards, row: int) -> bool:
    """Write the tiles of board ``b`` to row ``row``; return whether the board is wide."""
    shift = code_bits(boards.players.shape[1])
    lowest = np.int32(0)
    highest = np.int32(0)
    for tile in range(boards.owner.shape[1]):
        army = boards.army[b, tile]
        packed.tiles[row, tile] = np.int16(army << shift | (boards.owner[b, tile] + OWNER_OFFSET))
        lowest = min(lowest, army)
        highest = max(highest, army)
    limit = 1 << (15 - shift)
    return bool(lowest < -limit or highest >= limit)


# A call would make ``put`` count references to all arrays of a ring for each board: that costs more than half its speed.
@inlined
def same_ground(
    terrain: npt.NDArray[np.int8],
    players: npt.NDArray[np.void],
    games: npt.NDArray[np.void],
    ground: int,
    other_terrain: npt.NDArray[np.int8],
    other_players: npt.NDArray[np.void],
    other_games: npt.NDArray[np.void],
    other: int,
) -> bool:
    """Return whether two grounds are equal; arrays are those of ``PackedBoards``, of boards of one shape."""
    for player in range(players.shape[1]):
        mine = players[ground, player]
        theirs = other_players[other, player]
        if (
            mine["general"] != theirs["general"]
            or mine["surrendered"] != theirs["surrendered"]
            or mine["team"] != theirs["team"]
            or mine["alive"] != theirs["alive"]
        ):
            return False
    game = games[ground]
    kept = other_games[other]
    if (
        game["height"] != kept["height"]
        or game["width"] != kept["width"]
        or game["rows"] != kept["rows"]
        or game["columns"] != kept["columns"]
        or game["version"] != kept["version"]
        or game["modifiers"] != kept["modifiers"]
        or game["fog"] != kept["fog"]
    ):
        return False
    one, two = terrain[ground], other_terrain[other]
    differs = np.int8(0)
    for tile in range(one.shape[0]):
        differs |= one[tile] ^ two[tile]
    return bool(differs == 0)


@subroutine
def write_ground(boards: Boards, b: int, packed: PackedBoards, ground: int) -> None:
    """Write the ground of board ``b`` to row ``ground``."""
    for tile in range(boards.terrain.shape[1]):
        packed.terrain[ground, tile] = boards.terrain[b, tile]
    for player in range(boards.players.shape[1]):
        packed.players[ground, player] = boards.players[b, player]
    packed.games[ground] = boards.games[b]
    packed.games[ground]["turn"] = 0
    packed.games[ground]["last_move"] = 0


@inlined
def pack_row(boards: Boards, b: int, packed: PackedBoards, row: int, ground: int, previous: int, counts: Counts) -> int:
    """Pack board ``b`` to row ``row``.

    Args:
        boards: The boards.
        b: Row of the board.
        packed: Packed boards, out, with room for one more ground and one more row of wide armies.
        row: Row in ``packed``.
        ground: Row of a ground that may be equal to the board's, -1 for none.
        previous: Row of the board one turn before, or -1.
        counts: (2,) int64, in and out: number of grounds and rows of wide armies.

    Returns:
        Row of its ground.
    """
    if ground < 0 or not same_ground(
        boards.terrain, boards.players, boards.games, b, packed.terrain, packed.players, packed.games, ground
    ):
        ground = counts[0]
        counts[0] += 1
        write_ground(boards, b, packed, ground)
    packed.entries[row]["ground"] = ground
    packed.entries[row]["wide"] = -1
    packed.entries[row]["turn"] = boards.games[b]["turn"]
    packed.entries[row]["last_move"] = boards.games[b]["last_move"]
    packed.entries[row]["previous"] = previous
    if write_tiles(boards, b, packed, row):
        packed.entries[row]["wide"] = counts[1]
        for tile in range(boards.army.shape[1]):
            packed.armies[counts[1], tile] = boards.army[b, tile]
        counts[1] += 1
    return ground


@kernel
def pack_rows(boards: Boards, packed: PackedBoards, counts: Counts) -> None:
    """Pack all boards; a board shares the ground of the board before it if it is equal.

    Args:
        boards: The boards.
        packed: Packed boards, out, with room for as many grounds and rows of wide armies as there are boards.
        counts: (2,) int64, in and out: number of grounds and rows of wide armies.
    """
    ground = -1
    for b in range(boards.owner.shape[0]):
        ground = pack_row(boards, b, packed, b, ground, -1, counts)


@inlined
def unpack_row(packed: PackedBoards, row: int, boards: Boards, b: int) -> None:
    """Write packed board ``row`` over board ``b``."""
    shift = code_bits(boards.players.shape[1])
    low = (1 << shift) - 1
    ground = np.int64(packed.entries[row]["ground"])
    wide = np.int64(packed.entries[row]["wide"])
    for tile in range(boards.owner.shape[1]):
        value = packed.tiles[row, tile]
        boards.owner[b, tile] = np.int8((value & low) - OWNER_OFFSET)
        boards.army[b, tile] = np.int32(value >> shift)
        boards.terrain[b, tile] = packed.terrain[ground, tile]
    if wide >= 0:
        for tile in range(boards.owner.shape[1]):
            boards.army[b, tile] = packed.armies[wide, tile]
    for player in range(boards.players.shape[1]):
        boards.players[b, player] = packed.players[ground, player]
    boards.games[b] = packed.games[ground]
    boards.games[b]["turn"] = packed.entries[row]["turn"]
    boards.games[b]["last_move"] = packed.entries[row]["last_move"]


@kernel
def unpack_rows(packed: PackedBoards, index: npt.NDArray[np.int64], boards: Boards) -> None:
    """Unpack rows ``index`` (n,) into boards 0 to n - 1."""
    for i in range(index.shape[0]):
        unpack_row(packed, index[i], boards, i)


def pack(boards: Boards) -> PackedBoards:
    """Return packed boards without memory; consecutive boards with equal grounds share one."""
    count, tiles = boards.owner.shape
    packed = empty_packed(count, tiles, boards.players.shape[1], count, count)
    counts = np.zeros(2, np.int64)
    pack_rows(boards, packed, counts)
    return trimmed(packed, count, *counts)


def trimmed(packed: PackedBoards, count: int, grounds: int, wide: int) -> PackedBoards:
    """Return the first boards, grounds and rows of wide armies; see ``first_rows``."""
    return PackedBoards(
        first_rows(packed.tiles, count),
        first_rows(packed.entries, count),
        first_rows(packed.terrain, grounds),
        first_rows(packed.players, grounds),
        first_rows(packed.games, grounds),
        first_rows(packed.armies, wide),
        first_rows(packed.memory, count),
    )


def first_rows(array: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """Return the first rows: a view if they are most of the array, else a copy, as a view keeps the whole array alive."""
    view = array[:count]
    return view if MAX_KEPT * count >= len(array) else view.copy()


def unpack(packed: PackedBoards, index: npt.NDArray[np.integer] | None = None) -> Boards:
    """Return the boards in rows ``index`` (n,), all of them by default."""
    rows = np.arange(len(packed.tiles)) if index is None else np.ascontiguousarray(index, np.int64)
    count, tiles, players = len(rows), packed.tiles.shape[1], packed.players.shape[1]
    boards = Boards(
        np.empty((count, tiles), np.int8),
        np.empty((count, tiles), np.int32),
        np.empty((count, tiles), np.int8),
        np.zeros((count, players), PLAYER),
        np.zeros(count, GAME),
    )
    unpack_rows(packed, rows, boards)
    return boards


def planes_of(packed: PackedBoards) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]]:
    """Return owners (N, H*W) int8 and armies (N, H*W) int32."""
    bits = bits_of(packed.players.shape[1])
    owner = ((packed.tiles & np.int16((1 << bits) - 1)) - OWNER_OFFSET).astype(np.int8)
    army = (packed.tiles >> bits).astype(np.int32)
    wide = packed.entries["wide"]
    army[wide >= 0] = packed.armies[wide[wide >= 0]]
    return owner, army


def packed_of(
    owner: npt.NDArray[np.int8],
    army: npt.NDArray[np.integer],
    entries: npt.NDArray[np.void],
    terrain: npt.NDArray[np.int8],
    players: npt.NDArray[np.void],
    games: npt.NDArray[np.void],
    memory: npt.NDArray[np.uint16],
) -> PackedBoards:
    """Return packed boards of owners and armies as ``planes_of`` returns them; ``entries`` are copied, with a new ``wide``."""
    bits = bits_of(players.shape[1])
    limit = 1 << (15 - bits)
    narrow = (army.min(axis=1, initial=0) >= -limit) & (army.max(axis=1, initial=0) < limit)
    entries = entries.copy()
    entries["wide"] = np.where(narrow, -1, np.cumsum(~narrow) - 1)
    tiles = army.astype(np.int16)
    tiles <<= bits
    tiles |= owner + np.int8(OWNER_OFFSET)
    return PackedBoards(tiles, entries, terrain, players, games, army[~narrow].astype(np.int32), memory)
