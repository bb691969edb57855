"""Counts what streams and submissions do, for statistics and metrics."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["LATENCY_BOUNDS", "ServerTotals", "StreamCounters", "SubmissionCounters"]

#: Upper bounds of the classes of latencies, in seconds; the last class has none.
LATENCY_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class StreamCounters:
    """Counts of what one stream has sent; written by one thread.

    Attributes:
        experiences: Experiences sent.
        messages: Messages sent.
        sent_bytes: Their bytes as they were sent; an estimate for records that gRPC compresses, by the ratio of the first.
        plain_bytes: Their bytes before compression.
        latency: Seconds from ``collected_at`` of the first experience of the last message until it was handed to gRPC.
        latency_sum: Sum of the latencies of all messages.
        latency_counts: Messages of each class of ``LATENCY_BOUNDS``, and of longer ones.
    """

    def __init__(self) -> None:
        """Begin with zeros."""
        self.experiences = self.messages = self.sent_bytes = self.plain_bytes = 0
        self.latency = self.latency_sum = 0.0
        self.latency_counts = [0] * (len(LATENCY_BOUNDS) + 1)

    def add(self, count: int, sent_bytes: int, plain_bytes: int, collected_at: int) -> None:
        """Count a message with experiences, of which the first was collected at a time in nanoseconds since 1970."""
        self.experiences += count
        self.messages += 1
        self.sent_bytes += sent_bytes
        self.plain_bytes += plain_bytes
        self.latency = latency = max(time.time_ns() - collected_at, 0) / 1e9
        self.latency_sum += latency
        self.latency_counts[bisect_left(LATENCY_BOUNDS, latency)] += 1

    @property
    def mean_latency(self) -> float:
        """Mean of the latencies, in seconds."""
        return self.latency_sum / self.messages if self.messages else 0.0


class SubmissionCounters:
    """Counts of submitted experiences; written by one thread at a time.

    Attributes:
        accepted: Experiences that were written.
        rejected: Experiences that were not, by reason: the name of a field of the record, a ``Reason`` of the validation, or
            ``"repeat"`` or ``"board_size"``.
    """

    def __init__(self) -> None:
        """Begin with zeros."""
        self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self._changing = threading.Lock()

    def add(self, accepted: int, rejected: Iterable[str]) -> None:
        """Count the experiences of a call: how many were accepted, and the reason for each of the others."""
        with self._changing:
            self.accepted += accepted
            self.rejected.update(rejected)

    def counts(self) -> tuple[int, dict[str, int]]:
        """Return both counts as they are at one time."""
        with self._changing:
            return self.accepted, dict(self.rejected)


@dataclass
class ServerTotals:
    """Totals of a server since it was made, of ended streams, too.

    Attributes:
        streams: Streams that were begun.
        experiences: Experiences sent; each is counted once for each consumer.
        messages: Messages sent.
        sent_bytes: Their bytes, see ``StreamCounters``.
        plain_bytes: Their bytes before compression.
        missed: Experiences that consumers did not get, as the source had dropped them or a policy skipped them.
        dropped: Those of them that a policy skipped, by policy.
        latency_sum: Sum of the latencies of all messages, in seconds.
        latency_counts: Messages by latency, see ``LATENCY_BOUNDS``.
        accepted: Submitted experiences that were written.
        rejected: Submitted experiences that were not, by reason.
    """

    streams: int = 0
    experiences: int = 0
    messages: int = 0
    sent_bytes: int = 0
    plain_bytes: int = 0
    missed: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: {"drop_oldest": 0, "drop_newest": 0})
    latency_sum: float = 0.0
    latency_counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS) + 1))
    accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)

    @property
    def compression_ratio(self) -> float:
        """Bytes before compression by bytes sent; 1 before anything was sent."""
        return self.plain_bytes / self.sent_bytes if self.sent_bytes else 1.0

    def add(self, sent: StreamCounters, policy: str, missed: int, dropped: int) -> None:
        """Add the counts of a stream."""
        self.streams += 1
        self.experiences += sent.experiences
        self.messages += sent.messages
        self.sent_bytes += sent.sent_bytes
        self.plain_bytes += sent.plain_bytes
        self.missed += missed
        if dropped:
            self.dropped[policy] += dropped
        self.latency_sum += sent.latency_sum
        self.latency_counts = [one + more for one, more in zip(self.latency_counts, sent.latency_counts, strict=True)]
