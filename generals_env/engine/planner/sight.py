"""Takes what one seat sees from a batch, and keeps what it has seen: the only facts that the planner reads of a real game."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, GENERAL, MOUNTAIN, NEUTRAL, OWNER_MOUNTAIN, PLAIN, Boards
from generals_env.engine.jit import kernel
from generals_env.engine.observations.tile_codes import FOG, FOG_OBSTACLE, SEEN_ENEMY, SEEN_MOUNTAIN, SEEN_NEUTRAL, SEEN_OWN

__all__ = ["UNKNOWN", "Record", "Sight", "empty_record", "remember", "see", "sight_of"]

#: Holder and terrain of a tile that was never in sight.
UNKNOWN = -9


class Sight(NamedTuple):
    """What one seat of a game of two sees in one turn.

    Attributes:
        codes: (T,) uint8, see ``tile_codes``.
        owner: (T,) int8, 0 where the tile is not in sight.
        army: (T,) int32, 0 where the tile is not in sight.
        player: Number of the seat.
        general: Tile of its own general.
        turn: Turns played so far.
        rows: Rows of the board, without padding.
        columns: Columns of the board.
        height: Rows of the arrays.
        width: Columns of the arrays.
        version: Version of the rules, see ``boards.GAME``.
        modifiers: See there.
        land: (2,) int64, tiles of the seat and of its enemy.
        armies: (2,) int64, armies of both.
    """

    codes: npt.NDArray[np.uint8]
    owner: npt.NDArray[np.int8]
    army: npt.NDArray[np.int32]
    player: int
    general: int
    turn: int
    rows: int
    columns: int
    height: int
    width: int
    version: int
    modifiers: int
    land: npt.NDArray[np.int64]
    armies: npt.NDArray[np.int64]


class Record(NamedTuple):
    """What a seat has seen in a game so far.

    Attributes:
        holder: (T,) int8, the last known owner, ``UNKNOWN`` if none.
        army: (T,) int32, the army when the tile was last in sight.
        kind: (T,) int8, the terrain, ``UNKNOWN`` before the tile was in sight.
        last: (T,) int64, the turn in which the tile was last in sight, -1 if never.
    """

    holder: npt.NDArray[np.int8]
    army: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int8]
    last: npt.NDArray[np.int64]


def empty_record(tiles: int) -> Record:
    """Return the record of a game that begins."""
    return Record(
        holder=np.full(tiles, UNKNOWN, np.int8),
        army=np.zeros(tiles, np.int32),
        kind=np.full(tiles, UNKNOWN, np.int8),
        last=np.full(tiles, -1, np.int64),
    )


@kernel
def see(
    boards: Boards,
    b: int,
    player: int,
    codes: npt.NDArray[np.uint8],
    owner: npt.NDArray[np.int8],
    army: npt.NDArray[np.int32],
    totals: npt.NDArray[np.int64],
) -> None:
    """Copy what a seat sees of a board; of hidden tiles only the public totals are counted.

    Args:
        boards: The boards.
        b: Which of them.
        player: The seat, 0 or 1.
        codes: (T,) uint8, see ``tile_codes``.
        owner: (T,) int8, out.
        army: (T,) int32, out.
        totals: (4,) int64, out: land of the seat and of its enemy, armies of both.
    """
    totals[:] = 0
    for tile in range(codes.shape[0]):
        holder = boards.owner[b, tile]
        shown = codes[tile] >= SEEN_MOUNTAIN
        owner[tile] = holder if shown else 0
        army[tile] = boards.army[b, tile] if shown else 0
        if holder >= 0:
            other = 0 if holder == player else 1
            totals[other] += 1
            totals[2 + other] += boards.army[b, tile]


def sight_of(boards: Boards, codes: npt.NDArray[np.uint8], b: int, player: int) -> Sight:
    """Return what ``player`` sees of board ``b``; ``codes`` (T,) uint8 are the seat's tile codes."""
    tiles = len(codes)
    owner, army, totals = np.empty(tiles, np.int8), np.empty(tiles, np.int32), np.empty(4, np.int64)
    see(boards, b, player, codes, owner, army, totals)
    turn, rows, columns, height, width, version, modifiers = (
        int(boards.games[b][name]) for name in ("turn", "rows", "columns", "height", "width", "version", "modifiers")
    )
    return Sight(
        codes=codes.copy(),
        owner=owner,
        army=army,
        player=player,
        general=int(boards.players["general"][b, player]),
        turn=turn,
        rows=rows,
        columns=columns,
        height=height,
        width=width,
        version=version,
        modifiers=modifiers,
        land=totals[:2],
        armies=totals[2:],
    )


@kernel
def remember(
    codes: npt.NDArray[np.uint8],
    owner: npt.NDArray[np.int8],
    army: npt.NDArray[np.int32],
    player: int,
    turn: int,
    record: Record,
) -> None:
    """Bring the record up to date with a sight.

    A tile of two players changes hands in sight of one of them: what was last seen as the enemy's is his still, and own land
    that is out of sight was captured.

    Args:
        codes: (T,) uint8, see ``Sight``.
        owner: (T,) int8, see there.
        army: (T,) int32, see there.
        player: The seat.
        turn: Turns played so far.
        record: In and out.
    """
    for tile in range(codes.shape[0]):
        code = codes[tile]
        if code >= SEEN_MOUNTAIN:
            record.last[tile] = turn
            record.army[tile] = army[tile]
            if code == SEEN_MOUNTAIN:
                record.holder[tile] = OWNER_MOUNTAIN
                record.kind[tile] = MOUNTAIN
            else:
                record.holder[tile] = owner[tile]
                base = SEEN_NEUTRAL if code < SEEN_OWN else (SEEN_OWN if code < SEEN_ENEMY else SEEN_ENEMY)
                built = code - base
                record.kind[tile] = PLAIN if built == 0 else (CITY if built == 1 else GENERAL)
        else:
            if record.holder[tile] == player:
                record.holder[tile] = 1 - player
                record.army[tile] = 1
            if code == FOG_OBSTACLE and record.kind[tile] == PLAIN:  # a castle that was built in the fog
                record.holder[tile] = 1 - player
                record.kind[tile] = CITY
                record.army[tile] = 1
            if code == FOG and record.kind[tile] == UNKNOWN and record.holder[tile] == NEUTRAL:
                record.kind[tile] = PLAIN
