"""What is read for a consumer, put together for messages: full ones, or such as have waited long enough."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.stream.server.source import SourceCursor

__all__ = ["TICK", "MessagePart", "gathered"]

TICK = 0.05  # seconds between looks at whether the consumer or the server has left


@dataclass
class MessagePart:
    """What goes into a message.

    Attributes:
        batches: The experiences, none of them empty.
        next: Number after the last experience that was dealt with.
        missed: How many before them were not kept any more.
    """

    batches: list[ExperienceBatch]
    next: int
    missed: int


@dataclass
class Waiting:
    """Experiences that were read together."""

    batch: ExperienceBatch
    since: float
    next: int  # number after the last that was looked at for them, wanted or not


class Queue:
    """Experiences that wait for a message."""

    def __init__(self) -> None:
        self.count = 0
        self._waiting: deque[Waiting] = deque()

    def add(self, batch: ExperienceBatch, following: int) -> None:
        """Put experiences behind the others."""
        if len(batch):
            self._waiting.append(Waiting(batch, time.monotonic(), following))
            self.count += len(batch)
        elif self._waiting:
            self._waiting[-1].next = following

    @property
    def age(self) -> float:
        """Seconds that the oldest has waited; 0 without any."""
        return time.monotonic() - self._waiting[0].since if self._waiting else 0.0

    def take(self, size: int) -> tuple[list[ExperienceBatch], int]:
        """Return at most ``size`` experiences, and the number after them."""
        batches: list[ExperienceBatch] = []
        following = 0
        while size and self._waiting:
            first = self._waiting[0]
            batch = first.batch
            if len(batch) <= size:
                following = first.next
                self._waiting.popleft()
            else:
                first.batch = batch.slice(size, len(batch))
                batch = batch.slice(0, size)
                following = int(batch.sequence[-1]) + 1
            batches.append(batch)
            size -= len(batch)
            self.count -= len(batch)
        return batches, following


def gathered(cursor: SourceCursor, size: int, wait: float, end: Callable[[], int | None]) -> Iterator[MessagePart]:
    """Yield experiences as they are to be sent.

    Args:
        cursor: Where they are read.
        size: The most of a message.
        wait: Seconds after which fewer are sent.
        end: Tells the number to stop before, None as long as there is none.
    """
    queue = Queue()
    known = owed = 0  # of those missed: seen so far, and yet to be told
    while True:
        last = end()
        left = wait - queue.age if queue.count else TICK
        done = last is not None and cursor.position >= last
        batch = None if done else cursor.batch(0 if last is not None else min(max(left, 0.0), TICK))
        done = done or (batch is None and last is not None)
        gap, known = cursor.missed - known, cursor.missed
        if gap:  # what came before it goes before it
            for part in parts(queue, size, everything=True):
                part.missed, owed = owed, 0
                yield part
            owed += gap
        if batch is not None:
            queue.add(batch, cursor.position)
        for part in parts(queue, size, everything=done or queue.age >= wait):
            part.missed, owed = owed, 0
            yield part
        if done:
            if owed:
                yield MessagePart([], cursor.position, owed)
            return


def parts(queue: Queue, size: int, everything: bool) -> Iterator[MessagePart]:
    """Yield what is full, or everything."""
    while queue.count >= size or (everything and queue.count):
        batches, following = queue.take(size)
        yield MessagePart(batches, following, 0)
