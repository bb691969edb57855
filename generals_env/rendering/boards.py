"""Renders boards as text for a terminal, as images and as GIFs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from generals_env.config import RENDER_MODES, GameConfig
from generals_env.engine.boards import CITY, DESERT, GENERAL, NEUTRAL, PLAIN, SWAMP, Boards
from generals_env.engine.observations.reference import visible_to
from generals_env.errors import StateError, StorageError

__all__ = ["PLAYER_COLORS", "draw_board", "format_board", "render_board", "save_gif"]

#: One colour a player; most colour-blind people can tell the first eight apart.
PLAYER_COLORS = (
    (214, 56, 56),
    (40, 110, 200),
    (38, 148, 84),
    (226, 140, 24),
    (134, 72, 176),
    (0, 150, 160),
    (204, 84, 150),
    (128, 100, 60),
    (92, 120, 20),
    (88, 88, 190),
    (150, 40, 80),
    (30, 110, 110),
    (180, 110, 90),
    (90, 60, 130),
    (60, 140, 40),
    (110, 110, 110),
)

ANSI_COLORS = (31, 34, 32, 33, 35, 36, 95, 93, 92, 94, 91, 96, 37, 90, 97, 30)

BACKGROUND = (24, 26, 30)
GRID = (52, 55, 62)
FOG = (58, 61, 68)
FOG_MARK = (84, 88, 97)
GROUND = (214, 212, 204)
ROCK = (118, 116, 112)
ROCK_SHADE = (88, 86, 84)
STONE = (126, 132, 140)
MARSH = (122, 142, 112)
SAND = (222, 200, 146)
WHITE = (255, 255, 255)
INK = (34, 34, 34)

#: Polygons in a unit square.
CROWN = ((0.18, 0.78), (0.12, 0.30), (0.34, 0.52), (0.50, 0.20), (0.66, 0.52), (0.88, 0.30), (0.82, 0.78))
TOWER = (
    *((0.2, 0.85), (0.2, 0.2), (0.36, 0.2), (0.36, 0.34), (0.42, 0.34), (0.42, 0.2), (0.58, 0.2)),
    *((0.58, 0.34), (0.64, 0.34), (0.64, 0.2), (0.8, 0.2), (0.8, 0.85)),
)
PEAK = ((0.08, 0.84), (0.42, 0.22), (0.56, 0.46), (0.66, 0.34), (0.92, 0.84))
PEAK_SHADE = ((0.42, 0.22), (0.56, 0.46), (0.66, 0.34), (0.92, 0.84), (0.5, 0.84))


def seen_tiles(boards: Boards, b: int, player: int | None) -> npt.NDArray[np.bool_]:
    """Return (H*W,) bool: the tiles that ``player`` sees; None sees all."""
    visible = np.full(boards.owner.shape[1], 0xFFFFFFFF, np.uint32)
    if player is not None:
        visible_to(boards, b, visible)
        visible >>= np.uint32(player)
    return (visible & 1).astype(np.bool_)


def format_board(boards: Boards, b: int = 0, player: int | None = None, color: bool = True) -> str:
    """Return board ``b`` as text: armies, ``^`` mountains, ``#`` cities, ``*`` generals, ``?`` fog.

    Args:
        boards: The boards.
        b: Index of the board.
        player: Player whose view to show; None for the whole board.
        color: Whether to colour the players' tiles with ANSI codes.
    """
    seen = seen_tiles(boards, b, player)
    game = boards.games[b]
    width, rows, columns = int(game["width"]), int(game["rows"]), int(game["columns"])
    lines = [f"turn {game['turn']}"]
    for row in range(rows):
        cells = []
        for tile in range(row * width, row * width + columns):
            owner, army, terrain = int(boards.owner[b, tile]), int(boards.army[b, tile]), int(boards.terrain[b, tile])
            if not seen[tile]:
                cell = "?"
            elif owner < NEUTRAL:
                cell = "^"
            elif terrain in (CITY, GENERAL):
                cell = f"{'#' if terrain == CITY else '*'}{army}"
            elif owner >= 0 or army:
                cell = str(army)
            else:
                cell = {PLAIN: ".", SWAMP: "~", DESERT: ":"}[terrain]
            cell = f"{cell:>4}"
            if color and owner >= 0 and seen[tile]:
                cell = f"\x1b[{ANSI_COLORS[owner]}m{cell}\x1b[0m"
            cells.append(cell)
        lines.append("".join(cells))
    return "\n".join(lines)


@lru_cache(maxsize=8)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that Pillow includes, as the system may have none."""
    return ImageFont.load_default(size)


def scale_shape(shape: Sequence[tuple[float, float]], left: int, top: int, size: int) -> list[tuple[float, float]]:
    """Return a polygon of the unit square, scaled to ``size`` pixels and moved to (left, top)."""
    return [(left + x * size, top + y * size) for x, y in shape]


