"""Draws the learning curve of the examples: the share of games won over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["draw_curve"]

COLORS = ("#1f7a4d", "#2b6cb0")


def draw_curve(minutes: Sequence[float], wins: Mapping[str, Sequence[float]], picture: Path) -> None:
    """Draw the share of games won over the minutes, a line for each opponent; draw nothing for fewer than two points."""
    if len(minutes) < 2:
        return
    end = max(minutes)
    left, top, right, bottom = 60, 40, 780, 400
    image = Image.new("RGB", (800, 450), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    for tick in range(5):
        x, y = left + tick / 4 * (right - left), bottom - tick / 4 * (bottom - top)
        draw.line((left, y, right, y), fill="#dddddd")
        draw.text((left - 8, y), f"{tick / 4:.0%}", fill="#333333", font=font, anchor="rm")
        draw.text((x, bottom + 8), f"{tick / 4 * end:.3g}", fill="#333333", font=font, anchor="mt")
    draw.text(((left + right) / 2, bottom + 28), "minutes of training", fill="#333333", font=font, anchor="mt")
    for k, ((name, shares), color) in enumerate(zip(wins.items(), COLORS, strict=False)):
        xs = left + np.array(minutes) / end * (right - left)
        ys = bottom - np.array(shares) * (bottom - top)
        draw.line(np.stack([xs, ys], axis=1).ravel().tolist(), fill=color, width=2)
        draw.text((left + 250 * k, top - 12), f"wins against {name}", fill=color, font=font, anchor="lb")
    image.save(picture)
