"""Cuts batches into chunks, the entries of a stream; names what a chunk repeats; and decodes entries, which are not trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import zstandard

from generals_env.config import MAX_SIZE
from generals_env.errors import ConfigError, StorageError
from generals_env.recorders.encoding.batch_codec import decode_batch, encode_batch
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.identity import experience_hashes
from generals_env.recorders.stream.protocol.set_sequences import set_sequences

__all__ = [
    "MAX_ENTRY",
    "MAX_UNPACKED",
    "Entry",
    "RunTracker",
    "decode_entry",
    "digest_of",
    "entry_span",
    "fields_of",
    "pieces",
]

MAX_ENTRY = 2**26  # bytes of an entry

MAX_UNPACKED = 2**28  # bytes of an entry, decompressed

DIGEST = 16  # bytes

MAX_SEQUENCE = 2**53 - 1  # scripts have no larger integers


class Entry(NamedTuple):
    """A chunk that was read.

    Attributes:
        id: The id of its entry.
        first: Sequence of its first experience in the stream.
        size: Number of its experiences.
        digest: Digest of its content.
        written_at: Seconds since 1970 at which it was written, by the clock of its producer.
        batch: Its experiences, with their sequences in the stream.
    """

    id: str
    first: int
    size: int
    digest: bytes
    written_at: float
    batch: ExperienceBatch


def pieces(batch: ExperienceBatch, size: int, max_bytes: int) -> Iterator[tuple[ExperienceBatch, bytes]]:
    """Yield the parts of a batch with at most ``size`` experiences and ``max_bytes`` bytes, each with its encoding.

    Equal batches are divided equally, so a repeated batch has equal parts.

    Raises:
        ConfigError: If one experience takes more bytes.
    """
    for low in range(0, len(batch), size):
        part = batch if len(batch) <= size else batch.slice(low, min(low + size, len(batch))).compact()
        data = encode_batch(part)
        if len(data) <= max_bytes and zstandard.frame_content_size(data) <= MAX_UNPACKED:
            yield part, data
        elif len(part) == 1:
            raise ConfigError(
                f"batch: expected experiences of at most {max_bytes} bytes and {MAX_UNPACKED} unpacked, got one of {len(data)} "
                f"and {zstandard.frame_content_size(data)}: raise max_chunk_bytes, or record smaller observations"
            )
        else:
            yield from pieces(part, (len(part) + 1) // 2, max_bytes)


class RunTracker:
    """Finds the producer and the sequence of a chunk, by which the server recognises repeats.

    A recorder names its run in ``metadata["run"]`` and numbers its experiences from 0. Logs, buffers and servers number them
    anew but keep the name, so the numbers of a chunk are those of its run only if all experiences since number 0 came
    this way. Other chunks are recognised by a digest of their content.
    """

    def __init__(self) -> None:
        self._following: dict[str, tuple[str, int]] = {}  # key and next sequence of each run

    def key(self, batch: ExperienceBatch) -> tuple[str, int]:
        """Return the key of a chunk's run and its first sequence there; an empty key if they are not known."""
        run, first, count = batch.metadata.get("run"), int(batch.sequence[0]), len(batch)
        if not isinstance(run, str) or int(batch.sequence[-1]) != first + count - 1 or (np.diff(batch.sequence) != 1).any():
            return "", 0
        if first == 0:
            start = experience_hashes(batch.slice(0, 1))[0]
            return f"{hashlib.blake2b(run.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}{start:016x}", 0
        key, following = self._following.get(run, ("", 0))
        return (key, first) if key and first <= following else ("", 0)

    def passed(self, batch: ExperienceBatch, key: str, first: int) -> None:
        """Note that a chunk was added, or had been before."""
        run = batch.metadata.get("run")
        if not isinstance(run, str):
            return
        _, following = self._following.pop(run, ("", 0))
        if key:
            following = first + len(batch) if first == 0 else max(following, first + len(batch))
            self._following[run] = key, following
            while len(self._following) > 1000:  # a run that ended long ago
                self._following.pop(next(iter(self._following)))


def digest_of(batch: ExperienceBatch) -> bytes:
    """Return a digest of the identities of a chunk's experiences, in order."""
    return hashlib.blake2b(experience_hashes(batch).tobytes(), digest_size=DIGEST).digest()


def entry_span(name: bytes) -> tuple[int, int]:
    """Return the first sequence of an entry and its number of experiences; 0 if others than a ``RedisSink`` made it.

    Raises:
        StorageError: If they are larger than a ``RedisSink`` makes.
    """
    first, count = map(int, name.decode("ascii", "replace").split("-"))
    if first + count > MAX_SEQUENCE:  # scripts would round it, and a reader come back to it for ever
        raise StorageError(
            f"stream: expected sequences of at most {MAX_SEQUENCE}, got the entry {first}-{count} of another program, after "
            "which no chunk fits: use another stream"
        )
    return first, count


def decode_entry(name: bytes, fields: Mapping[bytes, bytes], place: str) -> Entry:
    """Decode an entry.

    Raises:
        StorageError: If it is damaged, too large, or not an entry of a ``RedisSink``.
    """
    text = name.decode("ascii", "replace")
    first, size = entry_span(name)
    try:
        batch, digest = unpacked(fields, size), fields[b"h"]
        written_at = int(fields[b"t"]) / 1000
    except (StorageError, zstandard.ZstdError, KeyError, ValueError, OverflowError) as error:
        got = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise StorageError(
            f"{place}: expected a chunk of experiences in entry {text}, got {got}: remove it with XDEL, or read with "
            'on_damage="skip"'
        ) from error
    set_sequences(batch, first)
    return Entry(text, first, size, digest, written_at, batch)


def unpacked(fields: Mapping[bytes, bytes], count: int) -> ExperienceBatch:
    """Return the batch of an entry with ``count`` experiences; damaged ones raise one of several errors."""
    if b"size" in fields:
        raise StorageError(f"{fields[b'size'].decode('ascii', 'replace')} bytes, more than {MAX_ENTRY}")
    size = zstandard.frame_content_size(fields[b"d"])
    if size > MAX_UNPACKED:
        raise StorageError(f"{size} bytes unpacked, more than {MAX_UNPACKED}")
    batch = decode_batch(fields[b"d"])
    if max(batch.shape) > MAX_SIZE:
        raise StorageError(f"boards of {batch.shape}, larger than {MAX_SIZE} a side")
    if batch.dense is not None and batch.dense.observations.dtype.kind not in "biuf":
        raise StorageError(f"observations of {batch.dense.observations.dtype}, not of numbers")
    if len(batch) != count:
        raise StorageError(f"{len(batch)} experiences, where its id says {count}")
    return batch


def fields_of(flat: list[Any]) -> dict[bytes, bytes]:
    """Return the fields of an entry as a script returns them, names and values in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=False))
