"""Holds the batches that a sink has not taken yet, in order, with their number and memory."""

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

#: What happens to a batch for which there is no room: the same values as of ``ReplayBuffer`` and ``SpillBuffer``.
OVERFLOWS = ("raise", "block", "drop_oldest")


def check_overflow(overflow: Any) -> None:
    """Raise ``ConfigError`` unless this is one of ``OVERFLOWS``."""
    if overflow not in OVERFLOWS:
        raise ConfigError(f"overflow: expected one of {', '.join(OVERFLOWS)}, got {overflow!r}")


def held_bytes(batch: ExperienceBatch) -> int:
    """Return how many bytes a batch keeps in memory: of views, the whole arrays that they are views of."""
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
    """A batch in the queue.

    Attributes:
        batch: The batch.
        nbytes: Bytes that it keeps in memory.
        attachment: An object that the owner of the queue keeps with it.
        is_view: Whether the batch is a view of a larger one, and has boards that it does not need.
    """

    batch: ExperienceBatch
    nbytes: int
    attachment: Any
    is_view: bool = False


class PendingBatches:
    """A queue of batches that counts their experiences and bytes. Its owner has to check its limits with ``is_full``.

    Attributes:
        experiences: Experiences of all batches.
        nbytes: Bytes that all batches keep in memory.
        removed: Number of batches that have left the queue.
    """

    def __init__(self, max_bytes: int, max_batches: int | None = None) -> None:
        """Make an empty queue; it is full with ``max_batches`` in it, or when one more would exceed ``max_bytes``."""
        self.experiences = 0
        self.nbytes = 0
        self.removed = 0
        self._max_bytes, self._max_batches = max_bytes, max_batches
        self._queue: deque[PendingBatch] = deque()

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._queue)

    def __iter__(self) -> Iterator[PendingBatch]:
        """Iterate over the batches, the oldest first."""
        return iter(self._queue)

    def __getitem__(self, number: int) -> PendingBatch:
        """Return a batch, 0 being the oldest one."""
        return self._queue[number]

    @property
    def first(self) -> PendingBatch:
        """The oldest batch."""
        return self._queue[0]

    def append(self, batch: ExperienceBatch, attachment: Any = None, is_view: bool = False) -> PendingBatch:
        """Put a batch at the end."""
        pending = PendingBatch(batch, held_bytes(batch), attachment, is_view)
        self._queue.append(pending)
        self.experiences += len(batch)
        self.nbytes += pending.nbytes
        return pending

    def pop(self) -> PendingBatch:
        """Remove and return the oldest batch."""
        return self._uncount(self._queue.popleft())

    def drop(self, number: int) -> PendingBatch:
        """Remove and return a batch, 0 being the oldest one."""
        pending = self._queue[number]
        del self._queue[number]
        return self._uncount(pending)

    def cut(self, number: int, count: int) -> None:
        """Remove the first ``count`` experiences of a batch that has more of them; 0 is the oldest batch."""
        pending = self._queue[number]
        pending.batch = pending.batch.slice(count, len(pending.batch))
        pending.is_view = True
        self.experiences -= count

    def clear(self) -> int:
        """Remove all batches, and return how many experiences they had."""
        count = self.experiences
        self.removed += len(self._queue)
        self._queue.clear()
        self.experiences = self.nbytes = 0
        return count

    def is_full(self, size: int = 0) -> bool:
        """Return whether there is no room for a batch of ``size`` bytes; an empty queue has room for any batch."""
        if not self._queue:
            return False
        return self.nbytes + size > self._max_bytes or (self._max_batches is not None and len(self._queue) >= self._max_batches)

    def _uncount(self, pending: PendingBatch) -> PendingBatch:
        self.experiences -= len(pending.batch)
        self.nbytes -= pending.nbytes
        self.removed += 1
        return pending
