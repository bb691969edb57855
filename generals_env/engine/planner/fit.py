"""Makes whole boards agree with what a seat has seen and with the public totals of land and army."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, GENERAL, MOUNTAIN, NEUTRAL, OWNER_MOUNTAIN, PLAIN, Boards
from generals_env.engine.jit import kernel, subroutine
from generals_env.engine.observations.tile_codes import FOG, FOG_OBSTACLE, SEEN_ENEMY, SEEN_MOUNTAIN, SEEN_NEUTRAL, SEEN_OWN
from generals_env.engine.planner.sight import UNKNOWN, Record
from generals_env.engine.rules.map_tiles import CITY_ARMY
from generals_env.engine.rules.valid_moves import neighbour
from generals_env.engine.splitmix import RandomState, random_below, random_float

__all__ = ["clear_boards", "fit_boards", "move_generals"]

NEAR = 3  # steps from where an army went out of sight within which it is put again


@kernel
def clear_boards(boards: Boards, codes: npt.NDArray[np.uint8], city_chance: float, rng: RandomState) -> None:
    """Begin boards: no land of the enemy, obstacles in fog mountains or cities by chance.

    Args:
        boards: The boards.
        codes: (T,) uint8, see ``Sight``.
        city_chance: Chance of an obstacle in fog to be a city.
        rng: (B,) uint64, generators.
    """
    for b in range(rng.shape[0]):
        for tile in range(codes.shape[0]):
            boards.army[b, tile] = 0
            obstacle = codes[tile] == FOG_OBSTACLE
            boards.owner[b, tile] = OWNER_MOUNTAIN if obstacle else NEUTRAL
            boards.terrain[b, tile] = MOUNTAIN if obstacle else PLAIN
            if obstacle and random_float(rng, b) < city_chance:
                boards.terrain[b, tile] = CITY
                boards.owner[b, tile] = NEUTRAL
                boards.army[b, tile] = CITY_ARMY[0] + random_below(rng, b, CITY_ARMY[1] - CITY_ARMY[0] + 1)


@kernel
def move_generals(
    boards: Boards, which: npt.NDArray[np.bool_], player: int, homes: npt.NDArray[np.float64], rng: RandomState
) -> None:
    """Put the enemy's general of some boards on a tile drawn by weight, with half of the army of his old place.

    Args:
        boards: The boards.
        which: (B,) bool, the boards.
        player: The seat that sees.
        homes: (T,) float64, weights of tiles as the enemy's general, at least one above 0.
        rng: (B,) uint64, generators.
    """
    enemy = 1 - player
    total = homes.sum()
    for b in range(which.shape[0]):
        if not which[b]:
            continue
        left = random_float(rng, b) * total
        home = -1
        for tile in range(homes.shape[0]):
            if homes[tile] > 0 and (left >= 0 or home < 0):
                home = tile
                left -= homes[tile]
        old = np.int64(boards.players[b, enemy]["general"])
        part = 1
        if old >= 0 and old != home:
            boards.terrain[b, old] = PLAIN
            if boards.owner[b, old] == enemy:
                part = max(boards.army[b, old] // 2, 1)
                boards.army[b, old] -= part
        boards.army[b, home] = part + (boards.army[b, home] if boards.owner[b, home] == enemy else 0)
        boards.owner[b, home] = enemy
        boards.terrain[b, home] = GENERAL
        boards.players[b, enemy]["general"] = home


@subroutine
def show_sight(
    boards: Boards,
    b: int,
    player: int,
    codes: npt.NDArray[np.uint8],
    owner: npt.NDArray[np.int8],
    army: npt.NDArray[np.int32],
    record: Record,
    loss: npt.NDArray[np.int64],
) -> None:
    """Overwrite a board with what is in sight and what is certain of the rest.

    Args:
        boards: The boards.
        b: Which of them.
        player: The seat that sees.
        codes: (T,) uint8, see ``Sight``.
        owner: (T,) int8, see there.
        army: (T,) int32, see there.
        record: What the seat has seen so far.
        loss: (2,) int64, out: the tile in sight from which the largest enemy army vanished, and the army.
    """
    enemy = 1 - player
    home = boards.players[b, enemy]["general"]
    loss[0] = -1
    loss[1] = 0
    for tile in range(codes.shape[0]):
        code = np.int64(codes[tile])
        held = np.int64(boards.owner[b, tile])
        if code >= SEEN_MOUNTAIN:
            before = np.int64(boards.army[b, tile]) if held == enemy else 0
            if code == SEEN_MOUNTAIN:
                boards.terrain[b, tile] = MOUNTAIN
                boards.owner[b, tile] = OWNER_MOUNTAIN
                boards.army[b, tile] = 0
            else:
                base = SEEN_NEUTRAL if code < SEEN_OWN else (SEEN_OWN if code < SEEN_ENEMY else SEEN_ENEMY)
                boards.terrain[b, tile] = PLAIN if code == base else (CITY if code == base + 1 else GENERAL)
                boards.owner[b, tile] = owner[tile]
                boards.army[b, tile] = army[tile]
            after = np.int64(boards.army[b, tile]) if boards.owner[b, tile] == enemy else 0
            if before - after > loss[1]:
                loss[0] = tile
                loss[1] = before - after
            continue
        if code == FOG:
            boards.terrain[b, tile] = GENERAL if tile == home else PLAIN
            if tile == home or record.holder[tile] == enemy or held == player:
                boards.owner[b, tile] = enemy
                if held != enemy:
                    boards.army[b, tile] = max(record.army[tile], 1) if record.holder[tile] == enemy else 1
            elif held != enemy:
                boards.owner[b, tile] = NEUTRAL
                boards.army[b, tile] = record.army[tile] if record.holder[tile] == NEUTRAL else 0
        elif record.kind[tile] == MOUNTAIN:
            boards.terrain[b, tile] = MOUNTAIN
            boards.owner[b, tile] = OWNER_MOUNTAIN
            boards.army[b, tile] = 0
        elif record.kind[tile] != UNKNOWN:
            boards.terrain[b, tile] = CITY
            if record.holder[tile] == enemy:
                boards.owner[b, tile] = enemy
                if held != enemy:
                    boards.army[b, tile] = max(record.army[tile], 1)
            elif held != enemy:
                boards.owner[b, tile] = NEUTRAL
                boards.army[b, tile] = record.army[tile]
        elif boards.terrain[b, tile] != CITY:
            boards.terrain[b, tile] = MOUNTAIN
            boards.owner[b, tile] = OWNER_MOUNTAIN
            boards.army[b, tile] = 0
        elif held != enemy:
            boards.owner[b, tile] = NEUTRAL


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


@subroutine
def add_army(
    boards: Boards,
    b: int,
    enemy: int,
    hidden: npt.NDArray[np.int32],
    count: int,
    army: int,
    loss: npt.NDArray[np.int64],
    rng: RandomState,
) -> None:
    """Put armies on hidden enemy tiles: where one went out of sight, on the general, as a stack, and scattered.

    Args:
        boards: The boards.
        b: Which of them.
        enemy: The player whose armies they are.
        hidden: (T,) int32, hidden tiles of the enemy.
        count: Number of these.
        army: The army to put.
        loss: See ``show_sight``.
        rng: (B,) uint64, generators.
    """
    width = boards.games[b]["width"]
    home = np.int64(boards.players[b, enemy]["general"])
    if loss[1] > 2:
        nearest = -1
        least = NEAR + 1
        for k in range(count):
            tile = np.int64(hidden[k])
            steps = abs(tile // width - loss[0] // width) + abs(tile % width - loss[0] % width)
            if steps < least:
                least = steps
                nearest = tile
        if nearest >= 0:
            part = min(army, loss[1])
            boards.army[b, nearest] += part
            army -= part
    if army > 8:
        stack = army // 4 + random_below(rng, b, army // 2)
        boards.army[b, hidden[random_below(rng, b, count)]] += stack
        army -= stack
        scattered = army // 2
        army -= scattered
        for _ in range(scattered):
            boards.army[b, hidden[random_below(rng, b, count)]] += 1
    holds = False
    for k in range(count):
        holds = holds or hidden[k] == home
    boards.army[b, home if holds else np.int64(hidden[0])] += army


@subroutine
def fit_army(
    boards: Boards,
    b: int,
    enemy: int,
    codes: npt.NDArray[np.uint8],
    total: int,
    loss: npt.NDArray[np.int64],
    rng: RandomState,
    hidden: npt.NDArray[np.int32],
) -> None:
    """Add armies to hidden enemy tiles, or take some from the largest, until the enemy has ``total``."""
    count = 0
    army = np.int64(0)
    for tile in range(codes.shape[0]):
        if boards.owner[b, tile] == enemy:
            army += boards.army[b, tile]
            if codes[tile] < SEEN_MOUNTAIN:
                hidden[count] = tile
                count += 1
    if count == 0:
        return
    if army < total:
        add_army(boards, b, enemy, hidden, count, total - army, loss, rng)
    left = np.int64(1)
    while army > total:
        best = np.int64(hidden[0])
        for k in range(count):
            if boards.army[b, hidden[k]] > boards.army[b, best]:
                best = np.int64(hidden[k])
        if boards.army[b, best] <= left:
            if left == 0:
                return
            left = np.int64(0)
            continue
        part = min(army - total, boards.army[b, best] - left)
        boards.army[b, best] -= part
        army -= part


@kernel
def fit_boards(
    boards: Boards,
    fresh: npt.NDArray[np.bool_],
    player: int,
    codes: npt.NDArray[np.uint8],
    owner: npt.NDArray[np.int8],
    army: npt.NDArray[np.int32],
    record: Record,
    land: int,
    total: int,
    cities: int,
    general: int,
    turn: int,
    rng: RandomState,
) -> None:
    """Make boards agree with a sight, with what was seen before, and with the enemy's totals.

    Args:
        boards: The boards, in and out: land and armies of the enemy in the fog are guesses, which change where they do not fit.
        fresh: (B,) bool, boards that ``clear_boards`` began.
        player: The seat that sees.
        codes: (T,) uint8, see ``Sight``.
        owner: (T,) int8, see there.
        army: (T,) int32, see there.
        record: What the seat has seen so far.
        land: Tiles of the enemy.
        total: Army of the enemy.
        cities: Cities of the enemy, -1 if not known.
        general: The seat's own general.
        turn: Turns played so far.
        rng: (B,) uint64, generators.
    """
    tiles = codes.shape[0]
    enemy = 1 - player
    loss = np.zeros(2, np.int64)
    scratch = np.zeros((2, tiles), np.int32)
    for b in range(boards.owner.shape[0]):
        for tile in range(tiles):
            if codes[tile] == SEEN_ENEMY + 2:
                boards.players[b, enemy]["general"] = tile
        boards.players[b, player]["general"] = general
        boards.players[b, player]["alive"] = True
        boards.players[b, enemy]["alive"] = True
        boards.games[b]["turn"] = turn
        boards.games[b]["last_move"] = turn
        show_sight(boards, b, player, codes, owner, army, record, loss)
        if cities >= 0:
            fit_cities(boards, b, enemy, codes, record, cities, rng)
        fit_land(boards, b, enemy, codes, record, land, fresh[b], rng, scratch[0], scratch[1])
        fit_army(boards, b, enemy, codes, total, loss, rng, scratch[0])
