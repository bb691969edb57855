"""Keeps drawn tiles of one size, so that a picture of a board is copied together from them."""

from __future__ import annotations

from functools import lru_cache
from threading import Lock

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, GENERAL, LOOKOUT, MOUNTAIN, NEUTRAL, OBSERVATORY, Boards
from generals_env.rendering.lettering import army_text, put_text, text_width
from generals_env.rendering.palette import INK, WHITE
from generals_env.rendering.tile_art import FOG_PEAK, FOG_PLAIN, PEAKS, VARIANTS, draw_art

__all__ = ["Sprites", "sprites_of", "tile_keys"]

#: Memory for drawn tiles of one size, in bytes; a picture with more different tiles than that takes what it needs.
MAX_BYTES = 2**25

#: A key holds, from its lowest bit: the army plus 2**31, whether it is hidden, the owner plus 1, and what is drawn.
HIDDEN = 1 << 32
OWNER_SHIFT = 33
ART_SHIFT = 38


def tile_keys(boards: Boards, b: int, seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return a number for the look of each tile of board ``b``, (H*W,) int64.

    Args:
        boards: The boards.
        b: Index of the board.
        seen: (H*W,) bool, which tiles are drawn without fog.
    """
    owner, terrain = boards.owner[b].astype(np.int64), boards.terrain[b].astype(np.int64)
    army = boards.army[b].astype(np.int64)
    tiles = np.arange(len(owner))
    variant = (tiles * 2654435761 >> 7) % VARIANTS  # mixed, so that no pattern is seen
    blocked = owner < NEUTRAL
    mountain = blocked & (terrain != LOOKOUT) & (terrain != OBSERVATORY)
    art = np.where(mountain, PEAKS + variant, terrain)
    hides = blocked | (terrain == CITY)  # in fog a city looks like a mountain
    art = np.where(seen, art, np.where(hides, FOG_PEAK + variant, FOG_PLAIN))
    owner = np.where(seen & (owner >= 0), owner, NEUTRAL)
    shown = seen & ~blocked & ((owner >= 0) | (army != 0))
    number = np.where(shown, army + 2**31, HIDDEN)
    return art << ART_SHIFT | (owner + 1) << OWNER_SHIFT | number


class Sprites:
    """Tiles of one size in pixels, drawn when first needed. Threads may share it.

    Attributes:
        size: Pixels of a side.
    """

    def __init__(self, size: int) -> None:
        """Begin without tiles."""
        self.size = size
        self._places: dict[int, int] = {}
        self._pixels = np.empty((64, size, size, 3), np.uint8)
        self._art: dict[int, npt.NDArray[np.uint8]] = {}
        self._lock = Lock()

    def take(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the tiles of ``keys``, (n,) int64 of ``tile_keys``, as (n, size, size, 3) uint8."""
        different, inverse = np.unique(keys, return_inverse=True)
        wanted = different.tolist()
        with self._lock:
            places = self._places
            missing = [key for key in wanted if key not in places]
            if missing:
                self._add(wanted, missing)
                places = self._places
            which = np.array([places[key] for key in wanted], np.intp)
            return self._pixels[which[inverse]]

    def _add(self, wanted: list[int], missing: list[int]) -> None:
        limit = max(MAX_BYTES // self._pixels[0].nbytes, len(wanted))
        if len(self._places) + len(missing) > limit:
            self._places, missing = {}, wanted  # all are drawn anew: rare, and simpler than to find those not in use
        needed = len(self._places) + len(missing)
        if needed > len(self._pixels):
            room = np.empty((min(max(2 * needed, 64), limit), *self._pixels.shape[1:]), np.uint8)
            room[: len(self._pixels)] = self._pixels[: len(room)]
            self._pixels = room
        for key in missing:
            place = len(self._places)
            self._draw(key, self._pixels[place])
            self._places[key] = place

    def _draw(self, key: int, pixels: npt.NDArray[np.uint8]) -> None:
        """Draw a tile into ``pixels``."""
        look = key >> OWNER_SHIFT
        art, owner = look >> (ART_SHIFT - OWNER_SHIFT), (look & (1 << (ART_SHIFT - OWNER_SHIFT)) - 1) - 1
        if look not in self._art:
            self._art[look] = draw_art(art, owner, self.size)
        pixels[...] = self._art[look]
        if key & HIDDEN:
            return
        text = army_text((key & (HIDDEN - 1)) - 2**31)
        has_picture = art in (GENERAL, CITY)
        letters = fitting(text, self.size * 0.9, self.size * (0.42 if has_picture else 0.5))
        middle = self.size * 0.48
        color = INK if owner < 0 and art not in (CITY, MOUNTAIN) else WHITE
        put_text(pixels, text, letters, middle, self.size * (0.7 if has_picture else 0.49), color)


def fitting(text: str, width: float, size: float) -> int:
    """Return the size in pixels of letters of ``text``: at most ``size``, and smaller if it were wider than ``width``."""
    return max(int(min(size, size * width / max(text_width(text, size), 1))), 5)


@lru_cache(maxsize=6)
def sprites_of(size: int) -> Sprites:
    """Return the tiles of ``size`` pixels, the same object each time."""
    return Sprites(size)
