"""TFRecord files under gzip, a few hundred records a member, so that each member can be read on its own.

``gunzip`` gives the very file that ``tfrecord`` writes, and TensorFlow reads it with ``compression_type="GZIP"``. Each member
tells its size and how many records it has in the extra field that the gzip format (RFC 1952) has for such things.
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

LEVEL = 1

#: Head of a member: ten bytes that are always the same, length of the extra field, name and length of what is ours there,
#: bytes of the member, its records.
HEAD = struct.Struct("<10sH2sHII")

#: Deflate, with an extra field, without a time, of an unknown system; then what is ours: 12 bytes, ``GE``, 8 bytes.
BEGIN = (b"\x1f\x8b\x08\x04\0\0\0\0\0\xff", 12, b"GE", 8)

TAIL = struct.Struct("<II")


def encode(batch: ExperienceBatch) -> bytes:
    """Return the content of a file that holds a batch; errors as in ``tfrecord.encode``."""
    file, rest = io.BytesIO(), records(batch)
    while part := list(islice(rest, EVERY)):
        file.write(member(b"".join(part), len(part)))
    return file.getvalue()


def decode(data: bytes) -> ExperienceBatch:
    """Return the batch in a file's content, or in any whole members of one or several files, in their order.

    Raises:
        StorageError: If a record or a member is damaged or torn, or is none of ours. The message has the number of the record
            and the byte where it begins, counted without gzip.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return decode_file(file)


def offsets(data: bytes) -> list[tuple[int, int]]:
    """Return where each member begins: number of its first record, and its first byte. Nothing is decompressed.

    Raises:
        StorageError: If the sizes of the members, which we alone write, are not those of a whole file.
    """
    places = []
    number = offset = 0
    while offset < len(data):
        *begin, size, count = HEAD.unpack(data[offset : offset + HEAD.size].ljust(HEAD.size, b"\0"))
        if tuple(begin) != BEGIN or size < HEAD.size + TAIL.size or offset + size > len(data):
            raise StorageError(
                f"data: expected the whole of a member with record {number} at byte {offset}, got another or a part"
            )
        places.append((number, offset))
        number, offset = number + count, offset + size
    return places


def member(data: bytes, count: int) -> bytes:
    """Return ``count`` records as a member."""
    compressor = zlib.compressobj(LEVEL, wbits=-zlib.MAX_WBITS)  # without a head, which is ours
    body = compressor.compress(data) + compressor.flush()
    head = HEAD.pack(*BEGIN, HEAD.size + len(body) + TAIL.size, count)
    return b"".join((head, body, TAIL.pack(zlib.crc32(data), len(data) % 2**32)))
