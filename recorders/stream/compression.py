"""Compresses experiences, one protobuf record each, into a zstd stream, and decompresses it: for files and other languages.

The decompressed stream holds, for each experience, its length as a little-endian unsigned 32-bit integer, then a message
``Experience`` of ``experience.proto`` of that length. It has no header, so any program with zstd and protobuf can read it.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import zstandard
from google.protobuf.message import DecodeError, Message

from generals_env.errors import ConfigError, StorageError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.record_encoder import encode_records

__all__ = ["compress_experiences", "decompress_experiences"]

LENGTH = struct.Struct("<I")

MAX_BYTES = 10_000_000  # maximum size of a record: 64x64 boards take a fifth of a megabyte

LEVEL = 1  # compression level of zstd; 1 is its fastest standard level

READ_BYTES = 2**10  # compressed bytes per read: they hold about ten records, and of a zip bomb at most 32 MB


def compress_experiences(
    experiences: Iterable[ExperienceBatch | Message], full_actions: bool = True, level: int = LEVEL
) -> bytes:
    """Compress experiences into one zstd stream.

    Args:
        experiences: Batches, or messages ``Experience`` of this package or of other code generated of the same proto file.
        full_actions: For batches: whether masks have all entries, as in this package, else 4*H*W, as in the original.
        level: Compression level of zstd.

    Raises:
        ConfigError: If an item is neither a batch nor a message.
    """
    out = io.BytesIO()
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
    with compressor.stream_writer(out, closefd=False) as stream:
        for record in serialize_each(experiences, full_actions):
            stream.write(LENGTH.pack(len(record)) + record)
    return out.getvalue()


def serialize_each(experiences: Iterable[ExperienceBatch | Message], full_actions: bool) -> Iterator[bytes]:
    """Yield each experience as a serialized message."""
    for item in experiences:
        if isinstance(item, ExperienceBatch):
            yield from encode_records(item, full_actions)
        elif isinstance(item, Message) and item.DESCRIPTOR.full_name == pb.Experience.DESCRIPTOR.full_name:
            yield item.SerializeToString()
        else:
            raise ConfigError(
                f"experiences: expected batches or messages Experience, got {type(item).__name__}: pass a list of them"
            )


def decompress_experiences(source: bytes | BinaryIO) -> Iterator[pb.Experience]:
    """Yield the experiences of a stream that ``compress_experiences`` made.

    Args:
        source: The bytes, or a binary file open for reading.

    Raises:
        StorageError: If it is damaged, truncated, or not such a stream; the experiences before the damage have been yielded.
    """
    stream = ZstdReader(io.BytesIO(source) if isinstance(source, bytes) else source)
    index = 0
    try:
        while head := stream.read(LENGTH.size, may_end=True):
            (length,) = LENGTH.unpack(head)
            if length > MAX_BYTES:
                raise ValueError(f"expected at most {MAX_BYTES} bytes, got {length}")  # noqa: TRY301 - reported with the others
            yield pb.Experience.FromString(stream.read(length))
            index += 1
    except (zstandard.ZstdError, DecodeError, ValueError) as error:
        raise StorageError(f"data: expected experience {index} of a stream, got {error}: use an intact copy") from error


class ZstdReader:
    """Reads the decompressed bytes of a zstd frame from a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._left = b""  # decompressed and not read yet

    def read(self, size: int, may_end: bool = False) -> bytes:
        """Return the next ``size`` bytes, with ``may_end`` b"" at the end; raise ``ValueError`` if there are fewer."""
        parts, missing = [self._left], size - len(self._left)
        while missing > 0 and (part := self._read_decompressed()):
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        if missing > 0 and (data or not may_end):
            raise ValueError(f"{len(data)} bytes of {size}")
        self._left = data[size:]
        return data[:size]

    def _read_decompressed(self) -> bytes:
        """Return the next decompressed bytes, b"" at the end of the frame; raise ``ValueError`` if the file ends before."""
        while not self._frame.eof:
            compressed = self._file.read(READ_BYTES)
            if not compressed:
                raise ValueError("the end of the file in the middle of the stream")
            if part := self._frame.decompress(compressed):
                return part
        if self._frame.unused_data or self._file.read(1):
            raise ValueError("more bytes after the end of the stream")
        return b""
