"""Writes images as GIFs, frame by frame, so that long games need no more memory than short ones."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import GifImagePlugin, Image

from generals_env.errors import ConfigError
from generals_env.rendering.whole_file import whole_file

__all__ = ["save_gif"]

LAST_MILLISECONDS = 2000  # of the last image

COLORS = 255  # of the palette; its last number means: as in the image before
UNCHANGED = 255

COMMON = 128  # colours that are kept exactly: those of most pixels

Frame = npt.NDArray[np.uint8]


def save_gif(
    frames: Sequence[Frame], path: str | Path, milliseconds: int = 80, on_frame: Callable[[int], object] | None = None
) -> None:
    """Write images as a GIF that repeats; the last image stays for two seconds.

    Args:
        frames: Images of one size, (height, width, 3) uint8 each. They are taken one after another.
        path: File to write; it appears whole or not at all.
        milliseconds: Duration of each image; GIFs hold multiples of ten.
        on_frame: Called after each image with the number of images written.

    Raises:
        ConfigError: If there is no image.
        StorageError: If the file cannot be written.
    """
    count = len(frames)
    if not count:
        raise ConfigError("frames: expected at least one image, got none: pass images of (height, width, 3) uint8")
    palette = common_palette([frames[0], frames[count // 2], frames[count - 1]])
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        writer = GifWriter(file, palette, frames[0].shape)
        for number in range(count):
            writer.add(frames[number], milliseconds if number < count - 1 else LAST_MILLISECONDS)
            if on_frame is not None:
                on_frame(number + 1)
        writer.finish()


def common_palette(samples: Sequence[Frame]) -> Image.Image:
    """Return an image with a palette for images like ``samples``.

    Plain surfaces keep their exact colours; those of edges are merged.
    """
    pixels = np.concatenate([frame.reshape(-1, 3) for frame in samples]).astype(np.uint32)
    packed, counts = np.unique(pixels[:, 0] << 16 | pixels[:, 1] << 8 | pixels[:, 2], return_counts=True)
    packed = packed[np.argsort(-counts, kind="stable")]
    exact, others = packed[:COMMON], packed[COMMON:]
    colors = [exact]
    if len(others):
        rest = Image.fromarray(unpacked(others)[None]).quantize(COLORS - len(exact), dither=Image.Dither.NONE)
        found = np.array(rest.getpalette(), np.uint32).reshape(-1, 3)[: COLORS - len(exact)]
        colors.append(found[:, 0] << 16 | found[:, 1] << 8 | found[:, 2])
    table = np.zeros((256, 3), np.uint8)
    table[:] = unpacked(exact[:1])  # unused numbers repeat a colour
    joined = unpacked(np.concatenate(colors))
    table[: len(joined)] = joined
    palette = Image.new("P", (1, 1))
    palette.putpalette(table.tobytes())
    return palette


def unpacked(colors: npt.NDArray[np.uint32]) -> Frame:
    """Return colours of one number each as (n, 3) uint8."""
    return np.stack([colors >> 16, colors >> 8, colors], axis=-1).astype(np.uint8)


class GifWriter:
    """Writes the images of a GIF. Equal images become one that stays longer; of others only what changes is stored."""

    def __init__(self, file: BinaryIO, palette: Image.Image, shape: tuple[int, ...]) -> None:
        """Write the header.

        Args:
            file: Where to write.
            palette: Image with the palette.
            shape: (height, width, 3) of each image.
        """
        self._file, self._palette = file, palette
        self._shown: Frame | None = None
        self._waiting: tuple[Image.Image, tuple[int, int]] | None = None  # its duration is not yet known
        self._milliseconds = 0
        height, width, _ = shape
        colors = bytes(palette.getpalette() or [])
        file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0) + colors)
        file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")  # repeats for ever

    def add(self, frame: Frame, milliseconds: int) -> None:
        """Write an image that stays for ``milliseconds``."""
        image = np.asarray(Image.fromarray(frame).quantize(palette=self._palette, dither=Image.Dither.NONE))
        box = (slice(None), slice(None))
        part = image
        if self._shown is not None:
            changed = image != self._shown
            if not changed.any():
                self._milliseconds += milliseconds
                return
            box = (span(changed.any(1)), span(changed.any(0)))
            part = np.where(changed[box], image[box], UNCHANGED).astype(np.uint8)
        self._write_waiting()
        self._shown = image
        picture = Image.fromarray(part)
        picture.putpalette(self._palette.getpalette() or [])
        self._waiting = picture, (box[1].start or 0, box[0].start or 0)
        self._milliseconds = milliseconds

    def _write_waiting(self) -> None:
        if self._waiting is None:
            return
        picture, offset = self._waiting
        for block in GifImagePlugin.getdata(
            picture, offset, duration=self._milliseconds, transparency=UNCHANGED, disposal=1, include_color_table=False
        ):
            self._file.write(block)

    def finish(self) -> None:
        """Write the end of the file."""
        self._write_waiting()
        self._file.write(b";")


def span(changed: npt.NDArray[np.bool_]) -> slice:
    """Return the slice from the first to the last True."""
    where = np.flatnonzero(changed)
    return slice(int(where[0]), int(where[-1]) + 1)
