"""Draws boards as images, from tiles that are drawn once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_integer
from generals_env.config import is_number
from generals_env.engine.boards import Boards
from generals_env.errors import ConfigError
from generals_env.rendering.move_arrows import draw_moves
from generals_env.rendering.palette import BACKGROUND
from generals_env.rendering.scoreboard import draw_scores, score_rows
from generals_env.rendering.sight import seen_tiles
from generals_env.rendering.sprites import sprites_of, tile_keys

__all__ = ["TILE_SIZE", "draw_board", "image_shape"]

#: Pixels of a tile: with 32, sides of pictures are multiples of 16, which codecs of films prefer.
TILE_SIZE = 32

MIN_PIXELS, MAX_PIXELS = 4, 256  # of a tile


def tile_pixels(tile_size: int, scale: float) -> int:
    """Return the pixels of a tile; raise ``ConfigError`` if the arguments are invalid."""
    check_integer("tile_size", tile_size, MIN_PIXELS, MAX_PIXELS)
    if not is_number(scale) or not MIN_PIXELS <= tile_size * scale <= MAX_PIXELS:
        raise ConfigError(
            f"scale: expected a number that makes tiles {MIN_PIXELS} to {MAX_PIXELS} pixels large, got {scale!r:.80} "
            f"with tile_size={tile_size}"
        )
    return round(tile_size * scale)


def image_shape(boards: Boards, b: int, tile_size: int = TILE_SIZE, named: bool = False) -> tuple[int, int]:
    """Return the height and width in pixels of the picture of board ``b``; both are even."""
    game = boards.games[b]
    rows, columns = int(game["height"]), int(game["width"])
    height = (rows + score_rows(columns, boards.players.shape[1], named)) * tile_size
    return height + height % 2, columns * tile_size + columns * tile_size % 2


def draw_board(
    boards: Boards,
    b: int = 0,
    player: int | None = None,
    tile_size: int = TILE_SIZE,
    *,
    scale: float = 1.0,
    moves: Sequence[int] | npt.NDArray[np.integer] | None = None,
    names: Sequence[str] = (),
) -> npt.NDArray[np.uint8]:
    """Return an image of board ``b``: tiles in the colours of players, armies as numbers, dark fog.

    Args:
        boards: The boards.
        b: Index of the board.
        player: Player whose view to draw; None for the whole board.
        tile_size: Pixels a tile.
        scale: Factor of ``tile_size``: 2 for screens that show two pixels for one.
        moves: An action index for each player, drawn as an arrow, in a player's view only the player's own. Passes and
            negative numbers are not drawn.
        names: A name for each player, shown beside the scores.

    Returns:
        (height, width, 3) uint8, both even; the top shows the turn, and the army and land of each player.

    Raises:
        ConfigError: If ``tile_size`` or ``scale`` is out of range.
    """
    size = tile_pixels(tile_size, scale)
    game = boards.games[b]
    rows, columns = int(game["height"]), int(game["width"])
    height, width = image_shape(boards, b, size, bool(names))
    top = score_rows(columns, boards.players.shape[1], bool(names)) * size
    image = np.empty((height, width, 3), np.uint8)
    image[:top] = BACKGROUND
    image[top + rows * size :] = BACKGROUND
    image[:, columns * size :] = BACKGROUND
    draw_scores(image[:top, : columns * size], boards, b, size, names)
    field = image[top : top + rows * size, : columns * size]
    shown = (slice(int(game["rows"])), slice(int(game["columns"])))
    keys = tile_keys(boards, b, seen_tiles(boards, b, player)).reshape(rows, columns)[shown]
    tiles = sprites_of(size).take(keys.ravel()).reshape(*keys.shape, size, size, 3)
    part = field[: keys.shape[0] * size, : keys.shape[1] * size]
    if part.shape != field.shape:
        field[...] = BACKGROUND  # the board is smaller than its arrays
    split = np.lib.stride_tricks.as_strided(
        part,
        (*keys.shape, size, size, 3),
        (part.strides[0] * size, part.strides[1] * size, *part.strides),
    )
    split[...] = tiles
    if moves is not None:
        draw_moves(part, moves, rows, columns, size, player)
    return image
