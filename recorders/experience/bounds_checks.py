"""Checks the indices and sizes of a decoded batch, since kernels do no bounds checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import COMPETITION_VERSION, MAX_PLAYERS
from generals_env.engine.packed.packing import OWNER_OFFSET, bits_of
from generals_env.recorders.experience.batch import ExperienceBatch

__all__ = ["check_range", "validate_arrays"]


def check_range(name: str, array: npt.NDArray[Any], limit: int, minimum: int) -> None:
    """Raise ``ValueError`` unless all numbers are from ``minimum`` to ``limit - 1``."""
    if array.size and not (array.min() >= minimum and array.max() < limit):
        raise ValueError(f"{name}: expected integers from {minimum} to {limit - 1}")


def validate_arrays(batch: ExperienceBatch) -> ExperienceBatch:
    """Return the batch; raise ``ValueError`` if an index is out of range, or a number or a size invalid."""
    rows, boards = batch.rows, batch.boards
    count, tiles = boards.tiles.shape
    grounds, players = boards.players.shape
    height, width = batch.shape
    if not 1 <= players <= MAX_PLAYERS:
        raise ValueError(f"players: expected 1 to {MAX_PLAYERS}, got {players}")
    if height * width != tiles or height < 0:
        raise ValueError(f"shape: expected boards of {tiles} tiles, got {height}x{width}")
    check_range("game", rows["game"], len(batch.game_ids), minimum=0)
    check_range("player_id", rows["player_id"], players, minimum=0)
    check_range("state_index", rows["state_index"], count, minimum=0)
    check_range("next_state_index", rows["next_state_index"], count, minimum=0)
    check_range("action", rows["action"], batch.recipe.actions(batch.shape), minimum=0)
    check_range("ground", boards.entries["ground"], grounds, minimum=0)
    check_range("wide", boards.entries["wide"], len(boards.armies), minimum=-1)
    check_range("previous", boards.entries["previous"], count, minimum=-1)
    check_range("general", boards.players["general"], tiles, minimum=-1)
    check_range("owner", boards.tiles & np.int16((1 << bits_of(players)) - 1), players + OWNER_OFFSET, minimum=0)
    games = boards.games
    same = (games["height"] == height) & (games["width"] == width)
    inside = (games["rows"] > 0) & (games["rows"] <= height) & (games["columns"] > 0) & (games["columns"] <= width)
    if not (same & inside).all():
        raise ValueError("boards: expected sizes that the arrays have")
    if ((games["version"] == COMPETITION_VERSION) != batch.recipe.builds).any():
        raise ValueError(f"version: expected games that fit builds={batch.recipe.builds} of the recipe")
    if not np.isfinite(rows["reward"]).all() or (rows["steps"] < 1).any():
        raise ValueError("reward, steps: expected finite and positive numbers")
    if batch.recipe.memory and count and not len(boards.memory):
        raise ValueError("memory: expected the memory of the players, got none")
    if batch.dense is not None:
        for name in ("before", "after"):
            check_range(name, getattr(batch.dense, name), len(batch.dense.observations), minimum=0)
    return batch
