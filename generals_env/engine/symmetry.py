"""Transforms observations, action masks, actions and boards by the eight symmetries of the square.

Symmetry ``s`` turns rows upside down if bit 0 is set, then columns left to right if bit 1 is set, then exchanges rows and
columns if bit 2 is set. The first four keep the shape of a board; the other four make H x W tiles of W x H:

=====  =========================  =========================
index  name                       tile (row, column) goes to
=====  =========================  =========================
0      identity                   (row, column)
1      upside down                (H-1-row, column)
2      left to right              (row, W-1-column)
3      half turn                  (H-1-row, W-1-column)
4      transpose                  (column, row)
5      quarter turn clockwise     (column, H-1-row)
6      quarter turn back          (W-1-column, row)
7      transpose, other diagonal  (W-1-column, H-1-row)
=====  =========================  =========================

A board smaller than its arrays is transformed within its extent and stays in the upper left corner; its padding stays below
and right of it (the last four exchange its height and width, too).

The game has these symmetries: ``advance`` and ``action_mask`` commute with them, on padded boards, with the Torus modifier and
by the rules of the competition, too. Sight has one exception: on a padded board without Torus a player sees the padding next
to his land at the lower and right edges, and nothing beyond the other two; there only the tiles of the board itself are seen
alike.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards, copy_boards
from generals_env.engine.jit import kernel, subroutine
from generals_env.engine.splitmix import RandomState, random_below

__all__ = [
    "COMPOSITION",
    "INVERSE",
    "KEEP_SHAPE",
    "SYMMETRIES",
    "TURNED_DIRECTIONS",
    "draw_symmetries",
    "transform_actions",
    "transform_boards",
    "transform_extents",
    "transform_masks",
    "transform_observations",
]

#: (n,) int64, a symmetry a row; (n, 2) int64, rows and columns of a board without its padding.
Symmetries = npt.NDArray[np.int64]
Extents = npt.NDArray[np.int64]

SYMMETRIES = 8

#: The number of symmetries, the first ones, that keep the shape of a board that is not square.
KEEP_SHAPE = 4


def exchanged(flips: int) -> int:
    """Return the flips after a transposition that equal ``flips`` before it."""
    return flips >> 1 | (flips & 1) << 1


def composed(second: int, first: int) -> int:
    """Return the symmetry that equals ``first``, then ``second``."""
    flips = exchanged(second & 3) if first & 4 else second & 3
    return (first ^ second) & 4 | (first & 3) ^ flips


#: ``COMPOSITION[second, first]``, (8, 8) int64: the symmetry that equals ``first``, then ``second``.
COMPOSITION = np.array([[composed(second, first) for first in range(SYMMETRIES)] for second in range(SYMMETRIES)], np.int64)

#: (8,) int64: the symmetry that undoes each.
INVERSE = np.argmin(COMPOSITION, axis=0).astype(np.int64)


def turned_direction(symmetry: int, direction: int) -> int:
    """Return the image of a direction (0-3: up, down, left, right)."""
    if direction < 2:
        direction ^= symmetry & 1
    else:
        direction ^= symmetry >> 1 & 1
    return direction ^ 2 if symmetry & 4 else direction


#: ``TURNED_DIRECTIONS[symmetry, direction]``, (8, 4) int64.
TURNED_DIRECTIONS = np.array([[turned_direction(s, d) for d in range(4)] for s in range(SYMMETRIES)], np.int64)


# --- Kernels ----------------------------------------------------------------------------------------------------------


@subroutine
def image(symmetry: int, tile: int, height: int, width: int, rows: int, columns: int) -> int:
    """Return the image of ``tile`` on a board of ``rows`` x ``columns`` in arrays of ``height`` x ``width``."""
    row = tile // width
    column = tile - row * width
    if row < rows and column < columns:
        if symmetry & 1:
            row = rows - 1 - row
        if symmetry & 2:
            column = columns - 1 - column
    return column * height + row if symmetry & 4 else row * width + column


@subroutine
def action_image(symmetry: int, action: int, height: int, width: int, rows: int, columns: int) -> int:
    """Return the image of an action index; the pass stays the pass, and a build moves with its tile."""
    plane = 4 * height * width
    if action == 2 * plane:
        return action
    if action > 2 * plane:
        return 2 * plane + 1 + image(symmetry, action - 2 * plane - 1, height, width, rows, columns)
    base = plane if action >= plane else 0
    tile = (action - base) // 4
    direction = action - base - 4 * tile
    return base + 4 * image(symmetry, tile, height, width, rows, columns) + TURNED_DIRECTIONS[symmetry, direction]


@kernel
def turn_planes(
    planes: npt.NDArray[np.float32],
    symmetries: Symmetries,
    extents: Extents,
    height: int,
    width: int,
    out: npt.NDArray[np.float32],
) -> None:
    """Transform planes of tiles.

    Args:
        planes: (n, K, H*W) float32.
        symmetries: (n,) int64.
        extents: (n, 2) int64.
        height: H.
        width: W.
        out: (n, K, H*W) float32.
    """
    images = np.empty(planes.shape[2], np.int32)
    for i in range(planes.shape[0]):
        for tile in range(planes.shape[2]):
            images[tile] = image(symmetries[i], tile, height, width, extents[i, 0], extents[i, 1])
        for k in range(planes.shape[1]):
            for tile in range(planes.shape[2]):
                out[i, k, images[tile]] = planes[i, k, tile]


@kernel
def turn_masks(
    masks: npt.NDArray[np.int8], symmetries: Symmetries, extents: Extents, height: int, width: int, out: npt.NDArray[np.int8]
) -> None:
    """Transform action masks: (n, K, A) int8 both, A = 8*H*W + 1, or 9*H*W + 1 with builds; the rest as in ``turn_planes``."""
    plane = 4 * height * width
    builds = masks.shape[2] > 2 * plane + 1
    for i in range(masks.shape[0]):
        up = TURNED_DIRECTIONS[symmetries[i], 0]
        down = TURNED_DIRECTIONS[symmetries[i], 1]
        left = TURNED_DIRECTIONS[symmetries[i], 2]
        right = TURNED_DIRECTIONS[symmetries[i], 3]
        for k in range(masks.shape[1]):
            out[i, k, 2 * plane] = masks[i, k, 2 * plane]
        for tile in range(height * width):
            new_tile = image(symmetries[i], tile, height, width, extents[i, 0], extents[i, 1])
            start = 4 * new_tile
            for k in range(masks.shape[1]):
                if builds:
                    out[i, k, 2 * plane + 1 + new_tile] = masks[i, k, 2 * plane + 1 + tile]
                for half in range(2):
                    old = half * plane + 4 * tile
                    new = half * plane + start
                    out[i, k, new + up] = masks[i, k, old]
                    out[i, k, new + down] = masks[i, k, old + 1]
                    out[i, k, new + left] = masks[i, k, old + 2]
                    out[i, k, new + right] = masks[i, k, old + 3]


@kernel
def turn_actions(
    actions: npt.NDArray[np.int64],
    symmetries: Symmetries,
    extents: Extents,
    height: int,
    width: int,
    out: npt.NDArray[np.int64],
) -> None:
    """Transform action indices: (n, K) int64 both; the rest as in ``turn_planes``."""
    for i in range(actions.shape[0]):
        for k in range(actions.shape[1]):
            out[i, k] = action_image(symmetries[i], actions[i, k], height, width, extents[i, 0], extents[i, 1])


@kernel
def turn_boards(boards: Boards, symmetries: Symmetries, out: Boards) -> None:
    """Transform boards; ``out`` must be a copy of them."""
    for b in range(symmetries.shape[0]):
        symmetry = symmetries[b]
        game = boards.games[b]
        height, width, rows, columns = game["height"], game["width"], game["rows"], game["columns"]
        for tile in range(boards.owner.shape[1]):
            new = image(symmetry, tile, height, width, rows, columns)
            out.owner[b, new] = boards.owner[b, tile]
            out.army[b, new] = boards.army[b, tile]
            out.terrain[b, new] = boards.terrain[b, tile]
        for player in range(boards.players.shape[1]):
            home = boards.players[b, player]["general"]
            if home >= 0:
                out.players[b, player]["general"] = image(symmetry, home, height, width, rows, columns)
        if symmetry & 4:
            out.games[b]["height"] = width
            out.games[b]["width"] = height
            out.games[b]["rows"] = columns
            out.games[b]["columns"] = rows


@kernel
def draw_symmetries(rng: RandomState, which: npt.NDArray[np.bool_], count: int, out: Symmetries) -> None:
    """Draw one of the first ``count`` symmetries for each True row of ``which``, with the generator of the row.

    Args:
        rng: (n,) uint64.
        which: (n,) bool.
        count: 1 to 8.
        out: (n,) int64; other rows stay as they are.
    """
    for i in range(which.shape[0]):
        if which[i]:
            out[i] = random_below(rng, i, count)


# --- What Python calls ------------------------------------------------------------------------------------------------


def transform_observations(
    observations: npt.NDArray[np.float32], symmetry: Any, extents: Extents | None = None
) -> npt.NDArray[np.float32]:
    """Return transformed observations.

    Args:
        observations: (n, ..., H, W) float32.
        symmetry: (n,) integers from 0 to 7, or one for all rows.
        extents: (n, 2) int64, rows and columns of the boards without padding; None for boards without padding.

    Returns:
        (n, ..., H, W) float32, or (n, ..., W, H) by the symmetries from 4 on.

    Raises:
        ValueError: If a symmetry or an extent is out of range, or boards that are not square would get two shapes.
    """
    height, width = observations.shape[-2:]
    symmetries, sizes, turned = checked(symmetry, len(observations), (height, width), extents)
    planes = np.ascontiguousarray(observations, np.float32).reshape(-1, math.prod(observations.shape[1:-2]), height * width)
    out = np.empty_like(planes)
    turn_planes(planes, symmetries, sizes, height, width, out)
    return out.reshape(*observations.shape[:-2], *turned)


def transform_masks(
    masks: npt.NDArray[np.int8], symmetry: Any, shape: tuple[int, int], extents: Extents | None = None
) -> npt.NDArray[np.int8]:
    """Return transformed action masks.

    Args:
        masks: (n, ..., 8*H*W + 1) int8; (n, ..., 9*H*W + 1) with the rules of the competition.
        symmetry: As in ``transform_observations``.
        shape: (H, W).
        extents: As in ``transform_observations``.

    Raises:
        ValueError: As in ``transform_observations``, or if the masks do not fit ``shape``.
    """
    symmetries, sizes, _ = checked(symmetry, len(masks), shape, extents)
    widths = [planes * shape[0] * shape[1] + 1 for planes in (8, 9)]  # without builds, and with them
    if masks.shape[-1] not in widths:
        raise ValueError(
            f"masks: expected (n, ..., {widths[0]}) for boards of {shape[0]}x{shape[1]}, or {widths[1]} with the rules of the "
            f"competition, got {masks.shape}: pass the height and width of their boards as shape"
        )
    rows = np.ascontiguousarray(masks, np.int8).reshape(-1, math.prod(masks.shape[1:-1]), masks.shape[-1])
    out = np.empty_like(rows)
    turn_masks(rows, symmetries, sizes, *shape, out)
    return out.reshape(masks.shape)


def transform_actions(
    actions: npt.NDArray[np.integer[Any]], symmetry: Any, shape: tuple[int, int], extents: Extents | None = None
) -> npt.NDArray[np.int64]:
    """Return transformed action indices: (n, ...) integers to int64; the rest as in ``transform_masks``."""
    symmetries, sizes, _ = checked(symmetry, len(actions), shape, extents)
    rows = np.ascontiguousarray(actions, np.int64).reshape(-1, math.prod(actions.shape[1:]))
    out = np.empty_like(rows)
    turn_actions(rows, symmetries, sizes, *shape, out)
    return out.reshape(actions.shape)


def transform_boards(boards: Boards, symmetry: Any) -> Boards:
    """Return transformed boards; symmetries from 4 on exchange height and width. Errors as in ``transform_observations``."""
    game = boards.games[0]
    symmetries, _, _ = checked(symmetry, len(boards.games), (int(game["height"]), int(game["width"])), None)
    out = copy_boards(boards)
    turn_boards(boards, symmetries, out)
    return out


def transform_extents(extents: Extents, symmetry: Any) -> Extents:
    """Return the extents of transformed boards, (n, 2) int64."""
    transposed = (np.asarray(symmetry) & 4 != 0)[..., None]
    return np.where(transposed, extents[:, ::-1], extents)


def checked(
    symmetry: Any, count: int, shape: tuple[int, int], extents: Extents | None
) -> tuple[Symmetries, Extents, tuple[int, int]]:
    """Return validated symmetries and extents of every row, and the shape of the transformed boards."""
    given = np.asarray(symmetry)
    if given.dtype.kind not in "iu" or given.shape not in ((), (count,)) or ((given < 0) | (given >= SYMMETRIES)).any():
        raise ValueError(f"symmetry: expected integers from 0 to 7, one or {count}, got {symmetry!r:.200}")
    symmetries = np.ascontiguousarray(np.broadcast_to(given, count), np.int64)
    height, width = shape
    if extents is None:
        extents = np.broadcast_to(np.array(shape, np.int64), (count, 2))
    elif extents.shape != (count, 2) or (extents < 1).any() or (extents > shape).any():
        raise ValueError(
            f"extents: expected ({count}, 2) rows and columns within {height}x{width}, got {extents!r:.200}: "
            "pass None for boards without padding"
        )
    transposed = symmetries & 4 != 0
    if height != width and transposed.any() and not transposed.all():
        raise ValueError(
            f"symmetry: expected all below 4 or all from 4 on, as a board of {height}x{width} is not square, "
            f"got {symmetry!r:.200}: use those below {KEEP_SHAPE} to keep the shape"
        )
    return symmetries, np.ascontiguousarray(extents, np.int64), (width, height) if transposed.any() else shape
