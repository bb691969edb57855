"""Draws the rows above a board: the turn, and the army and land of each player."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from generals_env.engine.boards import Boards
from generals_env.rendering.lettering import army_text, put_text, text_width
from generals_env.rendering.palette import BACKGROUND, FOG_MARK, PLAYER_COLORS, WHITE, Color

__all__ = ["draw_scores", "score_rows"]

# Widths in tiles.
TURN = 3.2
SCORE = 2.5
NAMED_SCORE = 5.5

WIDE = 7  # times the height: room for words

MAX_NAME = 24  # characters


def layout(columns: int, players: int, named: bool) -> tuple[int, int, bool]:
    """Return the scores in a row, the number of rows of scores, and whether the turn has a row of its own."""
    width = NAMED_SCORE if named else SCORE
    beside = int((columns - TURN) // width)
    if beside >= min(players, 2):
        in_row, own_row = min(beside, players), False
    else:
        in_row, own_row = max(min(int(columns // width), players), 1), True
    rows = -(-players // in_row)
    return -(-players // rows), rows, own_row  # rows of nearly equal length


def score_rows(columns: int, players: int, named: bool = False) -> int:
    """Return how many rows of tiles the scores of ``players`` need above a board of ``columns``."""
    _, rows, own_row = layout(columns, players, named)
    return rows + own_row


def draw_scores(pixels: npt.NDArray[np.uint8], boards: Boards, b: int, size: int, names: Sequence[str] = ()) -> None:
    """Draw the scores of board ``b`` into the rows above it.

    Args:
        pixels: (``score_rows`` * size, columns * size, 3) uint8, of the colour of the background.
        boards: The boards.
        b: Index of the board.
        size: Pixels of a tile.
        names: A name for each player, or none.
    """
    players = boards.players.shape[1]
    in_row, _, own_row = layout(pixels.shape[1] // size, players, bool(names))
    owner = boards.owner[b]
    own = owner >= 0
    land = np.bincount(owner[own], minlength=players)
    army = np.bincount(owner[own], weights=boards.army[b][own], minlength=players)
    put_text(pixels, f"turn {boards.games[b]['turn']}", max(int(size * 0.47), 6), size * 0.3, size * 0.5, WHITE, anchor=0.0)
    start = 0.0 if own_row else size * TURN
    step = (pixels.shape[1] - start) / in_row
    for player in range(players):
        row, place = divmod(player, in_row)
        top, left = round((row + own_row) * size + size * 0.1), round(start + place * step)
        chip = pixels[top : top + round(size * 0.8), left : round(start + (place + 1) * step) - max(size // 10, 1)]
        alive = bool(boards.players[b, player]["alive"])
        name = str(names[player])[:MAX_NAME] if player < len(names) else ""
        draw_score(chip, name, int(army[player]), int(land[player]), PLAYER_COLORS[player] if alive else FOG_MARK)


def draw_score(chip: npt.NDArray[np.uint8], name: str, army: int, land: int, color: Color) -> None:
    """Draw the score of one player."""
    height, width, _ = chip.shape
    chip[...] = rounded(height, width, color)
    score = f"{army_text(army)} on {land}" if width < height * WIDE or name else f"army {army_text(army)}, land {land}"
    margin = height * 0.28
    if not name:
        put_text(chip, score, shrunk(score, width - margin, height * 0.56), width / 2, height / 2, WHITE)
        return
    size = shrunk(score, width * 0.6, height * 0.56)
    put_text(chip, score, size, width - margin, height / 2, WHITE, anchor=1.0)
    room = int(width - 2.5 * margin - text_width(score, size))
    part = chip[:, : round(margin) + max(room, 0)]  # a long name is cut off
    put_text(part, name, shrunk(name, room, height * 0.56, height * 0.42), margin, height / 2, WHITE, anchor=0.0)


def shrunk(text: str, width: float, size: float, smallest: float = 5.0) -> int:
    """Return the size in pixels of letters of ``text``: at most ``size``, and smaller to fit into ``width``."""
    return int(max(min(size, size * width / max(text_width(text, size), 1)), smallest, 5))


@lru_cache(maxsize=64)
def rounded(height: int, width: int, color: Color) -> npt.NDArray[np.uint8]:
    """Return a filled rectangle with round corners, (height, width, 3) uint8."""
    image = Image.new("RGB", (width * 4, height * 4), BACKGROUND)
    ImageDraw.Draw(image).rounded_rectangle((0, 0, width * 4 - 1, height * 4 - 1), height * 0.8, fill=color)
    return np.asarray(image.reduce(4))
