"""Turns tiles and masks in plain numpy: the oracle of the symmetry kernels."""

from __future__ import annotations

import numpy as np

from generals_env.engine.symmetry import TURNED_DIRECTIONS


def turned(tiles: np.ndarray, symmetry: int, rows: int | None = None, columns: int | None = None) -> np.ndarray:
    """Return planes (..., H, W) turned, as numpy has it: flipped within the extent of the board, then transposed."""
    tiles = tiles.copy()
    board = tiles[..., :rows, :columns]
    board[...] = np.flip(board, axis=[axis for axis, bit in ((-2, 1), (-1, 2)) if symmetry & bit])
    return np.ascontiguousarray(np.swapaxes(tiles, -1, -2)) if symmetry & 4 else tiles


def turned_mask(
    mask: np.ndarray, symmetry: int, shape: tuple[int, int], rows: int | None = None, columns: int | None = None
) -> np.ndarray:
    """Return a mask (8*H*W + 1,), or (9*H*W + 1,) with builds, turned: a plane for each kind and direction of moves."""
    passes = 8 * shape[0] * shape[1]
    planes = turned(np.moveaxis(mask[:passes].reshape(2, *shape, 4), -1, 1), symmetry, rows, columns)
    builds = turned(mask[passes + 1 :].reshape(-1, *shape), symmetry, rows, columns)
    result = np.empty_like(planes)
    result[:, TURNED_DIRECTIONS[symmetry]] = planes
    return np.concatenate([np.moveaxis(result, 1, -1).ravel(), mask[passes : passes + 1], builds.ravel()])
