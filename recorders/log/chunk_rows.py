"""Defines the rows of the log, chunks: a compressed batch with its counts, games and a checksum."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from generals_env.errors import ConfigError, StorageError
from generals_env.recorders.encoding.batch_codec import LEVEL, decode_batch, encode_batch
from generals_env.recorders.encoding.timings import measured
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.bounds_checks import validate_arrays
from generals_env.recorders.experience.filter import ExperienceFilter

__all__ = ["Chunk", "PendingChunk", "may_match", "split_into_chunks", "wanted_after"]

MAX_EXPERIENCES = 4096  # of a chunk, which readers decompress whole

MAX_BYTES = 2**28  # of a chunk, decompressed: the codec refuses four times that

MAX_GAMES = 16  # whose ids a chunk lists: with more, nearly every reader wants one of them

Row = tuple[int, int, int, int, str | None, int, bytes]


@dataclass(frozen=True)
class Chunk:
    """A row of the log: compressed experiences with consecutive numbers.

    Attributes:
        first: Number of the first experience.
        count: How many experiences it has.
        written_at: When it was written, nanoseconds UTC.
        max_turn: The largest turn among them.
        games: The ids of their games, a JSON list; None for more than ``MAX_GAMES``.
        checksum: CRC-32 of all other fields.
        data: The batch as ``encode_batch`` encodes it. Its sequence numbers are the recorder's; ``batch()`` has the log's.
    """

    first: int
    count: int
    written_at: int
    max_turn: int
    games: str | None
    checksum: int
    data: bytes

    @classmethod
    def of_row(cls, row: tuple[Any, ...]) -> Chunk:
        """Return the chunk of a row; raise ``ValueError`` if its checksum is wrong."""
        chunk = cls(*row)
        found = checksum_of(chunk, zlib.crc32(chunk.data)) if isinstance(chunk.data, bytes) else None
        if found != chunk.checksum:
            raise ValueError(f"expected a chunk of checksum {chunk.checksum}, got one of {found}")
        return chunk

    @property
    def row(self) -> Row:
        """The columns of a row."""
        return self.first, self.count, self.written_at, self.max_turn, self.games, self.checksum, self.data

    @property
    def last(self) -> int:
        """Number of the last experience."""
        return self.first + self.count - 1

    def batch(self) -> ExperienceBatch:
        """Return the experiences, with the log's numbers as ``sequence``.

        Raises:
            StorageError: If the data are damaged, or written by an unknown version.
        """
        batch = decode_batch(self.data)
        if len(batch) != self.count:
            raise StorageError(f"data: expected {self.count} experiences, got {len(batch)}")
        batch.rows["sequence"] = np.arange(self.first, self.first + self.count)
        return batch


def checksum_of(chunk: Chunk, of_data: int) -> int:
    """Return the checksum of a chunk.

    Args:
        chunk: The chunk.
        of_data: The checksum of its data, computed before the chunk has a number.
    """
    text = json.dumps([chunk.first, chunk.count, chunk.written_at, chunk.max_turn, chunk.games, len(chunk.data)])
    return zlib.crc32(text.encode(), of_data)


@dataclass(frozen=True)
class PendingChunk:
    """A chunk without a number yet; fields as of ``Chunk``."""

    count: int
    max_turn: int
    games: str | None
    data: bytes
    checksum: int  # of the data alone

    def at(self, first: int, written_at: int) -> Chunk:
        """Return the chunk with its first number and its time."""
        chunk = Chunk(first, self.count, written_at, self.max_turn, self.games, 0, self.data)
        return replace(chunk, checksum=checksum_of(chunk, self.checksum))


def split_into_chunks(batch: ExperienceBatch, level: int = LEVEL) -> list[PendingChunk]:
    """Return a batch as chunks of limited size, compressed at a level of zstd.

    Raises:
        ConfigError: If its arrays do not fit together, or its metadata are not valid JSON: it could not be read again.
    """
    try:
        validate_arrays(batch)
    except ValueError as error:
        raise ConfigError(f"batch: expected arrays that fit together, got {error}") from error
    if len(batch.boards.tiles) > 2 * batch.recipe.frames * max(len(batch), 1):
        batch = batch.compact()  # a slice of something larger
    size = min(MAX_EXPERIENCES, max(1, len(batch) * MAX_BYTES // max(batch.nbytes, 1)))
    if len(batch) <= size:
        return [chunk_of(batch, level)] if len(batch) else []
    return [chunk_of(batch.select(np.arange(low, min(low + size, len(batch)))), level) for low in range(0, len(batch), size)]


def chunk_of(batch: ExperienceBatch, level: int) -> PendingChunk:
    """Return a batch as one chunk."""
    games = np.unique(batch.game)
    names = json.dumps([batch.game_ids[game] for game in games]) if len(games) <= MAX_GAMES else None
    data = measured("log", batch, partial(encode_batch, batch, level))
    return PendingChunk(len(batch), int(batch.turn.max()), names, data, zlib.crc32(data))


def may_match(chunk: Chunk, wanted: ExperienceFilter) -> bool:
    """Return whether such experiences may be in a chunk."""
    if wanted.min_turn is not None and chunk.max_turn < wanted.min_turn:
        return False
    return wanted.game_ids is None or chunk.games is None or not wanted.game_ids.isdisjoint(json.loads(chunk.games))


def wanted_after(batch: ExperienceBatch, number: int, wanted: ExperienceFilter) -> ExperienceBatch:
    """Return the experiences of a batch that are wanted and have a number above ``number``."""
    flags = wanted.flags(batch) & (batch.sequence > number)
    return batch if flags.all() else batch.select(flags)