def draw_tile(
    canvas: ImageDraw.ImageDraw, left: int, top: int, size: int, owner: int, army: int, terrain: int, seen: bool
) -> None:
    """Draw one tile."""
    box = (left, top, left + size - 2, top + size - 2)
    if not seen:
        canvas.rectangle(box, fill=FOG)
        if owner < NEUTRAL or terrain == CITY:  # in fog a city looks like a mountain
            canvas.polygon(scale_shape(PEAK, left, top, size - 2), fill=FOG_MARK)
        return
    if owner < NEUTRAL:
        canvas.rectangle(box, fill=ROCK)
        canvas.polygon(scale_shape(PEAK, left, top, size - 2), fill=STONE)
        canvas.polygon(scale_shape(PEAK_SHADE, left, top, size - 2), fill=ROCK_SHADE)
        return
    ground = {CITY: STONE, SWAMP: MARSH, DESERT: SAND}.get(terrain, GROUND)
    fill = PLAYER_COLORS[owner] if owner >= 0 else ground
    canvas.rectangle(box, fill=fill)
    shade = tuple(channel * 2 // 3 for channel in fill)
    if terrain == GENERAL:
        canvas.polygon(scale_shape(CROWN, left, top, size - 2), fill=shade)
    elif terrain == CITY:
        canvas.polygon(scale_shape(TOWER, left, top, size - 2), fill=shade)
    if owner >= 0 or army:
        text = str(army) if abs(army) < 10000 else f"{army // 1000}k"
        scale = {1: 0.5, 2: 0.48, 3: 0.4}.get(len(text), 0.32)
        ink = WHITE if owner >= 0 or terrain == CITY else INK
        canvas.text(
            (left + (size - 2) / 2, top + (size - 2) / 2), text, fill=ink, font=font(max(int(size * scale), 7)), anchor="mm"
        )


def draw_scores(canvas: ImageDraw.ImageDraw, boards: Boards, b: int, width: int, height: int) -> None:
    """Draw the turn, and the land and army of each player, along the top."""
    players = boards.players.shape[1]
    size = max(int(height * 0.5), 9)
    canvas.text((8, height / 2), f"turn {boards.games[b]['turn']}", fill=WHITE, font=font(size), anchor="lm")
    start = size * 6
    step = max((width - start) // players, 1)
    for player in range(players):
        owned = boards.owner[b] == player
        color = PLAYER_COLORS[player] if boards.players[b, player]["alive"] else FOG_MARK
        left = start + player * step
        text = f"{int(boards.army[b][owned].sum())} on {int(owned.sum())}"
        canvas.rectangle((left, height * 0.2, left + step - 6, height * 0.8), fill=color)
        canvas.text(
            (left + (step - 6) / 2, height / 2),
            text,
            fill=WHITE,
            font=font(min(size, max(step // 6, 7))),
            anchor="mm",
        )


def draw_board(boards: Boards, b: int = 0, player: int | None = None, tile_size: int = 26) -> npt.NDArray[np.uint8]:
    """Return an image of board ``b``: tiles in the colours of players, armies as numbers, dark fog.

    Args:
        boards: The boards.
        b: Index of the board.
        player: Player whose view to draw; None for the whole board.
        tile_size: Pixels a tile.

    Returns:
        (height, width, 3) uint8; the top row shows the turn, and the army and land of each player.
    """
    seen = seen_tiles(boards, b, player)
    game = boards.games[b]
    rows, columns = int(game["height"]), int(game["width"])
    top = tile_size
    image = Image.new("RGB", (columns * tile_size + 1, top + rows * tile_size + 1), BACKGROUND)
    canvas = ImageDraw.Draw(image)
    for row in range(int(game["rows"])):
        for column in range(int(game["columns"])):
            tile = row * columns + column
            draw_tile(
                canvas,
                1 + column * tile_size,
                top + 1 + row * tile_size,
                tile_size,
                int(boards.owner[b, tile]),
                int(boards.army[b, tile]),
                int(boards.terrain[b, tile]),
                bool(seen[tile]),
            )
    draw_scores(canvas, boards, b, image.width, top)
    return np.asarray(image)


def save_gif(frames: Sequence[npt.NDArray[np.uint8]], path: str | Path, milliseconds: int = 80) -> None:
    """Write images as a GIF that repeats; the last image stays for two seconds.

    Args:
        frames: Images, (height, width, 3) uint8 each.
        path: File to write.
        milliseconds: Duration of each image.

    Raises:
        StorageError: If the file cannot be written.
    """
    # With one palette, from the first, middle and last image, the file stores only the pixels that change.
    sample = np.concatenate([frames[0], frames[len(frames) // 2], frames[-1]])
    palette = Image.fromarray(sample).quantize(128, dither=Image.Dither.NONE)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [milliseconds] * (len(images) - 1) + [2000]
    try:
        images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False)
    except OSError as error:
        raise StorageError(
            f"path: expected a file that can be written, got {str(path)!r} ({error}): pass another path"
        ) from error


def render_board(boards: Boards, b: int, config: GameConfig) -> npt.NDArray[np.uint8] | str | None:
    """Return an image or a text of board ``b``, depending on ``render_mode``; ``"human"`` prints to the terminal.

    Raises:
        StateError: Without a render mode.
    """
    if config.render_mode is None:
        raise StateError(
            f"render: expected a render_mode, got None: make the environment with one of {', '.join(RENDER_MODES)}"
        )
    if config.render_mode == "rgb_array":
        return draw_board(boards, b, config.render_player)
    text = format_board(boards, b, config.render_player, color=config.render_mode == "human")
    if config.render_mode == "ansi":
        return text
    print(text, flush=True)  # noqa: T201 - printing is the purpose of this mode
    return None
