"""Validates the messages of the live game's server: nothing of them is used before it was checked here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from generals_env.engine.boards import MAX_PLAYERS
from generals_env.errors import StateError

__all__ = ["MAX_SIDE", "GameStart", "GameUpdate", "Score", "game_start", "game_update", "readable"]

#: Sides of the largest map that is taken.
MAX_SIDE = 128
MAX_NUMBER = 2**31 - 1
MAX_TEXT = 200  # characters of a text of the server that are kept
MAX_TURN = 60_000


@dataclass(frozen=True)
class GameStart:
    """The beginning of a game.

    Attributes:
        player: Seat of this client.
        players: Number of players P.
        usernames: (P,) names; text of other people.
        teams: (P,) team of each player.
        replay_id: Id of the replay on the site, may be empty.
        swamps: Tiles of swamps.
        modifiers: Numbers of the active modifiers.
    """

    player: int
    players: int
    usernames: tuple[str, ...]
    teams: tuple[int, ...]
    replay_id: str = ""
    swamps: tuple[int, ...] = ()
    modifiers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Score:
    """A row of the scoreboard: land and army of a player, and whether he is out of the game."""

    land: int
    army: int
    dead: bool


@dataclass(frozen=True)
class GameUpdate:
    """What the server sends after a turn.

    Attributes:
        turn: The turn, 1 for the first update.
        attack_index: The highest index of this client's moves that the server has processed.
        scores: By player.
        generals: Tile of each player's general that is known, -1 otherwise.
        map_diff: Change of the map, see ``bridge.live_map``.
        cities_diff: Change of the list of cities.
        deserts_diff: Change of the list of deserts.
    """

    turn: int
    attack_index: int
    scores: tuple[Score, ...]
    generals: tuple[int, ...]
    map_diff: list[int]
    cities_diff: list[int]
    deserts_diff: list[int] = field(default_factory=list)


def readable(value: Any) -> str:
    """Return a text of the server on one line, of bounded length, and without characters that a terminal obeys."""
    text = value if isinstance(value, str) else "" if value is None else repr(value)
    return "".join(character if character.isprintable() else " " for character in text[:MAX_TEXT])


def game_start(message: Any) -> GameStart:
    """Return the beginning of a game.

    Raises:
        StateError: If the message is malformed.
    """
    fields = named("game_start", message)
    names = fields.get("usernames")
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_PLAYERS:
        raise StateError(f"game_start: usernames: expected 1 to {MAX_PLAYERS} names, got {names!r:.80}")
    players = len(names)
    teams = fields.get("teams")
    numbers = numbers_of("game_start: teams", teams, 0, 127) if teams is not None else list(range(players))
    if len(numbers) != players:
        raise StateError(f"game_start: teams: expected {players} numbers, one a player, got {len(numbers)}")
    options = fields.get("options")
    modifiers = options.get("modifiers") if isinstance(options, Mapping) else None
    return GameStart(
        player=number("game_start: playerIndex", fields.get("playerIndex"), 0, players - 1),
        players=players,
        usernames=tuple(map(readable, names)),
        teams=tuple(numbers),
        replay_id=readable(fields.get("replay_id")),
        swamps=tuple(numbers_of("game_start: swamps", fields.get("swamps") or [], 0, MAX_SIDE**2 - 1)),
        modifiers=tuple(numbers_of("game_start: options: modifiers", modifiers or [], 0, 63)),
    )


def game_update(message: Any, players: int) -> GameUpdate:
    """Return the update of a turn of a game with ``players`` players.

    Raises:
        StateError: If the message is malformed.
    """
    fields = named("game_update", message)
    generals = numbers_of("game_update: generals", fields.get("generals"), -1, MAX_SIDE**2 - 1)
    if len(generals) != players:
        raise StateError(f"game_update: generals: expected {players} tiles, one a player, got {len(generals)}")
    return GameUpdate(
        turn=number("game_update: turn", fields.get("turn"), 0, MAX_TURN),
        attack_index=number("game_update: attackIndex", fields.get("attackIndex", 0), 0, MAX_NUMBER),
        scores=scores_of(fields.get("scores"), players),
        generals=tuple(generals),
        map_diff=listed("game_update: map_diff", fields.get("map_diff")),
        cities_diff=listed("game_update: cities_diff", fields.get("cities_diff")),
        deserts_diff=listed("game_update: deserts_diff", fields.get("deserts_diff") or []),
    )


def scores_of(rows: Any, players: int) -> tuple[Score, ...]:
    """Return the scores by player; the server sorts them by rank.

    Raises:
        StateError: If a player's score is missing or malformed.
    """
    if not isinstance(rows, list) or len(rows) != players:
        raise StateError(f"game_update: scores: expected {players}, one a player, got {rows!r:.80}")
    scores: dict[int, Score] = {}
    for row in rows:
        fields = named("game_update: scores", row)
        player = number("game_update: scores: i", fields.get("i"), 0, players - 1)
        # With the modifier SilentWar both are -1.
        land = number("game_update: scores: tiles", fields.get("tiles"), -1, MAX_NUMBER)
        army = number("game_update: scores: total", fields.get("total"), -MAX_NUMBER, MAX_NUMBER)
        scores[player] = Score(land, army, bool(fields.get("dead")))
    if len(scores) != players:
        raise StateError(f"game_update: scores: expected each of {players} players once, got {sorted(scores)}")
    return tuple(scores[player] for player in range(players))


def named(name: str, message: Any) -> Mapping[str, Any]:
    """Return a message that is an object; raise ``StateError`` otherwise."""
    if not isinstance(message, Mapping):
        raise StateError(f"{name}: expected named fields, got {message!r:.80}")
    return message


def number(name: str, value: Any, minimum: int, maximum: int) -> int:
    """Return a whole number in range; raise ``StateError`` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise StateError(f"{name}: expected a whole number from {minimum} to {maximum}, got {value!r:.80}")
    return value


def listed(name: str, value: Any) -> list[Any]:
    """Return a list; raise ``StateError`` otherwise."""
    if not isinstance(value, list):
        raise StateError(f"{name}: expected a list, got {value!r:.80}")
    return value


def numbers_of(name: str, value: Any, minimum: int, maximum: int) -> list[int]:
    """Return a list of whole numbers in range; raise ``StateError`` otherwise."""
    return [number(name, item, minimum, maximum) for item in listed(name, value)]
