"""Reads the consumers of a server when Prometheus asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from generals_env.operations.metrics.catalogue import Family

__all__ = ["StreamMetrics"]


class HasStreams(Protocol):
    """An ``ExperienceServer``."""

    @property
    def streams(self) -> Sequence[Any]:
        """Status of each consumer."""


class StreamMetrics(Collector):
    """Number of consumers of a server, and how far each lags behind."""

    def __init__(self, server: HasStreams) -> None:
        """Read an ``ExperienceServer``."""
        self._server = server

    def collect(self) -> Iterator[Metric]:
        """Yield ``experience_stream_consumers``, and lag and missed experiences of each consumer."""
        streams = self._server.streams
        records, seconds = Family("experience_stream_lag_records"), Family("experience_stream_lag_seconds")
        missed = Family("experience_stream_missed_total")
        consumers: dict[str, int] = {}
        for status in streams:
            # A consumer may read several streams over one connection, which have the same address.
            number = consumers[status.peer] = consumers.get(status.peer, 0) + 1
            name = status.peer if number == 1 else f"{status.peer}#{number}"
            records.add(status.lag, name)
            missed.add(status.missed, name)
            if hasattr(status, "lag_seconds"):
                seconds.add(status.lag_seconds, name)
        yield Family("experience_stream_consumers").add(len(streams))
        yield from (records, seconds, missed)
