"""Writes replays as ``.gior`` files, the form of the live game: a JSON list of fields by position, compressed by LZ-string."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import (
    CITY,
    DESERT,
    LIVE_VERSION,
    LOOKOUT,
    MOUNTAIN,
    NEUTRAL,
    OBSERVATORY,
    SURRENDER_TURNS,
    SWAMP,
    TOUCH_SHIFT,
    Boards,
    copy_boards,
)
from generals_env.engine.simulation.recorded_moves import list_moves
from generals_env.engine.text_codes import MAX_CODES, compress_units, write_moves
from generals_env.errors import ReplayError
from generals_env.replay.fields import POSITIONS, UNREAD, plain
from generals_env.replay.reader import AFKS, MOVES, Replay, from_dict
from generals_env.replay.recorded_game import SURRENDERED, UNKNOWN, RecordedGame
from generals_env.replay.resimulation import apply_events

__all__ = ["encode", "replay_of"]

#: Number of fields of replays of some versions; a version between two of them has as many as the lower one.
SLOTS = {1: 13, 8: 17, 11: 22, 13: 25, 15: 27, 16: 28, 17: 31, 18: 37}

#: Fields that are not lists where they are empty.
EMPTY: dict[int, Any] = {1: "", 12: None, 13: None, 25: {}, 31: 0, 32: 0, 33: 0}

#: Position of each kind of tile; the tiles of other kinds are ``neutrals`` if an army is on them.
TILES = {9: MOUNTAIN, 16: SWAMP, 22: OBSERVATORY, 23: LOOKOUT, 24: DESERT}

NAME_OF = POSITIONS | UNREAD


def encode(replay: Replay) -> bytes:
    """Return the content of a ``.gior`` file with a replay: all fields that it was read with, moves and leaving players.

    Raises:
        ReplayError: If a field cannot be written as JSON, or the game is too long.
    """
    values = values_of(replay)
    head, tail = text_of(values[:MOVES]), text_of(values[MOVES + 1 :])
    parts = [units_of(head[:-1] + ","), write_moves(replay.moves), units_of(("," if len(tail) > 2 else "") + tail[1:])]
    units = np.concatenate(parts)
    data = compress_units(units).tobytes()
    if not data:
        raise ReplayError(f"moves: expected a text of at most {MAX_CODES} codes, got {len(replay.moves)} moves: use .generals")
    return data


def values_of(replay: Replay) -> list[Any]:
    """Return the fields by position; the moves, which are written from their array, are empty."""
    raw = replay.raw
    count = max((0, *raw, MOVES, AFKS if len(replay.events) else 0)) + 1
    if not set(range(count)) <= {*raw, MOVES, AFKS}:  # it was not read from a list, which has as many fields as it has
        count = max(count, *(slots for first, slots in SLOTS.items() if first <= replay.version))
    values: list[Any] = [EMPTY.get(position, []) for position in range(count)]
    for position, value in raw.items():
        values[position] = plain(value)
    for position, usual in ((4, list(replay.names)), (5, [0] * replay.players)):
        if position not in raw:
            values[position] = usual
    if len(values) > AFKS:
        values[AFKS] = replay.events.tolist()
    return values


def text_of(values: list[Any]) -> str:
    """Return a list as JSON, as JavaScript writes it."""
    try:
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ReplayError(f"replay: expected fields that JSON can hold, got another ({error}): read it from a file") from error


def units_of(text: str) -> npt.NDArray[np.uint16]:
    """Return the UTF-16 code units of a text."""
    return np.frombuffer(text.encode("utf-16-le", "surrogatepass"), np.dtype("<u2")).astype(np.uint16, copy=False)


# --- From other games -----------------------------------------------------------------------------------------------


def replay_of(game: RecordedGame) -> Replay:
    """Return a recorded game as a replay of the live game; playing it leads to the same boards, which is checked.

    A padded board loses its padding. Not kept: rewards, values, probabilities, details, turns without a move after the last
    move, and whether the players had fog.

    Raises:
        ReplayError: If the form of the live game cannot hold the game.
    """
    first = game.boards.games[0]
    version = int(first["version"])
    if version > LIVE_VERSION or int(first["modifiers"]) >> TOUCH_SHIFT:
        raise ReplayError("rules: expected those of a replay version, got those of the competition: write a .generals file")
    if (game.actions == UNKNOWN).any():
        turn = int(np.flatnonzero((game.actions == UNKNOWN).any(axis=1))[0])
        raise ReplayError(f"actions: expected all of them, got an unknown one in turn {turn}: write a .generals file")
    require_map(game.boards)
    boards = copy_boards(game.boards, slice(0, game.turns))
    for turn in np.unique(game.events[:, 1]).tolist():
        if 0 <= turn < game.turns:
            apply_events(boards, turn, game.events[game.events[:, 1] == turn])
    moves = np.empty((game.actions.size, 5), np.int32)
    moves = moves[: list_moves(boards, game.actions.copy(), moves)]
    kept, place = cropping(first)
    moves[:, 1:3] = place[moves[:, 1:3]]
    raw = {
        0: version,
        1: game.id,
        2: int(first["columns"]),
        3: int(first["rows"]),
        4: list(game.names) or [f"player_{player}" for player in range(game.players)],
        5: stars_of(game),
        8: [int(place[tile]) if tile >= 0 else None for tile in game.boards.players["general"][0].tolist()],
        12: teams_of(game.boards),
        21: [bit for bit in range(15) if int(first["modifiers"]) >> bit & 1],
    } | tiles_of(game.boards, kept)
    fields = {NAME_OF[position]: value for position, value in raw.items()}
    replay = replace(from_dict(fields | {"moves": [], "afks": leaving(game)}), moves=moves, raw=raw)
    require_same(game, replay, kept)
    return replay


def require_map(boards: Boards) -> None:
    """Raise ``ReplayError`` if the first board is not one on which a game begins."""
    players, owner = boards.players[0], boards.owner[0]
    homes = players["general"][players["general"] >= 0]
    remedy = "write a .generals file, which may begin anywhere"
    if boards.games["turn"][0] != 0:
        raise ReplayError(f"boards: expected the first one at turn 0, got turn {boards.games['turn'][0]}: {remedy}")
    wrong = np.flatnonzero((owner >= 0) & ~np.isin(np.arange(len(owner)), homes))
    if len(wrong):
        raise ReplayError(f"boards: expected land of players in their generals only at turn 0, got tile {wrong[0]}: {remedy}")
    wrong = homes[(boards.army[0, homes] != 1) | (owner[homes] < 0)]
    if len(wrong):
        army = boards.army[0, wrong[0]]
        raise ReplayError(f"boards: expected generals with an army of 1 at turn 0, got {army} on tile {wrong[0]}: {remedy}")
    if (players["alive"] != (players["general"] >= 0)).any():
        raise ReplayError(f"boards: expected living players with generals at turn 0, got others: {remedy}")


def cropping(game: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return the tiles of a board without padding, and the new number of each tile, -1 in the padding."""
    height, width = int(game["height"]), int(game["width"])
    kept = np.arange(height * width).reshape(height, width)[: int(game["rows"]), : int(game["columns"])].reshape(-1)
    place = np.full(height * width, -1, np.int32)
    place[kept] = np.arange(len(kept))
    return kept, place


