"""Reads the state of buffers, logs and writers of files when Prometheus asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from generals_env.operations.metrics.catalogue import Family
from generals_env.recorders.datasets.writer import WriterStats
from generals_env.recorders.experience.validation import Reason
from generals_env.recorders.log import ExperienceLog

__all__ = [
    "BufferMetrics",
    "BufferState",
    "LogMetrics",
    "StorageMetrics",
    "ValidationMetrics",
    "folder_bytes",
    "replay_buffer_state",
]


class BufferState(NamedTuple):
    """State of a buffer.

    Attributes:
        size: Experiences in it.
        capacity: Maximum number.
        dropped: Experiences that it did not keep, by reason: ``drop_oldest``, ``drop_newest``, ``sampled``.
    """

    size: int
    capacity: int
    dropped: Mapping[str, int]


class BufferMetrics(Collector):
    """Size, capacity, utilization and drops of buffers."""

    def __init__(self, buffers: Mapping[str, Callable[[], BufferState]]) -> None:
        """Read buffers.

        Args:
            buffers: A function for each ``buffer_id`` that returns the state of the buffer; see ``replay_buffer_state``.
        """
        self._buffers = dict(buffers)

    def collect(self) -> Iterator[Metric]:
        """Yield the families ``experience_buffer_...``."""
        size, capacity = Family("experience_buffer_size"), Family("experience_buffer_capacity")
        utilization, dropped = Family("experience_buffer_utilization"), Family("experience_buffer_dropped_total")
        for name, read in self._buffers.items():
            state = read()
            size.add(state.size, name)
            capacity.add(state.capacity, name)
            utilization.add(min(state.size / state.capacity, 1.0) if state.capacity else 0.0, name)
            for reason, count in state.dropped.items():
                dropped.add(count, name, reason)
        yield from (size, capacity, utilization, dropped)


class LogMetrics(Collector):
    """Size, span and consumers of a log."""

    def __init__(self, log: ExperienceLog) -> None:
        """Read a log, which may be written by another process."""
        self._log = log

    def collect(self) -> Iterator[Metric]:
        """Yield the families ``experience_log_...``."""
        following = self._log.last + 1
        lag = Family("experience_log_consumer_lag_records")
        for name, position in self._log.consumers().items():
            lag.add(max(following - 1 - position, 0), name)
        yield Family("experience_log_bytes").add(folder_bytes(self._log.folder))
        yield Family("experience_log_segments").add(len(list(self._log.folder.glob("*.db"))))
        yield Family("experience_log_first_sequence").add(min(self._log.first, following))
        yield Family("experience_log_next_sequence").add(following)
        yield lag


def folder_bytes(folder: Path) -> int:
    """Return the bytes of the files of a folder, without those of its sub-folders."""
    return sum(size for path in folder.iterdir() if (size := size_of(path)) is not None)


def size_of(path: Path) -> int | None:
    """Return the size of a file; None for other things, and for a file that is deleted meanwhile."""
    try:
        return path.stat().st_size if path.is_file() else None
    except FileNotFoundError:
        return None


class HasStats(Protocol):
    """A ``DatasetWriter``."""

    def stats(self) -> WriterStats:
        """Return the counts."""


class StorageMetrics(Collector):
    """Counts of a writer of files."""

    def __init__(self, writer: HasStats) -> None:
        """Read a ``DatasetWriter``."""
        self._writer = writer

    def collect(self) -> Iterator[Metric]:
        """Yield the families ``experience_storage_...`` that the writer counts."""
        stats = self._writer.stats()
        yield Family("experience_storage_written_total").add(stats.written)
        yield Family("experience_storage_pending").add(stats.pending)
        yield Family("experience_storage_dropped_total").add(stats.dropped)
        yield Family("experience_storage_files_total").add(stats.files)
        yield Family("experience_storage_bytes_total").add(stats.bytes)
        yield Family("experience_storage_deleted_files_total").add(stats.deleted)
        if stats.free_bytes is not None:
            yield Family("experience_storage_free_bytes").add(stats.free_bytes)


class HasCounters(Protocol):
    """A ``ValidatingSink``."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Invalid experiences by reason."""

    @property
    def passed(self) -> int:
        """Valid experiences."""


class ValidationMetrics(Collector):
    """Counts of a validating sink."""

    def __init__(self, sink: HasCounters) -> None:
        """Read a ``ValidatingSink``."""
        self._sink = sink

    def collect(self) -> Iterator[Metric]:
        """Yield ``experience_validation_failures_total`` and ``experience_validation_passed_total``."""
        failures = Family("experience_validation_failures_total")
        counters = self._sink.counters
        for reason in Reason:
            if reason != Reason.FINE:  # also those that did not occur: a rate needs the zero before the first one
                failures.add(counters.get(reason.label, 0), reason.label)
        yield failures
        yield Family("experience_validation_passed_total").add(self._sink.passed)


def replay_buffer_state(buffer: Any) -> BufferState:
    """Return the state of a ``ReplayBuffer``."""
    stats = buffer.stats()
    return BufferState(stats.size, stats.capacity, {"drop_oldest": stats.dropped, "sampled": stats.skipped})
