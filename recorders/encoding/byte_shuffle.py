"""Shuffles the bytes of arrays so that zstd compresses them well, and restores them."""

from __future__ import annotations

import json
import math
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from generals_env.errors import ConfigError

__all__ = ["MAX_BYTES", "ByteReader", "compressed", "decompressed", "header_bytes", "raw_size", "shuffle_bytes"]

MAX_BYTES = 2**30  # of a batch, decompressed

Array = npt.NDArray[Any]

#: Columns that are stored as differences, which have few distinct values.
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

#: Dtypes of tiles and of the memory of players, the largest arrays of a batch.
WORDS = (np.dtype(np.int16), np.dtype(np.uint16))

_local = threading.local()


def header_bytes(header: dict[str, Any]) -> bytes:
    """Return a header as JSON.

    Raises:
        ConfigError: If its metadata cannot be written as JSON.
    """
    try:
        return json.dumps(header).encode()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"metadata: expected what JSON takes, got {header['metadata']!r:.200} ({error}): use strings and numbers"
        ) from error


def compressed(parts: list[bytes], level: int) -> bytes:
    """Return parts as one frame of zstd, with its size and a checksum."""
    if not hasattr(_local, "compressors"):
        _local.compressors = {}  # one per thread: compressors cannot be shared
    if level not in _local.compressors:
        _local.compressors[level] = zstandard.ZstdCompressor(level=level, write_checksum=True)
    data: bytes = _local.compressors[level].compress(b"".join(parts))
    return data


def decompressed(data: bytes) -> bytes:
    """Return the content of a frame of zstd; too large ones raise ``ValueError``, damaged ones may raise any exception."""
    size = zstandard.frame_content_size(data)
    if not 0 <= size <= MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES} bytes, got {size}")
    return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)


def raw_size(data: bytes) -> int:
    """Return the number of bytes that a frame of zstd has when decompressed."""
    size: int = zstandard.frame_content_size(data)
    return size


def shuffle_bytes(name: str, array: Array) -> bytes:
    """Return an array as bytes: the first byte of every number, then the second, and so on."""
    if name in EVEN:
        array = np.diff(array, prepend=array.dtype.type(0))
    raw = np.ascontiguousarray(array)
    if raw.dtype in WORDS:  # shifts of whole vectors are several times as fast as strided copies of bytes
        words = raw.reshape(-1).view(np.uint16)
        return words.astype(np.uint8).tobytes() + (words >> 8).astype(np.uint8).tobytes()
    return raw.reshape(-1).view(np.uint8).reshape(-1, raw.itemsize).T.tobytes()


class ByteReader:
    """Reads arrays from bytes, in the order in which they were written."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def take(self, name: str, dtype: Any, shape: tuple[int, ...]) -> Array:
        """Return the next array; raise ``ValueError`` if there are too few bytes."""
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
        # Always a copy: kernels would be compiled again for read-only arrays.
        array = np.array(raw.reshape(kind.itemsize, -1).T, order="C").reshape(-1).view(kind).reshape(shape)
        return np.cumsum(array, dtype=kind) if name in EVEN else array

    def records(self, dtype: np.dtype[np.void], count: int) -> Array:
        """Return the next structured array, which is stored field by field."""
        # All fields are read before memory is allocated: a damaged ``count`` may be huge.
        fields = {name: self.take(name, kind, (count,)) for name, (kind, *_) in (dtype.fields or {}).items()}
        array = np.zeros(count, dtype)
        for name, field in fields.items():
            array[name] = field
        return array
