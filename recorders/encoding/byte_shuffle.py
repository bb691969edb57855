"""Arrays as bytes that zstd finds short, and back: what the codec and the files of games are made of."""

from __future__ import annotations

import json
import math
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from generals_env.errors import ConfigError

__all__ = ["MAX_BYTES", "ByteReader", "compressed", "decompressed", "header_bytes", "shuffle_bytes"]

MAX_BYTES = 2**30  # of a batch, decompressed

Array = npt.NDArray[Any]

#: Columns that grow evenly: their differences are few different numbers.
EVEN = (
    "sequence",
    "collected_at",
    "game",
    "state_index",
    "next_state_index",
    "ground",
    "turn",
    "last_move",
    "previous",
    "position",
)

#: Arrays of these, tiles and what players remember, are most of a batch.
WORDS = (np.dtype(np.int16), np.dtype(np.uint16))

_local = threading.local()


def header_bytes(header: dict[str, Any]) -> bytes:
    """Return a header as JSON.

    Raises:
        ConfigError: If its metadata are not what JSON takes.
    """
    try:
        return json.dumps(header).encode()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"metadata: expected what JSON takes, got {header['metadata']!r:.200} ({error})") from error


def compressed(parts: list[bytes], level: int) -> bytes:
    """Return parts in one frame of zstd, with its size and a checksum."""
    if not hasattr(_local, "compressors"):
        _local.compressors = {}  # of this thread: they are not to be shared
    if level not in _local.compressors:
        _local.compressors[level] = zstandard.ZstdCompressor(level=level, write_checksum=True)
    data: bytes = _local.compressors[level].compress(b"".join(parts))
    return data


def decompressed(data: bytes) -> bytes:
    """Return what is in a frame of zstd; raise ``ValueError`` if it is too much, and anything if it is damaged."""
    size = zstandard.frame_content_size(data)
    if not 0 <= size <= MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES} bytes, got {size}")
    return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)


def shuffle_bytes(name: str, array: Array) -> bytes:
    """Return an array as bytes: the first byte of every number, then the second, and so on."""
    if name in EVEN:
        array = np.diff(array, prepend=array.dtype.type(0))
    raw = np.ascontiguousarray(array)
    if raw.dtype in WORDS:  # most of all bytes: shifts of whole vectors are several times as fast as picking bytes
        words = raw.reshape(-1).view(np.uint16)
        return words.astype(np.uint8).tobytes() + (words >> 8).astype(np.uint8).tobytes()
    return raw.reshape(-1).view(np.uint8).reshape(-1, raw.itemsize).T.tobytes()


class ByteReader:
    """Takes arrays off bytes, in the order in which they were put there."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def take(self, name: str, dtype: Any, shape: tuple[int, ...]) -> Array:
        """Return the next array; raise ``ValueError`` if there is less."""
        kind = np.dtype(dtype)
        size = kind.itemsize * math.prod(shape)
        if min(shape) < 0 or self.at + size > len(self.data):
            raise ValueError(f"{name}: expected {size} bytes")
        raw = np.frombuffer(self.data, np.uint8, size, self.at)
        self.at += size
        if kind in WORDS:
            words = raw[size // 2 :].astype(np.uint16)
            words <<= 8
            words |= raw[: size // 2]
            numbers: Array = words.view(kind).reshape(shape)
            return numbers
        # A copy always: kernels would be compiled once more for arrays that cannot be written.
        array = np.array(raw.reshape(kind.itemsize, -1).T, order="C").reshape(-1).view(kind).reshape(shape)
        return np.cumsum(array, dtype=kind) if name in EVEN else array

    def records(self, dtype: np.dtype[np.void], count: int) -> Array:
        """Return the next records, which lie there field by field."""
        # All are taken before room is made: ``count`` may be made up.
        fields = {name: self.take(name, kind, (count,)) for name, (kind, *_) in (dtype.fields or {}).items()}
        array = np.zeros(count, dtype)
        for name, field in fields.items():
            array[name] = field
        return array
