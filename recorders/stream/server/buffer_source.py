"""Adapts a replay buffer to the interface that the server reads from and writes to."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

from grpc import StatusCode

from generals_env.errors import StateError
from generals_env.recorders.buffers.replay_buffer import NoRoomError, ReplayBuffer
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.statistics_columns import StatisticsColumns
from generals_env.recorders.stream.server.encoded_range_cache import RANGE_SIZE, EncodedRangeCache
from generals_env.recorders.stream.server.experience_source import Consumer, EncodedRange, SourceCursor, StreamFilter
from generals_env.recorders.stream.server.grpc_status import CallRejectedError

__all__ = ["BufferSource"]

READ = 2**16  # rows of columns that are read at once, while the buffer is locked

PATIENCE = 10.0  # seconds that a submission waits for free capacity


class BufferSource:
    """A replay buffer as an ``ExperienceSource``; a new buffer starts at sequence 0 under a new stream id."""

    def __init__(self, buffer: ReplayBuffer, cache_bytes: int) -> None:
        """Read from a buffer, and cache up to ``cache_bytes`` of encoded ranges."""
        self.stream_id = uuid.uuid4().hex
        self.writable = True
        self._buffer = buffer
        self._cache = EncodedRangeCache(buffer, cache_bytes)

    @property
    def like(self) -> ExperienceBatch | None:
        """See ``ExperienceSource``."""
        return self._buffer.read(0, 1)

    @property
    def span(self) -> tuple[int, int]:
        """See ``ExperienceSource``."""
        return self._buffer.span

    def cursor(self, first: int, stream_filter: StreamFilter, consumer: Consumer | None = None) -> SourceCursor:
        """See ``ExperienceSource``. Buffers that block or raise keep what a consumer that holds them has not acknowledged."""
        return BufferSourceCursor(self._buffer, self._cache, first, stream_filter, consumer)

    def collected_at(self, sequence: int) -> int | None:
        """See ``ExperienceSource``."""
        found = self._buffer.columns(sequence, 1)
        return None if found is None else int(found[1][0].collected_at[0])

    def columns(self, first: int, following: int) -> Iterator[tuple[int, StatisticsColumns]]:
        """See ``ExperienceSource``."""
        while first < following and (found := self._buffer.columns(first, min(READ, following - first))) is not None:
            first, parts = found
            for part in parts:
                yield first, part
                first += len(part)

    def write(self, batch: ExperienceBatch) -> None:
        """See ``ExperienceSource``. A buffer with ``overflow="block"`` makes this wait up to ``PATIENCE`` seconds."""
        try:
            self._buffer.offer(batch, PATIENCE)
        except NoRoomError as error:
            raise CallRejectedError(StatusCode.RESOURCE_EXHAUSTED, str(error)) from error

    def flush(self) -> None:
        """See ``ExperienceSource``."""
        self._buffer.flush()

    def warm(self, batch: ExperienceBatch) -> None:
        """See ``ExperienceSource``."""
        self._buffer.warm(batch)

    def check(self) -> None:
        """See ``ExperienceSource``. Takes no lock, so a buffer that is busy (compiling, for example) counts as healthy."""
        if self._buffer.closed:
            raise StateError("source: expected an open buffer, got one that is closed: start a server over an open buffer")


class BufferSourceCursor:
    """Position in a buffer; see ``SourceCursor``."""

    def __init__(
        self,
        buffer: ReplayBuffer,
        cache: EncodedRangeCache,
        first: int,
        stream_filter: StreamFilter,
        consumer: Consumer | None,
    ) -> None:
        self.position = first
        self.missed = 0
        self._buffer, self._cache, self._filter, self._consumer = buffer, cache, stream_filter, consumer
        self._since: float | None = None  # when the experience at ``position`` was first seen
        self.acknowledge()

    def read_batch(self, seconds: float, before: int | None = None) -> ExperienceBatch | None:
        """See ``SourceCursor``."""
        self.acknowledge()
        count = RANGE_SIZE if before is None else min(RANGE_SIZE, before - self.position)
        batch = self._buffer.read(self.position, count, seconds)
        if batch is None:
            return None
        if before is not None and int(batch.sequence[-1]) >= before:  # the oldest ones were dropped
            batch = batch.select(batch.sequence < before)
        if not len(batch):
            self.skip_to(before or 0)
            return batch
        self._move(int(batch.sequence[0]), int(batch.sequence[-1]) + 1)
        return self._filter.apply(batch)

    def read_range(self, seconds: float, wait: float) -> EncodedRange | None:
        """See ``SourceCursor``."""
        self.acknowledge()
        if self._since is None:
            if not self._buffer.await_number(self.position, seconds):
                return None
            self._since = time.monotonic()
        left = self._since + wait - time.monotonic()
        full = self._buffer.await_number(self.position + RANGE_SIZE - 1, min(left, seconds), until_full=True)
        if not full and time.monotonic() < self._since + wait:
            return None
        self._since = None
        encoded = self._cache.range_at(self.position)
        if encoded is not None:
            self._move(encoded.first, encoded.next)
        return encoded

    def skip_to(self, sequence: int) -> None:
        """See ``SourceCursor``."""
        if sequence > self.position:
            self._move(sequence, sequence)

    def _move(self, first: int, following: int) -> None:
        self.missed += max(first - self.position, 0)
        self.position = following

    def acknowledge(self) -> None:
        """See ``SourceCursor``."""
        if self._consumer is not None:
            self._buffer.took(self, self.position, holds=self._consumer.value)

    def close(self) -> None:
        """See ``SourceCursor``."""
        self._buffer.leave(self)
