"""Generates random maps like those of the live game, always connected and fair.

Guarantees of a map (distances are in steps around mountains; cities count as ground):

- the share of mountains is the one asked for; every tile without a mountain can be reached from every other, and all
  but the cities without crossing a city;
- generals are at least ``min_distance`` steps apart, or, if a spawn distance is given, each general is at least so many steps
  from all others and at most so many from one of them;
- the ground within ``room_radius`` steps of a general differs between players by at most ``ROOM_TOLERANCE`` of the largest;
- every player has the same number of cities within that radius, and the same number that are nearer to him than to any other
  player.

Live 1v1 maps were measured for comparison: 17-26% mountains, 10-11 cities, generals 15-35 steps apart on boards of 18-23,
and ground that differs by up to 80%: they are as unfair as chance makes them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.bitboards import NOTHING, ONE, bit_at, count_all, has_bit
from generals_env.engine.boards import CITY, COMPETITION_VERSION, GENERAL, MOUNTAIN, PLAIN, Boards
from generals_env.engine.jit import kernel, subroutine
from generals_env.engine.rules.competition_map import draw_competition_map
from generals_env.engine.rules.map_tiles import CITY_ARMY, mark_ground, populate, random_tile, walk
from generals_env.engine.splitmix import RandomState, random_below, random_float

__all__ = ["ATTEMPTS", "CITY_ARMY", "ROOM_TOLERANCE", "draw_map", "generate_map", "min_distance", "room_radius"]

#: Largest difference between players' ground, as a share of the largest.
ROOM_TOLERANCE = 0.25

#: Maps drawn before ``generate_map`` gives up.
ATTEMPTS = 2000

SEATS_TRIED = 12  # tiles tried for one general before the map is drawn again
OPEN_SHARE = 0.75  # minimum share of the ground that must be connected before pockets are filled


@subroutine
def min_distance(rows: int, columns: int, players: int) -> int:
    """Return the minimum number of steps between two generals: 15 for two players on 20x20."""
    if players == 2:
        return max(int(0.75 * np.sqrt(rows * columns)), 2)
    return max(int(0.9 * np.sqrt(rows * columns / players)), 2)


@subroutine
def room_radius(rows: int, columns: int, players: int) -> int:
    """Return within how many steps of a general ground counts as his."""
    return max(min_distance(rows, columns, players) // 2, 2)


@subroutine
def flood(width: int, rows: int, origin: int, lines: npt.NDArray[np.uint64]) -> int:
    """Write the tiles reachable from ``origin`` into the second of ``lines`` (see ``walk``); return their number."""
    for row in range(lines.shape[1]):  # all rows are counted in the end
        lines[1, row] = NOTHING
    lines[1, origin // width + 1] = bit_at(origin % width)
    grows = True
    while grows:
        grows = False
        for k in range(2 * rows):  # down, and up again
            row = k + 1 if k < rows else 2 * rows - k
            ground = lines[0, row]
            before = lines[1, row]
            word = before | ((lines[1, row - 1] | lines[1, row + 1]) & ground)
            wider = word | (((word << ONE) | (word >> ONE)) & ground)
            while wider != word:
                word = wider
                wider = word | (((word << ONE) | (word >> ONE)) & ground)
            lines[1, row] = word
            grows = grows or word != before
    return count_all(lines[1])


@subroutine
def is_ground(terrain: npt.NDArray[np.int8], width: int, rows: int, columns: int, row: int, column: int) -> int:
    """Return 1 for a tile of the board that is neither mountain nor city, else 0."""
    if row < 0 or row >= rows or column < 0 or column >= columns:
        return 0
    kind = terrain[row * width + column]
    return 1 if kind == PLAIN or kind == GENERAL else 0  # noqa: PLR1714, SIM109 - a membership test compiles slowly


@subroutine
def place_mountains(boards: Boards, b: int, rng: RandomState, wanted: int, lines: npt.NDArray[np.uint64]) -> bool:
    """Scatter ``wanted`` mountains so that the ground is connected; return False if that failed."""
    terrain = boards.terrain[b]
    width = boards.games[b]["width"]
    rows = boards.games[b]["rows"]
    columns = boards.games[b]["columns"]
    terrain[:] = MOUNTAIN
    for row in range(rows):
        terrain[row * width : row * width + columns] = PLAIN
    placed = 0
    while placed < wanted:
        tile = random_tile(rng, b, width, rows, columns)
        if terrain[tile] == PLAIN:
            terrain[tile] = MOUNTAIN
            placed += 1
    origin = random_tile(rng, b, width, rows, columns)
    while terrain[origin] != PLAIN:
        origin = random_tile(rng, b, width, rows, columns)
    ground = rows * columns - wanted
    mark_ground(terrain, width, rows, columns, lines)
    reached = flood(width, rows, origin, lines)
    if reached < OPEN_SHARE * ground:
        return False
    if reached == ground:
        return True
    for row in range(rows):  # fill tiles that cannot be reached ...
        for column in range(columns):
            if not has_bit(lines[1, row + 1], column):
                terrain[row * width + column] = MOUNTAIN
    while reached < ground:  # ... and open as many tiles beside those that can
        tile = random_tile(rng, b, width, rows, columns)
        row = tile // width
        column = tile % width
        if terrain[tile] == MOUNTAIN and (
            is_ground(terrain, width, rows, columns, row - 1, column)
            or is_ground(terrain, width, rows, columns, row + 1, column)
            or is_ground(terrain, width, rows, columns, row, column - 1)
            or is_ground(terrain, width, rows, columns, row, column + 1)
        ):
            terrain[tile] = PLAIN
            reached += 1
    mark_ground(terrain, width, rows, columns, lines)
    return True


@subroutine
def place_generals(
    boards: Boards,
    b: int,
    rng: RandomState,
    apart: int,
    furthest: int,
    seats: npt.NDArray[np.int64],
    distance: npt.NDArray[np.int32],
    lines: npt.NDArray[np.uint64],
) -> bool:
    """Find a seat for each general, away from the others and with as much ground; return False if that failed.

    Args:
        boards: The boards.
        b: Which of them.
        rng: Generators.
        apart: Minimum number of steps to all other generals.
        furthest: Maximum number of steps to the nearest other general.
        seats: (P,) int64, out: tiles of the generals.
        distance: (P + 3, H*W) int32, out: steps from each seat; the last rows are scratch.
        lines: (4, H + 2) uint64, see ``walk``.
    """
    terrain = boards.terrain[b]
    width = boards.games[b]["width"]
    rows = boards.games[b]["rows"]
    columns = boards.games[b]["columns"]
    players = seats.shape[0]
    radius = room_radius(rows, columns, players)
    smallest = rows * columns
    largest = 0
    suitable = distance[players + 1]
    for player in range(players):
        count = 0
        for tile in range(terrain.shape[0]):
            suits = terrain[tile] == PLAIN
            near = player == 0
            for other in range(player):
                suits = suits and distance[other, tile] >= apart
                near = near or distance[other, tile] <= furthest
            if suits and near:
                suitable[count] = tile
                count += 1
        found = False
        for _ in range(min(SEATS_TRIED if player else 1, count)):
            pick = random_below(rng, b, count)
            tile = suitable[pick]
            count -= 1
            suitable[pick] = suitable[count]
            room = walk(width, rows, np.int64(tile), radius, False, distance[player], lines)
            low = min(smallest, room)
            high = max(largest, room)
            if high - low <= ROOM_TOLERANCE * high:
                smallest = low
                largest = high
                seats[player] = tile
                found = True
                break
        if not found:
            return False
        walk(width, rows, seats[player], rows * columns, True, distance[player], lines)
    return True


@subroutine
def keeps_ground_whole(terrain: npt.NDArray[np.int8], width: int, rows: int, columns: int, tile: int) -> bool:
    """Return whether a city on ``tile`` leaves the ground around it connected (Yokoi's number of the tile is 0 or 1)."""
    row = tile // width
    column = tile % width
    up = is_ground(terrain, width, rows, columns, row - 1, column)
    right = is_ground(terrain, width, rows, columns, row, column + 1)
    down = is_ground(terrain, width, rows, columns, row + 1, column)
    left = is_ground(terrain, width, rows, columns, row, column - 1)
    if up + right + down + left == 0:
        return False
    up_right = is_ground(terrain, width, rows, columns, row - 1, column + 1)
    down_right = is_ground(terrain, width, rows, columns, row + 1, column + 1)
    down_left = is_ground(terrain, width, rows, columns, row + 1, column - 1)
    up_left = is_ground(terrain, width, rows, columns, row - 1, column - 1)
    parts = up - up * up_right * right + right - right * down_right * down
    parts += down - down * down_left * left + left - left * up_left * up
    return parts <= 1


@subroutine
def place_city(
    boards: Boards,
    b: int,
    rng: RandomState,
    territory: npt.NDArray[np.int32],
    nearest: npt.NDArray[np.int32],
    territory_of: int,
    low: int,
    high: int,
) -> int:
    """Put a city in a territory, ``low`` to ``high`` steps from the nearest general; return its tile, -1 if that failed."""
    terrain = boards.terrain[b]
    width = boards.games[b]["width"]
    rows = boards.games[b]["rows"]
    columns = boards.games[b]["columns"]
    for _ in range(2 * rows * columns):
        tile = random_tile(rng, b, width, rows, columns)
        if (
            terrain[tile] == PLAIN
            and territory[tile] == territory_of
            and low <= nearest[tile] <= high
            and keeps_ground_whole(terrain, width, rows, columns, tile)
        ):
            terrain[tile] = CITY
            return tile
    return -1


@subroutine
def place_cities(
    boards: Boards, b: int, rng: RandomState, wanted: int, distance: npt.NDArray[np.int32], placed: npt.NDArray[np.int32]
) -> None:
    """Place about ``wanted`` cities in rounds that give each player one, a third of the rounds close by.

    The remainder goes onto contested ground; a round without a tile for each player is undone.

    Args:
        boards: The boards.
        b: Which of them.
        rng: Generators.
        wanted: Number of cities.
        distance: (P + 3, H*W) int32, steps from each seat; the last rows are scratch.
        placed: (P,) int32, scratch.
    """
    players = boards.players.shape[1]
    rows = boards.games[b]["rows"]
    columns = boards.games[b]["columns"]
    radius = room_radius(rows, columns, players)
    tiles = distance.shape[1]
    contested = players
    territory = distance[players + 1]
    nearest = distance[players + 2]
    for tile in range(tiles):
        territory[tile] = -1
        nearest[tile] = -1
        for player in range(players):
            steps = distance[player, tile]
            if steps < 0:
                continue
            if nearest[tile] < 0 or steps < nearest[tile]:
                nearest[tile] = steps
                territory[tile] = player
            elif steps == nearest[tile]:
                territory[tile] = contested
    rounds = wanted // players
    close = (rounds + 1) // 3
    for number in range(rounds):
        low = 2 if number < close else radius + 1
        high = radius if number < close else tiles
        for player in range(players):
            placed[player] = place_city(boards, b, rng, territory, nearest, player, low, high)
            if placed[player] < 0:
                for other in range(player):
                    boards.terrain[b, placed[other]] = PLAIN
                break
    for _ in range(wanted % players):
        place_city(boards, b, rng, territory, nearest, contested, radius + 1, tiles)


@subroutine
def draw_map(
    boards: Boards,
    b: int,
    rng: RandomState,
    sizes: npt.NDArray[np.int64],
    densities: npt.NDArray[np.float64],
    seats: npt.NDArray[np.int64],
    distance: npt.NDArray[np.int32],
    lines: npt.NDArray[np.uint64],
    castles: bool | None,
) -> bool:
    """Draw a map as ``generate_map`` does, with given scratch: (P,) int64, (P + 3, H*W) int32, (4, H + 2) uint64."""
    rows = sizes[0] + random_below(rng, b, sizes[1] - sizes[0] + 1)
    columns = sizes[2] + random_below(rng, b, sizes[3] - sizes[2] + 1)
    boards.games[b]["rows"] = rows
    boards.games[b]["columns"] = columns
    area = rows * columns
    if castles is not None:
        if boards.games[b]["version"] == COMPETITION_VERSION:
            return draw_competition_map(boards, b, rng, densities, sizes[4], sizes[5], seats, distance, lines)
    apart, furthest, tries = min_distance(rows, columns, seats.shape[0]), area, 1
    if sizes[5] > 0:
        apart, furthest, tries = sizes[4], sizes[5], SEATS_TRIED
    for _ in range(ATTEMPTS):
        share = densities[0] + random_float(rng, b) * (densities[1] - densities[0])
        mountains = min(max(int(share * area + 0.5), int(np.ceil(densities[0] * area))), int(densities[1] * area))
        if not place_mountains(boards, b, rng, mountains, lines):
            continue
        placed = False
        for _ in range(tries):
            placed = placed or place_generals(boards, b, rng, apart, furthest, seats, distance, lines)
        if not placed:
            continue
        for player in range(seats.shape[0]):
            boards.terrain[b, seats[player]] = GENERAL
        place_cities(boards, b, rng, int(densities[2] * area + 0.5), distance, distance[seats.shape[0]])
        populate(boards, b, rng, seats)
        return True
    return False


@kernel
def generate_map(
    boards: Boards,
    b: int,
    rng: RandomState,
    sizes: npt.NDArray[np.int64],
    densities: npt.NDArray[np.float64],
    castles: bool | None = True,
) -> bool:
    """Draw a new map for board ``b`` and start a game on it.

    Args:
        boards: The boards; team, version and modifiers stay.
        b: Which of them.
        rng: (B,) uint64, generators, one a board.
        sizes: (6,) int64: minimum and maximum rows, minimum and maximum columns, minimum and maximum steps of a general to the
            nearest other one; the last two are 0 for the usual distance.
        densities: (3,) float64: minimum and maximum mountains, and cities, as shares of the tiles.
        castles: None if the rules are not those of the competition, see ``jit``; True if they may be.

    Returns:
        False if none of ``ATTEMPTS`` maps met the guarantees; the board must not be used then.
    """
    players = boards.players.shape[1]
    tiles = boards.owner.shape[1]
    seats = np.empty(players, np.int64)
    distance = np.empty((players + 3, tiles), np.int32)
    lines = np.zeros((4, boards.games[b]["height"] + 2), np.uint64)
    return draw_map(boards, b, rng, sizes, densities, seats, distance, lines, castles)
