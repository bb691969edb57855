"""Keeps collectors and learners in step, across processes: ``InsertLimiter`` and ``LimitedSink``."""

from __future__ import annotations

import importlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, Self

from generals_env.arguments import as_config, is_number
from generals_env.concurrency.interrupts import raise_pending
from generals_env.concurrency.process_owner import Owner
from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import AnySink, ClosingSink
from generals_env.recorders.sinks.file_counts import FileCounts
from generals_env.recorders.sinks.insert_limits import InsertCounts, InsertLimits
from generals_env.recorders.sinks.multi import open_sink

__all__ = ["InsertLimiter", "LimitedSink"]

logger = logging.getLogger(__name__)

POLL = 0.02  # seconds between looks at the counts

WARNING = 60.0  # seconds of waiting after which the log tells it

#: The counts in Redis, by the module that needs redis-py.
REDIS = "generals_env.recorders.distributed.redis_streams.counts"


class SharedCounts(Protocol):
    """Where processes count together; see ``FileCounts``."""

    place: str
    limits: str

    def add(self, inserted: int = 0, sampled: int = 0) -> InsertCounts:
        """Add to the counts and return them."""

    def get(self) -> InsertCounts:
        """Return the counts."""

    def want(self, count: int) -> None:
        """Set how many experiences are wanted."""

    def draw(self, n: int, limit: float, samples_per_insert: float) -> InsertCounts | None:
        """Add draws if the balance stays at or above a limit."""

    def close(self) -> None:
        """Disconnect."""


@pickled_as("generals_env.recorders")
class InsertLimiter(NotCopied):
    """Keeps the number of samples drawn for each experience written within bounds, across processes.

    Collectors write through ``limited(sink)``, which waits while the learner is behind; a learner that is given the limiter
    (``DistributedTrainer(..., limiter=limiter)``) waits where it would draw the same experiences too often. Each process makes
    a limiter of its own for the same place: a file for processes of one machine, or a stream of Redis. The counts stay there:
    a process that is killed and started again goes on with them.

    A process that dies holds up the others for as long as it is gone, at most: a killed collector has counted what it wrote;
    a killed learner holds collectors up at the upper bound until it is back; and a learner whose buffer is not filled by what
    was counted, as experiences were lost or it begins anew, has collectors write what it lacks.

    Examples:
        >>> limiter = InsertLimiter("runs/limit", {"samples_per_insert": 8, "min_size": 5000})  # doctest: +SKIP
        >>> with ExperienceRecorder(env, limiter.limited("grpc://127.0.0.1:50051")) as env:
        ...     env.reset(seed=1)

    Attributes:
        limits: The bounds.
    """

    _instead = "make another InsertLimiter of its place"

    def __init__(self, place: str | Path, limits: InsertLimits | Mapping[str, Any] | None = None) -> None:
        """Open the counts, and make them if they are not there.

        Args:
            place: A file, or a stream of Redis (``redis://host:port/db?stream=NAME``).
            limits: The bounds; None for those that another process has stored there.

        Raises:
            ConfigError: If an argument is invalid, or another process has stored other bounds.
            ImportError: Without redis-py for a stream of Redis.
            StorageError: If the place cannot be used, or has no counts where ``limits`` is None.
        """
        given = None if limits is None else as_config("limits", InsertLimits, limits, InsertLimits(1.0))
        text = None if given is None else json.dumps(asdict(given), sort_keys=True)
        self._counts: SharedCounts = open_counts(place, text)
        try:
            self.limits = InsertLimits(**json.loads(self._counts.limits))
        except (ValueError, TypeError) as error:
            raise StorageError(f"place: expected stored limits, got {self._counts.limits!r:.200}: pass limits") from error
        if given is not None and given != self.limits:
            raise ConfigError(f"limits: expected those stored in {str(place)!r}, {self.limits}, got {given}: use another place")
        self._owner = Owner()

    @property
    def counts(self) -> InsertCounts:
        """What all processes have counted."""
        return self._counts.get()

    # --- Collectors -----------------------------------------------------------------------------------------------

    def limited(self, sink: AnySink, timeout: float | None = None) -> LimitedSink:
        """Return a sink that writes to ``sink`` within the bounds; arguments as of ``LimitedSink``."""
        return LimitedSink(sink, self, timeout)

    def await_insert(self, timeout: float | None = None, stop: Callable[[], bool] = bool) -> bool:
        """Wait until a batch may be written; return whether it may.

        Args:
            timeout: Maximum seconds to wait; None for any time.
            stop: Returns whether to give up.

        Raises:
            StateError: In a forked process.
            StorageError: If the counts cannot be read.
        """
        return self._wait(lambda: self.limits.may_insert(self._counts.get()), timeout, stop, "a learner to draw")

    def count_inserted(self, count: int) -> None:
        """Count experiences that were written; errors as of ``await_insert``."""
        self._owner.check("limiter")
        self._counts.add(inserted=count)

    # --- Learners -------------------------------------------------------------------------------------------------

    def await_sample(self, n: int, timeout: float | None = None, stop: Callable[[], bool] = bool) -> bool:
        """Wait until n experiences may be drawn, and count them; return whether they may.

        Raises:
            ConfigError: If draws of n could wait for ever: ``2 * limits.error`` must be at least n.
            StateError: In a forked process.
            StorageError: If the counts cannot be read.
        """
        self.limits.check_draw(n)
        rate = self.limits.samples_per_insert
        lowest = rate * self.limits.min_size - self.limits.tolerance

        def drawn() -> bool:
            return self._counts.get().inserted >= self.limits.min_size and self._counts.draw(n, lowest, rate) is not None

        return self._wait(drawn, timeout, stop, "collectors to write")

    def want(self, count: int) -> None:
        """Let collectors write so many experiences beyond the bounds: those that a learner lacks, as they were lost."""
        self._owner.check("limiter")
        self._counts.want(count)

    # --- Both -----------------------------------------------------------------------------------------------------

    def _wait(self, allowed: Callable[[], bool], timeout: float | None, stop: Callable[[], bool], what: str) -> bool:
        self._owner.check("limiter")
        began, told = time.monotonic(), False
        while not allowed():
            raise_pending()
            waited = time.monotonic() - began
            if stop() or (timeout is not None and waited >= timeout):
                return False
            if waited > WARNING and not told:
                told = True
                logger.warning("%s: waits for %s: %s of %s", self._counts.place, what, self._counts.get(), self.limits)
            time.sleep(POLL)
        return True

    def close(self) -> None:
        """Disconnect; in a forked child do nothing."""
        if self._owner.is_here:
            self._counts.close()

    def __enter__(self) -> Self:
        """Return the limiter."""
        return self

    def __exit__(self, *details: object) -> None:
        """Disconnect."""
        self.close()


