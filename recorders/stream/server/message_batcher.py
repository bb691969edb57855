"""Batches the experiences read for a consumer into messages: full ones, or smaller ones after a maximum wait."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.stream.server.experience_source import SourceCursor

__all__ = ["TICK", "MessagePart", "batch_messages"]

TICK = 0.05  # seconds between checks whether the consumer has left or the server stops


@dataclass
class MessagePart:
    """Content of a message.

    Attributes:
        batches: The experiences; no batch is empty.
        next: Sequence after the last experience that was read for this message, filtered out or not.
        missed: How many experiences before these were dropped by the source before they were read, or skipped.
    """

    batches: list[ExperienceBatch]
    next: int
    missed: int


@dataclass
class PendingBatch:
    """A batch that waits in the queue."""

    batch: ExperienceBatch
    since: float
    next: int  # sequence after the last one read with it, filtered out or not


class BatchQueue:
    """Queue of batches that wait to be sent."""

    def __init__(self) -> None:
        self.count = 0
        self._pending: deque[PendingBatch] = deque()

    def add(self, batch: ExperienceBatch, following: int) -> None:
        """Append a batch, read up to sequence ``following``."""
        if len(batch):
            self._pending.append(PendingBatch(batch, time.monotonic(), following))
            self.count += len(batch)
        elif self._pending:
            self._pending[-1].next = following

    @property
    def age(self) -> float:
        """Seconds that the oldest batch has waited; 0 if the queue is empty."""
        return time.monotonic() - self._pending[0].since if self._pending else 0.0

    def take(self, size: int) -> tuple[list[ExperienceBatch], int]:
        """Remove and return at most ``size`` experiences, and the sequence after them."""
        batches: list[ExperienceBatch] = []
        following = 0
        while size and self._pending:
            first = self._pending[0]
            batch = first.batch
            if len(batch) <= size:
                following = first.next
                self._pending.popleft()
            else:
                first.batch = batch.slice(size, len(batch))
                batch = batch.slice(0, size)
                following = int(batch.sequence[-1]) + 1
            batches.append(batch)
            size -= len(batch)
            self.count -= len(batch)
        return batches, following


def batch_messages(
    cursor: SourceCursor, size: int, wait: Callable[[], float], end: Callable[[], int | None]
) -> Iterator[MessagePart]:
    """Yield the content of each message.

    Args:
        cursor: Where experiences are read.
        size: Maximum number of experiences of a message.
        wait: Returns the seconds after which fewer are sent.
        end: Returns the sequence to stop before, None to go on.
    """
    queue = BatchQueue()
    counted = unreported = 0  # missed experiences: counted so far, and not yet in a message
    while True:
        stop = end()
        left = wait() - queue.age if queue.count else TICK
        done = stop is not None and cursor.position >= stop
        batch = None if done else cursor.read_batch(0 if stop is not None else min(max(left, 0.0), TICK))
        done = done or (batch is None and stop is not None)
        gap, counted = cursor.missed - counted, cursor.missed
        if gap:  # experiences read before the gap are sent before it is reported
            for part in full_messages(queue, size, everything=True):
                part.missed, unreported = unreported, 0
                yield part
            unreported += gap
        if batch is not None:
            queue.add(batch, cursor.position)
        for part in full_messages(queue, size, everything=done or queue.age >= wait()):
            part.missed, unreported = unreported, 0
            yield part
        if done:
            if unreported:
                yield MessagePart([], cursor.position, unreported)
            return


def full_messages(queue: BatchQueue, size: int, everything: bool) -> Iterator[MessagePart]:
    """Yield full messages; with ``everything`` the rest, too."""
    while queue.count >= size or (everything and queue.count):
        batches, following = queue.take(size)
        yield MessagePart(batches, following, 0)
