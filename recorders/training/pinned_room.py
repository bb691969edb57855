"""Lends arrays in one buffer of page-locked memory, from which a GPU copies without the help of the CPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

try:
    import torch
except ModuleNotFoundError as error:
    raise ImportError(f'pinned_room: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["PinnedRoom"]

ALIGNED = 64  # bytes: arrays begin at multiples of it


class PinnedRoom:
    """Lends arrays in one buffer, until ``clear`` lends their places again. For one thread.

    The first batch that does not fit makes a larger buffer; arrays lent before keep the old one.

    Attributes:
        pinned: Whether the memory is page-locked, which needs a GPU.
        nbytes: Size of the buffer.
    """

    def __init__(self, pinned: bool) -> None:
        """Begin without a buffer."""
        self.pinned = pinned
        self.nbytes = 0
        self._bytes: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
        self._used = 0

    def __reduce__(self) -> tuple[type[PinnedRoom], tuple[bool]]:
        """Copy and pickle as an empty room."""
        return PinnedRoom, (self.pinned,)

    def clear(self) -> None:
        """Lend all places again: the arrays lent so far will be overwritten."""
        self._used = 0

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return an array without values, as ``numpy.empty`` does."""
        size = math.prod(shape) * dtype.itemsize
        if self._used + size > len(self._bytes):
            self.nbytes = 2 * (self._used + size)
            self._bytes = torch.empty(self.nbytes, dtype=torch.uint8, pin_memory=self.pinned).numpy()
            self._used = 0
        lent = self._bytes[self._used : self._used + size]
        self._used += -(-size // ALIGNED) * ALIGNED
        return lent.view(dtype).reshape(shape)
