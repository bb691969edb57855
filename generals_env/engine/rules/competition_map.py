"""Generates maps as the bot competition does (rules C28 to C33): a quarter mountains, generals far apart on equal ground.

On boards of other sizes than 18 to 21 the number of opened mountains grows with the area and the distance of the generals with
the sides. The algorithm always finds places for the generals, if need be closer together or on ground that differs. With a
spawn distance the steps between them lie in its range, and maps on which no candidate has such a partner are drawn again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.bitboards import NOTHING, ONE, bit_at, count_bits, has_bit
from generals_env.engine.boards import CITY, MOUNTAIN, PLAIN, Boards
from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.rules.map_tiles import mark_ground, populate, random_tile, walk
from generals_env.engine.splitmix import RandomState, random_below

__all__ = ["CANDIDATES", "MAX_MOUNTAINS", "ROOM_STEPS", "ROOM_TOLERANCE", "draw_competition_map", "least_distance"]

#: One of this many tiles is a mountain at the most, before some are opened.
MAX_MOUNTAINS = 4
#: Mountains that are opened: once castles, which the competition takes off the board.
MIN_OPENED, MAX_OPENED = 9, 11
#: Places considered for the first general, within ``NEAR_OPENED`` steps of an opened mountain.
CANDIDATES, NEAR_OPENED = 8, 6
#: Steps between the generals.
APART = 17
#: Ground within this many steps of a general is his room, and by how much the rooms of two generals may differ.
ROOM_STEPS, ROOM_TOLERANCE = 7, 5
#: The smallest and the largest side of a board of the competition.
MIN_SIDE, MAX_SIDE = 18, 21
#: Maps drawn before the generator gives up: one suffices unless all candidates are walled in, or a spawn distance is given.
ATTEMPTS, RANGE_ATTEMPTS = 100, 2000

FAIR, FAR = 2, 1  # ranks of a candidate, by the partner that he has
RANK = 100000  # what a rank counts against differences of room and steps
GAP = 100


@subroutine
def least_distance(rows: int, columns: int) -> int:
    """Return the number of steps that two generals are apart: 17 on the boards of the competition."""
    sides = rows + columns
    return max(APART * sides // min(max(sides, 2 * MIN_SIDE), 2 * MAX_SIDE), 2)


@subroutine
def place_competition_mountains(
    terrain: npt.NDArray[np.int8],
    b: int,
    width: int,
    rows: int,
    columns: int,
    rng: RandomState,
    densities: npt.NDArray[np.float64],
) -> None:
    """Scatter mountains (rule C29) and mark those that are opened as cities (rule C30)."""
    area = rows * columns
    for tile in range(terrain.shape[0]):
        inside = tile // width < rows and tile % width < columns
        terrain[tile] = PLAIN if inside else MOUNTAIN
    low = int(densities[0] * area)
    high = max(int(densities[1] * area), low)
    mountains = min(low + random_below(rng, b, high - low + 1), area // MAX_MOUNTAINS)
    usual = min(max(area, MIN_SIDE * MIN_SIDE), MAX_SIDE * MAX_SIDE)
    fewest = MIN_OPENED * area // usual
    opened = min(fewest + random_below(rng, b, MAX_OPENED * area // usual - fewest + 1), mountains)
    for _ in range(mountains):
        tile = random_tile(rng, b, width, rows, columns)
        while terrain[tile] != PLAIN:
            tile = random_tile(rng, b, width, rows, columns)
        terrain[tile] = MOUNTAIN
    for _ in range(opened):
        tile = random_tile(rng, b, width, rows, columns)
        while terrain[tile] != MOUNTAIN:
            tile = random_tile(rng, b, width, rows, columns)
        terrain[tile] = CITY


@inlined
def widen(lines: npt.NDArray[np.uint64], low: int, high: int) -> bool:
    """Extend the tiles in the second of ``lines`` by a step over the ground in the first, in rows ``low`` to ``high``.

    Returns:
        Whether there are more tiles.
    """
    above = lines[1, low - 1]
    more = NOTHING
    for row in range(low, high + 1):
        here = lines[1, row]
        word = here | (((here << ONE) | (here >> ONE) | above | lines[1, row + 1]) & lines[0, row])
        lines[1, row] = word
        more |= here ^ word
        above = here
    return more != NOTHING


@subroutine
def reach_of(tile: int, width: int, rows: int, lines: npt.NDArray[np.uint64]) -> int:
    """Return the number of steps from a tile to the one furthest away."""
    origin = tile // width + 1
    for row in range(rows + 2):
        lines[1, row] = NOTHING
    lines[1, origin] = bit_at(tile % width)
    steps = 0
    while widen(lines, max(origin - steps - 1, 1), min(origin + steps + 1, rows)):
        steps += 1
    return steps


@subroutine
def room_of(tile: int, width: int, rows: int, lines: npt.NDArray[np.uint64], rooms: npt.NDArray[np.int32]) -> int:
    """Return how many tiles lie within ``ROOM_STEPS`` of a tile; ``rooms`` (H*W,) int32 keeps what is known, 0 is unknown."""
    if rooms[tile] == 0:
        origin = tile // width + 1
        low = max(origin - ROOM_STEPS, 1)
        high = min(origin + ROOM_STEPS, rows)
        for row in range(low - 1, high + 2):
            lines[1, row] = NOTHING
        lines[1, origin] = bit_at(tile % width)
        for step in range(1, ROOM_STEPS + 1):
            widen(lines, max(origin - step, 1), min(origin + step, rows))
        count = 0
        for row in range(low, high + 1):
            count += count_bits(lines[1, row])
        rooms[tile] = count
    return np.int64(rooms[tile])


@subroutine
def list_candidates(
    terrain: npt.NDArray[np.int8],
    b: int,
    width: int,
    rows: int,
    columns: int,
    rng: RandomState,
    lines: npt.NDArray[np.uint64],
    ground: npt.NDArray[np.int32],
) -> int:
    """Draw the places that are considered for the first general (rule C31).

    Args:
        terrain: (H*W,) int8, opened mountains are cities.
        b: Which generator.
        width: W.
        rows: Rows of the board.
        columns: Columns of the board.
        rng: Generators.
        lines: (4, H + 2) uint64, the first holds the ground.
        ground: (H*W,) int32, out: the candidates come first.

    Returns:
        Their number.
    """
    for row in range(rows + 2):
        lines[1, row] = NOTHING
    for row in range(rows):
        for column in range(columns):
            if terrain[row * width + column] == CITY:
                lines[1, row + 1] |= bit_at(column)
    for _ in range(NEAR_OPENED):
        widen(lines, 1, rows)
    total = 0
    near = 0
    for row in range(rows):
        for column in range(columns):
            tile = row * width + column
            if terrain[tile] != MOUNTAIN:
                ground[total] = tile
                if has_bit(lines[1, row + 1], column):  # those near an opened mountain come first
                    ground[total] = ground[near]
                    ground[near] = tile
                    near += 1
                total += 1
    count = min(CANDIDATES, total)
    for k in range(count):
        end = near if k < near else total
        pick = k + random_below(rng, b, end - k)
        tile = ground[pick]
        ground[pick] = ground[k]
        ground[k] = tile
    return count


@subroutine
def least_gap(
    tile: int,
    apart: int,
    furthest: int,
    width: int,
    rows: int,
    distance: npt.NDArray[np.int32],
    lines: npt.NDArray[np.uint64],
    rooms: npt.NDArray[np.int32],
) -> int:
    """Return by how much the room of ``tile`` differs at the least from that of a tile ``apart`` to ``furthest`` steps away."""
    room = room_of(tile, width, rows, lines, rooms)
    least = distance.shape[0]
    for other in range(distance.shape[0]):
        if apart <= distance[other] <= furthest:
            least = min(least, abs(room_of(other, width, rows, lines, rooms) - room))
            if least == 0:
                break
    return least


@subroutine
def choose_candidate(
    apart: int,
    furthest: int,
    width: int,
    rows: int,
    columns: int,
    candidates: int,
    ground: npt.NDArray[np.int32],
    reaches: npt.NDArray[np.int32],
    distance: npt.NDArray[np.int32],
    lines: npt.NDArray[np.uint64],
    rooms: npt.NDArray[np.int32],
) -> int:
    """Return which candidate has the highest score (rule C32).

    They are judged in the order of the score that they could reach, until none that is left could reach the highest so far.

    Args:
        apart: Minimum number of steps between generals.
        furthest: Maximum number of steps between them.
        width: W.
        rows: Rows of the board.
        columns: Columns of the board.
        candidates: Their number.
        ground: (H*W,) int32, the candidates come first.
        reaches: (H*W,) int32, out: for each candidate the number of steps to the tile furthest away.
        distance: (H*W,) int32, scratch.
        lines: (4, H + 2) uint64, the first holds the ground.
        rooms: (H*W,) int32, see ``room_of``.
    """
    for k in range(candidates):
        reaches[k] = reach_of(np.int64(ground[k]), width, rows, lines)
    best = -1
    best_score = -1
    judged = 0  # bits
    while True:
        pick = -1
        highest = -1
        for k in range(candidates):
            bound = (FAIR * RANK if reaches[k] >= apart else 0) + CANDIDATES + reaches[k] - k
            if not judged >> k & 1 and bound > highest:
                pick = k
                highest = bound
        if pick < 0 or best_score > highest:
            return best
        judged |= 1 << pick
        score = highest
        if reaches[pick] >= apart:
            walk(width, rows, np.int64(ground[pick]), rows * columns, True, distance, lines)
            gap = least_gap(np.int64(ground[pick]), apart, furthest, width, rows, distance, lines, rooms)
            if gap > ROOM_TOLERANCE:
                score -= (FAIR - FAR) * RANK
            score -= GAP * gap
        if score > best_score or (score == best_score and pick < best):
            best = pick
            best_score = score


@subroutine
def choose_partner(
    tile: int,
    reach: int,
    apart: int,
    furthest: int,
    width: int,
    rows: int,
    b: int,
    rng: RandomState,
    distance: npt.NDArray[np.int32],
    lines: npt.NDArray[np.uint64],
    rooms: npt.NDArray[np.int32],
    far: npt.NDArray[np.int32],
) -> int:
    """Return the place of the second general (rule C32); arguments as in ``choose_candidate``, ``far`` is scratch."""
    if reach < apart:
        for other in range(distance.shape[0]):
            if distance[other] == reach:
                return other
    count = 0
    for other in range(distance.shape[0]):
        if apart <= distance[other] <= furthest:
            far[count] = other
            count += 1
    room = room_of(tile, width, rows, lines, rooms)
    least = distance.shape[0]
    choice = -1
    while count > 0:  # in random order: the first one with equal room is a uniform choice among them
        pick = random_below(rng, b, count)
        other = np.int64(far[pick])
        count -= 1
        far[pick] = far[count]
        gap = abs(room_of(other, width, rows, lines, rooms) - room)
        if gap <= ROOM_TOLERANCE:
            return other
        if gap < least:
            least = gap
            choice = other
    return choice


@subroutine
def draw_competition_map(
    boards: Boards,
    b: int,
    rng: RandomState,
    densities: npt.NDArray[np.float64],
    nearest: int,
    furthest: int,
    seats: npt.NDArray[np.int64],
    distance: npt.NDArray[np.int32],
    lines: npt.NDArray[np.uint64],
) -> bool:
    """Draw a map for board ``b`` and start a game on it.

    Args:
        boards: The boards; rows and columns are set.
        b: Which of them.
        rng: (B,) uint64, generators.
        densities: (3,) float64, minimum and maximum share of mountains; the third is not read.
        nearest: Minimum number of steps between the generals, if ``furthest`` is not 0.
        furthest: Maximum number of steps between them; 0 for the distance of the competition.
        seats: (2,) int64, scratch.
        distance: (5, H*W) int32, scratch.
        lines: (4, H + 2) uint64, scratch.

    Returns:
        False if all candidates of ``ATTEMPTS`` maps were walled in, or had no partner in the range on ``RANGE_ATTEMPTS`` maps;
        the board must not be used then.
    """
    terrain = boards.terrain[b]
    width = boards.games[b]["width"]
    rows = boards.games[b]["rows"]
    columns = boards.games[b]["columns"]
    apart, attempts, limit = least_distance(rows, columns), ATTEMPTS, rows * columns
    if furthest > 0:
        apart, attempts, limit = nearest, RANGE_ATTEMPTS, furthest
    ground, reaches, steps, rooms, far = distance[0], distance[1], distance[2], distance[3], distance[4]
    for _ in range(attempts):
        place_competition_mountains(terrain, b, width, rows, columns, rng, densities)
        mark_ground(terrain, width, rows, columns, lines)
        candidates = list_candidates(terrain, b, width, rows, columns, rng, lines, ground)
        for tile in range(rooms.shape[0]):
            rooms[tile] = 0
        best = choose_candidate(apart, limit, width, rows, columns, candidates, ground, reaches, steps, lines, rooms)
        if reaches[best] == 0 or (furthest > 0 and reaches[best] < apart):
            continue
        seats[0] = ground[best]
        walk(width, rows, seats[0], rows * columns, True, steps, lines)
        seats[1] = choose_partner(
            seats[0], np.int64(reaches[best]), apart, limit, width, rows, b, rng, steps, lines, rooms, far
        )
        for tile in range(terrain.shape[0]):
            if terrain[tile] == CITY:
                terrain[tile] = PLAIN
        populate(boards, b, rng, seats)
        return True
    return False
