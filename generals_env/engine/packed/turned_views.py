"""Transforms observations and masks by symmetries of the arrays, with the channels of a tile side by side, as networks want.

Unlike ``engine.symmetry``, padding moves with the tiles: a smaller board may end up at any side of its arrays. So one table for
each symmetry is enough for boards of all sizes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import kernel
from generals_env.engine.symmetry import KEEP_SHAPE, SYMMETRIES, transform_actions

__all__ = ["SymmetryTables", "symmetry_tables", "turn_planes_last", "turn_rows", "turn_tiles"]

Rows = npt.NDArray[np.int64]


class SymmetryTables(NamedTuple):
    """Tables of the S symmetries that arrays of H x W tiles keep their shape under: 8 if H = W, else 4.

    Attributes:
        tiles: (S, H*W) int64, the tile that each tile of a transformed board was.
        actions: (S, A) int64, the action that each action of a transformed board was.
        images: (S, A) int64, what each action becomes.
    """

    tiles: npt.NDArray[np.int64]
    actions: npt.NDArray[np.int64]
    images: npt.NDArray[np.int64]


def symmetry_tables(height: int, width: int, actions: int) -> SymmetryTables:
    """Return the tables for boards of H x W tiles with A actions."""
    count = SYMMETRIES if height == width else KEEP_SHAPE
    every = np.arange(actions)
    images = np.stack([transform_actions(every, s, (height, width)) for s in range(count)])
    sources = np.argsort(images, axis=1)
    tiles = sources[:, : 4 * height * width : 4] // 4
    return SymmetryTables(np.ascontiguousarray(tiles), np.ascontiguousarray(sources), np.ascontiguousarray(images))


@kernel
def turn_planes_last(
    planes: npt.NDArray[np.float32], sources: Rows, symmetries: Rows, low: int, high: int, out: npt.NDArray[np.float32]
) -> None:
    """Transform observations ``low`` to ``high - 1``, and put the channels of a tile side by side.

    Args:
        planes: (n, C, H*W) float32.
        sources: (S, H*W) int64, see ``SymmetryTables.tiles``.
        symmetries: (n,) int64.
        low: First observation.
        high: End of the observations.
        out: (n, H*W, C) float32.
    """
    for i in range(low, high):
        source = sources[symmetries[i]]
        for tile in range(out.shape[1]):
            old = source[tile]
            for channel in range(out.shape[2]):
                out[i, tile, channel] = planes[i, channel, old]


@kernel
def turn_tiles(
    views: npt.NDArray[np.float32],
    rows: Rows,
    sources: Rows,
    symmetries: Rows,
    low: int,
    high: int,
    out: npt.NDArray[np.float32],
) -> None:
    """Transform observations whose channels lie side by side: row ``rows[i]`` of (m, H*W, C); the rest as before."""
    for i in range(low, high):
        source = sources[symmetries[i]]
        for tile in range(out.shape[1]):
            old = source[tile]
            for channel in range(out.shape[2]):
                out[i, tile, channel] = views[rows[i], old, channel]


@kernel
def turn_rows(
    masks: npt.NDArray[np.int8], rows: Rows, sources: Rows, symmetries: Rows, low: int, high: int, out: npt.NDArray[np.bool_]
) -> None:
    """Transform masks ``rows[i]`` of (m, A) int8 to (n, A) bool; ``sources`` are ``SymmetryTables.actions``."""
    for i in range(low, high):
        source = sources[symmetries[i]]
        for action in range(out.shape[1]):
            out[i, action] = masks[rows[i], source[action]] != 0
