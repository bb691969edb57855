"""Defines the actor of Ray that owns a replay buffer, with a log before it that survives the death of the actor."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from generals_env.errors import StateError
from generals_env.recorders.buffers.buffer_stats import BufferStats
from generals_env.recorders.buffers.prioritized import PrioritizedReplayBuffer
from generals_env.recorders.buffers.replay_buffer import ReplayBuffer
from generals_env.recorders.distributed.ray_actors.producer_marks import ProducerMarks
from generals_env.recorders.distributed.ray_actors.shared_arrays import writeable_batch, writeable_view
from generals_env.recorders.encoding.batch_codec import decode_batch
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.log.experience_log import ExperienceLog

__all__ = ["CONCURRENCY", "BufferActor", "create_buffer"]

RELOADED = 2**20  # experiences that are reloaded into a buffer without a capacity in experiences

#: Threads of the actor, by what they do: writers may wait for room, or for the disk, while learners read.
CONCURRENCY = {"write": 4, "read": 4, "control": 2}


def create_buffer(capacity: int | None, prioritized: bool, options: Mapping[str, Any]) -> ReplayBuffer:
    """Return the buffer that these arguments of ``RayBuffer`` describe."""
    return (PrioritizedReplayBuffer if prioritized else ReplayBuffer)(capacity, **options)


class BufferActor:
    """Runs in an actor: takes batches of many producers, drops repeats, stores the others, and lets learners read.

    A batch is acknowledged, by the return of ``write``, when the log has it. An actor that Ray starts again fills its buffer
    from the end of the log.
    """

    def __init__(
        self,
        capacity: int | None,
        prioritized: bool,
        options: Mapping[str, Any],
        log: str | Path | None,
        log_options: Mapping[str, Any],
    ) -> None:
        """Keep the arguments, which are those of ``RayBuffer``: what ``open`` raises reaches the caller as it is."""
        self._marks = ProducerMarks()
        self._buffer = create_buffer(capacity, prioritized, options)
        self._log: ExperienceLog | None = None
        self._log_arguments = (log, dict(log_options), capacity)
        self._logging = threading.Lock()  # the log and the buffer have one order
        self._reloaded = 0
        self._first = 0  # what the key 0 of the buffer is for readers
        self._epoch = uuid.uuid4().hex  # changes when keys begin anew

    def _open(self) -> None:
        """Open the log with the first call that needs it, and fill the buffer from its end."""
        folder, options, capacity = self._log_arguments
        if folder is None:
            return
        with self._logging:
            if self._log is None:
                log = ExperienceLog(folder, **options)
                self._first = self._reload(log, capacity)
                self._epoch, self._log = "log", log

    def _reload(self, log: ExperienceLog, capacity: int | None) -> int:
        """Fill the buffer from the end of the log, and take the marks of producers from the same experiences.

        Returns:
            The number in the log of the first experience that was taken: readers count by numbers of the log.
        """
        first = None
        with log.reader(max(log.last - (capacity or RELOADED), -1)) as reader:
            while (chunk := reader.chunk()) is not None:
                first = chunk.first if first is None else first
                batch = decode_batch(chunk.data)  # with the sequences of the producer, where chunk.batch() has the log's
                self._marks.note(batch)
                self._buffer.write(batch)
                self._reloaded += len(batch)
        return log.last + 1 if first is None else first

    # --- Producers ------------------------------------------------------------------------------------------------

    def write(self, batch: ExperienceBatch) -> int:
        """Store the experiences of a batch that are new, and return how many these are."""
        self._open()
        with self._marks.storing(writeable_batch(batch)) as new:
            if len(new):
                self._store(new)
            return len(new)

    def _store(self, batch: ExperienceBatch) -> None:
        if self._log is None:
            self._buffer.write(batch)
            return
        with self._logging:
            self._log.write(batch)
            self._buffer.write(batch)

    def flush(self) -> None:
        """Flush the log."""
        if self._log is not None:
            self._log.flush()

    # --- Learners -------------------------------------------------------------------------------------------------

    def sample(self, n: int, options: Mapping[str, Any]) -> Any:
        """Return what ``sample`` of the buffer returns."""
        self._open()
        return self._buffer.sample(n, **options)

    def update_priorities(self, keys: Any, priorities: Any) -> int:
        """Update the priorities of a prioritized buffer."""
        if not isinstance(self._buffer, PrioritizedReplayBuffer):
            raise StateError("update_priorities: expected a prioritized buffer, got a uniform one: pass prioritized=True")
        return self._buffer.update_priorities(writeable_view(keys), writeable_view(priorities))

    def read(
        self, epoch: str, first: int, count: int, seconds: float, reader: str | None
    ) -> tuple[str, ExperienceBatch | None, bool]:
        """Return experiences in the order in which they were stored.

        Args:
            epoch: What the call before has returned, empty in the first call.
            first: Number of the first experience; ignored if numbers have begun anew since that epoch.
            count: Maximum number of experiences.
            seconds: How long to wait for the first one.
            reader: Name under which the buffer keeps experiences until they are read; None for no such name.

        Returns:
            The epoch; the experiences, their numbers as ``sequence``, None if there are none yet; and whether no more are to
            come.
        """
        self._open()
        buffer = self._buffer
        key = max(first - self._first, 0) if epoch == self._epoch else 0
        if reader is not None:
            buffer.took(reader, key)
        closed = buffer.closed  # asked before: what is written in between is read by the next call
        batch = buffer.read(key, count, seconds)
        if batch is not None:
            batch.rows["sequence"] += self._first
        return self._epoch, batch, batch is None and closed

    def leave(self, reader: str) -> None:
        """Keep nothing for a reader any longer."""
        self._buffer.leave(reader)

    # --- Control --------------------------------------------------------------------------------------------------

    def stats(self) -> tuple[BufferStats, int, int]:
        """Return the counts of the buffer, repeats that were dropped, and experiences that were reloaded from the log."""
        self._open()
        return self._buffer.stats(), self._marks.repeats, self._reloaded

    def process(self) -> int:
        """Return the id of the process."""
        return os.getpid()

    def finish(self) -> None:
        """Refuse further batches."""
        self._buffer.close()

    def close(self) -> None:
        """Close the buffer and the log."""
        self._buffer.close()
        if self._log is not None:
            self._log.close()
