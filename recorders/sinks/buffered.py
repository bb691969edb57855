"""Buffers experiences between games and a sink: a bounded queue, a thread that writes, and policies for a full queue."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from generals_env.arguments import check_integer, check_options, is_number
from generals_env.concurrency.interrupts import deferred, raise_pending
from generals_env.concurrency.process_owner import Owner
from generals_env.errors import ConfigError, StateError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import ClosingSink, Sink
from generals_env.recorders.sinks.multi import SLICE, Futures, finish, finish_here, open_sink
from generals_env.recorders.sinks.queue_sink import QueueSink
from generals_env.seeding import seed_state

__all__ = ["OVERFLOWS", "BufferedSink", "BufferedSinkStats"]

#: What happens to experiences for which there is no room.
OVERFLOWS = ("block", "drop_oldest", "drop_newest")

#: Options that ``change`` takes.
LIVE = ("overflow", "keep_probability", "pressure_threshold", "pressure_keep_probability")

PARTS = 4  # a batch is written in parts of at most capacity / PARTS: the sink writes one while others may be dropped

UNLIMITED = 2**62  # bytes: the queue is limited by experiences


@pickled_as("generals_env.recorders")
@dataclass(frozen=True)
class BufferedSinkStats:
    """What became of the experiences that were written to a ``BufferedSink``.

    At all times ``added == written + size + dropped_oldest + dropped_newest + sampled_out + lost``.

    Attributes:
        size: Experiences in the queue, those included that the sink is writing.
        capacity: Maximum of ``size``.
        utilization: ``size / capacity``, 0 to 1.
        added: Experiences taken by ``write``.
        written: Experiences that the sink has taken.
        dropped_oldest: The oldest ones, dropped for new ones.
        dropped_newest: New ones, dropped because there was no room.
        sampled_out: Not kept because of ``keep_probability`` or ``pressure_keep_probability``.
        lost: Refused by the sink with a ``ConfigError``, or not taken when the ``BufferedSink`` was closed.
        waiting_writers: Threads that wait in ``write``.
        problem: Why the sink refuses experiences, which stay in the queue; None if it does not.
    """

    size: int
    capacity: int
    utilization: float
    added: int
    written: int
    dropped_oldest: int
    dropped_newest: int
    sampled_out: int
    lost: int
    waiting_writers: int
    problem: str | None


@pickled_as("generals_env.recorders")
class BufferedSink(NotCopied, ClosingSink):
    """Queues experiences for another sink and writes them from a thread, so that games do not wait for it.

    The order is kept, and the sink gets each experience once. What ``write`` takes is in memory only: ``flush`` returns when
    the sink has taken and flushed it. When the queue is full, ``overflow`` decides what ``write`` does:

    - ``"block"``: it waits for room. Ctrl-C ends the wait.
    - ``"drop_oldest"``: the oldest experiences are dropped, except those that the sink is writing.
    - ``"drop_newest"``: the new experiences for which there is no room are dropped.

    Each experience is kept with ``keep_probability``, or with ``pressure_keep_probability`` if the queue is used to
    ``pressure_threshold`` or more when its batch is written; those that end a game (terminated or truncated) always are.
    ``stats`` counts what was dropped, by reason.

    After an ``OSError`` of the sink its batch stays in the queue and is offered again: with every batch that is written, with
    ``flush`` and ``close``, and after 1 to 30 seconds; ``problem`` says why. Another error is raised by the next ``write``,
    which does not take its batch then, or by ``flush``; after a ``ConfigError`` the batch that caused it is lost, too.

    In a process that was forked off the one that made the sink, ``write`` and ``flush`` raise ``StateError``, and ``close``
    does nothing.

    Attributes:
        sink: The sink.
        capacity: Maximum number of experiences in the queue.
    """

    _instead = "make another BufferedSink of a sink of its own"

    def __init__(
        self,
        sink: str | Path | Sink,
        capacity: int = 10_000,
        overflow: str = "block",
        *,
        keep_probability: float = 1.0,
        pressure_threshold: float = 0.8,
        pressure_keep_probability: float = 1.0,
        seed: int | None = None,
    ) -> None:
        """Write to ``sink`` from a thread.

        Args:
            sink: The sink, or a path or URL that ``open_sink`` takes.
            capacity: Maximum number of experiences in the queue.
            overflow: Action when the queue is full: ``"block"``, ``"drop_oldest"`` or ``"drop_newest"``.
            keep_probability: Share of the experiences to keep.
            pressure_threshold: Utilization, 0 to 1, from which on ``pressure_keep_probability`` applies instead.
            pressure_keep_probability: Share to keep from then on.
            seed: Seed of the choice; random by default.

        Raises:
            ConfigError: If an argument has the wrong type or value.
            StorageError: If a folder or URL cannot be written.
        """
        self.capacity = check_integer("capacity", capacity, 1, 2**40)
        self._overflow, self._keep = check_overflow(overflow), check_share("keep_probability", keep_probability)
        self._threshold = check_share("pressure_threshold", pressure_threshold)
        self._pressure_keep = check_share("pressure_keep_probability", pressure_keep_probability)
        self._rng = np.random.default_rng(seed_state(seed))
        self.sink = open_sink(sink)
        self._queue = QueueSink(self.sink, UNLIMITED, UNLIMITED)
        self._turn = threading.Lock()  # of the writer whose batch is taken: two batches must not mix
        self._begun: tuple[ExperienceBatch, ExperienceBatch, int] | None = None  # see ``_put_in_parts``
        self._added = self._dropped_oldest = self._dropped_newest = self._sampled_out = self._waiting = 0
        self._closed = False
        self._closing: Futures = []
        self._owner = Owner()

    # --- State ----------------------------------------------------------------------------------------------------

    @property
    def overflow(self) -> str:
        """``"block"``, ``"drop_oldest"`` or ``"drop_newest"``."""
        return self._overflow

    @property
    def problem(self) -> str | None:
        """Why the sink refuses experiences, which stay in the queue; None if it does not."""
        return self._queue.problem

    def stats(self) -> BufferedSinkStats:
        """Return what is in the queue, and what became of the other experiences."""
        with self._queue.changed:
            size = self._queue.waiting
            return BufferedSinkStats(
                size=size,
                capacity=self.capacity,
                utilization=size / self.capacity,
                added=self._added,
                written=self._queue.written,
                dropped_oldest=self._dropped_oldest,
                dropped_newest=self._dropped_newest,
                sampled_out=self._sampled_out,
                lost=self._queue.lost,
                waiting_writers=self._waiting,
                problem=self._queue.problem,
            )

    def change(self, **options: Any) -> None:
        """Change options while games are played; a writer that waits follows the new ones.

        Args:
            **options: ``overflow``, ``keep_probability``, ``pressure_threshold``, ``pressure_keep_probability``.

        Raises:
            ConfigError: If a value is invalid. Nothing is changed then.
            OptionError: If an option is unknown or cannot be changed.
        """
        check_options(self.change, options, LIVE)
        checked: dict[str, Any] = {
            name: check_overflow(value) if name == "overflow" else check_share(name, value) for name, value in options.items()
        }
        with self._queue.changed:
            self._overflow = checked.get("overflow", self._overflow)
            self._keep = checked.get("keep_probability", self._keep)
            self._threshold = checked.get("pressure_threshold", self._threshold)
            self._pressure_keep = checked.get("pressure_keep_probability", self._pressure_keep)
            self._queue.changed.notify_all()

    # --- Sink -----------------------------------------------------------------------------------------------------

    def write(self, batch: ExperienceBatch) -> None:
        """Put a batch into the queue, which shares its arrays.

        An interrupt ends the wait for room. What was taken by then stays; called with the same batch again, ``write`` continues
        after it.

        Raises:
            ConfigError: If it is no batch.
            StateError: After ``close``, or in a process that was forked off the one that made the sink.
            Exception: What the sink has raised for an earlier batch, unless that was an ``OSError``. This one is not taken.
        """
        self._owner.check("sink")  # before the lock: a thread of the parent may hold it for ever
        if not isinstance(batch, ExperienceBatch):
            raise ConfigError(f"batch: expected an ExperienceBatch, got {type(batch).__name__}")
        with deferred(), self._in_turn():
            begun, self._begun = self._begun, None
            if begun is not None and begun[0] is batch:
                _, wanted, done = begun
            else:
                wanted, done = self._sampled(batch), 0
            self._put_in_parts(batch, wanted, done)

    def flush(self) -> None:
        """Wait until the sink has taken all experiences that were in the queue at the call, and flush it.

        Raises:
            StateError: In a process that was forked off the one that made the sink.
            StorageError: If the sink refuses experiences or cannot be flushed. They stay in the queue, and are offered again.
            Exception: Another error of the sink.
        """
        self._owner.check("sink")
        if self._closed:
            return
        self._finish([self._queue.flush()])

    def close(self) -> None:
        """Offer the sink the experiences of the queue, several times if it refuses, and close it.

        Ctrl-C ends the wait for the sink, which continues: the end of the program waits for it once more.

        Raises:
            StorageError: If the sink refuses; the experiences are lost, and counted in ``stats().lost``.
            Exception: Another error of the sink.
        """
        if not self._owner.is_here:
            return
        with self._queue.changed:
            if not self._closed:
                self._closed = True
                self._closing = [self._queue.close()]
        try:
            self._finish(self._closing)
        except BaseException:  # Ctrl-C ends the wait; the thread continues, but would be killed with the program
            atexit.register(finish_here, self._owner, self._closing)
            raise

    def _finish(self, futures: Futures) -> None:
        """Wait for the thread, and raise what has failed there."""
        finish(futures)
        failure = self._queue.take_failure()
        if failure is not None:
            raise failure
        for future in futures:
            future.result()

    def _check(self) -> None:
        """Raise if the sink is closed, or has raised an error that does not go away by itself."""
        if self._closed:
            raise StateError("write: expected an open sink, got one that is closed: make a new one")
        failure = self._queue.take_failure()
        if failure is not None:
            self._queue.offer()  # it may take its batch now
            raise failure

    # --- Policies -------------------------------------------------------------------------------------------------

    def _sampled(self, batch: ExperienceBatch) -> ExperienceBatch:
        """Return the experiences of a batch to keep: the batch itself if all are kept."""
        pressed = self._queue.waiting >= self._threshold * self.capacity
        keep = self._pressure_keep if pressed else self._keep
        if keep >= 1:
            return batch
        kept = (self._rng.random(len(batch)) < keep) | batch.terminated | batch.truncated
        return batch if kept.all() else batch.select(kept)

    def _put_in_parts(self, batch: ExperienceBatch, wanted: ExperienceBatch, done: int) -> None:
        """Put ``wanted`` into the queue from ``done`` on; note where an interrupt ends the wait for room."""
        changed, size = self._queue.changed, max(self.capacity // PARTS, 1)
        try:
            with changed:
                self._check()
                while done < len(wanted) and self._overflow == "block":
                    count = min(size, len(wanted) - done)
                    if self._room() >= count:
                        self._put(wanted, done, done + count)
                        self._added += count
                        done += count
                    else:
                        self._wait()
                if done < len(wanted):
                    self._put_or_drop(wanted, done, size)
                    done = len(wanted)
                self._sampled_out += len(batch) - len(wanted)
                self._added += len(batch) - len(wanted)
        except BaseException:
            self._begun = (batch, wanted, done) if 0 < done < len(wanted) and not self._closed else None
            raise

    def _put_or_drop(self, wanted: ExperienceBatch, low: int, size: int) -> None:
        """Put the experiences from ``low`` on into the queue without waiting, and drop old or new ones if it is full."""
        high = len(wanted)
        missing = max(high - low - self._room(), 0)
        self._added += high - low
        if self._overflow == "drop_newest":
            self._dropped_newest += missing
            high -= missing
        else:
            self._dropped_oldest += missing
            low += missing - self._queue.drop_experiences(missing)  # the rest are the oldest of this batch
        for start in range(low, high, size):
            self._put(wanted, start, min(start + size, high))

    def _put(self, wanted: ExperienceBatch, low: int, high: int) -> None:
        whole = high - low == len(wanted)
        self._queue.put(wanted if whole else wanted.slice(low, high), is_view=not whole)

    def _room(self) -> int:
        return self.capacity - self._queue.waiting

    # --- Waiting --------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Wait for a change of the queue, or for a moment; deferred signals are raised here and end the write."""
        raise_pending()
        self._waiting += 1
        try:
            self._queue.changed.wait(SLICE)
        finally:
            self._waiting -= 1
        self._check()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Let only one thread write: the parts of two batches must not mix."""
        if not self._turn.acquire(blocking=False):
            with self._queue.changed:
                self._waiting += 1
            try:
                while not self._turn.acquire(timeout=SLICE):
                    raise_pending()
            finally:
                with self._queue.changed:
                    self._waiting -= 1
        try:
            yield
        finally:
            self._turn.release()


def check_overflow(overflow: Any) -> str:
    """Return a policy; raise ``ConfigError`` unless it is one of ``OVERFLOWS``."""
    if not isinstance(overflow, str) or overflow not in OVERFLOWS:
        raise ConfigError(f"overflow: expected one of {', '.join(OVERFLOWS)}, got {overflow!r}")
    return overflow


def check_share(name: str, value: Any) -> float:
    """Return a number as a float; raise ``ConfigError`` unless it is from 0 to 1."""
    if not is_number(value) or not 0 <= value <= 1:
        raise ConfigError(f"{name}: expected a number from 0 to 1, got {value!r}")
    return float(value)
