"""Finds the boards of stacked frames: the board of an observation and those before it, as far back as frames are stacked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["boards_of_frames", "frames_back"]

Integer = TypeVar("Integer", bound=np.integer[Any])


def frames_back(
    previous: npt.NDArray[np.int32], boards: npt.NDArray[Integer], frames: int, repeat_first: bool = False
) -> Iterator[npt.NDArray[Integer]]:
    """Yield the board of each frame, from the newest frame to the oldest.

    Args:
        previous: (N,) the board before each board, -1 for the first one of a game.
        boards: (n,) boards of the newest frame.
        frames: How many frames are stacked, 1 or more.
        repeat_first: Whether frames before the first board of a game show that board, as observations do; else they are -1.

    Yields:
        (n,) boards, ``frames`` times.
    """
    yield boards
    for _ in range(frames - 1):
        before = np.where(boards >= 0, previous[boards], -1).astype(boards.dtype, copy=False)
        boards = np.where(before >= 0, before, boards) if repeat_first else before
        yield boards


def boards_of_frames(previous: npt.NDArray[np.int32], boards: npt.NDArray[Integer], frames: int) -> npt.NDArray[Integer]:
    """Return which boards the frames of these observations show, each once, ascending; arguments as of ``frames_back``."""
    needed = np.unique(boards)
    if frames == 1:
        return needed
    shown = np.concatenate(list(frames_back(previous, needed, frames)))
    return np.unique(shown[shown >= 0])
