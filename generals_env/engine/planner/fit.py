"""Makes whole boards agree with what a seat has seen and with the public totals of land and army."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, GENERAL, MOUNTAIN, NEUTRAL, OWNER_MOUNTAIN, PLAIN, Boards
from generals_env.engine.jit import kernel, subroutine
from generals_env.engine.observations.tile_codes import FOG, FOG_OBSTACLE, SEEN_ENEMY, SEEN_MOUNTAIN, SEEN_NEUTRAL, SEEN_OWN
from generals_env.engine.planner.fit_army import fit_army
from generals_env.engine.planner.fit_land import fit_cities, fit_land
from generals_env.engine.planner.sight import UNKNOWN, Record
from generals_env.engine.rules.map_tiles import CITY_ARMY
from generals_env.engine.splitmix import RandomState, random_below, random_float

__all__ = ["clear_boards", "fit_boards", "move_generals"]


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
