"""Adds and removes hidden land and cities of the enemy until their numbers are those of the scoreboard."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, MOUNTAIN, NEUTRAL, Boards
from generals_env.engine.jit import subroutine
from generals_env.engine.observations.tile_codes import FOG, FOG_OBSTACLE
from generals_env.engine.planner.sight import Record
from generals_env.engine.rules.map_tiles import CITY_ARMY
from generals_env.engine.rules.valid_moves import neighbour
from generals_env.engine.splitmix import RandomState, random_below

__all__ = ["fit_cities", "fit_land"]


@subroutine
def touches_enemy(boards: Boards, b: int, enemy: int, tile: int) -> bool:
    """Return whether a neighbour of ``tile`` is the enemy's."""
    game = boards.games[b]
    width = game["width"]
    row = tile // width
    for direction in range(4):
        other = neighbour(row, tile - row * width, direction, width, game["rows"], game["columns"], False)
        if other >= 0 and boards.owner[b, other] == enemy:
            return True
    return False


@subroutine
def reach_land(
    boards: Boards,
    b: int,
    enemy: int,
    codes: npt.NDArray[np.uint8],
    room: int,
    queue: npt.NDArray[np.int32],
    came: npt.NDArray[np.int32],
) -> int:
    """Join the general's land by a shortest path through fog to the nearest enemy tile elsewhere; return the tiles it took.

    Args:
        boards: The boards.
        b: Which of them.
        enemy: The player whose land it is.
        codes: (T,) uint8, see ``Sight``.
        room: Maximum number of tiles.
        queue: (T,) int32, scratch.
        came: (T,) int32, scratch.
    """
    game = boards.games[b]
    width = game["width"]
    home = np.int64(boards.players[b, enemy]["general"])
    came[:] = -1
    came[home] = home
    queue[0] = home
    count = 1
    k = 0
    while k < count:
        tile = np.int64(queue[k])
        k += 1
        row = tile // width
        for direction in range(4):
            other = neighbour(row, tile - row * width, direction, width, game["rows"], game["columns"], False)
            if other < 0 or came[other] >= 0:
                continue
            mine = boards.owner[b, other] == enemy
            if not mine and codes[other] != FOG:
                continue
            came[other] = tile
            queue[count] = other
            count += 1
            if mine and boards.owner[b, tile] != enemy:
                length = 0
                back = tile
                while boards.owner[b, back] != enemy:
                    length += 1
                    back = np.int64(came[back])
                if length > room:
                    return 0
                back = tile
                while boards.owner[b, back] != enemy:
                    boards.owner[b, back] = enemy
                    boards.army[b, back] = 1
                    back = np.int64(came[back])
                return length
    return 0


@subroutine
def fit_land(
    boards: Boards,
    b: int,
    enemy: int,
    codes: npt.NDArray[np.uint8],
    record: Record,
    land: int,
    fresh: bool,
    rng: RandomState,
    queue: npt.NDArray[np.int32],
    came: npt.NDArray[np.int32],
) -> None:
    """Add or remove hidden enemy tiles until their number is ``land``.

    Args:
        boards: The boards.
        b: Which of them.
        enemy: The player whose land it is.
        codes: (T,) uint8, see ``Sight``.
        record: What the seat has seen so far.
        land: Tiles of the enemy.
        fresh: Whether to join the general's land to the rest first.
        rng: (B,) uint64, generators.
        queue: (T,) int32, scratch.
        came: (T,) int32, scratch.
    """
    tiles = codes.shape[0]
    home = boards.players[b, enemy]["general"]
    count = 0
    for tile in range(tiles):
        count += boards.owner[b, tile] == enemy
    if fresh and count < land:
        count += reach_land(boards, b, enemy, codes, land - count, queue, came)
    edge = 0
    if count < land:
        game = boards.games[b]
        width = game["width"]
        came[:] = 0
        for tile in range(tiles):
            free = codes[tile] == FOG and boards.owner[b, tile] == NEUTRAL and boards.army[b, tile] <= 1
            if free and touches_enemy(boards, b, enemy, tile):
                queue[edge] = tile
                came[tile] = 1
                edge += 1
        while count < land and edge > 0:
            # The older of two: land grows about evenly to all sides.
            pick = min(random_below(rng, b, edge), random_below(rng, b, edge))
            tile = np.int64(queue[pick])
            edge -= 1
            for k in range(pick, edge):
                queue[k] = queue[k + 1]
            boards.owner[b, tile] = enemy
            boards.army[b, tile] = 1
            count += 1
            row = tile // width
            for direction in range(4):
                other = neighbour(row, tile - row * width, direction, width, game["rows"], game["columns"], False)
                if other >= 0 and came[other] == 0 and codes[other] == FOG and boards.owner[b, other] == NEUTRAL:
                    came[other] = 1
                    queue[edge] = other
                    edge += 1
        first = random_below(rng, b, tiles)
        for k in range(tiles):  # a pocket is full: there is land elsewhere
            tile = (first + k) % tiles
            if count < land and codes[tile] == FOG and boards.owner[b, tile] == NEUTRAL:
                boards.owner[b, tile] = enemy
                boards.army[b, tile] = 1
                count += 1
    while count > land:
        worst = -1
        least = np.int64(1) << 60
        for tile in range(tiles):
            hidden = codes[tile] == FOG or codes[tile] == FOG_OBSTACLE
            if hidden and tile != home and boards.owner[b, tile] == enemy and record.holder[tile] != enemy:
                weight = (np.int64(boards.army[b, tile]) << 8) + random_below(rng, b, 256)
                if boards.terrain[b, tile] == CITY:
                    weight += 1 << 40
                if weight < least:
                    least = weight
                    worst = tile
        if worst < 0:
            return
        boards.owner[b, worst] = NEUTRAL
        boards.army[b, worst] = CITY_ARMY[0] if boards.terrain[b, worst] == CITY else 0
        count -= 1


@subroutine
def fit_cities(
    boards: Boards, b: int, enemy: int, codes: npt.NDArray[np.uint8], record: Record, cities: int, rng: RandomState
) -> None:
    """Give the enemy hidden cities next to his land, or take some, until he has ``cities``."""
    tiles = codes.shape[0]
    count = 0
    for tile in range(tiles):
        count += boards.owner[b, tile] == enemy and boards.terrain[b, tile] == CITY
    first = random_below(rng, b, tiles)
    for k in range(tiles):
        tile = (first + k) % tiles
        if count == cities:
            return
        if codes[tile] != FOG_OBSTACLE or record.kind[tile] == MOUNTAIN or record.holder[tile] == enemy:
            continue
        held = boards.owner[b, tile] == enemy
        if count < cities and not held and touches_enemy(boards, b, enemy, tile):
            boards.terrain[b, tile] = CITY
            boards.owner[b, tile] = enemy
            boards.army[b, tile] = 1
            count += 1
        elif count > cities and held:
            boards.owner[b, tile] = NEUTRAL
            boards.army[b, tile] = CITY_ARMY[0]
            count -= 1
