"""Reads the consumers and totals of a server when Prometheus asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from generals_env.operations.metrics.catalogue import Family
from generals_env.recorders.stream.server.stream_counters import LATENCY_BOUNDS, ServerTotals
from generals_env.recorders.stream.server.stream_sender import StreamStatus

__all__ = ["StreamMetrics"]


class HasStreams(Protocol):
    """An ``ExperienceServer``."""

    @property
    def streams(self) -> Sequence[StreamStatus]:
        """Status of each consumer."""

    @property
    def totals(self) -> ServerTotals:
        """Totals of all streams and submissions."""


class StreamMetrics(Collector):
    """Consumers of a server, how far each lags behind, and what was sent and submitted."""

    def __init__(self, server: HasStreams) -> None:
        """Read an ``ExperienceServer``."""
        self._server = server

    def collect(self) -> Iterator[Metric]:
        """Yield the families ``experience_stream_...`` and ``experience_submissions_...``."""
        yield from self._consumers()
        yield from self._totals()

    def _consumers(self) -> Iterator[Metric]:
        streams = self._server.streams
        records, seconds = Family("experience_stream_lag_records"), Family("experience_stream_lag_seconds")
        missed = Family("experience_stream_missed_total")
        consumers: dict[str, int] = {}
        for status in streams:
            # A consumer may read several streams over one connection, which have the same address.
            number = consumers[status.peer] = consumers.get(status.peer, 0) + 1
            name = status.peer if number == 1 else f"{status.peer}#{number}"
            records.add(status.lag, name)
            seconds.add(status.lag_seconds, name)
            missed.add(status.missed, name)
        yield Family("experience_stream_consumers").add(len(streams))
        yield from (records, seconds, missed)

    def _totals(self) -> Iterator[Metric]:
        totals = self._server.totals
        latency = Family("experience_stream_latency_seconds")
        latency.add_histogram(LATENCY_BOUNDS, np.array(totals.latency_counts), totals.latency_sum)
        dropped, rejected = Family("experience_stream_dropped_total"), Family("experience_submissions_rejected_total")
        for policy, count in totals.dropped.items():
            dropped.add(count, policy)
        for reason, count in totals.rejected.items():
            rejected.add(count, reason)
        yield latency
        yield Family("experience_stream_sent_total").add(totals.experiences)
        yield Family("experience_stream_sent_bytes_total").add(totals.sent_bytes)
        yield Family("experience_stream_plain_bytes_total").add(totals.plain_bytes)
        yield dropped
        yield Family("experience_submissions_accepted_total").add(totals.accepted)
        yield rejected
