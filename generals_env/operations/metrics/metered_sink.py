"""Measures the batches that pass to a sink, and the time that the sink takes for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from generals_env.operations.metrics.catalogue import Family
from generals_env.operations.metrics.histogram import LATENCY_BOUNDS, Histogram
from generals_env.operations.metrics.recording_metrics import RecordingMetrics, summary_of
from generals_env.pickling import NotCopied
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import ClosingSink, Sink

__all__ = ["MeteredSink", "SinkMetrics"]


class SinkMetrics(Collector):
    """Write latencies and failures of the sinks of one process, by stage; thread-safe."""

    def __init__(self) -> None:
        """Begin without stages."""
        self._lock = threading.Lock()
        self._seconds: dict[str, Histogram] = {}
        self._failures: dict[str, int] = {}

    def observe(self, stage: str, seconds: float, failed: bool) -> None:
        """Count a write of a stage."""
        with self._lock:
            self._seconds.setdefault(stage, Histogram(LATENCY_BOUNDS)).add(seconds)
            self._failures[stage] = self._failures.get(stage, 0) + failed

    def collect(self) -> Iterator[Metric]:
        """Yield ``experience_sink_write_seconds`` and ``experience_sink_failures_total``."""
        seconds, failures = Family("experience_sink_write_seconds"), Family("experience_sink_failures_total")
        with self._lock:
            for stage, histogram in self._seconds.items():
                seconds.add_histogram(histogram.bounds, histogram.counts, histogram.total, (stage,))
                failures.add(self._failures[stage], stage)
        yield from (seconds, failures)


class MeteredSink(NotCopied, ClosingSink):
    """Writes batches to another sink, and measures those that it has taken.

    Attributes:
        sink: The other sink.
        stage: Value of the label ``stage`` of its latencies.
    """

    _instead = "make another MeteredSink of a sink of its own"

    def __init__(
        self, sink: Sink, recording: RecordingMetrics | None = None, sinks: SinkMetrics | None = None, stage: str = "record"
    ) -> None:
        """Write to ``sink``.

        Args:
            sink: The other sink.
            recording: Counts the experiences; None counts none, for stages after the first.
            sinks: Counts latencies and failures; None counts none.
            stage: Name of the stage, as ``"record"``, ``"log"`` or ``"files"``.
        """
        self.sink, self.stage = sink, stage
        self._recording, self._sinks = recording, sinks

    def write(self, batch: ExperienceBatch) -> Any:
        """Write a batch to the sink, whose result and errors are passed on; an error means that it is not counted."""
        # Before: the arrays are the sink's afterwards, and no longer in the processor's caches.
        summary = None if self._recording is None else summary_of(batch)
        begun = time.perf_counter()
        failed = True
        try:
            result = self.sink.write(batch)
            failed = False
        finally:
            if self._sinks is not None:
                self._sinks.observe(self.stage, time.perf_counter() - begun, failed)
        if self._recording is not None and summary is not None:
            self._recording.add(summary)
        return result

    def flush(self) -> None:
        """Flush the sink."""
        self.sink.flush()

    def close(self) -> None:
        """Close the sink."""
        self.sink.close()
