"""Chooses games to keep as replays, and writes them: a game is played again from its map and its actions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from generals_env.arena.played_game import PlayedGame
from generals_env.arena.players import CALLABLE, Player
from generals_env.arena.playing import BlockGame
from generals_env.arena.table import Table
from generals_env.config import GameConfig
from generals_env.engine.boards import Boards, copy_boards
from generals_env.errors import StorageError
from generals_env.replay import RecordedGame, files

__all__ = ["Candidates", "recorded_game", "write_replay"]


class Candidates:
    """Keeps the moves of the games of a pair that may be worth a replay: few, however many games are played."""

    def __init__(self, count: int) -> None:
        """Keep at most ``count`` games that each player won, the first ones of each."""
        self._count = count
        self._won: dict[str, list[BlockGame]] = {}
        self._wins: dict[str, int] = {}

    def add(self, game: BlockGame) -> None:
        """Take a game if a player won it."""
        if game.played.winner < 0 or game.moves is None:
            return
        name = game.played.players[game.played.winner]
        self._wins[name] = self._wins.get(name, 0) + 1
        kept = self._won.setdefault(name, [])
        if len(kept) < self._count:
            kept.append(game)

    def chosen(self) -> list[BlockGame]:
        """Return the games to keep: half of them upsets if there are enough, the others wins of the better player."""
        if not self._won:
            return []
        better = max(self._wins, key=lambda name: (self._wins[name], name))
        wins = sorted(self._won[better], key=lambda game: game.played.turns)
        upsets = [game for name, games in self._won.items() if name != better for game in games]
        few = max((self._count + 1) // 2, self._count - len(wins))
        chosen = upsets[:few]
        return chosen + wins[: self._count - len(chosen)]


def recorded_game(config: GameConfig, game: BlockGame) -> RecordedGame:
    """Return a game turn by turn.

    Args:
        config: Options of the game.
        game: A game whose moves were kept.
    """
    played, moves = game.played, game.moves
    assert moves is not None  # noqa: S101 - only such games are candidates
    one, two = (Player(name, name, CALLABLE, "") for name in played.players)
    table = Table(config, (one, two), [played.map], played.seed)
    boards = [copy_boards(table.batch.boards)]
    for actions in moves:
        table.batch.outcome.actions[0] = actions
        table.step()
        boards.append(copy_boards(table.batch.boards))
    return RecordedGame(
        Boards._make(np.concatenate(fields) for fields in zip(*boards, strict=True)),
        moves.astype(np.int64),
        id=f"{played.seed}-{played.map}",
        names=played.players,
        details={"source": "arena", "board": played.board},
    )


def write_replay(folder: Path, config: GameConfig, game: BlockGame) -> str:
    """Write the replay of a game into ``replays`` below a folder, and return its path within the folder.

    Raises:
        StorageError: If it cannot be written.
    """
    path = f"replays/{file_name(game.played)}.generals"
    try:
        (folder / "replays").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"store: expected a folder that can be written, got {str(folder)!r} ({error})") from error
    files.write(folder / path, recorded_game(config, game))
    return path


def file_name(played: PlayedGame) -> str:
    """Return the name of a game's file: players, seed and map, in letters that all file systems take."""
    kind = re.sub(r"\W+", "_", played.board, flags=re.ASCII)
    names: Sequence[str] = [re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)[-50:] for name in played.players]
    return f"{kind[:60]}-{names[0]}-{names[1]}-{played.seed}-{played.map}"
