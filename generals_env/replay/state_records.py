"""Reads records of boards without actions: owners and armies of every turn, from which the actions are inferred."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.config import GameConfig
from generals_env.engine.boards import (
    CITY,
    DESERT,
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
    SWAMP,
    Boards,
    empty_boards,
)
from generals_env.errors import ConfigError, ReplayError
from generals_env.replay.fields import is_missing, listed, text, whole, wholes
from generals_env.replay.inference import Inferred, infer_actions
from generals_env.replay.reader import MAX_ARMY, MAX_SIDE

__all__ = ["from_states"]

TERRAIN_OF = {OWNER_MOUNTAIN: MOUNTAIN, OWNER_LOOKOUT: LOOKOUT, OWNER_OBSERVATORY: OBSERVATORY}
KINDS = {"cities": CITY, "swamps": SWAMP, "deserts": DESERT}


def from_states(fields: Mapping[str, Any]) -> Inferred:
    """Return the game of a record of boards, with inferred actions.

    Args:
        fields: ``mapWidth``, ``mapHeight``, ``generals`` (a tile for each player), ``owner`` and ``army`` (for each turn a list
            of all tiles; owners as in replays: -1 neutral, -2 mountain); optional ``cities``, ``swamps``, ``deserts``,
            ``teams``, ``usernames``, ``id``, and ``rules`` as environments take them, ``"live"`` by default.

    Raises:
        ReplayError: If a field is missing or invalid.
    """
    for name in ("mapWidth", "mapHeight", "generals", "owner", "army"):
        if is_missing(fields.get(name)):
            raise ReplayError(f"{name}: expected a field of a record of boards, got none: add it")
    width, height = (whole(name, fields[name], 1, MAX_SIDE) for name in ("mapWidth", "mapHeight"))
    generals = [whole("generals", tile, 0, height * width - 1) for tile in listed("generals", fields)]
    if not 1 <= len(generals) <= MAX_PLAYERS or len(set(generals)) < len(generals):
        raise ReplayError(f"generals: expected 1 to {MAX_PLAYERS} different tiles, got {generals!r:.80}")
    rules = text("rules", {"rules": "live"} | dict(fields))
    try:
        config = GameConfig(rules=rules)
    except ConfigError as error:
        raise ReplayError(str(error)) from error
    owner = table("owner", fields, height * width, OWNER_OBSERVATORY, len(generals) - 1).astype(np.int8)
    army = table("army", fields, height * width, -MAX_ARMY, MAX_ARMY).astype(np.int32)
    start = empty_boards(1, height, width, len(generals), config.version, config.modifier_bits)
    fill_start(start, fields, generals, owner[0], army[0])
    given = fields.get("usernames")
    named = isinstance(given, list) and len(given) == len(generals) and all(isinstance(name, str) for name in given)
    return infer_actions(start, owner, army, given if named and given else (), text("id", fields))


def table(name: str, fields: Mapping[str, Any], tiles: int, minimum: int, maximum: int) -> npt.NDArray[np.int64]:
    """Return a field with a list of all tiles for each turn, (T + 1, H*W)."""
    rows = [wholes(f"{name}[{turn}]", {f"{name}[{turn}]": row}, minimum, maximum) for turn, row in enumerate(fields[name])]
    for turn, row in enumerate(rows):
        if len(row) != tiles:
            raise ReplayError(f"{name}[{turn}]: expected {tiles} tiles, got {len(row)}")
    if not rows:
        raise ReplayError(f"{name}: expected a board for each turn, got none")
    return np.stack(rows)


def fill_start(
    start: Boards,
    fields: Mapping[str, Any],
    generals: list[int],
    owner: npt.NDArray[np.int8],
    army: npt.NDArray[np.int32],
) -> None:
    """Write the first board."""
    start.owner[0], start.army[0] = owner, army
    start.terrain[0] = PLAIN
    for code, terrain in TERRAIN_OF.items():
        start.terrain[0, owner == code] = terrain
    for name, terrain in KINDS.items():
        tiles = wholes(name, fields, 0, len(owner) - 1)
        start.terrain[0, tiles[owner[tiles] >= NEUTRAL]] = terrain
    for player, tile in enumerate(generals):
        held = owner[tile] == player
        start.players["general"][0, player] = tile if held else -1
        start.players["alive"][0, player] = held
        if held:
            start.terrain[0, tile] = GENERAL
    teams = wholes("teams", {} if is_missing(fields.get("teams")) else fields, 0, 127)
    if len(teams) not in (0, len(generals)):
        raise ReplayError(f"teams: expected one for each of {len(generals)} players, got {len(teams)}")
    if len(teams):
        start.players["team"][0] = teams
