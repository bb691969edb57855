"""Defines the interface through which the server reads and writes a buffer or a log.

Each consumer reads with a cursor of its own; reading removes nothing. Here the sequence of an experience is its index in the
stream of its source, from 0; a position is the sequence of the next experience to read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from generals_env.errors import StorageError
from generals_env.recorders.encoding.batch_codec import decode_batch
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.filter import EVERYTHING, ExperienceFilter
from generals_env.recorders.experience.statistics_columns import StatisticsColumns
from generals_env.recorders.stream.protocol.set_sequences import set_sequences

__all__ = ["Consumer", "EncodedRange", "ExperienceSource", "SourceCursor", "StreamFilter"]


class Consumer(Enum):
    """Whether experiences are kept for a consumer."""

    HOLDS = True
    DROPS = False


@dataclass(frozen=True)
class EncodedRange:
    """Consecutive experiences, encoded by ``batch_codec.encode_batch``.

    Attributes:
        first: Sequence of the first.
        count: How many there are.
        collected_at: When the first was collected (in a log: written), in nanoseconds since 1970.
        data: The bytes. The column ``sequence`` inside may still be that of a recorder: see ``batch``.
    """

    first: int
    count: int
    collected_at: int
    data: bytes

    @property
    def next(self) -> int:
        """Sequence after the last."""
        return self.first + self.count

    def batch(self) -> ExperienceBatch:
        """Decode the experiences, and set their sequences.

        Raises:
            StorageError: If the bytes are damaged.
        """
        batch = decode_batch(self.data)
        if len(batch) != self.count:
            raise StorageError(
                f"data: expected {self.count} experiences, got {len(batch)}: repair the log with ExperienceLog.repair"
            )
        set_sequences(batch, self.first)
        return batch


@dataclass(frozen=True)
class StreamFilter:
    """Filter of a stream: games, players and turns, and of these the games of one shard.

    Attributes:
        selection: Games, players and turns.
        shard: Index of the shard.
        shards: Number of shards; a game belongs to the shard ``CRC-32 of its id % shards``.
    """

    selection: ExperienceFilter = EVERYTHING
    shard: int = 0
    shards: int = 1

    @property
    def everything(self) -> bool:
        """Whether all experiences pass."""
        return self.selection == EVERYTHING and self.shards == 1

    def apply(self, batch: ExperienceBatch) -> ExperienceBatch:
        """Return the experiences of a batch that pass."""
        flags = self.selection.flags(batch)
        if self.shards > 1 and len(batch):
            flags &= self._games_in_shard(batch.game_ids)[batch.game]
        return batch if flags.all() else batch.select(flags)

    def _games_in_shard(self, game_ids: tuple[str, ...]) -> npt.NDArray[np.bool_]:
        game_shards = [zlib.crc32(name.encode("utf-8", "surrogatepass")) % self.shards for name in game_ids]
        return np.equal(game_shards, self.shard)


class SourceCursor(Protocol):
    """Position in a source that advances with each read. For one thread."""

    @property
    def position(self) -> int:
        """Sequence of the next experience to read."""

    @property
    def missed(self) -> int:
        """How many experiences were dropped by the source before they were read, or skipped."""

    def read_batch(self, seconds: float, before: int | None = None) -> ExperienceBatch | None:
        """Return those of the next experiences that pass the filter; None if none arrive within ``seconds``.

        Args:
            seconds: To wait for them.
            before: Sequence to stop before, above ``position``.

        Raises:
            StorageError: If they are damaged, or cannot be read.
        """

    def read_range(self, seconds: float, wait: float) -> EncodedRange | None:
        """Return the next experiences encoded, without the filter; None if none are ready within ``seconds``.

        The first of them may lie before ``position``.

        Args:
            seconds: To wait for the first one; call again afterwards.
            wait: Seconds that the first one may wait for others.

        Raises:
            StorageError: As ``read_batch``.
        """

    def skip_to(self, sequence: int) -> None:
        """Move ``position`` up to a sequence, and count the experiences between as missed; never back."""

    def acknowledge(self) -> None:
        """Tell the source that the consumer has everything read so far; reading more does so, too."""

    def close(self) -> None:
        """Release the source."""


class ExperienceSource(Protocol):
    """An ordered source of experiences, each with a fixed sequence.

    Attributes:
        stream_id: Identifies the stream: under one id, a sequence always means the same experience.
        writable: Whether experiences can be submitted.
    """

    stream_id: str
    writable: bool

    @property
    def like(self) -> ExperienceBatch | None:
        """A batch whose number of players and recipe of observations all others must have; None if any are accepted."""

    @property
    def span(self) -> tuple[int, int]:
        """Sequence of the oldest experience that is held, and the one that the next experience will get."""

    def cursor(self, first: int, stream_filter: StreamFilter, consumer: Consumer | None = None) -> SourceCursor:
        """Return a cursor at a position.

        Args:
            first: Sequence of the first experience to read.
            stream_filter: Which experiences pass.
            consumer: Whether a buffer that can wait keeps what it has not received; None if no consumer reads with it.
        """

    def collected_at(self, sequence: int) -> int | None:
        """Return when the experience at a sequence, or the next one held, was collected (in a log: written), in ns since 1970.

        Reads no boards. None if there is no such experience.

        Raises:
            StorageError: If it cannot be read.
        """

    def columns(self, first: int, following: int) -> Iterator[tuple[int, StatisticsColumns]]:
        """Yield columns of the held experiences among ``first`` to ``following - 1``, each with its first sequence.

        Raises:
            StorageError: If they are damaged, or cannot be read.
        """

    def write(self, batch: ExperienceBatch) -> None:
        """Write a batch completely or, on any error, not at all; when this returns it is as durable as the source makes it.

        Raises:
            ConfigError: If it does not fit the experiences of the source.
            StateError: If the source is full or closed.
            StorageError: If it cannot be written.
        """

    def flush(self) -> None:
        """Make what was written durable."""

    def warm(self, batch: ExperienceBatch) -> None:
        """Compile the kernels for reading and writing, with a batch that is not kept."""

    def check(self) -> None:
        """Raise a ``GeneralsError`` unless experiences can be read and, if the source is ``writable``, written."""
