"""A replay buffer as a feed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

from grpc import StatusCode

from generals_env.errors import StateError
from generals_env.recorders.buffers.replay_buffer import NoRoomError, ReplayBuffer
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.statistics_columns import StatisticsColumns
from generals_env.recorders.stream.server.encoded_cache import PIECE, EncodedRangeCache
from generals_env.recorders.stream.server.grpc_status import CallRejectedError
from generals_env.recorders.stream.server.source import EncodedRange, SourceCursor, StreamFilter

__all__ = ["BufferSource"]

READ = 2**16  # columns that are read together, while the buffer is locked

PATIENCE = 10.0  # seconds that a submission waits for room


class BufferSource:
    """A replay buffer as a feed; its numbers begin anew with the buffer. See ``ExperienceSource``."""

    def __init__(self, buffer: ReplayBuffer, cache_bytes: int) -> None:
        """ExperienceSource from a buffer, and keep ``cache_bytes`` of it packed."""
        self.stream_id = uuid.uuid4().hex
        self.writable = True
        self._buffer = buffer
        self._pieces = EncodedRangeCache(buffer, cache_bytes)

    @property
    def like(self) -> ExperienceBatch | None:
        """See ``ExperienceSource``."""
        return self._buffer.read(0, 1)

    @property
    def span(self) -> tuple[int, int]:
        """See ``ExperienceSource``."""
        return self._buffer.span

    def cursor(self, first: int, wanted: StreamFilter, consumer: bool = False) -> SourceCursor:
        """See ``ExperienceSource``. A buffer that drops nothing keeps what a consumer has not taken yet."""
        return BufferSourceCursor(self._buffer, self._pieces, first, wanted, consumer)

    def columns(self, first: int, following: int) -> Iterator[tuple[int, StatisticsColumns]]:
        """See ``ExperienceSource``."""
        while first < following and (found := self._buffer.columns(first, min(READ, following - first))) is not None:
            first, parts = found
            for part in parts:
                yield first, part
                first += len(part)

    def write(self, batch: ExperienceBatch) -> None:
        """See ``ExperienceSource``. Where the buffer is to block until there is room, this waits for a while."""
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
        """See ``ExperienceSource``. This takes no lock: what the buffer is busy with, compiling for one, is no trouble."""
        if self._buffer.closed:
            raise StateError("source: expected an open buffer, got one that is closed")


class BufferSourceCursor:
    """A place in a buffer; see ``SourceCursor``."""

    def __init__(
        self, buffer: ReplayBuffer, pieces: EncodedRangeCache, first: int, wanted: StreamFilter, consumer: bool
    ) -> None:
        self.position = first
        self.missed = 0
        self._buffer, self._pieces, self._wanted, self._consumer = buffer, pieces, wanted, consumer
        self._since: float | None = None  # when the experience at ``position`` was first seen
        self.settle()

    def batch(self, seconds: float) -> ExperienceBatch | None:
        """See ``SourceCursor``."""
        self.settle()
        batch = self._buffer.read(self.position, PIECE, seconds)
        if batch is None:
            return None
        self._move(int(batch.sequence[0]), int(batch.sequence[-1]) + 1)
        return self._wanted.apply(batch)

    def piece(self, seconds: float, wait: float) -> EncodedRange | None:
        """See ``SourceCursor``."""
        self.settle()
        if self._since is None:
            if not self._buffer.await_number(self.position, seconds):
                return None
            self._since = time.monotonic()
        left = self._since + wait - time.monotonic()
        full = self._buffer.await_number(self.position + PIECE - 1, min(left, seconds), until_full=True)
        if not full and time.monotonic() < self._since + wait:
            return None
        self._since = None
        piece = self._pieces.at(self.position)
        if piece is not None:
            self._move(piece.first, piece.next)
        return piece

    def _move(self, first: int, following: int) -> None:
        self.missed += max(first - self.position, 0)
        self.position = following

    def settle(self) -> None:
        """See ``SourceCursor``."""
        if self._consumer:
            self._buffer.took(self, self.position)

    def close(self) -> None:
        """See ``SourceCursor``."""
        self._buffer.leave(self)
