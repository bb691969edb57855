"""Draws the tiles without their armies: crowns, castles, mountains, swamps, deserts, towers and fog.

Shapes are given in a unit square, and drawn larger than they are shown: scaled down, their edges are smooth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from generals_env.engine.boards import CITY, DESERT, GENERAL, LOOKOUT, OBSERVATORY, PLAIN, SWAMP
from generals_env.rendering import palette
from generals_env.rendering.palette import Color, mix

__all__ = ["FOG_PEAK", "FOG_PLAIN", "PEAKS", "VARIANTS", "draw_art"]

#: Times that a tile is drawn larger than it is shown.
OVERSAMPLING = 8

#: Numbers of the tiles that are not terrain codes: mountains and peaks in fog, each followed by their variants, and fog.
VARIANTS = 4
PEAKS = 8
FOG_PEAK = PEAKS + VARIANTS
FOG_PLAIN = FOG_PEAK + VARIANTS

Shape = Sequence[tuple[float, float]]

CROWN: Shape = ((0.22, 0.46), (0.17, 0.16), (0.355, 0.30), (0.5, 0.08), (0.645, 0.30), (0.83, 0.16), (0.78, 0.46))
JEWELS = ((0.17, 0.145), (0.5, 0.075), (0.83, 0.145))
CASTLE: Shape = (
    *((0.2, 0.46), (0.2, 0.09), (0.32, 0.09), (0.32, 0.17), (0.44, 0.17), (0.44, 0.09)),
    *((0.56, 0.09), (0.56, 0.17), (0.68, 0.17), (0.68, 0.09), (0.8, 0.09), (0.8, 0.46)),
)
GATE = (0.425, 0.29, 0.575, 0.46)
TOWER: Shape = ((0.34, 0.88), (0.40, 0.42), (0.28, 0.42), (0.28, 0.2), (0.72, 0.2), (0.72, 0.42), (0.60, 0.42), (0.66, 0.88))
DOME = (0.2, 0.26, 0.8, 0.86)

#: Mountains: summit, feet and saddle of a high peak and a low one, as (summit, left foot, right foot).
RANGES = (
    (((0.64, 0.36), (0.36, 0.86), (0.95, 0.86)), ((0.38, 0.14), (0.05, 0.86), (0.71, 0.86))),
    (((0.30, 0.40), (0.05, 0.86), (0.58, 0.86)), ((0.60, 0.16), (0.26, 0.86), (0.94, 0.86))),
    (((0.74, 0.46), (0.50, 0.86), (0.95, 0.86)), ((0.46, 0.20), (0.06, 0.86), (0.80, 0.86))),
    (((0.24, 0.48), (0.05, 0.86), (0.46, 0.86)), ((0.54, 0.12), (0.20, 0.86), (0.92, 0.86))),
)


class Canvas:
    """A tile that is drawn on in coordinates of the unit square."""

    def __init__(self, size: int, ground: Color) -> None:
        """Fill a square of ``size`` pixels, with rounded corners, a gap to the next tile and a darker lower edge."""
        self.side = size * OVERSAMPLING
        self.image = Image.new("RGB", (self.side, self.side), palette.BACKGROUND)
        self.draw = ImageDraw.Draw(self.image)
        gap = max(round(size / 26), 1) * OVERSAMPLING
        self.inner = self.side - gap
        radius = self.side * 0.07
        self.draw.rounded_rectangle((0, 0, self.inner - 1, self.inner - 1), radius, fill=ground)

    def points(self, shape: Shape) -> list[tuple[float, float]]:
        """Return a shape in pixels."""
        return [(x * self.inner, y * self.inner) for x, y in shape]

    def polygon(self, shape: Shape, color: Color) -> None:
        """Fill a polygon."""
        self.draw.polygon(self.points(shape), fill=color)

    def line(self, shape: Shape, color: Color, width: float) -> None:
        """Draw a line with round joints and ends; ``width`` is a share of the tile."""
        pixels = max(round(width * self.inner), 1)
        points = self.points(shape)
        self.draw.line(points, fill=color, width=pixels, joint="curve")
        for x, y in (points[0], points[-1]):
            self.circle(x / self.inner, y / self.inner, width / 2, color)

    def circle(self, x: float, y: float, radius: float, color: Color) -> None:
        """Fill a circle."""
        left, top, right, bottom = x - radius, y - radius, x + radius, y + radius
        self.draw.ellipse([value * self.inner for value in (left, top, right, bottom)], fill=color)

    def array(self) -> npt.NDArray[np.uint8]:
        """Return the tile scaled down, (size, size, 3) uint8."""
        return np.asarray(self.image.reduce(OVERSAMPLING))


def draw_art(what: int, owner: int, size: int) -> npt.NDArray[np.uint8]:
    """Return a tile without army.

    Args:
        what: Terrain code, or ``PEAKS``, ``FOG_PEAK`` (each plus the variant) or ``FOG_PLAIN``.
        owner: Player who owns the tile, or a negative number.
        size: Pixels of a side.

    Returns:
        (size, size, 3) uint8.
    """
    if what == FOG_PLAIN:
        return Canvas(size, palette.FOG).array()
    if what >= FOG_PEAK:
        canvas = Canvas(size, palette.FOG)
        for peak in RANGES[what - FOG_PEAK]:
            canvas.polygon(peak, palette.FOG_MARK)
        return canvas.array()
    if what >= PEAKS:
        return draw_mountain(what - PEAKS, size)
    neutral = {CITY: palette.CITY_GROUND, SWAMP: palette.MARSH, DESERT: palette.SAND}.get(what, palette.GROUND)
    ground = palette.PLAYER_COLORS[owner] if owner >= 0 else neutral
    canvas = Canvas(size, palette.ROCK if what in (LOOKOUT, OBSERVATORY) else ground)
    if what != PLAIN:
        DRAWN[what](canvas, ground)
    return canvas.array()


def draw_mountain(variant: int, size: int) -> npt.NDArray[np.uint8]:
    """Return a mountain: two peaks with a dark side and snow."""
    canvas = Canvas(size, palette.ROCK)
    for summit, left, right in RANGES[variant]:
        foot = (summit[0] + (right[0] - summit[0]) * 0.25, right[1])
        canvas.polygon((summit, left, right), palette.STONE)
        canvas.polygon((summit, foot, right), palette.STONE_SHADE)
        snow = [along(summit, foot, 0.26), along(summit, right, 0.38)]
        teeth = [along(summit, left, 0.38), along(summit, (left[0] * 0.6 + foot[0] * 0.4, left[1]), 0.27)]
        canvas.polygon((summit, *teeth, along(summit, foot, 0.42), *snow), palette.SNOW)
    return canvas.array()


def along(start: tuple[float, float], end: tuple[float, float], share: float) -> tuple[float, float]:
    """Return the point at a share of the way from ``start`` to ``end``."""
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def draw_crown(canvas: Canvas, ground: Color) -> None:
    """Draw the crown of a general."""
    canvas.polygon(CROWN, palette.WHITE)
    for x, y in JEWELS:
        canvas.circle(x, y, 0.05, palette.WHITE)
    canvas.line(((0.25, 0.40), (0.75, 0.40)), mix(ground, palette.WHITE, 0.3), 0.035)


def draw_castle(canvas: Canvas, ground: Color) -> None:
    """Draw the castle of a city."""
    canvas.polygon(CASTLE, palette.WHITE)
    left, top, right, bottom = GATE
    canvas.polygon(((left, bottom), (left, top + 0.075), (right, top + 0.075), (right, bottom)), ground)
    canvas.circle((left + right) / 2, top + 0.075, (right - left) / 2, ground)


def draw_swamp(canvas: Canvas, ground: Color) -> None:
    """Draw the waves of a swamp."""
    steps = np.linspace(0.12, 0.88, 33)
    for height in (0.2, 0.5, 0.8):
        wave = height + 0.055 * np.sin((steps - 0.12) / 0.76 * 4 * np.pi)
        canvas.line(list(zip(steps.tolist(), wave.tolist(), strict=True)), mix(ground, palette.INK, 0.3), 0.06)


def draw_desert(canvas: Canvas, ground: Color) -> None:
    """Draw the dunes of a desert."""
    shade = mix(ground, (120, 84, 20), 0.32)
    for left, top in ((0.12, 0.34), (0.44, 0.62), (0.14, 0.9)):
        steps = np.linspace(0, 1, 17)
        dune = top - 0.15 * np.sin(steps * np.pi)
        canvas.line(list(zip((left + 0.44 * steps).tolist(), dune.tolist(), strict=True)), shade, 0.05)
    canvas.circle(0.78, 0.24, 0.055, shade)


def draw_lookout(canvas: Canvas, _: Color) -> None:
    """Draw a tower to look out from."""
    canvas.polygon(TOWER, palette.STONE_SHADE)
    canvas.polygon(((0.22, 0.2), (0.5, 0.04), (0.78, 0.2)), palette.STONE_SHADE)
    for x in (0.36, 0.54):
        canvas.polygon(((x, 0.26), (x + 0.1, 0.26), (x + 0.1, 0.36), (x, 0.36)), palette.SNOW)


def draw_observatory(canvas: Canvas, _: Color) -> None:
    """Draw a dome with a telescope."""
    canvas.line(((0.5, 0.5), (0.82, 0.16)), palette.STONE, 0.12)
    canvas.draw.pieslice([value * canvas.inner for value in DOME], 180, 360, fill=palette.STONE_SHADE)
    canvas.polygon(((0.2, 0.56), (0.8, 0.56), (0.8, 0.86), (0.2, 0.86)), palette.STONE)
    canvas.polygon(((0.43, 0.66), (0.57, 0.66), (0.57, 0.86), (0.43, 0.86)), palette.SNOW)


#: What is drawn over the ground, by terrain code.
DRAWN = {
    GENERAL: draw_crown,
    CITY: draw_castle,
    SWAMP: draw_swamp,
    DESERT: draw_desert,
    LOOKOUT: draw_lookout,
    OBSERVATORY: draw_observatory,
}
