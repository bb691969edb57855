"""Writes a played game as a line of JSON, and reads and checks such lines.

A line is an object with the fields of ``PlayedGame`` and ``"version": 1``. An unknown field, a missing one or a value of
another kind is refused; ``replay`` and ``figures`` may be left out.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from generals_env.arena.played_game import CUT_OFF, DRAW, FORFEIT, WON, PlayedGame
from generals_env.arguments import is_number, shown
from generals_env.errors import StorageError

__all__ = ["MAX_LINE", "VERSION", "game_line", "read_game"]

#: Version of the lines.
VERSION = 1

#: Bytes of a line.
MAX_LINE = 16 * 1024

MAX_NAME = 200  # characters of a player's name and of the kind of games
MAX_FIGURES = 64
MAX_NUMBER = 2**62

REQUIRED = ("version", "players", "winner", "ended", "turns", "board", "seed", "map")
OPTIONAL = ("replay", "figures")


def game_line(game: PlayedGame) -> bytes:
    """Return the line of a game, without its end."""
    fields: dict[str, Any] = {"version": VERSION, **vars(game)}
    for name in OPTIONAL:
        if not fields[name]:
            del fields[name]
    if game.figures:
        fields["figures"] = {name: [plain(value) for value in values] for name, values in game.figures.items()}
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def plain(value: float | None) -> float | int | None:
    """Return whole numbers as integers, which are shorter."""
    return int(value) if value is not None and float(value).is_integer() else value


def read_game(line: bytes, place: str) -> PlayedGame:
    """Return the game of a line.

    Args:
        line: The line, without its end.
        place: File and number of the line, for errors.

    Raises:
        StorageError: If it is no game.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise wrong(place, "a JSON object", line[:80]) from None
    if not isinstance(fields, dict):
        raise wrong(place, "a JSON object", fields)
    if missing := [name for name in REQUIRED if name not in fields]:
        raise wrong(place, f"the field {missing[0]!r}", line[:80])
    if unknown := [name for name in fields if name not in REQUIRED + OPTIONAL]:
        raise wrong(place, f"only fields among {', '.join(REQUIRED + OPTIONAL)}", unknown[0])
    version = fields.pop("version")
    if not is_integer(version) or version != VERSION:
        raise wrong(place, f"version {VERSION}", version)
    check_result(fields, place)
    for name in ("seed", "map", "turns"):
        if not is_integer(fields[name]) or not 0 <= fields[name] <= MAX_NUMBER:
            raise wrong(place, f"a non-negative integer as {name}", fields[name])
    replay = fields.setdefault("replay", "")
    if not isinstance(replay, str) or (replay and not re.fullmatch(r"replays/[\w.-]{1,250}", replay)):
        raise wrong(place, "a path below replays/ as replay", replay)
    fields["players"] = tuple(fields["players"])
    fields["figures"] = read_figures(fields.get("figures", {}), place)
    return PlayedGame(**fields)


def check_result(fields: dict[str, Any], place: str) -> None:
    """Check players, kind, winner and end."""
    players, winner, ended = fields["players"], fields["winner"], fields["ended"]
    if not isinstance(players, list) or len(players) != 2 or not all(is_name(name) for name in players):
        raise wrong(place, "two names as players", players)
    if players[0] == players[1]:
        raise wrong(place, "different players", players)
    if not is_name(fields["board"]):
        raise wrong(place, "a name as board", fields["board"])
    if ended not in (WON, DRAW, CUT_OFF, FORFEIT):
        raise wrong(place, f"{WON}, {DRAW}, {CUT_OFF} or {FORFEIT} as ended", ended)
    expected = (0, 1) if ended in (WON, FORFEIT) else (-1,)
    if not is_integer(winner) or winner not in expected:
        raise wrong(place, f"{' or '.join(map(str, expected))} as winner of a game that ended by {ended}", winner)


def read_figures(figures: Any, place: str) -> dict[str, tuple[float | None, ...]]:
    """Return checked diagnostics."""
    if not isinstance(figures, dict) or len(figures) > MAX_FIGURES:
        raise wrong(place, f"an object of at most {MAX_FIGURES} names as figures", figures)
    read: dict[str, tuple[float | None, ...]] = {}
    for name, values in figures.items():
        fits = is_name(name) and isinstance(values, list) and len(values) == 2
        if not fits or not all(value is None or is_figure(value) for value in values):
            raise wrong(place, "two numbers or nulls for each name of figures", {name: values})
        read[name] = tuple(None if value is None else float(value) for value in values)
    return read


def is_name(value: Any) -> bool:
    """Return whether a value is a text of a sensible length, on one line."""
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()


def is_figure(value: Any) -> bool:
    """Return whether a value is a finite number that a float can hold."""
    return is_number(value) and abs(value) <= sys.float_info.max  # False for NaN


def is_integer(value: Any) -> bool:
    """Return whether a value is an integer and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def wrong(place: str, expected: str, got: Any) -> StorageError:
    """Return the error of a line."""
    return StorageError(f"{place}: expected {expected}, got {shown(got, 120)}: repair or remove the line")
