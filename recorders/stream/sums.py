"""Experiences summed up by game and player, in tables that are put together again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.recorders.experience import ExperienceBatch

__all__ = ["Sums", "joined", "of_games", "sums_of"]

ROW = np.dtype(
    [
        ("game", np.int32),
        ("player", np.int8),
        ("count", np.int64),
        ("reward", np.float64),
        ("least", np.float32),
        ("most", np.float32),
        ("oldest", np.int64),
        ("newest", np.int64),
    ]
)

#: How each column of two rows becomes that of one.
TOGETHER = {
    "count": np.add,
    "reward": np.add,
    "least": np.minimum,
    "most": np.maximum,
    "oldest": np.minimum,
    "newest": np.maximum,
}


class Sums(NamedTuple):
    """What experiences add up to.

    Attributes:
        games: Ids of the games, none of them without an experience.
        rows: One for each game and player, in this order: ``game``, an index into ``games``; ``player``; ``count``; ``reward``,
            the sum; ``least`` and ``most``, of rewards; ``oldest`` and ``newest``, in ns since 1970.
    """

    games: tuple[str, ...]
    rows: npt.NDArray[np.void]


def sums_of(batch: ExperienceBatch) -> Sums:
    """Return what a batch adds up to."""
    rows = np.empty(len(batch), ROW)
    rows["game"], rows["player"], rows["count"] = batch.game, batch.player_id, 1
    rows["reward"] = rows["least"] = rows["most"] = batch.rewards()
    rows["oldest"] = rows["newest"] = batch.collected_at
    return joined([Sums(batch.game_ids, grouped(rows))])


def joined(parts: Iterable[Sums]) -> Sums:
    """Return what all parts together add up to."""
    places: dict[str, int] = {}
    tables = [np.empty(0, ROW)]
    for games, rows in parts:
        index = np.zeros(len(games), np.int32)
        for game in np.unique(rows["game"]).tolist():
            index[game] = places.setdefault(games[game], len(places))
        table = rows.copy()
        table["game"] = index[rows["game"]]
        tables.append(table)
    return Sums(tuple(places), grouped(np.concatenate(tables)))


def of_games(sums: Sums, games: frozenset[str]) -> Sums:
    """Return the sums of these games."""
    wanted = np.array([game in games for game in sums.games], np.bool_)
    return joined([Sums(sums.games, sums.rows[wanted[sums.rows["game"]]])])


def grouped(rows: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Return rows of the same game and player as one."""
    if not len(rows):
        return rows
    keys = rows["game"].astype(np.int64) << 8 | rows["player"]
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    rows = rows[order]
    table: npt.NDArray[np.void] = rows[starts]
    for name, ufunc in TOGETHER.items():
        table[name] = ufunc.reduceat(rows[name], starts)
    return table
