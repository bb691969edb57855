"""Reads the option ``start`` of a game, and joins boards of recorded games for it: ``start_boards``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from generals_env.arguments import as_config, check_integer, plain_sequence, shown
from generals_env.engine.boards import (
    COMPETITION_VERSION,
    LIVE_VERSION,
    TOUCH_SHIFT,
    Boards,
    copy_boards,
    fit_boards,
)
from generals_env.engine.simulation.mid_game import in_game
from generals_env.errors import ConfigError
from generals_env.starts.board_checks import check_boards
from generals_env.starts.board_codec import StartBoards
from generals_env.starts.spawn_distance import SpawnDistance

__all__ = ["Start", "check_fit", "checked_start", "options_of_boards", "start_boards"]

Start = SpawnDistance | StartBoards | None
FORMS = "SpawnDistance(minimum, maximum), {'spawn_distance': [minimum, maximum]} or Boards"


def checked_start(value: Any) -> Start:
    """Return the option ``start`` in the form in which a configuration keeps it.

    Args:
        value: None; a ``SpawnDistance``, a pair or a mapping; ``Boards``, or the text of ``StartBoards``.

    Raises:
        ConfigError: If it is not one of these, the range is invalid, or a board is not one of a running game.
    """
    if value is None or isinstance(value, SpawnDistance):
        return value
    if isinstance(value, Boards):
        check_boards(value)
        return StartBoards.of(value)
    if isinstance(value, str):
        text = StartBoards(value)
        check_boards(text.boards())
        return text
    if isinstance(value, Mapping) and set(value) == {"spawn_distance"}:
        value = value["spawn_distance"]
    if isinstance(value, SpawnDistance):
        return value
    if isinstance(value, Mapping) and set(value) == {"minimum", "maximum"}:
        return as_config("start", SpawnDistance, value)
    pair = plain_sequence(value)
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise ConfigError(f"start: expected None, {FORMS}, got {shown(value)}")
    return SpawnDistance(*pair)


def options_of_boards(boards: Boards, modifiers: Mapping[str, int]) -> dict[str, Any]:
    """Return the options of a game that its boards determine; ``touch_turn`` only with the rules of the competition.

    Args:
        boards: The boards.
        modifiers: The bit of each modifier, by name.
    """
    game = boards.games[0]
    version, bits = int(game["version"]), int(game["modifiers"])
    teams = boards.players["team"][0].tolist()
    players = len(teams)
    options: dict[str, Any] = {
        "players": players,
        "height": int(game["height"]),
        "width": int(game["width"]),
        "rules": {LIVE_VERSION: "live", COMPETITION_VERSION: "competition"}.get(version, f"v{version}"),
        "fog": bool(game["fog"]),
        "teams": tuple(teams) if len(set(teams)) < players else None,
    }
    if version == COMPETITION_VERSION:
        options["touch_turn"] = bits >> TOUCH_SHIFT
    else:
        options["modifiers"] = tuple(name for name, bit in modifiers.items() if bits & bit)
    return options


def check_fit(config: Any, boards: Boards) -> None:
    """Raise ``ConfigError`` unless games of a ``GameConfig`` may begin with the boards, which are valid.

    Args:
        config: The configuration; its own ``start`` is not read.
        boards: The boards.
    """
    game = boards.games[0]
    teams = tuple(boards.players["team"][0].tolist())
    told = (
        ("players", config.players, len(teams)),
        ("rules", config.version, int(game["version"])),
        ("touch_turn" if config.rules == "competition" else "modifiers", config.modifier_bits, int(game["modifiers"])),
        ("fog", config.fog, bool(game["fog"])),
        ("teams", tuple(range(config.players)) if config.teams is None else config.teams, teams),
    )
    for name, ours, theirs in told:
        if ours != theirs:
            raise ConfigError(
                f"start: expected boards with {name}={shown(getattr(config, name))}, got {theirs} on the boards: "
                f"leave {name} out, or use boards of such games"
            )
    for side, most in zip(("rows", "columns"), config.shape, strict=True):
        if (found := int(boards.games[side].max())) > most:
            raise ConfigError(f"start: expected boards of at most {most} {side}, got {found}: raise height or width")
    if (latest := int(boards.games["turn"].max())) >= config.max_turns:
        raise ConfigError(
            f"start: expected boards before turn {config.max_turns}, got one in turn {latest}: "
            "raise max_turns, which counts the turn of the board"
        )


def start_boards(games: Iterable[Any], turn: int | None = None) -> Boards:
    """Return boards of games as one, fitted to the largest, for the option ``start``.

    Args:
        games: ``Boards``, recorded games (``RecordedGame``) or other objects with ``boards``.
        turn: Take the board of each game in this turn, and leave out games that have none; None takes all boards.

    Raises:
        ConfigError: If no board is left on which a game goes on, or the games have different numbers of players.
    """
    if turn is not None:
        check_integer("turn", turn, 0, 2**31 - 2)
    parts: list[Boards] = []
    for game in [games] if isinstance(games, Boards) else games:
        boards = game if isinstance(game, Boards) else getattr(game, "boards", None)
        if not isinstance(boards, Boards):
            raise ConfigError(f"games: expected Boards or recorded games, got {shown(game)}: pass a list of them")
        wanted = in_game(boards).any(axis=1)
        if turn is not None:
            wanted &= boards.games["turn"] == turn
        parts.append(copy_boards(boards, np.flatnonzero(wanted)))
    players = {part.players.shape[1] for part in parts}
    if len(players) > 1:
        raise ConfigError(f"games: expected games of the same number of players, got {sorted(players)}: join them apart")
    parts = [part for part in parts if len(part.games)]
    if not parts:
        raise ConfigError(f"games: expected a board on which a game goes on, got none in turn {turn}: choose another turn")
    height, width = (int(max(part.games[side].max() for part in parts)) for side in ("height", "width"))
    fitted = [fit_boards(part, height, width) for part in parts]
    return Boards._make(np.concatenate(fields) for fields in zip(*fitted, strict=True))
