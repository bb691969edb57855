"""Defines the options of a live client, and reads the secret user id."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from generals_env.errors import ConfigError

__all__ = ["BOT_PREFIX", "MODES", "PUBLIC_SERVER", "USER_ID", "LiveOptions", "read_user_id"]

#: The server for bots. It is contacted only by a client that is run with it.
PUBLIC_SERVER = "wss://botws.generals.io"

#: How names of bots begin, by a rule of the server.
BOT_PREFIX = "[Bot] "

#: Environment variable with the user id.
USER_ID = "GENERALS_USER_ID"

#: Kinds of games to join.
MODES = ("private", "1v1", "ffa")

MAX_NAME = 18  # characters of a name on the site
MAX_ID = 200  # bytes of a user id


@dataclass(frozen=True)
class LiveOptions:
    """How a live client plays.

    Attributes:
        user_id: The secret that identifies the bot's account; never shown.
        username: Name of the bot; it begins with ``BOT_PREFIX``. Empty keeps the name of the account.
        mode: One of ``MODES``.
        game: Id of the private game to join.
        games: Number of games to play.
        force_start: Whether to vote for a start before the game is full.
        max_turns: Turn after which to surrender; 0 never does.
        server: Address of the server.
        reconnects: How often to connect again, in a row, after a connection was lost or refused.
        wait: Seconds to wait for an update of a running game before it counts as lost.
        join_wait: Seconds to wait for a game to start; 0 waits without end.
        pause: Seconds before the first new attempt to connect, doubled with each; and between two games.
    """

    user_id: str = field(repr=False)
    username: str = ""
    mode: str = "private"
    game: str = ""
    games: int = 1
    force_start: bool = True
    max_turns: int = 0
    server: str = PUBLIC_SERVER
    reconnects: int = 5
    wait: float = 60.0
    join_wait: float = 0.0
    pause: float = 2.0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: If one of them is invalid.
        """
        if self.mode not in MODES:
            raise ConfigError(f"mode: expected one of {', '.join(MODES)}, got {self.mode!r}")
        if (self.mode == "private") != bool(self.game):
            raise ConfigError(f"game: expected the id of a game with mode 'private' only, got {self.game!r} with {self.mode!r}")
        if self.username and not self.username.startswith(BOT_PREFIX):
            raise ConfigError(
                f"username: expected a name that begins with {BOT_PREFIX!r}, a rule of the server, got {self.username!r}"
            )
        if len(self.username) > MAX_NAME:
            raise ConfigError(f"username: expected at most {MAX_NAME} characters, got {len(self.username)}")
        if not self.server.startswith(("ws://", "wss://", "http://", "https://")):
            raise ConfigError(f"server: expected an address that begins with wss:// or ws://, got {self.server!r}")
        if not self.user_id or len(self.user_id) > MAX_ID or not self.user_id.isprintable():
            raise ConfigError(f"user_id: expected 1 to {MAX_ID} printable characters, got {len(self.user_id)}")
        for name in ("games", "reconnects", "max_turns", "wait", "join_wait", "pause"):
            if not getattr(self, name) >= (1 if name == "games" else 0):
                raise ConfigError(
                    f"{name}: expected {'at least 1' if name == 'games' else '0 or more'}, got {getattr(self, name)}"
                )


def read_user_id(file: Path | None = None) -> str:
    """Return the user id from a file, or from the environment variable ``GENERALS_USER_ID``.

    It is no option of the command line, as other users of a machine see those.

    Raises:
        ConfigError: If there is none, or the file cannot be read.
    """
    if file is None:
        value = os.environ.get(USER_ID, "")
        if not value.strip():
            raise ConfigError(f"user id: expected it in the environment variable {USER_ID}, or in a file, got neither")
        return value.strip()
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_ID + 2)
        return data.decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"user id: expected a readable file of one line, got {str(file)!r} ({type(error).__name__})"
        ) from None
