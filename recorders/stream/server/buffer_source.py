"""Adapts a replay buffer to the interface of the server, with a cache of encoded ranges that its consumers share."""

from __future__ import annotations

import threading
import time
import uuid
from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial

from grpc import StatusCode

from generals_env.errors import StateError
from generals_env.recorders.buffers.replay_buffer import NoRoomError, ReplayBuffer
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.encoding.timings import measured
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.statistics_columns import StatisticsColumns
from generals_env.recorders.stream.protocol.grpc_status import CallRejectedError
from generals_env.recorders.stream.server.experience_source import Consumer, EncodedRange, SourceCursor, StreamFilter

__all__ = ["BufferSource"]

RANGE_SIZE = 1024  # experiences of an encoded range, at most

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


class EncodedRangeCache:
    """Least-recently-used cache of encoded ranges, limited in bytes."""

    def __init__(self, buffer: ReplayBuffer, max_bytes: int) -> None:
        """Encode ranges of ``buffer``, and keep up to ``max_bytes`` of them."""
        self._buffer = buffer
        self._max_bytes = max_bytes
        self._nbytes = 0
        self._ranges: OrderedDict[int, EncodedRange] = OrderedDict()  # by first sequence, least recently used first
        self._firsts: list[int] = []  # sorted
        self._lock = threading.Lock()

    def range_at(self, sequence: int) -> EncodedRange | None:
        """Return a range that contains this sequence, or the next ones if it was dropped; None if the buffer has neither."""
        with self._lock:  # held while encoding, so that a second consumer waits for the range instead of encoding it again
            after = bisect_right(self._firsts, sequence)
            if after:
                encoded = self._ranges[self._firsts[after - 1]]
                if sequence < encoded.next:
                    self._ranges.move_to_end(encoded.first)
                    return encoded
            following = self._firsts[after] if after < len(self._firsts) else sequence + RANGE_SIZE
            batch = self._buffer.read(sequence, min(RANGE_SIZE, following - sequence))
            if batch is None:
                return None
            first = int(batch.sequence[0])
            data = measured("stream", batch, partial(encode_batch, batch))
            encoded = EncodedRange(first, len(batch), int(batch.collected_at[0]), data)
            if first == sequence:  # else a cached range may begin inside this one
                self._insert(encoded)
            return encoded

    def _insert(self, encoded: EncodedRange) -> None:
        self._ranges[encoded.first] = encoded
        insort(self._firsts, encoded.first)
        self._nbytes += len(encoded.data)
        while self._nbytes > self._max_bytes:
            first, evicted = self._ranges.popitem(last=False)
            self._firsts.remove(first)
            self._nbytes -= len(evicted.data)
