"""What a server reads from: a buffer or a log, seen alike. Each consumer has a cursor of its own and takes nothing away."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from generals_env.errors import StorageError
from generals_env.recorders.encoding.batch_codec import decode_batch
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.filter import EVERYTHING, ExperienceFilter
from generals_env.recorders.experience.statistics_columns import StatisticsColumns

__all__ = ["EncodedRange", "ExperienceSource", "SourceCursor", "StreamFilter"]


@dataclass(frozen=True)
class EncodedRange:
    """Experiences that follow one another, as ``codec.encode_batch`` packs them.

    Attributes:
        first: Number of the first.
        count: How many there are.
        data: The bytes. The sequence numbers within may be those of a recorder.
    """

    first: int
    count: int
    data: bytes

    @property
    def next(self) -> int:
        """Number after the last."""
        return self.first + self.count

    def batch(self) -> ExperienceBatch:
        """Return the experiences with their numbers.

        Raises:
            StorageError: If the bytes are damaged.
        """
        batch = decode_batch(self.data)
        if len(batch) != self.count:
            raise StorageError(f"data: expected {self.count} experiences, got {len(batch)}")
        batch.rows["sequence"] = np.arange(self.first, self.next)
        return batch


@dataclass(frozen=True)
class StreamFilter:
    """What a consumer wants: a selection, and of it the games of one share of several.

    Attributes:
        selection: Games, players and turns.
        shard: Number of the share.
        shards: How many shares there are; a game belongs to that of the CRC-32 of its id, modulo their number.
    """

    selection: ExperienceFilter = EVERYTHING
    shard: int = 0
    shards: int = 1

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.selection == EVERYTHING and self.shards == 1

    def apply(self, batch: ExperienceBatch) -> ExperienceBatch:
        """Return the experiences of a batch that are wanted."""
        flags = self.selection.flags(batch)
        if self.shards > 1 and len(batch):
            flags &= self._of_shard(batch.game_ids)[batch.game]
        return batch if flags.all() else batch.select(flags)

    def _of_shard(self, game_ids: tuple[str, ...]) -> npt.NDArray[np.bool_]:
        shares = [zlib.crc32(name.encode("utf-8", "surrogatepass")) % self.shards for name in game_ids]
        return np.equal(shares, self.shard)


class SourceCursor(Protocol):
    """A place in a feed that moves on as it is read. For one thread."""

    @property
    def position(self) -> int:
        """Number of the next experience to read."""

    @property
    def missed(self) -> int:
        """How many were not kept any more when their turn came."""

    def batch(self, seconds: float) -> ExperienceBatch | None:
        """Return the next experiences, those that are not wanted left out; None if none come within ``seconds``.

        Raises:
            StorageError: If they are damaged, or cannot be read.
        """

    def piece(self, seconds: float, wait: float) -> EncodedRange | None:
        """Return the next experiences packed, wanted or not; None if none are ready within ``seconds``.

        The first of them may lie before ``position``.

        Args:
            seconds: To wait for the first one; call again after.
            wait: Seconds that the first one may wait for more.

        Raises:
            StorageError: As ``batch``.
        """

    def settle(self) -> None:
        """Tell the source that the consumer has all that was handed out; so does asking for more."""

    def close(self) -> None:
        """Let go of the feed."""


class ExperienceSource(Protocol):
    """Experiences in order, each with a number that it keeps.

    Attributes:
        stream_id: Another one wherever the same number may stand for another experience.
        writable: Whether experiences can be submitted.
    """

    stream_id: str
    writable: bool

    @property
    def like(self) -> ExperienceBatch | None:
        """A batch that all others have to be like, in players and in how observations are made; None if any will do."""

    @property
    def span(self) -> tuple[int, int]:
        """Number of the oldest experience that is kept, and the number that the next one will get."""

    def cursor(self, first: int, wanted: StreamFilter, consumer: bool = False) -> SourceCursor:
        """Return a cursor at a number.

        Args:
            first: The number.
            wanted: Which experiences are handed out.
            consumer: Whether it is that of a consumer, who is to get them all if the source can wait.
        """

    def columns(self, first: int, following: int) -> Iterator[tuple[int, StatisticsColumns]]:
        """Yield columns of experiences ``first`` to ``following - 1``, as far as they are there, each with its first number.

        Raises:
            StorageError: If they are damaged, or cannot be read.
        """

    def write(self, batch: ExperienceBatch) -> None:
        """Take a batch, all of it or, on any error, nothing; it is as safe as the source makes it when this returns.

        Raises:
            ConfigError: If it does not fit what is there.
            StateError: If there is no room for it, or the source is closed.
            StorageError: If it cannot be written.
        """

    def flush(self) -> None:
        """Bring what was taken to where it is to stay."""

    def warm(self, batch: ExperienceBatch) -> None:
        """Compile what reading and writing need, with a batch that is not kept."""

    def check(self) -> None:
        """Raise a ``GeneralsError`` unless experiences can be read and, if the feed is ``writable``, written."""
