"""Applies symmetries of the board to experiences: rotations and reflections."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from generals_env.engine.packed.gather import gather
from generals_env.engine.packed.packing import PackedBoards
from generals_env.engine.packed.symmetry import turn_packed
from generals_env.engine.symmetry import transform_actions
from generals_env.errors import ConfigError
from generals_env.recorders.experience.data import Data

__all__ = ["apply_symmetries"]


def apply_symmetries(batch: Data, symmetries: Any) -> Data:
    """Apply a symmetry to each experience; see ``ExperienceBatch.turned``."""
    if batch.dense is not None or batch.recipe.frames > 1:
        raise ConfigError(
            "turned: expected observations of single boards, got dense or stacked ones: record without these wrappers"
        )
    chosen = np.asarray(symmetries)
    height, width = batch.shape
    limit = 8 if height == width else 4
    if (
        (chosen.dtype.kind not in "iu" and len(batch))
        or chosen.shape != (len(batch),)
        or ((chosen < 0) | (chosen >= limit)).any()
    ):
        raise ConfigError(f"symmetries: expected {len(batch)} integers from 0 to {limit - 1}, got {symmetries!r:.200}")
    chosen = chosen.astype(np.int64)
    count = len(batch)
    index = np.concatenate([batch.state_index, batch.next_state_index])
    boards = own_grounds(gather(batch.boards, index))
    turn_packed(boards, np.concatenate([chosen, chosen]), height, width)
    rows = batch.rows.copy()
    rows["state_index"] = np.arange(count)
    rows["next_state_index"] = np.arange(count, 2 * count)
    games = batch.boards.games[batch.boards.entries["ground"][batch.state_index]]
    extents = np.stack([games["rows"], games["columns"]], axis=1)
    if count:
        rows["action"] = transform_actions(batch.action, chosen, batch.shape, extents)
    return replace(batch, rows=rows, boards=boards)


def own_grounds(boards: PackedBoards) -> PackedBoards:
    """Return boards with a ground each, which no other board shares."""
    grounds = boards.entries["ground"]
    entries = boards.entries.copy()
    entries["ground"] = np.arange(len(entries))
    entries["previous"] = -1
    return boards._replace(
        entries=entries, terrain=boards.terrain[grounds], players=boards.players[grounds], games=boards.games[grounds]
    )