def tiles_of(boards: Boards, kept: npt.NDArray[np.int64]) -> dict[int, list[int]]:
    """Return the fields that list tiles, by position."""
    terrain, army, owner = boards.terrain[0, kept], boards.army[0, kept], boards.owner[0, kept]
    cities = np.flatnonzero(terrain == CITY)
    neutrals = np.flatnonzero((owner == NEUTRAL) & (terrain != CITY) & (army != 0))
    fields = {position: np.flatnonzero(terrain == kind) for position, kind in TILES.items()}
    fields |= {6: cities, 7: army[cities], 14: neutrals, 15: army[neutrals]}
    return {position: tiles.tolist() for position, tiles in fields.items()}


def teams_of(boards: Boards) -> list[int] | None:
    """Return the teams of the players; None if each is alone."""
    teams: list[int] = boards.players["team"][0].tolist()
    return teams if len(set(teams)) < len(teams) else None


def stars_of(game: RecordedGame) -> list[float]:
    """Return the ranks of the players in stars; zeros if they are not known."""
    try:
        stars = [float(star) for star in game.details["stars"].split(",")]
    except (KeyError, ValueError):
        stars = []
    return [int(star) if star.is_integer() else star for star in stars] if len(stars) == game.players else [0] * game.players


def leaving(game: RecordedGame) -> list[list[int]]:
    """Return players who leave, and again when their land turns over, with the turns."""
    events = []
    for player, turn, kind in game.events.tolist():
        events.append([player, turn])
        due = turn + SURRENDER_TURNS
        if kind == SURRENDERED and due < game.turns and game.boards.players["general"][due, player] >= 0:
            events.append([player, due])
    return sorted(events, key=lambda event: event[1])


def require_same(game: RecordedGame, replay: Replay, kept: npt.NDArray[np.int64]) -> None:
    """Raise ``ReplayError`` if playing the replay leads to other boards."""
    played = replay.recorded()
    turns = min(game.turns, played.turns)
    wanted, got = game.boards, played.boards
    differs = (wanted.owner[: turns + 1][:, kept] != got.owner[: turns + 1]).any(axis=1)
    differs |= (wanted.army[: turns + 1][:, kept] != got.army[: turns + 1]).any(axis=1)
    differs |= (wanted.terrain[: turns + 1][:, kept] != got.terrain[: turns + 1]).any(axis=1)
    if differs.any() or (len(replay.moves) and replay.moves[:, 4].max() >= turns):
        turn = int(np.argmax(differs)) if differs.any() else turns
        raise ReplayError(
            f"boards: expected those that the actions lead to, got another one at turn {turn}, as after a restored state: "
            "write a .generals file"
        )
