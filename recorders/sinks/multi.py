"""A sink that writes to several at once, and one that tries again."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

from generals_env.arguments import check_integer
from generals_env.concurrency.interrupts import deferred, pending, raise_pending
from generals_env.concurrency.process_owner import Owner
from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import AnySink, ClosingSink, Sink
from generals_env.recorders.sinks.branch import QueueSink
from generals_env.recorders.sinks.pending_batches import check_overflow, held_bytes

__all__ = [
    "MultiSink",
    "open_sink",
]

POLICIES = ("all", "any")

SLICE = 0.05  # seconds between looks at signals that were put off

Futures = list[Future[Any]]


@pickled_as("generals_env.recorders")
class MultiSink(NotCopied, ClosingSink):
    """Writes every batch to several sinks at once, each in a thread of its own; each gets each batch once, and in order.

    What a sink refuses (it raises) waits for it alone, and is given to it again: with every batch that is written, with
    ``flush`` and ``close``, and from time to time. So ``write`` does not raise when a sink fails; ``errors`` and ``waiting``
    tell, the log of the module ``logging`` has it, and ``flush`` and ``close`` raise. When as much waits as may, ``overflow``
    says what ``write`` does:

    - ``"raise"``: it raises, and no sink takes the batch.
    - ``"block"``: it waits until the sink has taken enough.
    - ``"drop_oldest"``: the oldest that waits is given up for the batch; ``lost`` counts experiences.

    With ``policy="all"``, ``write`` waits until each sink has taken the batch or has failed once more. With ``policy="any"`` it
    returns as soon as one sink has taken it, while others go on in their threads; ``flush`` and ``close`` then raise only if
    all sinks fail.

    A batch for which a sink raises ``ConfigError`` will never be taken by it: that is counted in ``lost``, and told by the
    next ``flush`` or ``close``. What a sink has not taken when the ``MultiSink`` closes is counted in ``lost``, too.

    In a process that was forked off the one that made it, ``write`` and ``flush`` raise ``StateError``, and ``close`` does
    nothing.

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
        most_waiting: int = 64,
        *,
        max_waiting_bytes: int = 2**27,
        overflow: str | None = None,
    ) -> None:
        """Write to ``sinks``.

        Args:
            sinks: Sinks, or what ``open_sink`` makes sinks of.
            policy: ``"all"`` or ``"any"``.
            most_waiting: Most batches that may wait for a sink.
            max_waiting_bytes: Most memory that they may take, for each sink.
            overflow: What happens beyond that; ``"raise"`` by default with ``"all"``, ``"drop_oldest"`` with ``"any"``.

        Raises:
            ConfigError: If an argument is not what it should be.
            StorageError: If a place cannot be written.
        """
        if isinstance(sinks, (str, Path)) or not sinks:
            raise ConfigError(f"sinks: expected one or more, got {sinks!r}")
        if policy not in POLICIES:
            raise ConfigError(f"policy: expected one of {', '.join(POLICIES)}, got {policy!r}")
        check_integer("most_waiting", most_waiting, 1, 2**31)
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
        self._branches = [QueueSink(sink, most_waiting, max_waiting_bytes) for sink in self.sinks]
        self._writing = threading.Lock()  # so that all sinks get batches in one order
        self._closed = False
        self._closing: Futures = []
        self._owner = Owner()

    @property
    def lost(self) -> list[int]:
        """How many experiences each sink will never have."""
        return [branch.lost for branch in self._branches]

    @property
    def waiting(self) -> list[int]:
        """How many experiences wait for each sink."""
        return [branch.waiting for branch in self._branches]

    @property
    def errors(self) -> list[BaseException | None]:
        """What each sink raised last, None if all went well."""
        return [branch.error for branch in self._branches]

    def write(self, batch: ExperienceBatch) -> list[Any]:
        """Take a batch for all sinks, which share its arrays.

        Returns:
            For each sink what its ``write`` returned; the exception that it raised, while the batch waits for it; or a
            ``Future`` that will tell.

        Raises:
            StateError: After ``close``, or in a process that was forked off the one that made the sink.
            StorageError: If there is no room for what a sink refuses, with ``"raise"``. No sink has taken the batch.
        """
        self._owner.check("sink")  # before the lock: a thread of the parent may hold it for ever
        with deferred():
            with self._writing:
                self._make_room(batch)
                futures = [branch.put(batch) for branch in self._branches]
            while not self._is_enough(futures) and not pending():
                wait([future for future in futures if not future.done()], SLICE, "FIRST_COMPLETED")
            return [future if not future.done() else future.exception() or future.result() for future in futures]

    def _is_enough(self, futures: Futures) -> bool:
        """Return whether ``write`` need not wait any more."""
        if self.policy == "any" and any(future.done() and future.exception() is None for future in futures):
            return True
        return all(future.done() for future in futures)

    def _make_room(self, batch: ExperienceBatch) -> None:
        """Make room for a batch at every sink; nothing has been done with it yet."""
        self._require_open()
        size = held_bytes(batch)
        full = [branch for branch in self._branches if branch.is_full(size)]
        if self.overflow == "drop_oldest":
            for branch in full:
                branch.drop_oldest(size)
        elif self.overflow == "block":
            for branch in full:
                while not branch.wait_for_room(size, SLICE):
                    raise_pending()
                    self._require_open()
        elif full:
            finish([branch.offer() for branch in full])
            told = "; ".join(
                f"{type(branch.sink).__name__} with {branch.waiting} waiting: {branch.error}"
                for branch in full
                if branch.is_full(size)
            )
            if told:
                raise StorageError(f"write: expected room for {len(batch)} experiences, got {told}")

    def _require_open(self) -> None:
        if self._closed:
            raise StateError("write: expected an open sink, got one that is closed")

    def flush(self) -> None:
        """Give each sink what waits for it, and flush it, also if others fail.

        Raises:
            StateError: In a process that was forked off the one that made the sink.
            StorageError: If a sink fails, with ``"all"``; if all do, with ``"any"``. What waits still does.
        """
        self._owner.check("sink")
        if self._closed:
            return
        futures = [branch.flush() for branch in self._branches]
        while not self._is_enough(futures):
            raise_pending()
            wait(futures, SLICE)
        self._raise_failures("flush", futures)

    def close(self) -> None:
        """Give each sink what waits for it, some times if it refuses, and close it, also if others fail.

        Ctrl-C ends the wait for the sinks, not what they do: at the end of the program they are waited for once more.

        Raises:
            StorageError: As in ``flush``, and each time ``close`` is called again. What was not taken is lost.
        """
        if not self._owner.is_here:
            return
        if not self._closed:
            self._closed = True
            with self._writing:
                self._closing = [branch.close() for branch in self._branches]
        try:
            finish(self._closing)
        except BaseException:  # Ctrl-C ends the wait; the threads go on, but would end with the program
            atexit.register(finish_here, self._owner, self._closing)
            raise
        self._raise_failures("close", self._closing)

    def _raise_failures(self, verb: str, futures: Futures) -> None:
        """Raise if too many sinks have failed; those that are not done yet have not."""
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
    """Wait until all is done; signals that were put off end that."""
    while not all(future.done() for future in futures):
        raise_pending()
        wait(futures, SLICE)


def finish_here(owner: Owner, futures: Futures) -> None:
    """Wait until all is done, unless this is a process that was forked off: it has none of the threads."""
    if owner.is_here:
        finish(futures)


def open_sink(sink: AnySink) -> Sink:
    """Return a sink: a path or URL becomes a ``DatasetWriter``, several a ``MultiSink``, a sink stays itself.

    Raises:
        ConfigError: If it is none of these.
        StorageError: If the place cannot be written.
    """
    if isinstance(sink, (str, Path)):
        from generals_env.recorders.datasets.writer import DatasetWriter

        return DatasetWriter(sink)
    if isinstance(sink, Sink):
        return sink
    if isinstance(sink, (list, tuple)) and sink:
        return MultiSink(sink)
    raise ConfigError(f"sink: expected a path, an object with write, flush and close, or several of these, got {sink!r}")
