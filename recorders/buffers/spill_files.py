"""The files of a spill: segments, each some batches, whose names tell what is in them and its checksum."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from generals_env.recorders.encoding.batch_codec import decode_batch, encode_batch
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["Segment", "decode", "encode", "segments_in"]

#: Number, experiences and CRC-32 of a segment.
SEGMENT_NAME = re.compile(r"(\d{18})-(\d+)-([0-9a-f]{8})\.spill")


@dataclass(frozen=True)
class Segment:
    """A file of batches."""

    path: Path
    number: int
    count: int
    checksum: int
    size: int


def segments_in(folder: Path) -> list[Segment]:
    """Return the segments of a folder in order."""
    found = []
    for path in folder.iterdir():
        parts = SEGMENT_NAME.fullmatch(path.name)
        if parts:
            found.append(Segment(path, int(parts[1]), int(parts[2]), int(parts[3], 16), path.stat().st_size))
    return sorted(found, key=lambda segment: segment.number)


def encode(batches: Sequence[ExperienceBatch]) -> bytes:
    """Return batches as bytes, each with its length before it."""
    parts = [encode_batch(batch) for batch in batches]
    return b"".join(len(part).to_bytes(8, "little") + part for part in parts)


def decode(data: bytes, segment: Segment) -> list[ExperienceBatch]:
    """Return the batches of a segment; raise ``ValueError`` if it is damaged, ``StorageError`` if another version wrote it."""
    if len(data) != segment.size or zlib.crc32(data) != segment.checksum:
        raise ValueError(f"expected {segment.size} bytes of checksum {segment.checksum:08x}, got others")
    batches, at = [], 0
    while at < len(data):
        start = at + 8
        at = start + int.from_bytes(data[at:start], "little")
        batches.append(decode_batch(data[start:at], check=False))  # what was written comes back, be it as it may
    return batches
