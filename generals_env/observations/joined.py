"""Joins packed observations of several environments into one, in memory that the caller chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.packed.packing import PackedBoards
from generals_env.errors import ConfigError
from generals_env.observations.packed import PackedObservations

__all__ = ["Room", "joined", "kind_of"]

#: Returns an array of a shape and a dtype, without values, as ``numpy.empty`` does.
Room = Callable[[tuple[int, ...], np.dtype[Any]], npt.NDArray[Any]]


def kind_of(views: PackedObservations) -> tuple[Any, ...]:
    """Return what observations must have in common to be joined: shape, layout, players, and whether there are builds."""
    boards = views.boards
    version = int(boards.games[0]["version"]) if len(boards.games) else -1
    return views.shape, views.layout, boards.players.shape[1], version, len(boards.memory) > 0


def joined(parts: Sequence[PackedObservations], room: Room = np.empty) -> PackedObservations:
    """Return the observations of all parts, one after another, with one axis; each board is copied once.

    Args:
        parts: One or more, of one kind.
        room: Makes the arrays of the boards, for example in page-locked memory.

    Raises:
        ConfigError: If there is no part, or they are of several kinds.
    """
    kinds = {kind_of(part) for part in parts}
    if len(kinds) != 1:
        raise ConfigError(
            f"parts: expected observations of one kind, got {sorted(kinds, key=str)!r:.200}: join those of equal games"
        )
    boards = PackedBoards._make(stacked([part.boards[k] for part in parts], room) for k in range(len(PackedBoards._fields)))
    indices = []
    first = wide = ground = 0
    for part in parts:
        entries = boards.entries[first : first + len(part.boards.entries)]
        entries["ground"] += ground
        for name, offset in (("wide", wide), ("previous", first)):
            entries[name] += np.where(entries[name] >= 0, offset, 0)
        indices.append(part.board.ravel() + np.int32(first))
        first += len(entries)
        ground, wide = ground + len(part.boards.games), wide + len(part.boards.armies)
    return PackedObservations(
        boards,
        np.concatenate(indices),
        np.concatenate([part.player.ravel() for part in parts]),
        np.concatenate([part.shown.ravel() for part in parts]),
        parts[0].shape,
        parts[0].layout,
    )


def stacked(arrays: Sequence[npt.NDArray[Any]], room: Room) -> npt.NDArray[Any]:
    """Return arrays one after another along their first axis, in new memory."""
    out = room((sum(map(len, arrays)), *arrays[0].shape[1:]), arrays[0].dtype)
    return np.concatenate(arrays, out=out)
