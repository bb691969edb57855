"""Batches that a sink has not taken yet, in order and in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.errors import ConfigError
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["OVERFLOWS", "PendingBatch", "PendingBatches", "check_overflow", "held_bytes"]

#: What happens to a batch for which there is no room, in the words of ``ReplayBuffer`` and ``SpillBuffer``.
OVERFLOWS = ("raise", "block", "drop_oldest")


def check_overflow(overflow: Any) -> None:
    """Raise ``ConfigError`` unless this is one of ``OVERFLOWS``."""
    if overflow not in OVERFLOWS:
        raise ConfigError(f"overflow: expected one of {', '.join(OVERFLOWS)}, got {overflow!r}")


def held_bytes(batch: ExperienceBatch) -> int:
    """Return how many bytes stay in memory as long as a batch does: its arrays may be parts of larger ones."""
    arrays: list[npt.NDArray[Any]] = [batch.rows, *batch.boards]
    if batch.dense is not None:
        arrays += [batch.dense.observations, batch.dense.before, batch.dense.after]
    whole = {}
    for array in arrays:
        base: Any = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        whole[id(base)] = base.nbytes
    return sum(whole.values())


@dataclass(slots=True, eq=False)
class PendingBatch:
    """A batch that waits.

    Attributes:
        batch: The batch.
        nbytes: What it keeps in memory.
        beside: What is kept with it.
    """

    batch: ExperienceBatch
    nbytes: int
    beside: Any


class PendingBatches:
    """A queue of batches, with their number, experiences and bytes. It has a limit, but does not keep to it by itself.

    Attributes:
        experiences: In all batches.
        nbytes: What they keep in memory.
    """

    def __init__(self, max_bytes: int, max_batches: int | None = None) -> None:
        """Set an empty queue up; it is full with ``max_batches`` in it, or when one more would take over ``max_bytes``."""
        self.experiences = 0
        self.nbytes = 0
        self._max_bytes, self._max_batches = max_bytes, max_batches
        self._queue: deque[PendingBatch] = deque()

    def __len__(self) -> int:
        """Return how many batches wait."""
        return len(self._queue)

    def __iter__(self) -> Iterator[PendingBatch]:
        """Return all, the oldest first."""
        return iter(self._queue)

    @property
    def first(self) -> PendingBatch:
        """The oldest."""
        return self._queue[0]

    def append(self, batch: ExperienceBatch, beside: Any = None) -> PendingBatch:
        """Put a batch behind all others."""
        waiting = PendingBatch(batch, held_bytes(batch), beside)
        self._queue.append(waiting)
        self.experiences += len(batch)
        self.nbytes += waiting.nbytes
        return waiting

    def pop(self) -> PendingBatch:
        """Take the oldest out."""
        return self._taken_out(self._queue.popleft())

    def drop(self, number: int) -> PendingBatch:
        """Take out the batch that this many others are older than."""
        waiting = self._queue[number]
        del self._queue[number]
        return self._taken_out(waiting)

    def clear(self) -> int:
        """Take all out, and return how many experiences there were."""
        count = self.experiences
        self._queue.clear()
        self.experiences = self.nbytes = 0
        return count

    def is_full(self, size: int = 0) -> bool:
        """Return whether there is no room for a batch of ``size`` bytes; one batch always has room."""
        if not self._queue:
            return False
        return self.nbytes + size > self._max_bytes or (self._max_batches is not None and len(self._queue) >= self._max_batches)

    def _taken_out(self, waiting: PendingBatch) -> PendingBatch:
        self.experiences -= len(waiting.batch)
        self.nbytes -= waiting.nbytes
        return waiting
