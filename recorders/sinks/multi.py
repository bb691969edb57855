"""Writes to several sinks at once, each in a thread of its own, and opens sinks from paths and URLs."""

from __future__ import annotations

import atexit
import importlib
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, TypeGuard

from generals_env.arguments import check_integer
from generals_env.concurrency.interrupts import deferred, pending, raise_pending
from generals_env.concurrency.process_owner import Owner
from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import AnySink, ClosingSink, Sink
from generals_env.recorders.sinks.pending_batches import check_overflow, held_bytes
from generals_env.recorders.sinks.queue_sink import QueueSink

__all__ = [
    "SLICE",
    "MultiSink",
    "finish",
    "finish_here",
    "is_server",
    "open_sink",
]

POLICIES = ("all", "any")

#: Functions that open the sinks of a URL by its scheme, as ``module:function``, imported on first use. Other URLs are folders.
OPENERS = {
    **dict.fromkeys(("grpc", "grpcs"), "generals_env.recorders.stream.client.submitting_sink:open_server"),
    **dict.fromkeys(("redis", "rediss"), "generals_env.recorders.distributed.redis_streams.sink:open_redis"),
}

SLICE = 0.05  # seconds between checks for deferred signals

Futures = list[Future[Any]]


@pickled_as("generals_env.recorders")
class MultiSink(NotCopied, ClosingSink):
    """Writes every batch to several sinks at once, each in a thread of its own; each gets each batch once, and in order.

    A batch that a sink refuses (its ``write`` raises) is queued for this sink only, and offered to it again: with every batch
    that is written, with ``flush`` and ``close``, and from time to time. So ``write`` does not raise when a sink fails:
    ``errors`` and ``waiting`` report it, it is logged with the module ``logging``, and ``flush`` and ``close`` raise. When the
    queue of a sink is full, ``overflow`` decides what ``write`` does:

    - ``"raise"``: it raises, and no sink takes the batch.
    - ``"block"``: it waits until the sink has taken enough.
    - ``"drop_oldest"``: the oldest batches in the queue are dropped; ``lost`` counts their experiences.

    With ``policy="all"``, ``write`` waits until each sink has taken the batch or has failed once more. With ``policy="any"`` it
    returns as soon as one sink has taken it, while the threads of the others continue; ``flush`` and ``close`` then raise only
    if all sinks fail.

    A batch for which a sink raises ``ConfigError`` is never offered to it again: its experiences are counted in ``lost``, and
    the next ``flush`` or ``close`` raises. Batches that a sink has not taken when the ``MultiSink`` closes are counted in
    ``lost``, too.

    In a process that was forked off the one that made the sink, ``write`` and ``flush`` raise ``StateError``, and ``close``
    does nothing.

    Attributes:
        sinks: The sinks.
        policy: ``"all"`` or ``"any"``.
        overflow: ``"raise"``, ``"block"`` or ``"drop_oldest"``.
    """

    _instead = "make another MultiSink of sinks of its own"

    def __init__(
        self,
        sinks: Sequence[str | Path | Sink],
        policy: str = "all",
        max_waiting: int = 64,
        *,
        max_waiting_bytes: int = 2**27,
        overflow: str | None = None,
        most_waiting: int | None = None,
    ) -> None:
        """Write to ``sinks``.

        Args:
            sinks: Sinks, or paths and URLs that ``open_sink`` takes.
            policy: ``"all"`` or ``"any"``.
            max_waiting: Maximum number of batches in the queue of a sink.
            max_waiting_bytes: Maximum memory of the batches in the queue of a sink.
            overflow: Action when a queue is full; by default ``"raise"`` with ``"all"``, ``"drop_oldest"`` with ``"any"``.
            most_waiting: Former name of ``max_waiting``, deprecated.

        Raises:
            ConfigError: If an argument has the wrong type or value.
            StorageError: If a folder or URL cannot be written.
        """
        if most_waiting is not None:
            text = "MultiSink: most_waiting is now called max_waiting: use max_waiting"
            warnings.warn(text, DeprecationWarning, stacklevel=2)
            max_waiting = most_waiting
        if isinstance(sinks, (str, Path)) or not sinks:
            raise ConfigError(f"sinks: expected one or more, got {sinks!r}: pass a list of sinks, paths or URLs")
        if policy not in POLICIES:
            raise ConfigError(f"policy: expected one of {', '.join(POLICIES)}, got {policy!r}")
        check_integer("max_waiting", max_waiting, 1, 2**31)
        check_integer("max_waiting_bytes", max_waiting_bytes, 1, 2**62)
        if overflow is None:
            overflow = "raise" if policy == "all" else "drop_oldest"
        check_overflow(overflow)
        self.sinks: list[Sink] = []
        try:
            for sink in sinks:
                self.sinks.append(open_sink(sink))
        except BaseException:
            for opened in self.sinks:
                opened.close()
            raise
        self.policy = policy
        self.overflow = overflow
        self._queues = [QueueSink(sink, max_waiting, max_waiting_bytes) for sink in self.sinks]
        self._writing = threading.Lock()  # so that all sinks get batches in one order
        self._closed = False
        self._closing: Futures = []
        self._owner = Owner()

    @property
    def lost(self) -> list[int]:
        """Experiences of each sink that were dropped or refused for good."""
        return [queue.lost for queue in self._queues]

    @property
    def waiting(self) -> list[int]:
        """Experiences in the queue of each sink."""
        return [queue.waiting for queue in self._queues]

    @property
    def errors(self) -> list[BaseException | None]:
        """The last error of each sink, None if there was no error."""
        return [queue.error for queue in self._queues]

    def write(self, batch: ExperienceBatch) -> list[Any]:
        """Take a batch for all sinks, which share its arrays.

        Returns:
            For each sink the result of its ``write``; the exception that it raised, if the batch is still queued for it; or a
            ``Future`` of one of these, if it has not finished.

        Raises:
            StateError: After ``close``, or in a process that was forked off the one that made the sink.
            StorageError: If the queue of a sink is full, with ``"raise"``. No sink has taken the batch.
        """
        self._owner.check("sink")  # before the lock: a thread of the parent may hold it for ever
        with deferred():
            with self._writing:
                self._make_room(batch)
                futures = [queue.put(batch) for queue in self._queues]
            while not self._is_enough(futures) and not pending():
                wait([future for future in futures if not future.done()], SLICE, "FIRST_COMPLETED")
            return [future if not future.done() else future.exception() or future.result() for future in futures]

    def _is_enough(self, futures: Futures) -> bool:
        """Return whether ``write`` can return."""
        if self.policy == "any" and any(future.done() and future.exception() is None for future in futures):
            return True
        return all(future.done() for future in futures)

    def _make_room(self, batch: ExperienceBatch) -> None:
        """Make room for a batch in the queue of every sink."""
        self._require_open()
        size = held_bytes(batch)
        full = [queue for queue in self._queues if queue.is_full(size)]
        if self.overflow == "drop_oldest":
            for queue in full:
                queue.drop_oldest(size)
        elif self.overflow == "block":
            for queue in full:
                while not queue.wait_for_room(size, SLICE):
                    raise_pending()
                    self._require_open()
        elif full:
            finish([queue.offer() for queue in full])
            told = "; ".join(
                f"{type(queue.sink).__name__} with {queue.waiting} waiting: {queue.error}"
                for queue in full
                if queue.is_full(size)
            )
            if told:
                raise StorageError(f"write: expected room for {len(batch)} experiences, got {told}: write it again later")

    def _require_open(self) -> None:
        if self._closed:
            raise StateError("write: expected an open sink, got one that is closed: make a new one")

    def flush(self) -> None:
        """Offer each sink the batches of its queue and flush it, also if others fail.

        Raises:
            StateError: In a process that was forked off the one that made the sink.
            StorageError: If a sink fails, with ``"all"``; if all do, with ``"any"``. The batches stay in the queues.
        """
        self._owner.check("sink")
        if self._closed:
            return
        futures = [queue.flush() for queue in self._queues]
        while not self._is_enough(futures):
            raise_pending()
            wait(futures, SLICE)
        self._raise_failures("flush", futures)

    def close(self) -> None:
        """Offer each sink the batches of its queue, several times if it refuses, and close it, also if others fail.

        Ctrl-C ends the wait for the sinks, which continue: the end of the program waits for them once more.

        Raises:
            StorageError: As in ``flush``, and each time ``close`` is called again. Batches that were not taken are lost.
        """
        if not self._owner.is_here:
            return
        if not self._closed:
            self._closed = True
            with self._writing:
                self._closing = [queue.close() for queue in self._queues]
        try:
            finish(self._closing)
        except BaseException:  # Ctrl-C ends the wait; the threads continue, but would be killed with the program
            atexit.register(finish_here, self._owner, self._closing)
            raise
        self._raise_failures("close", self._closing)

    def _raise_failures(self, verb: str, futures: Futures) -> None:
        """Raise if too many sinks have failed; sinks that have not finished count as successful."""
        failed: list[tuple[str, BaseException]] = []
        for sink, future in zip(self.sinks, futures, strict=True):
            error = future.exception() if future.done() else None
            if error is not None:
                failed.append((type(sink).__name__, error))
        if failed and (self.policy == "all" or len(failed) == len(futures)):
            told = "; ".join(f"{name}: {error}" for name, error in failed)
            expected = f"{verb}: expected {self.policy} of {len(futures)} sinks to succeed"
            raise StorageError(f"{expected}, got {told}") from failed[0][1]


