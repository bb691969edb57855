"""Records of experience one after another in one stream of zstd: for files, and for programs in other languages.

Decompressed it is, for each experience, its length as an unsigned 32-bit integer, little-endian, and an ``Experience`` of
``experience.proto`` of that length. The decompressed stream has no other mark, so any tool with zstd and protobuf reads it.
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
from generals_env.recorders.stream.protocol.record_encoder import record_bytes

__all__ = ["compress_experiences", "decompress_experiences"]

LENGTH = struct.Struct("<I")

MAX_BYTES = 10_000_000  # of a record: 64x64 boards take a fifth of a megabyte

LEVEL = 1  # of zstd, its fastest

BLOCK = 2**10  # bytes that are read at a time: of good ones they hold some ten records, of a bomb 32 MB


def compress_experiences(
    experiences: Iterable[ExperienceBatch | Message], full_actions: bool = True, level: int = LEVEL
) -> bytes:
    """Return experiences as one stream of zstd.

    Args:
        experiences: Batches, or messages as a stream brings them: of this package, or of other generated code of that name.
        full_actions: For batches: whether actions and masks have 8*H*W + 1 entries, else those of the original.
        level: Of zstd.

    Raises:
        ConfigError: If one is neither.
    """
    out = io.BytesIO()
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
    with compressor.stream_writer(out, closefd=False) as stream:
        for record in serialised(experiences, full_actions):
            stream.write(LENGTH.pack(len(record)) + record)
    return out.getvalue()


def serialised(experiences: Iterable[ExperienceBatch | Message], full_actions: bool) -> Iterator[bytes]:
    """Yield each experience as the bytes of a message."""
    for some in experiences:
        if isinstance(some, ExperienceBatch):
            yield from record_bytes(some, full_actions)
        elif isinstance(some, Message) and some.DESCRIPTOR.full_name == pb.Experience.DESCRIPTOR.full_name:
            yield some.SerializeToString()
        else:
            raise ConfigError(f"experiences: expected batches or messages Experience, got {type(some).__name__}")


def decompress_experiences(source: bytes | BinaryIO) -> Iterator[pb.Experience]:
    """Yield the experiences of a stream that ``compress_experiences`` made, one at a time.

    Args:
        source: The bytes, or a file that gives them.

    Raises:
        StorageError: If it is damaged, cut off, or none; those before the damage have been yielded.
    """
    stream = Unpacked(io.BytesIO(source) if isinstance(source, bytes) else source)
    number = 0
    try:
        while head := stream.take(LENGTH.size, may_end=True):
            (length,) = LENGTH.unpack(head)
            if length > MAX_BYTES:
                raise ValueError(f"expected at most {MAX_BYTES} bytes, got {length}")  # noqa: TRY301 - told with the others
            yield pb.Experience.FromString(stream.take(length))
            number += 1
    except (zstandard.ZstdError, DecodeError, ValueError) as error:
        raise StorageError(f"data: expected experience {number} of a stream, got {error}") from error


class Unpacked:
    """What is in a frame of zstd, taken off a file in pieces."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._left = b""  # decompressed and not taken

    def take(self, size: int, may_end: bool = False) -> bytes:
        """Return the next ``size`` bytes, or none at the end if it may end; raise ``ValueError`` if there are fewer."""
        parts, missing = [self._left], size - len(self._left)
        while missing > 0 and (part := self._more()):
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        if missing > 0 and (data or not may_end):
            raise ValueError(f"{len(data)} bytes of {size}")
        self._left = data[size:]
        return data[:size]

    def _more(self) -> bytes:
        """Return what comes next, nothing at the end of the frame; raise ``ValueError`` if the file ends before."""
        while not self._frame.eof:
            piece = self._file.read(BLOCK)
            if not piece:
                raise ValueError("an end in the middle of the stream")
            if part := self._frame.decompress(piece):
                return part
        if self._frame.unused_data or self._file.read(1):
            raise ValueError("more behind the end")
        return b""
