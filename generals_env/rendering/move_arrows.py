"""Draws the moves of a turn as arrows between tiles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from generals_env.actions import DIRECTIONS
from generals_env.rendering.palette import INK, WHITE

__all__ = ["draw_moves"]

#: An arrow to the right, in a unit square of which the middle is the edge between two tiles.
ARROW = ((0.26, 0.44), (0.50, 0.44), (0.50, 0.32), (0.74, 0.5), (0.50, 0.68), (0.50, 0.56), (0.26, 0.56))
HALF_ARROW = ((0.42, 0.44), (0.50, 0.44), (0.50, 0.32), (0.74, 0.5), (0.50, 0.68), (0.50, 0.56), (0.42, 0.56))

OVERSAMPLING = 8


@lru_cache(maxsize=64)
def arrow(direction: int, half: bool, size: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return colour and coverage of an arrow, (size, size, 3) and (size, size, 1) float32; half moves have a short shaft."""
    side = size * OVERSAMPLING
    points = [(x * side, y * side) for x, y in (HALF_ARROW if half else ARROW)]
    layers = []
    for width in (max(round(size * 0.07), 1) * OVERSAMPLING, 0):
        image = Image.new("L", (side, side))
        draw = ImageDraw.Draw(image)
        draw.polygon(points, fill=255)
        if width:
            draw.line([*points, *points[:2]], fill=255, width=width, joint="curve")
        turns = {0: 1, 1: 3, 2: 2, 3: 0}[direction]  # counterclockwise, from the right
        layers.append(np.rot90(np.asarray(image.reduce(OVERSAMPLING), np.float32)[..., None] / np.float32(255), turns))
    outline, inside = layers
    color = np.array(INK, np.float32) * (1 - inside) + np.array(WHITE, np.float32) * inside
    return color, outline * np.float32(0.92)


def draw_moves(
    pixels: npt.NDArray[np.uint8],
    moves: Sequence[int] | npt.NDArray[np.integer],
    rows: int,
    columns: int,
    size: int,
    player: int | None = None,
) -> None:
    """Draw the moves of a turn into the picture of a board.

    Args:
        pixels: The picture without the scores.
        moves: An action index for each player; all that are no moves are skipped.
        rows: Rows of the arrays of the board, H.
        columns: Columns of the arrays of the board, W.
        size: Pixels of a tile.
        player: The only player whose move is drawn, or None for all.
    """
    plane = 4 * rows * columns
    for number, index in enumerate(np.asarray(moves).tolist()):
        if not 0 <= index < 2 * plane or (player is not None and number != player):
            continue
        half, rest = divmod(index, plane)
        tile, direction = divmod(rest, 4)
        down, right = DIRECTIONS[direction]
        row, column = divmod(tile, columns)
        top, left = round((row + down / 2) * size), round((column + right / 2) * size)
        color, cover = arrow(direction, bool(half), size)
        cut = (slice(max(-top, 0), None), slice(max(-left, 0), None))  # moves off a torus
        color, cover = color[cut], cover[cut]
        part = pixels[max(top, 0) :, max(left, 0) :][: cover.shape[0], : cover.shape[1]]
        color, cover = color[: part.shape[0], : part.shape[1]], cover[: part.shape[0], : part.shape[1]]
        part[...] = part + (color - part) * cover + np.float32(0.5)
