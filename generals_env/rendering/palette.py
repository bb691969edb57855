"""Defines the colours of pictures of boards: those of players, of ground, of fog and of text."""

from __future__ import annotations

__all__ = [
    "BACKGROUND",
    "CITY_GROUND",
    "FOG",
    "FOG_MARK",
    "GROUND",
    "INK",
    "MARSH",
    "PLAYER_COLORS",
    "ROCK",
    "SAND",
    "SNOW",
    "STONE",
    "STONE_SHADE",
    "WHITE",
    "Color",
    "mix",
]

Color = tuple[int, int, int]

#: One colour a player; most colour-blind people can tell the first eight apart.
PLAYER_COLORS: tuple[Color, ...] = (
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

BACKGROUND: Color = (24, 26, 30)
FOG: Color = (58, 61, 68)
FOG_MARK: Color = (84, 88, 97)
GROUND: Color = (214, 212, 204)
CITY_GROUND: Color = (138, 143, 150)
ROCK: Color = (150, 147, 140)
STONE: Color = (104, 106, 110)
STONE_SHADE: Color = (76, 78, 84)
SNOW: Color = (240, 242, 245)
MARSH: Color = (134, 156, 120)
SAND: Color = (226, 203, 146)
WHITE: Color = (255, 255, 255)
INK: Color = (36, 36, 40)


def mix(color: Color, other: Color, share: float) -> Color:
    """Return ``color`` with a share of ``other``, from 0 to 1."""
    red, green, blue = (round(one + (two - one) * share) for one, two in zip(color, other, strict=True))
    return red, green, blue
