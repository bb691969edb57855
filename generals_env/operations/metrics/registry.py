"""Keeps the collectors of one process, and goes on without those that cannot be read at present."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from generals_env.errors import GeneralsError
from generals_env.operations.metrics.catalogue import Family
from generals_env.operations.metrics.transport import dump_families

__all__ = ["MetricsRegistry"]

logger = logging.getLogger(__name__)


class MetricsRegistry(Collector):
    """The collectors of one process; thread-safe.

    A collector that fails, as a log does whose folder was deleted, is left out and counted: the other metrics show the state of
    the run just then.
    """

    def __init__(self, component: str) -> None:
        """Begin without collectors.

        Args:
            component: Name of the process, as of ``ProcessMetrics``.
        """
        self._component = component
        self._lock = threading.Lock()
        self._collectors: list[Collector] = []
        self._failures = 0

    def add(self, *collectors: Collector) -> None:
        """Add collectors."""
        with self._lock:
            self._collectors.extend(collectors)

    def collect(self) -> Iterator[Metric]:
        """Yield the families of all collectors that can be read."""
        with self._lock:  # also lets one scrape at a time read
            for collector in self._collectors:
                try:
                    families = list(collector.collect())
                except (GeneralsError, OSError) as error:
                    self._failures += 1
                    logger.warning("metrics: %s cannot be read: %s", type(collector).__name__, error)
                    continue
                yield from families
            yield Family("generals_metrics_failures_total").add(self._failures, self._component)

    def dump(self) -> bytes:
        """Return all families as JSON for the supervisor, which reads it with ``load_families``."""
        return dump_families(self.collect())
