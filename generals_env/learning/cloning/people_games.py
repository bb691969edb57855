"""Reads the games that a policy is cloned from: replays of people, and datasets of recorded games."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.config import RewardConfig
from generals_env.errors import ReplayError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.collate import GAMES
from generals_env.recorders.people.human_replays import facts_of, play_source
from generals_env.recorders.people.replay_sources import find_files, replay_sources

__all__ = ["PeopleGame", "SkippedGame", "games_of_batches", "games_of_replays", "key_of", "player_keys"]

#: Names that several people share: of them it is not known who they are.
SHARED_NAMES = {"", "anonymous"}


class PeopleGame(NamedTuple):
    """A recorded game, and what is known about its players.

    Attributes:
        id: Id of the game.
        batch: The turns of all players, one after another.
        keys: (P,) uint64, see ``player_keys``.
        named: Whether all players are known by their names.
        stars: Ranks of the players; empty if unknown.
        winners: Players who won; empty if the recording ends before the game does.
    """

    id: str
    batch: ExperienceBatch
    keys: npt.NDArray[np.uint64]
    named: bool
    stars: tuple[float, ...]
    winners: tuple[int, ...]


class SkippedGame(NamedTuple):
    """A replay that cannot be used: where it is, and why."""

    source: str
    reason: str


def key_of(text: str) -> int:
    """Return a number of 64 bits that stands for a name or an id: the first bytes of its SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def player_keys(names: Iterable[str], game: str) -> tuple[npt.NDArray[np.uint64], bool]:
    """Return numbers that stand for the players of a game, and whether all are known by their names.

    A player without a name of his own is known by his game only: the number stands for the game, the same for all such players.

    Args:
        names: A name each; of a file without names those that ``replay.Replay.names`` makes up.
        game: Id of the game.
    """
    keys = []
    named = True
    for player, name in enumerate(names):
        known = name.strip().lower() not in SHARED_NAMES and name != f"player_{player}"
        named = named and known
        keys.append(key_of(f"player:{name}" if known else f"game:{game}"))
    return np.array(keys, np.uint64), named


def games_of_replays(paths: Iterable[str | Path]) -> Iterator[PeopleGame | SkippedGame]:
    """Yield the games in files, folders, archives, sets and tables of replays; see ``recorders.people.replay_sources``.

    Games with equal ids, as of files in several forms, are yielded once.

    Raises:
        ReplayError: If a path does not exist.
    """
    weights = RewardConfig().weights()
    known: set[str] = set()
    for source in replay_sources(find_files(paths)):
        try:
            played = play_source(source, weights, time.time_ns())
        except ReplayError as error:
            yield SkippedGame(source.name, str(error))
            continue
        game = played.game
        name = game.id or source.title
        if name in known:
            yield SkippedGame(source.name, f"id: expected each game once, got {name!r} again: leave it out")
            continue
        known.add(name)
        parts = list(played.parts)
        if not parts:
            yield SkippedGame(source.name, "moves: expected a game of one or more turns, got none: leave it out")
            continue
        shape = (game.height, game.width)
        batch = ExperienceBatch.concat([ExperienceBatch((name,), rows, boards, shape) for rows, boards in parts])
        facts = facts_of(game, source.name, parts[-1].boards)
        keys, named = player_keys(game.names, name)
        yield PeopleGame(name, batch, keys, named, game.stars, tuple(facts["winners"]))


def games_of_batches(batches: Iterable[ExperienceBatch]) -> Iterator[PeopleGame]:
    """Yield the games of a dataset of ``record_replays``, whose batches hold whole games.

    Datasets have no names: players are known by their games only.
    """
    for batch in batches:
        told = batch.metadata.get(GAMES)
        games: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
        for number, name in enumerate(batch.game_ids):
            rows = np.flatnonzero(batch.game == number)
            if not len(rows):
                continue
            part = batch.select(rows)
            facts = games.get(name, {})
            keys, _ = player_keys([""] * part.players, name)
            yield PeopleGame(name, part, keys, False, tuple(facts.get("stars", ())), tuple(facts.get("winners", ())))
