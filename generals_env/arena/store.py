"""Keeps played games in a folder that later runs add to: ``Store``.

``games.jsonl`` has one JSON line a game, ``players.jsonl`` one line a player, ``replays`` the replays. Lines are only added. If
a game has several lines, the last one counts: the first one of a game with a replay is written before its replay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from generals_env.arena.game_lines import MAX_LINE, game_line, read_game
from generals_env.arena.played_game import PlayedGame
from generals_env.arena.players import Player
from generals_env.errors import StorageError
from generals_env.recorders.filesystem.file_lock import FileLock
from generals_env.recorders.filesystem.line_file import LineFile
from generals_env.version import __version__

__all__ = ["Store"]

GAMES, PLAYERS, LOCK = "games.jsonl", "players.jsonl", "lock"

#: Seconds to wait while another process adds lines.
PATIENCE = 60.0

#: Key of a game: it is played once.
Key = tuple[tuple[str, ...], str, int, int]


class Store:
    """Games in a folder.

    Attributes:
        folder: The folder.
        dropped: Bytes of unfinished last lines that were removed when it was opened for writing.
    """

    def __init__(self, folder: str | Path) -> None:
        """Read what the folder has; it need not exist.

        Raises:
            StorageError: If a file cannot be read, or a line is no game; the message names file and line.
        """
        self.folder = Path(folder)
        self.dropped = 0
        self._game_lines, self._player_lines = (LineFile(self.folder / name, MAX_LINE) for name in (GAMES, PLAYERS))
        self._open = False
        self._games: dict[Key, PlayedGame] = {}
        self._players: dict[str, str] = {}
        self.read()

    def read(self) -> None:
        """Read the files anew: other processes may have added to them."""
        self._players = {}
        for number, line in enumerate(self._player_lines.read(), 1):
            place = f"{self.folder / PLAYERS}, line {number}"
            try:
                entry = json.loads(line)
                name, identity = entry["name"], entry["identity"]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise StorageError(f"{place}: expected a player, got {line[:80]!r} ({error!r:.100}): repair it") from None
            if not isinstance(name, str) or not isinstance(identity, str):
                raise StorageError(f"{place}: expected texts as name and identity, got {line[:80]!r}: repair it")
            self._players[name] = identity
        self._games = {}
        for number, line in enumerate(self._game_lines.read(), 1):
            game = read_game(line, f"{self.folder / GAMES}, line {number}")
            self._games[key_of(game)] = game

    def games(self, board: str) -> list[PlayedGame]:
        """Return the games of one kind, see ``kind_name``: games of different kinds are never mixed."""
        return [game for game in self._games.values() if game.board == board]

    def boards(self) -> list[str]:
        """Return the kinds of games in the store."""
        return list(dict.fromkeys(game.board for game in self._games.values()))

    def has(self, players: Sequence[str], board: str, seed: int, number: int) -> bool:
        """Return whether the game of players, by their seats, on a map was played."""
        return (tuple(players), board, seed, number) in self._games

    # --- Writing ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Store:
        """Open the store for writing, and read it anew; several processes may add to it at once.

        Raises:
            StorageError: If it cannot be written, or holds another line than games and players.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"store: expected a folder that can be made, got {str(self.folder)!r} ({error})") from error
        with FileLock(self.folder / LOCK, PATIENCE):
            self.dropped = self._game_lines.cut() + self._player_lines.cut()
            self.read()
        self._open = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close it for writing."""
        self._open = False

    def add_players(self, players: Iterable[Player]) -> None:
        """Add players that the store does not have.

        Raises:
            StorageError: If another player of the same name is there, such as an earlier version of a built-in policy, or they
                cannot be written.
        """
        lines = []
        for player in players:
            known = self._players.get(player.name, player.identity)
            if known != player.identity:
                raise StorageError(
                    f"store: expected {player.name!r} to be {known!r}, as in {str(self.folder / PLAYERS)!r}, got "
                    f"{player.identity!r}: use another folder, as their games cannot be mixed"
                )
            if player.name not in self._players:
                self._players[player.name] = player.identity
                fields = {"name": player.name, "kind": player.kind, "identity": player.identity, "generals_env": __version__}
                lines.append(json.dumps(fields, separators=(",", ":")).encode())
        self._add(self._player_lines, lines)

    def add(self, games: Sequence[PlayedGame]) -> None:
        """Add games; a game that the store has already is replaced by a line that counts instead of the earlier one.

        Raises:
            StorageError: If they cannot be written.
        """
        self._add(self._game_lines, [game_line(game) for game in games])
        self._games.update((key_of(game), game) for game in games)

    def _add(self, file: LineFile, lines: Sequence[bytes]) -> None:
        if not self._open:
            raise StorageError("store: expected one that was opened for writing, got another: use it in a with block")
        if lines:
            with FileLock(self.folder / LOCK, PATIENCE):
                file.add(lines)


def key_of(game: PlayedGame) -> Key:
    """Return what a game is known by."""
    return (tuple(game.players), game.board, game.seed, game.map)
