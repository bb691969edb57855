"""Turns the games of a learner into tensors and back: boards, generators, and what built-in opponents remember.

The arrays are stored as bytes; their shapes and types are those of the games that they are restored to. Kernels check no
bounds, so boards and memories are checked before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.policies.codes import GIVEN, HUNTER
from generals_env.engine.policies.hunter.memory import AIM, COUNT, ENEMY_HOME, HEAD, HOME_TILE, LAST_ACTION, QUEUE, STACK
from generals_env.engine.simulation.thinkers import thinkers_of
from generals_env.errors import ConfigError, StorageError
from generals_env.starts.board_checks import check_boards
from generals_env.vector import GeneralsVector

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError as error:
    raise ImportError(f'game_state: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["games_state", "restore_games"]


def as_bytes(array: npt.NDArray[Any]) -> Tensor:
    """Return the bytes of an array, (n,) uint8."""
    return torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8).copy())


def restored(saved: Any, like: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Return the array of some bytes, of the shape and dtype of another one; raise ``StorageError`` if they do not fit."""
    if not isinstance(saved, Tensor) or saved.dtype != torch.uint8 or saved.shape != (like.nbytes,):
        raise StorageError(
            f"games: expected {like.nbytes} bytes of {name}, got {getattr(saved, 'shape', saved)!r:.80}: continue with the "
            "options that the games were saved with"
        )
    array: npt.NDArray[Any] = saved.numpy().copy().view(like.dtype).reshape(like.shape)
    return array


def games_state(venv: GeneralsVector) -> dict[str, Any]:
    """Return the games of an environment as tensors. Of opponents that remember, the hunter's memory is in it."""
    batch = venv.batch
    state: dict[str, Any] = {f"boards_{name}": as_bytes(getattr(batch.boards, name)) for name in Boards._fields}
    columns = {"active": batch.outcome.active, "illegal": batch.outcome.illegal_count, "begun": batch.outcome.begun}
    columns |= {"rng": batch.rng, "policy_rng": batch.policy_rng}
    state |= {name: as_bytes(array) for name, array in columns.items()}
    if HUNTER in batch.thinkers:
        memory: Any = batch.thinkers[HUNTER]
        state["hunter"] = {name: as_bytes(getattr(memory.memory, name)) for name in memory.memory._fields}
    return state


def restore_games(venv: GeneralsVector, state: Mapping[str, Any]) -> None:
    """Continue the games of ``games_state`` in an environment of the same options that was reset.

    A planner begins anew: its searches are objects, which are not saved.

    Raises:
        StorageError: If the state is not that of games of these options.
    """
    batch = venv.batch
    numbers = {"illegal": batch.outcome.illegal_count, "begun": batch.outcome.begun, "rng": batch.rng}
    numbers["policy_rng"] = batch.policy_rng
    try:
        boards = restored_boards(state, batch.boards)
        active = restored(state["active"], batch.outcome.active, "active")
        found = {name: restored(state[name], array, name) for name, array in numbers.items()}
        memory = hunter_memory(venv, state["hunter"]) if "hunter" in state else []
    except (KeyError, ConfigError) as error:
        raise StorageError(
            f"games: expected the state of running games, got another ({error!r:.200}): take an intact checkpoint"
        ) from error
    batch.load(boards, active=active)
    for name, array in numbers.items():
        array[:] = found[name]
    for target, saved in memory:
        target[:] = saved


def restored_boards(state: Mapping[str, Any], like: Boards) -> Boards:
    """Return the boards of a state; raise an error unless games of the kind of ``like`` go on on all of them."""
    boards = Boards(*(restored(state[f"boards_{name}"], getattr(like, name), name) for name in Boards._fields))
    check_boards(boards)
    fixed = ("height", "width", "version", "modifiers", "fog")
    if (
        any((boards.games[name] != like.games[name]).any() for name in fixed)
        or (boards.players["team"] != like.players["team"]).any()
    ):
        raise StorageError("games: expected boards of the same options, got others: continue with those of the checkpoint")
    return boards


def hunter_memory(venv: GeneralsVector, state: Mapping[str, Any]) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Return the arrays of the hunter's memory with those to write to them, checked."""
    codes = np.array([HUNTER, *[GIVEN] * (venv.config.players - 1)], np.int64)
    (thinker,) = thinkers_of(venv.batch, codes)
    memory: Any = thinker.memory  # type: ignore[attr-defined]
    pairs = [(getattr(memory, name), restored(state[name], getattr(memory, name), name)) for name in memory._fields]
    words, _, home, queue = (saved for _, saved in pairs)
    tiles = home.shape[1]
    bounds = {HEAD: (0, QUEUE), COUNT: (0, QUEUE), LAST_ACTION: (0, venv.config.actions - 1)}
    bounds |= dict.fromkeys((AIM, ENEMY_HOME, STACK, HOME_TILE), (-1, tiles - 1))
    for column, (low, high) in bounds.items():
        if ((words[:, column] < low) | (words[:, column] > high)).any():
            raise StorageError(
                f"games: expected words {column} of the hunter from {low} to {high}, got others: take an intact checkpoint"
            )
    if (queue < -1).any() or (queue >= 4 * tiles).any() or (home < -1).any() or (home > tiles).any():
        raise StorageError("games: expected moves and steps of the hunter within the board, got others: take an intact file")
    return pairs
