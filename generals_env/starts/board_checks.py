"""Checks boards with which games are to begin: kernels trust the indices and codes of a board."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import (
    CITY,
    COMPETITION_VERSION,
    GAME,
    GENERAL,
    LOOKOUT,
    MAX_PLAYERS,
    MOUNTAIN,
    NEUTRAL,
    OBSERVATORY,
    OWNER_LOOKOUT,
    OWNER_MOUNTAIN,
    OWNER_OBSERVATORY,
    PLAIN,
    PLAYER,
    Boards,
)
from generals_env.engine.simulation.mid_game import in_game
from generals_env.errors import ConfigError
from generals_env.starts.board_codec import MAX_TILES

__all__ = ["check_boards"]

MIN_SIDE, MAX_SIDE = 4, 64
MAX_ARMY = 10**8  # an army and what joins it stay below 2**31
MAX_TURN = 2**31 - 1

#: Terrain that determines the owner of its tile.
OWNER_OF = {MOUNTAIN: OWNER_MOUNTAIN, LOOKOUT: OWNER_LOOKOUT, OBSERVATORY: OWNER_OBSERVATORY}


def check_boards(boards: Boards) -> None:
    """Raise ``ConfigError`` unless each board is one of a running game, and all have the same rules and sizes."""
    check_arrays(boards)
    for told, wrong in faults_of(boards):
        bad = np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))
        if len(bad):
            raise ConfigError(f"start: expected {told}, got another board {bad[0]} ({len(bad)} of {len(wrong)}): leave it out")


def check_arrays(boards: Boards) -> None:
    """Raise ``ConfigError`` unless the arrays have shapes and dtypes of boards."""
    dtypes = (np.dtype(np.int8), np.dtype(np.int32), np.dtype(np.int8), PLAYER, GAME)
    arrays: list[Any] = list(boards)
    for name, array, dtype, axes in zip(Boards._fields, arrays, dtypes, (2, 2, 2, 2, 1), strict=True):
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != axes:
            raise ConfigError(f"start: {name}: expected an array of {axes} axes and dtype {dtype}, got {array!r:.80}")
    count, players = boards.players.shape
    tiles = boards.owner.shape[1]
    if not count or not 2 <= players <= MAX_PLAYERS or count * tiles > MAX_TILES:
        raise ConfigError(
            f"start: expected at least one board, 2 to {MAX_PLAYERS} players and at most {MAX_TILES} tiles, "
            f"got {count} boards of {tiles} tiles with {players} players: use other boards"
        )
    if any(len(array) != count for array in arrays) or {boards.army.shape[1], boards.terrain.shape[1]} != {tiles}:
        raise ConfigError(f"start: expected arrays of the same boards, got shapes {[array.shape for array in arrays]}")


def faults_of(boards: Boards) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Yield what each board must be, and (B, ...) bool, True where it is not; later faults rely on earlier ones."""
    owner, army, terrain, seats, games = boards
    count, players = seats.shape
    tiles = owner.shape[1]
    height, width = games["height"], games["width"]
    sides = (height < MIN_SIDE) | (height > MAX_SIDE) | (width < MIN_SIDE) | (width > MAX_SIDE)
    yield f"boards of {MIN_SIDE} to {MAX_SIDE} rows and columns, as large as their arrays", sides | (height * width != tiles)
    rows, columns = games["rows"], games["columns"]
    yield "rows and columns within the board", (rows < 1) | (rows > height) | (columns < 1) | (columns > width)
    for name in ("height", "width", "version", "modifiers", "fog"):
        yield f"boards of the same {name}", games[name] != games[name][0]
    yield "boards of the same teams", seats["team"] != seats["team"][0]
    yield "terrain of the known kinds", (terrain < PLAIN) | (terrain > OBSERVATORY)
    fixed = np.full(OBSERVATORY + 1, NEUTRAL)
    fixed[list(OWNER_OF)] = list(OWNER_OF.values())
    held = (owner >= 0) & (owner < players)
    odd = np.where(fixed[terrain] < NEUTRAL, owner != fixed[terrain], (owner != NEUTRAL) & ~held)
    yield "owners that fit the terrain, and players that exist", odd
    yield f"armies up to {MAX_ARMY}, negative ones on neutral tiles only", (np.abs(army) > MAX_ARMY) | (held & (army < 0))
    tile = np.arange(tiles)
    padding = (tile // width[:, None] >= rows[:, None]) | (tile % width[:, None] >= columns[:, None])
    yield "mountains beyond rows and columns", padding & (terrain != MOUNTAIN)
    home = seats["general"]
    yield "generals on the board, -1 for none", (home < -1) | (home >= tiles)
    there = np.take_along_axis(terrain, np.maximum(home, 0), axis=1)
    holder = np.take_along_axis(owner, np.maximum(home, 0), axis=1)
    yield "generals on own tiles of that terrain", (home >= 0) & ((there != GENERAL) | (holder != np.arange(players)))
    listed = np.zeros((count, tiles + 1), np.int64)
    np.add.at(listed, (np.arange(count)[:, None], np.where(home >= 0, home, tiles)), 1)
    yield "one player for each general", listed[:, :tiles] != (terrain == GENERAL)
    turn = games["turn"]
    yield f"turns from 0 to {MAX_TURN}", (turn < 0) | (turn >= MAX_TURN)
    late = (seats["surrendered"] > turn[:, None]).any(axis=1)
    yield "last moves and surrenders up to the turn", (games["last_move"] > turn) | late
    yield "games that go on for two teams", np.logical_not(in_game(boards).any(axis=1))
    if games["version"][0] == COMPETITION_VERSION:
        yield "plain tiles, mountains, generals and cities", ~np.isin(terrain, (PLAIN, GENERAL, CITY, MOUNTAIN))
