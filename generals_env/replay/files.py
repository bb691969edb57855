"""Reads a recorded game from a file of any kind, and writes it to a ``.gior`` file or a file of this package."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from generals_env.errors import ConfigError, ReplayError, StorageError
from generals_env.replay import game_file, gior
from generals_env.replay.file_text import parse, unzipped
from generals_env.replay.lz_string import MAX_CHARACTERS
from generals_env.replay.reader import MAX_BYTES, Replay, from_dict, read_file
from generals_env.replay.recorded_game import RecordedGame
from generals_env.replay.state_records import from_states

__all__ = ["SUFFIXES", "load", "write"]

#: Suffixes of files that ``write`` makes.
SUFFIXES = (".gior", game_file.SUFFIX)


def load(path: str | Path) -> RecordedGame:
    """Read a game from a file: ``.generals``, a replay of people in any form that ``read`` takes, or a record of boards.

    The actions of a record of boards (JSON, see ``from_states``) are inferred.

    Raises:
        ReplayError: If the file cannot be read, is damaged, or needs rules that are not supported.
    """
    path, data = read_file(path)
    try:
        if data.startswith(game_file.MAGIC):
            return game_file.decode(data)
        fields = parse(unzipped(data, MAX_BYTES), MAX_CHARACTERS)
        if isinstance(fields, Mapping) and "owner" in fields:
            return from_states(fields).game
        return from_dict(fields).recorded()
    except ReplayError as error:
        raise ReplayError(f"{path.name}: {error}") from error


def write(path: str | Path, game: RecordedGame | Replay) -> None:
    """Write a game to a file, which appears whole or not at all.

    Args:
        path: The file; its suffix tells the format: ``.generals`` takes any game, ``.gior`` those that the live game could have
            been (see ``gior.replay_of``).
        game: The game.

    Raises:
        ConfigError: If the suffix is another one.
        ReplayError: If the format cannot hold the game.
        StorageError: If the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"path: expected a file that ends in {' or '.join(SUFFIXES)}, got {path.name!r}: rename it")
    if path.suffix == game_file.SUFFIX:
        write_file(path, game_file.encode(game.recorded() if isinstance(game, Replay) else game))
    else:
        write_file(path, gior.encode(game if isinstance(game, Replay) else gior.replay_of(game)))


def write_file(path: Path, data: bytes) -> None:
    """Write a file atomically: a reader finds the old content or the new one.

    Raises:
        StorageError: If it cannot be written.
    """
    hidden = path.with_name(f".{path.name[:100]}-{uuid.uuid4().hex}.part")
    try:
        try:
            with hidden.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            hidden.replace(path)
        finally:
            hidden.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"path: expected a file that can be written, got {str(path)!r} ({error})") from error
