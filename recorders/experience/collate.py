"""Concatenates batches, and pads boards of several sizes to one shape."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import MOUNTAIN, OWNER_MOUNTAIN
from generals_env.engine.packed.packing import OWNER_OFFSET, PackedBoards
from generals_env.errors import ConfigError
from generals_env.recorders.experience.batch_kind import BatchKind
from generals_env.recorders.experience.data import Data
from generals_env.recorders.experience.dense_observations import Dense

__all__ = ["GAMES", "concat", "in_common", "padded"]

#: Entry of metadata with what is known about single games, by their ids.
GAMES = "games"


def padded(batch: Data, height: int, width: int) -> Data:
    """Pad a batch; see ``ExperienceBatch.padded``."""
    rows, columns = batch.shape
    if (rows, columns) == (height, width):
        return batch
    if height < rows or width < columns:
        raise ConfigError(f"shape: expected at least {rows}x{columns}, got {height}x{width}: boards cannot be cropped")
    if batch.dense is not None:
        raise ConfigError(f"shape: expected {rows}x{columns}, as dense observations cannot be padded, got {height}x{width}")
    tiles = (np.arange(rows)[:, None] * width + np.arange(columns)).ravel()
    old = batch.boards

    def embedded(array: npt.NDArray[Any], around: int) -> npt.NDArray[Any]:
        larger = np.full((*array.shape[:-1], height * width), around, array.dtype)
        larger[..., tiles] = array
        return larger

    players, games = old.players.copy(), old.games.copy()
    homes = old.players["general"]
    players["general"] = np.where(homes >= 0, tiles[np.maximum(homes, 0)], homes)
    games["height"], games["width"] = height, width
    boards = PackedBoards(
        embedded(old.tiles, OWNER_MOUNTAIN + OWNER_OFFSET),
        old.entries,
        embedded(old.terrain, MOUNTAIN),
        players,
        games,
        embedded(old.armies, 0),
        embedded(old.memory, 0),
    )
    experiences = batch.rows.copy()
    experiences["action"] = moved(batch.action, (rows, columns), (height, width))
    return replace(batch, rows=experiences, boards=boards, shape=(height, width))


def moved(actions: npt.NDArray[np.int32], old: tuple[int, int], new: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Return action indices for boards of shape ``new`` from those for boards of shape ``old``."""
    passes, moved_pass = 8 * old[0] * old[1], 8 * new[0] * new[1]
    builds = actions > passes
    half, rest = np.divmod(actions, passes // 2)
    tile, direction = np.divmod(rest, 4)
    tile = np.where(builds, actions - passes - 1, tile)
    row, column = np.divmod(tile, old[1])
    tile = row * new[1] + column
    moves = half * (moved_pass // 2) + 4 * tile + direction
    return np.where(actions < passes, moves, np.where(builds, moved_pass + 1 + tile, moved_pass)).astype(np.int32)


def in_common(metadata: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the entries that all metadata share."""
    first, *others = metadata
    return {name: value for name, value in first.items() if all(name in one and one[name] == value for one in others)}


def joined_metadata(metadata: Sequence[Mapping[str, Any]], game_ids: Collection[str]) -> dict[str, Any]:
    """Return the entries that all metadata share, and what each tells about single games of ``game_ids``."""
    common = in_common(metadata)
    told: dict[str, Any] = {}
    for one in metadata:
        if isinstance(games := one.get(GAMES), Mapping):
            told.update((name, facts) for name, facts in games.items() if name in game_ids)
    return common | ({GAMES: told} if told else {})


def concat(batches: Sequence[Data]) -> Data:
    """Concatenate batches; see ``ExperienceBatch.concat``."""
    if not batches:
        raise ConfigError("batches: expected one or more, got none: pass at least one batch")
    first = batches[0]
    for batch in batches[1:]:
        BatchKind.of(first).require_joins("batches", BatchKind.of(batch))
    height, width = (max(batch.shape[axis] for batch in batches) for axis in (0, 1))
    parts = [padded(batch, height, width) for batch in batches]
    numbers: dict[str, int] = {}
    rows = []
    starts = dict.fromkeys(("tiles", "games", "armies"), 0)
    entries = []
    for part in parts:
        columns = part.rows.copy()
        games = np.array([numbers.setdefault(name, len(numbers)) for name in part.game_ids], np.int32)
        columns["game"] = games[part.game] if len(part) else 0
        columns["state_index"] += starts["tiles"]
        columns["next_state_index"] += starts["tiles"]
        rows.append(columns)
        entry = part.boards.entries.copy()
        entry["ground"] += starts["games"]
        entry["wide"][entry["wide"] >= 0] += starts["armies"]
        entry["previous"][entry["previous"] >= 0] += starts["tiles"]
        entries.append(entry)
        starts = {name: start + len(getattr(part.boards, name)) for name, start in starts.items()}
    boards = PackedBoards._make(np.concatenate([part.boards[k] for part in parts]) for k in range(len(first.boards)))
    if not first.recipe.memory:  # it may be there for some batches only
        boards = boards._replace(memory=boards.memory[:0])
    return replace(
        first,
        game_ids=tuple(numbers),
        rows=np.concatenate(rows),
        boards=boards._replace(entries=np.concatenate(entries)),
        shape=(height, width),
        dense=Dense.concat([part.dense for part in parts if part.dense is not None]) if first.dense is not None else None,
        metadata=joined_metadata([batch.metadata for batch in batches], numbers),
    )
