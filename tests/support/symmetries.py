"""Turns tiles and masks in plain numpy: the oracle of the kernels."""

from __future__ import annotations

import numpy as np

from generals_env.engine.symmetry import (
    TURNED_DIRECTIONS,
)


def turned(tiles: np.ndarray, symmetry: int, rows: int | None = None, columns: int | None = None) -> np.ndarray:
    """Return planes (..., H, W) turned, as numpy has it: flipped within the extent of the board, then transposed."""
    tiles = tiles.copy()
    board = tiles[..., :rows, :columns]
    board[...] = np.flip(board, axis=[axis for axis, bit in ((-2, 1), (-1, 2)) if symmetry & bit])
    return np.ascontiguousarray(np.swapaxes(tiles, -1, -2)) if symmetry & 4 else tiles


def turned_mask(
    mask: np.ndarray, symmetry: int, shape: tuple[int, int], rows: int | None = None, columns: int | None = None
) -> np.ndarray:
    """Return a mask (8*H*W + 1,) turned, as numpy has it: a plane for each kind and direction of moves."""
    planes = turned(np.moveaxis(mask[:-1].reshape(2, *shape, 4), -1, 1), symmetry, rows, columns)
    result = np.empty_like(planes)
    result[:, TURNED_DIRECTIONS[symmetry]] = planes
    return np.append(np.moveaxis(result, 1, -1).ravel(), mask[-1])
