"""Defines the actor of Ray that owns a replay buffer, with a log before it that survives the death of the actor."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_options, keywords
from generals_env.errors import StateError
from generals_env.recorders.buffers.buffer_stats import BufferStats
from generals_env.recorders.buffers.prioritized import PrioritizedReplayBuffer
from generals_env.recorders.buffers.replay_buffer import ReplayBuffer
from generals_env.recorders.distributed.ray_actors.shared_arrays import writeable_batch, writeable_view
from generals_env.recorders.encoding.batch_codec import decode_batch
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.identity import MAX_REMEMBERED, experience_hashes
from generals_env.recorders.log.experience_log import ExperienceLog
from generals_env.recorders.sinks.deduplicating import DeduplicatingSink

__all__ = ["CONCURRENCY", "BufferActor", "create_buffer"]

RELOADED = 2**20  # experiences that are reloaded into a buffer without a capacity in experiences

REMEMBERED = 2**23  # experiences whose repeats are recognised, at least; 24 bytes each

#: Threads of the actor, by what they do: writers may wait for room, or for the disk, while learners read.
CONCURRENCY = {"write": 4, "read": 4, "control": 2}


def create_buffer(capacity: int | None, prioritized: bool, options: Mapping[str, Any]) -> ReplayBuffer:
    """Return the buffer that these arguments of ``RayBuffer`` describe."""
    return (PrioritizedReplayBuffer if prioritized else ReplayBuffer)(capacity, **options)


def is_of_producer(batch: ExperienceBatch) -> bool:
    """Return whether a batch is a piece of a run, of which a producer sends no experience twice; a sample has no order."""
    return isinstance(batch.metadata.get("run"), str) and bool((np.diff(batch.sequence) > 0).all())


class LoggedBuffer:
    """Writes batches to a log, if there is one, and then to a buffer, in one order; a sink."""

    def __init__(self, buffer: ReplayBuffer, log: ExperienceLog | None) -> None:
        self._buffer, self._log = buffer, log
        self._writing = threading.Lock()

    def write(self, batch: ExperienceBatch) -> None:
        """Write a batch."""
        if self._log is None:
            self._buffer.write(batch)
            return
        with self._writing:
            if not self._buffer.closed:  # else the buffer refuses what the log would have
                self._log.write(batch)
            self._buffer.write(batch)

    def flush(self) -> None:
        """Flush the log."""
        if self._log is not None:
            self._log.flush()

    def close(self) -> None:
        """Close the buffer and the log."""
        self._buffer.close()
        if self._log is not None:
            self._log.close()


class BufferActor:
    """Runs in an actor: takes batches of many producers, drops repeats, stores the others, and lets learners read.

    Repeats are recognised by hashes of game, player and turn, so in any order and however they are numbered. A batch is
    acknowledged, by the return of ``write``, when the log has it. An actor that Ray starts again fills its buffer, and its
    hashes, from the end of the log.
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
        self._buffer = create_buffer(capacity, prioritized, options)
        self._log_arguments = (log, dict(log_options))
        self._kept = capacity or RELOADED
        self._remembered = min(max(self._kept, REMEMBERED), MAX_REMEMBERED)
        self._opening = threading.Lock()
        self._sink: LoggedBuffer | None = None
        self._new: DeduplicatingSink | None = None  # writes to the sink
        self._reloaded = 0
        self._first = 0  # what the key 0 of the buffer is for readers
        self._epoch = uuid.uuid4().hex  # changes when keys begin anew

    def _open(self) -> tuple[LoggedBuffer, DeduplicatingSink]:
        """Open the log with the first call that needs it, and fill the buffer from its end; return the sinks."""
        folder, options = self._log_arguments
        with self._opening:
            if self._sink is None or self._new is None:
                log = known = None
                if folder is not None:
                    log = ExperienceLog(folder, **options)
                    known = self._reload(log)
                self._sink = LoggedBuffer(self._buffer, log)
                self._new = DeduplicatingSink(self._sink, self._remembered, known)
            return self._sink, self._new

    def _reload(self, log: ExperienceLog) -> npt.NDArray[np.uint64]:
        """Fill the buffer from the end of the log; readers count by numbers of the log from now on.

        Returns:
            Hashes of the experiences whose repeats are to be dropped: of more than those that the buffer takes.
        """
        first, hashes = None, [np.empty(0, np.uint64)]
        with log.reader(max(log.last - max(self._remembered, self._kept), -1)) as reader:
            while (chunk := reader.chunk()) is not None:
                batch = decode_batch(chunk.data)  # with the sequences of the producer, where chunk.batch() has the log's
                if is_of_producer(batch):
                    hashes.append(experience_hashes(batch))
                if chunk.first + len(batch) > log.last + 1 - self._kept:
                    first = chunk.first if first is None else first
                    self._buffer.write(batch)
                    self._reloaded += len(batch)
        self._first = log.last + 1 if first is None else first
        self._epoch = "log"
        return np.concatenate(hashes)

    # --- Producers ------------------------------------------------------------------------------------------------

    def write(self, batch: ExperienceBatch) -> None:
        """Store the experiences of a batch that are new."""
        sink, new = self._open()
        batch = writeable_batch(batch)
        if is_of_producer(batch):
            new.write(batch)
        else:
            sink.write(batch)

    def flush(self) -> None:
        """Flush the log."""
        self._open()[0].flush()

    # --- Learners -------------------------------------------------------------------------------------------------

    def sample(self, n: int, options: Mapping[str, Any]) -> Any:
        """Return what ``sample`` of the buffer returns."""
        self._open()
        check_options(self._buffer.sample, options, keywords(self._buffer.sample))
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
        _, new = self._open()
        return self._buffer.stats(), new.repeats, self._reloaded

    def process(self) -> int:
        """Return the id of the process."""
        return os.getpid()

    def finish(self) -> None:
        """Refuse further batches."""
        self._buffer.close()

    def close(self) -> None:
        """Close the buffer and the log."""
        self._buffer.close()  # wakes writers that wait for room
        if self._sink is not None:
            self._sink.close()
