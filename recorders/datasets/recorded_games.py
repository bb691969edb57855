"""Finds single games in recorded experience and returns them as ``RecordedGame``, for pictures, pages and replay files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from generals_env.errors import StorageError
from generals_env.recorders.datasets.dataset import Dataset, open_dataset
from generals_env.recorders.experience import ExperienceBatch
from generals_env.replay.recorded_game import RecordedGame
from generals_env.replay.recorded_turns import game_of_turns

__all__ = ["game_ids", "game_of_batch", "load_game", "rows_of_games"]

SHOWN = 5  # ids in an error


def game_ids(source: str | Path | Dataset) -> Iterator[str]:
    """Yield the id of each game of a dataset or log once, in the order in which they are stored.

    Args:
        source: A dataset, or what ``open_dataset`` takes: a folder, a file, a URL or a log.

    Raises:
        StorageError: If there is no dataset, or a file is damaged.
    """
    seen: set[str] = set()
    for batch in opened(source):
        new = [name for name in batch.game_ids if name not in seen]
        seen.update(new)
        yield from new


def load_game(source: str | Path | Dataset, game_id: str | None = None) -> RecordedGame:
    """Return a game of a dataset or log, with rewards; only the files that may hold it are read.

    Args:
        source: A dataset, or what ``open_dataset`` takes: a folder, a file, a URL or a log.
        game_id: Id of the game; None for the first game.

    Raises:
        ReplayError: If turns of the game are missing.
        StorageError: If there is no such game, or a file is damaged.
    """
    dataset = opened(source)
    if game_id is None:
        game_id = next(game_ids(dataset), None)
        if game_id is None:
            raise StorageError(f"source: expected recorded games, got none in {source!s:.200}")
    rows = rows_of_games(dataset, [game_id])
    if not rows:
        some = [name for name, _ in zip(game_ids(dataset), range(SHOWN), strict=False)]
        raise StorageError(f"game: expected the id of a game in {source!s:.200}, such as {', '.join(some)}, got {game_id!r}")
    return game_of_batch(rows[game_id], game_id)


def rows_of_games(source: str | Path | Dataset, names: Sequence[str]) -> dict[str, ExperienceBatch]:
    """Return the experiences of each of the games that is there, for ``game_of_batch``; files are read once for all games.

    Args:
        source: A dataset, or what ``open_dataset`` takes: a folder, a file, a URL or a log.
        names: Ids of games.

    Raises:
        StorageError: If there is no dataset, or a file is damaged.
    """
    parts: dict[str, list[ExperienceBatch]] = {}
    for batch in opened(source).filter(game_ids=list(names)):
        for name in batch.game_ids:
            if name in names and len(part := rows_of(batch, name)):
                parts.setdefault(name, []).append(part)
    return {name: ExperienceBatch.concat(found) for name, found in parts.items()}


def game_of_batch(batch: ExperienceBatch, game_id: str | None = None) -> RecordedGame:
    """Return a game of a batch that has all its turns.

    Args:
        batch: The batch, before ``n_step``.
        game_id: Id of the game; None for the first one.

    Raises:
        ReplayError: If turns of the game are missing.
        StorageError: If there is no such game.
    """
    if game_id is None and len(batch):
        game_id = batch.game_ids[int(batch.game[0])]
    part = rows_of(batch, game_id or "")
    if not len(part):
        raise StorageError(f"game: expected the id of a game of the batch, got {game_id!r}: see batch.game_ids")
    rows = part.rows.copy()
    rows["reward"] = part.rewards()
    names = part.metadata.get("policies")
    listed = isinstance(names, list | tuple) and len(names) == part.players and all(isinstance(name, str) for name in names)
    details = {name: str(part.metadata[name]) for name in ("rules", "seed", "run") if name in part.metadata}
    return game_of_turns(rows, part.boards, game_id or "", tuple(names or ()) if listed else (), details)


def rows_of(batch: ExperienceBatch, game_id: str) -> ExperienceBatch:
    """Return the experiences of one game."""
    return batch.select((batch.game_id == game_id) if len(batch) else [])


def opened(source: str | Path | Dataset) -> Dataset:
    """Return a dataset as is, and open any other source."""
    return source if isinstance(source, Dataset) else open_dataset(source)