@pickled_as("generals_env.recorders")
class LimitedSink(NotCopied, ClosingSink):
    """Sink of a collector that waits while the learner is behind; see ``InsertLimiter``.

    A batch is counted after it was written: a collector that is killed in between leaves a batch that is not counted, so that
    the learner draws less often, never more often, than the limits say.

    Attributes:
        sink: The sink that is written to.
        waited: Seconds that writes have waited so far.
    """

    _instead = "make another LimitedSink of a sink and a limiter of its own"

    def __init__(self, sink: AnySink, limiter: InsertLimiter, timeout: float | None = None) -> None:
        """Write to ``sink``.

        Args:
            sink: A sink, or what ``open_sink`` takes.
            limiter: The limiter; it is not closed with the sink.
            timeout: Seconds after which a write that waits raises ``StateError``; None to wait as long as no learner is there.

        Raises:
            ConfigError: If an argument is invalid.
            StorageError: If the sink cannot be opened.
        """
        if timeout is not None and (not is_number(timeout) or not 0 <= timeout < math.inf):
            raise ConfigError(f"timeout: expected seconds of at least 0, got {timeout!r:.80}")
        if not isinstance(limiter, InsertLimiter):
            raise ConfigError(f"limiter: expected an InsertLimiter, got {limiter!r:.200}: make one of a file and limits")
        self.sink = open_sink(sink)
        self._limiter, self._timeout = limiter, timeout
        self.waited = 0.0

    def write(self, batch: ExperienceBatch) -> Any:
        """Write a batch as soon as the limits allow it.

        Raises:
            StateError: If the limits do not allow it within ``timeout``; the batch may be written again.
        """
        began = time.monotonic()
        if not self._limiter.await_insert(self._timeout):
            raise StateError(
                f"limiter: expected a learner to draw within {self._timeout:g} s, got {self._limiter.counts}: check the learner"
            )
        self.waited += time.monotonic() - began
        count = len(batch)
        written = self.sink.write(batch)
        self._limiter.count_inserted(count)
        return written

    def flush(self) -> None:
        """Flush the sink."""
        self.sink.flush()

    def close(self) -> None:
        """Close the sink."""
        self.sink.close()


def open_counts(place: str | Path, limits: str | None) -> SharedCounts:
    """Return the counts of a file or of a stream of Redis; errors as of ``InsertLimiter``."""
    if isinstance(place, str) and place.partition(":")[0].lower() in ("redis", "rediss"):
        counts: SharedCounts = importlib.import_module(REDIS).RedisCounts(place, limits)
        return counts
    if not isinstance(place, (str, Path)) or not str(place) or "://" in str(place):
        raise ConfigError(f"place: expected a file or a stream of Redis, got {place!r:.200}: pass runs/limit, for example")
    return FileCounts(place, limits)
