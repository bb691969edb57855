"""Measures encoding and writes of files, as an observer of ``recorders.encoding.timings``."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from generals_env.operations.metrics.catalogue import Family
from generals_env.operations.metrics.histogram import LATENCY_BOUNDS, Histogram
from generals_env.recorders.encoding.timings import Timing, set_observer

__all__ = ["StageMetrics"]


class Sizes:
    """Latency of encoding for one target, and sizes before and after."""

    def __init__(self) -> None:
        self.seconds = Histogram(LATENCY_BOUNDS)
        self.tensors = self.packed = self.encoded = 0


class StageMetrics(Collector):
    """Latencies and compression ratios of one process; thread-safe.

    Example:
        >>> stages = StageMetrics()  # doctest: +SKIP
        >>> stages.start()
    """

    def __init__(self) -> None:
        """Begin without measurements; ``start`` observes this process."""
        self._lock = threading.Lock()
        self._targets: dict[str, Sizes] = {}
        self._writes = Histogram(LATENCY_BOUNDS)
        self._failures = 0

    def start(self) -> None:
        """Observe all encoding and writing of this process; replaces another observer."""
        set_observer(self)

    def stop(self) -> None:
        """Observe no longer."""
        set_observer(None)

    def measured(self, timing: Timing) -> None:
        """Count one encoding, or one write of a file."""
        with self._lock:
            if timing.operation == "write":
                self._failures += timing.failed
                self._writes.add(timing.seconds)
            elif not timing.failed:
                sizes = self._targets.setdefault(timing.operation, Sizes())
                sizes.seconds.add(timing.seconds)
                sizes.tensors += timing.tensor_bytes
                sizes.packed += timing.packed_bytes
                sizes.encoded += timing.nbytes

    def collect(self) -> Iterator[Metric]:
        """Yield the latencies, sizes and ratios."""
        seconds, ratio = Family("experience_serialization_seconds"), Family("experience_compression_ratio")
        tensors, packed = Family("experience_tensor_bytes_total"), Family("experience_packed_bytes_total")
        encoded = Family("experience_encoded_bytes_total")
        with self._lock:
            for target, sizes in self._targets.items():
                seconds.add_histogram(sizes.seconds.bounds, sizes.seconds.counts, sizes.seconds.total, (target,))
                tensors.add(sizes.tensors, target)
                packed.add(sizes.packed, target)
                encoded.add(sizes.encoded, target)
                if sizes.encoded:
                    ratio.add(sizes.tensors / sizes.encoded, target, "tensors")
                    ratio.add(sizes.packed / sizes.encoded, target, "packed")
            writes = Family("experience_storage_write_seconds")
            writes.add_histogram(LATENCY_BOUNDS, self._writes.counts, self._writes.total)
            failures = Family("experience_storage_failures_total").add(self._failures)
        yield from (seconds, tensors, packed, encoded, ratio, writes, failures)
