"""Encodes batches as TFRecord files compressed with gzip, a few hundred records per gzip member.

``gunzip`` restores the file that ``tfrecord`` writes, and TensorFlow reads it with ``compression_type="GZIP"``. The extra field
of each member (RFC 1952) has its size and number of records, so that each member can be read on its own.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from itertools import islice

from generals_env.errors import StorageError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.formats.tfrecord import EVERY, decode_file, records

__all__ = ["SUFFIX", "decode", "encode", "offsets"]

SUFFIX = ".tfrecord.gz"

LEVEL, MAX_LEVEL = 1, 9  # of zlib

#: Head of a member: ten constant bytes, length of the extra field, name and length of its subfield, bytes of the member, number
#: of its records.
HEAD = struct.Struct("<10sH2sHII")

#: Deflate, with an extra field, no time, unknown system; extra field of 12 bytes with subfield ``GE`` of 8 bytes.
BEGIN = (b"\x1f\x8b\x08\x04\0\0\0\0\0\xff", 12, b"GE", 8)

TAIL = struct.Struct("<II")


def encode(batch: ExperienceBatch, level: int | None = None) -> bytes:
    """Return the content of a file with a batch, compressed at a level of zlib; those above 9 count as 9.

    Errors as in ``tfrecord.encode``.
    """
    file, rest = io.BytesIO(), records(batch)
    chosen = LEVEL if level is None else min(level, MAX_LEVEL)
    while part := list(islice(rest, EVERY)):
        file.write(member(b"".join(part), len(part), chosen))
    return file.getvalue()


def decode(data: bytes) -> ExperienceBatch:
    """Return the batch of a file's content, or of any whole members of one or several files, in their order.

    Raises:
        StorageError: If a record or a member is damaged, cut off or of another kind; the text has the number of the record and
            its first byte in the decompressed content.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return decode_file(file)


def offsets(data: bytes) -> list[tuple[int, int]]:
    """Return the start of each member without decompressing it: the number of its first record, and its first byte.

    Raises:
        StorageError: If a member has no size in its head, as from another writer, or the sizes do not add up to the file.
    """
    positions = []
    number = offset = 0
    while offset < len(data):
        *begin, size, count = HEAD.unpack(data[offset : offset + HEAD.size].ljust(HEAD.size, b"\0"))
        if tuple(begin) != BEGIN or size < HEAD.size + TAIL.size or offset + size > len(data):
            raise StorageError(
                f"data: expected the whole of a member with record {number} at byte {offset}, got another or a part"
            )
        positions.append((number, offset))
        number, offset = number + count, offset + size
    return positions


def member(data: bytes, count: int, level: int = LEVEL) -> bytes:
    """Return a member with ``count`` records."""
    compressor = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)  # without a head, which follows
    body = compressor.compress(data) + compressor.flush()
    head = HEAD.pack(*BEGIN, HEAD.size + len(body) + TAIL.size, count)
    return b"".join((head, body, TAIL.pack(zlib.crc32(data), len(data) % 2**32)))