def finish(futures: Futures) -> None:
    """Wait until all futures are done or a deferred signal is raised."""
    while not all(future.done() for future in futures):
        raise_pending()
        wait(futures, SLICE)


def finish_here(owner: Owner, futures: Futures) -> None:
    """Wait until all futures are done, but not in a forked process: it has none of the threads."""
    if owner.is_here:
        finish(futures)


def open_sink(sink: AnySink) -> Sink:
    """Return a sink: a ``SubmittingSink`` for ``grpc://``, a ``RedisSink`` for ``redis://``, or a ``DatasetWriter``.

    The first two also take ``grpcs://`` and ``rediss://``, with TLS; the last any other path or URL.

    Several sinks become a ``MultiSink``; a sink is returned itself.

    Raises:
        ConfigError: If the argument is none of these.
        ImportError: If the sink of a URL needs an extra that is not installed.
        StorageError: If the folder or URL cannot be written.
    """
    if is_server(sink):
        return open_server(sink)
    if isinstance(sink, (str, Path)):
        from generals_env.recorders.datasets.writer import DatasetWriter

        return DatasetWriter(sink)
    if isinstance(sink, Sink):
        return sink
    if isinstance(sink, (list, tuple)) and sink:
        return MultiSink(sink)
    raise ConfigError(f"sink: expected a path, an object with write, flush and close, or several of these, got {sink!r}")


def is_server(place: Any) -> TypeGuard[str]:
    """Return whether an argument is the URL of a server, of this package or of Redis, also a malformed one."""
    return isinstance(place, str) and ":" in place and place.partition(":")[0].lower() in OPENERS


def open_server(url: str) -> Sink:
    """Return the sink that a function of ``OPENERS`` opens."""
    module, _, name = OPENERS[url.partition(":")[0].lower()].partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ImportError(f'{url}: expected {error.name}, got none: pip install "generals_env[stream]"') from None
    sink: Sink = function(url)
    return sink
