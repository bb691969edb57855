"""Encodes batches as the segment files of a spill buffer, whose names hold number, size and checksum, and decodes them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from generals_env.errors import StorageError
from generals_env.recorders.encoding.batch_codec import decode_batch, encode_batch
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.filesystem.file_lock import FileLock
from generals_env.recorders.formats.folder_use import QUEUE_LOCK

__all__ = ["Segment", "decode", "encode", "lock_folder", "segments_in"]

#: Number, number of experiences, and CRC-32 of a segment.
SEGMENT_NAME = re.compile(r"(\d{18})-(\d+)-([0-9a-f]{8})\.spill")


@dataclass(frozen=True)
class Segment:
    """A file of batches.

    Attributes:
        path: The file.
        number: Its position in the queue; numbers have gaps.
        count: Number of experiences.
        checksum: CRC-32 of the content.
        size: Bytes.
    """

    path: Path
    number: int
    count: int
    checksum: int
    size: int


def lock_folder(folder: Path) -> FileLock:
    """Return the lock of a folder, held; raise ``StorageError`` if another buffer holds it."""
    try:
        return FileLock(folder / QUEUE_LOCK)
    except StorageError as error:
        raise StorageError(
            f"folder: expected one that no other buffer has, got {str(folder)!r} ({error}): "
            "close that buffer, or use another folder"
        ) from error


def segments_in(folder: Path) -> list[Segment]:
    """Return the segments of a folder in order."""
    found = []
    for path in folder.iterdir():
        match = SEGMENT_NAME.fullmatch(path.name)
        if match:
            found.append(Segment(path, int(match[1]), int(match[2]), int(match[3], 16), path.stat().st_size))
    return sorted(found, key=lambda segment: segment.number)


def encode(batches: Sequence[ExperienceBatch]) -> bytes:
    """Return batches as bytes, each after its length."""
    encoded = [encode_batch(batch) for batch in batches]
    return b"".join(len(data).to_bytes(8, "little") + data for data in encoded)


def decode(data: bytes, segment: Segment) -> list[ExperienceBatch]:
    """Return the batches of a segment; raise ``ValueError`` if it is damaged, ``StorageError`` if another version wrote it."""
    if len(data) != segment.size or zlib.crc32(data) != segment.checksum:
        raise ValueError(f"expected {segment.size} bytes of checksum {segment.checksum:08x}, got others")
    batches, at = [], 0
    while at < len(data):
        start = at + 8
        at = start + int.from_bytes(data[at:start], "little")
        batches.append(decode_batch(data[start:at], check=False))  # the checksum covers it: return what was written
    return batches
