"""Shows boards in notebooks, as pictures inside the page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

from PIL import Image

from generals_env.engine.boards import Boards
from generals_env.rendering.image import draw_board

__all__ = ["boards_html"]

TILE_SIZE = 20  # pixels of the page
SCALE = 2  # pixels of the picture for one of the page
MOST = 4  # games that are shown


def boards_html(boards: Boards, games: Sequence[int], player: int | None = None, total: int | None = None) -> str:
    """Return HTML that shows games.

    Args:
        boards: The boards.
        games: Indices of the games; the first four are shown.
        player: Player whose view is shown; None for the whole board.
        total: Number of games, if not all of them are in ``games``.
    """
    pictures = []
    for b in games[:MOST]:
        image = Image.fromarray(draw_board(boards, b, player, TILE_SIZE, scale=SCALE))
        buffer = io.BytesIO()
        # A palette makes the page five times smaller.
        image.quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(buffer, "PNG")
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        text = html.escape(f"board of game {b}, turn {boards.games[b]['turn']}", quote=True)
        width = image.width // SCALE
        pictures.append(
            f'<img src="data:image/png;base64,{data}" width="{width}" alt="{text}" style="max-width: 100%; margin: 4px">'
        )
    count = len(games) if total is None else total
    note = f"<div>{len(pictures)} of {count:,} games</div>" if count > len(pictures) else ""
    return f"<div>{''.join(pictures)}</div>{note}"
