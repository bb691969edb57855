"""Draws text of pictures: armies on tiles and the scores, as masks that are kept for the next picture."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from generals_env.rendering.palette import Color

__all__ = ["army_text", "put_text", "text_mask", "text_width"]

#: Times that text is drawn larger than it is shown.
OVERSAMPLING = 4

#: Part of the size by which each stroke is made wider, as the font of Pillow is a light one: of digits, and of letters, which
#: stand closer together.
BOLD_DIGITS, BOLD_LETTERS = 0.032, 0.012


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that Pillow includes, as the system may have none."""
    return ImageFont.load_default(size)


def text_width(text: str, size: float) -> float:
    """Return the width in pixels of text of ``size`` pixels."""
    return sum(letter_width(letter) for letter in text) * size / 100


@lru_cache(maxsize=2048)
def letter_width(letter: str) -> float:
    """Return the width of a letter of 100 pixels."""
    return font(100).getlength(letter)


class Letter(NamedTuple):
    """A letter.

    Attributes:
        cover: Coverage of each pixel, (height, width) uint8.
        left: Pixel at which it begins.
        advance: Pixels from it to the next letter.
    """

    cover: npt.NDArray[np.uint8]
    left: int
    advance: float


@lru_cache(maxsize=2048)
def draw_letter(letter: str, size: int, stroke: int) -> Letter:
    """Return a letter of ``size`` pixels. All letters of a size have one height, and stand on one line."""
    letters = font(size)
    left, _, right, _ = letters.getbbox(letter, stroke_width=stroke)
    _, top, _, bottom = letters.getbbox("0", stroke_width=stroke)
    margin = size // 4  # for what goes below the line of digits
    image = Image.new("L", (max(int(right - left), 1), int(bottom - top) + 2 * margin))
    ImageDraw.Draw(image).text((-left, margin - top), letter, fill=255, font=letters, stroke_width=stroke)
    return Letter(np.asarray(image), int(left), letters.getlength(letter))


@lru_cache(maxsize=4096)
def text_mask(text: str, size: int) -> npt.NDArray[np.float32]:
    """Return the coverage of each pixel, (height, width, 1) float32 from 0 to 1, of text of ``size`` pixels.

    The mask ends at the outermost letters; the middle of its height is that of digits.
    """
    bold = BOLD_LETTERS if any(letter.islower() for letter in text[:-1]) else BOLD_DIGITS
    stroke = max(round(size * OVERSAMPLING * bold), 1)
    letters, places, x = [], [], 0.0
    for text_letter in text or " ":
        letter = draw_letter(text_letter, size * OVERSAMPLING, stroke)
        letters.append(letter.cover)
        places.append(round(x) + letter.left)
        x += letter.advance
    first = min(places)
    width = max(place + cover.shape[1] for place, cover in zip(places, letters, strict=True)) - first
    height = letters[0].shape[0]
    rows, columns = -(-height // OVERSAMPLING), -(-width // OVERSAMPLING)
    joined = np.zeros((rows * OVERSAMPLING, columns * OVERSAMPLING), np.uint8)
    above = (len(joined) - height) // 2
    for place, cover in zip(places, letters, strict=True):
        part = joined[above : above + height, place - first :][:, : cover.shape[1]]
        np.maximum(part, cover, out=part)
    blocks = joined.reshape(rows, OVERSAMPLING, columns, OVERSAMPLING)
    mask: npt.NDArray[np.float32] = blocks.mean((1, 3), dtype=np.float32)[..., None] / np.float32(255)
    mask.setflags(write=False)  # the cache holds it
    return mask


def put_text(
    pixels: npt.NDArray[np.uint8], text: str, size: int, x: float, y: float, color: Color, anchor: float = 0.5
) -> None:
    """Draw text into ``pixels``, (height, width, 3), in place; what goes beyond them is cut off.

    Args:
        pixels: Part of a picture.
        text: Text of one line.
        size: Pixels of the letters.
        x: Pixel at which the text is anchored.
        y: Pixel of the middle of the text.
        color: Colour of the text.
        anchor: Which part of the text is at ``x``: 0 its left end, 0.5 its middle, 1 its right end.
    """
    mask = text_mask(text, size)
    left = round(x - mask.shape[1] * anchor)
    top = round(y - mask.shape[0] / 2)
    mask = mask[max(-top, 0) :, max(-left, 0) :]
    part = pixels[max(top, 0) :, max(left, 0) :][: mask.shape[0], : mask.shape[1]]
    mask = mask[: part.shape[0], : part.shape[1]]
    part[...] = part + mask * (np.array(color, np.float32) - part) + np.float32(0.5)


def army_text(army: int) -> str:
    """Return an army as text of at most five characters: 9999, 12k, 1M."""
    for unit, suffix in ((10**6, "M"), (10**3, "k")):
        if abs(army) >= max(unit, 10**4):
            return f"{int(army / unit)}{suffix}"
    return str(army)
