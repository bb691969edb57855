"""Whether the arrays of a batch that came from outside fit together: kernels do not check."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import MAX_PLAYERS
from generals_env.engine.packed.packing import OWNER_OFFSET, bits_of
from generals_env.recorders.experience.batch import ExperienceBatch

__all__ = ["below", "validate_arrays"]


def below(name: str, array: npt.NDArray[Any], limit: int, least: int) -> None:
    """Raise ``ValueError`` if an index is out of range."""
    if array.size and not (array.min() >= least and array.max() < limit):
        raise ValueError(f"{name}: expected integers from {least} to {limit - 1}")


def validate_arrays(batch: ExperienceBatch) -> ExperienceBatch:
    """Return the batch; raise ``ValueError`` if an index leads nowhere, or a number or a size is none."""
    rows, boards = batch.rows, batch.boards
    count, tiles = boards.tiles.shape
    grounds, players = boards.players.shape
    height, width = batch.shape
    if not 1 <= players <= MAX_PLAYERS:
        raise ValueError(f"players: expected 1 to {MAX_PLAYERS}, got {players}")
    if height * width != tiles or height < 0:
        raise ValueError(f"shape: expected boards of {tiles} tiles, got {height}x{width}")
    below("game", rows["game"], len(batch.game_ids), least=0)
    below("player_id", rows["player_id"], players, least=0)
    below("state_index", rows["state_index"], count, least=0)
    below("next_state_index", rows["next_state_index"], count, least=0)
    below("action", rows["action"], 8 * tiles + 1, least=0)
    below("ground", boards.entries["ground"], grounds, least=0)
    below("wide", boards.entries["wide"], len(boards.armies), least=-1)
    below("previous", boards.entries["previous"], count, least=-1)
    below("general", boards.players["general"], tiles, least=-1)
    below("owner", boards.tiles & np.int16((1 << bits_of(players)) - 1), players + OWNER_OFFSET, least=0)
    games = boards.games
    same = (games["height"] == height) & (games["width"] == width)
    inside = (games["rows"] > 0) & (games["rows"] <= height) & (games["columns"] > 0) & (games["columns"] <= width)
    if not (same & inside).all():
        raise ValueError("boards: expected sizes that fit the arrays")
    if not np.isfinite(rows["reward"]).all() or (rows["steps"] < 1).any():
        raise ValueError("reward, steps: expected finite and positive numbers")
    if batch.recipe.memory and count and not len(boards.memory):
        raise ValueError("memory: expected what the players remember, got none")
    if batch.dense is not None:
        for name in ("before", "after"):
            below(name, getattr(batch.dense, name), len(batch.dense.observations), least=0)
    return batch
