"""Writes batches to a replay buffer, and applies its overflow policy: drop old or new experiences, wait for room, or raise."""

from __future__ import annotations

import logging
import time

import numpy as np
import numpy.typing as npt

from generals_env.concurrency.interrupts import deferred, raise_pending
from generals_env.errors import ConfigError, StateError
from generals_env.recorders.buffers.buffer_base import BufferBase, NoRoomError, fitted
from generals_env.recorders.buffers.stores.store import Store
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["OVERFLOWS", "OverflowWriter"]

logger = logging.getLogger(__name__)

#: Values of the ``overflow`` option.
OVERFLOWS = ("drop_oldest", "block", "raise", "drop_newest")

TICK = 0.1  # seconds after which a waiting writer checks for interrupts

PATIENCE = 30.0  # seconds without room after which a writer logs what it waits for

WAITS = "write: waiting for room: {} experiences are held, {} consumers read them; drain the buffer, or let a consumer read all"


class OverflowWriter(BufferBase):
    """The part of ``ReplayBuffer`` that takes batches."""

    def write(self, batch: ExperienceBatch) -> None:
        """Write a batch.

        With ``overflow="block"`` an interrupt ends the wait for room. What was written by then stays; called with the same
        batch again, ``write`` continues after it.

        Raises:
            ConfigError: If it is no batch, or its games have another number of players or its observations are made in another
                way than those in the buffer.
            StateError: After ``close``, if the buffer is full and ``overflow="raise"``, or in a process forked from the one
                that made the buffer; then nothing was written. Also if there is no room within ``max_wait``, as for an
                interrupt.
        """
        self._write(batch, self._keep)

    def offer(self, batch: ExperienceBatch, seconds: float) -> None:
        """Write a whole batch or nothing, and wait for room for a limited time, also with ``"raise"`` and ``"drop_newest"``.

        Args:
            batch: The batch.
            seconds: Maximum time to wait.

        Raises:
            ConfigError: As ``write``.
            StateError: As ``write``, or if there is no room in time; then nothing was written.
        """
        self._write(batch, self._keep, seconds)

    def change(self, overflow: str) -> None:
        """Change the policy while games are played; a writer that waits for room follows the new one.

        Args:
            overflow: ``"drop_oldest"``, ``"block"``, ``"raise"`` or ``"drop_newest"``.

        Raises:
            ConfigError: If it is none of these.
        """
        if overflow not in OVERFLOWS:
            raise ConfigError(f"overflow: expected one of {', '.join(OVERFLOWS)}, got {overflow!r}")
        with self._changed:
            self._overflow = overflow
            self._changed.notify_all()

    def flush(self) -> None:
        """Do nothing: ``write`` has no delay."""

    def close(self) -> None:
        """Refuse further batches; experiences in the buffer stay and can be read."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether the buffer was closed; takes no lock."""
        return self._closed

    def _write(self, batch: ExperienceBatch, keep: float, seconds: float | None = None) -> None:
        """Write a batch, each experience with probability ``keep``; with ``seconds`` wholly within that time, or not at all."""
        self._owner.check("buffer")
        if not isinstance(batch, ExperienceBatch):
            raise ConfigError(f"batch: expected an ExperienceBatch, got {type(batch).__name__}")
        with self._changed:
            self._require_open()
            kept = None
            if keep < 1:
                kept = (self._rng.random(len(batch)) < keep) | batch.terminated | batch.truncated
            wanted = batch if kept is None or self._overflow == "drop_oldest" else batch.select(kept)
            if self._overflow in ("block", "drop_newest") and seconds is None:
                self._put_in_slices(batch, wanted)
            else:
                with deferred():  # signals still end a wait for room in here
                    self._put_whole(batch, wanted, kept, seconds or 0.0)
                    self._skipped += 0 if kept is None else len(batch) - int(kept.sum())
            self._changed.notify_all()

    # --- Whole batches --------------------------------------------------------------------------------------------

    def _put_whole(
        self, batch: ExperienceBatch, wanted: ExperienceBatch, kept: npt.NDArray[np.bool_] | None, seconds: float
    ) -> None:
        """Write a batch, or those of its experiences that are kept, at once; raise if there is no room in time."""
        if self._overflow == "drop_oldest":
            store = self._store_for(batch)
            self._put(store, fitted(batch, store), kept)
            return
        deadline = time.monotonic() + seconds
        while True:
            try:
                store = self._make_room(wanted)
                break
            except NoRoomError:
                never = self._store is not None and len(wanted) > self._store.capacity
                if never or time.monotonic() >= deadline:
                    raise
            self._wait(deadline)
        self._put(store, fitted(batch, store), kept)

    def _make_room(self, batch: ExperienceBatch) -> Store:
        """Return a store with room for a whole batch, after dropping experiences that all readers have taken.

        Raises:
            NoRoomError: If that does not suffice.
        """
        store = self._store
        if store is not None and len(batch) - self.room > self._releasable(store):
            raise self._full(store, batch)
        store = self._store_for(batch)
        self._release(store, len(batch) - self.room)
        while not store.reserve(fitted(batch, store)):
            if not self._release(store, len(batch)):
                raise self._full(store, batch)
        return store

    def _full(self, store: Store, batch: ExperienceBatch) -> NoRoomError:
        return NoRoomError(
            f"write: expected room for {len(batch)} experiences, got {self.room} of {store.capacity}: "
            "drain() the buffer, or let a consumer read it"
        )

    # --- As much as fits, then wait or drop the rest ---------------------------------------------------------------

    def _put_in_slices(self, batch: ExperienceBatch, wanted: ExperienceBatch) -> None:
        """Write ``wanted`` as room comes free; continue where a write of the same batch was interrupted.

        With ``overflow="drop_newest"`` what has no room now is dropped.
        """
        done = 0
        if self._begun is not None and self._begun[0] is batch:
            _, wanted, done = self._begun
        self._begun = None
        since, reported = time.monotonic(), False
        try:
            while done < len(wanted):
                try:
                    store, following = self._next_slice(wanted, done)
                except NoRoomError:
                    if self._overflow == "drop_newest":
                        self._dropped_newest += len(wanted) - done
                        break
                    if self._overflow == "drop_oldest":  # changed since the wait began
                        rest = wanted.select(np.arange(done, len(wanted)))
                        self._put_whole(rest, rest, None, 0.0)
                        done = len(wanted)
                        break
                    if self._overflow == "raise":
                        raise
                    waited = time.monotonic() - since
                    if self._max_wait is not None and waited >= self._max_wait:
                        raise self._no_room_in_time(len(wanted) - done) from None
                    if waited > PATIENCE and not reported:
                        logger.warning("%s", WAITS.format(len(self), self._readers.count))
                        reported = True
                    self._wait(since + self._max_wait if self._max_wait is not None else np.inf)
                    continue
                with deferred():  # both or neither
                    self._put(store, following)
                    done += len(following)
                self._changed.notify_all()
                since, reported = time.monotonic(), False
        except BaseException:
            self._begun = (batch, wanted, done) if 0 < done < len(wanted) and not self._closed else None
            raise
        self._skipped += len(batch) - len(wanted)

    def _no_room_in_time(self, count: int) -> NoRoomError:
        return NoRoomError(
            f"write: expected room for {count} experiences within max_wait={self._max_wait} seconds, got {self.room}, and "
            f"{self._readers.count} consumers: drain() the buffer, connect a consumer that reads, or use overflow='drop_oldest'"
        )

    def _next_slice(self, batch: ExperienceBatch, done: int) -> tuple[Store, ExperienceBatch]:
        """Return as much of a batch from ``done`` on as fits, and the store for it; raise ``NoRoomError`` if nothing fits."""
        while True:
            store = self._store_for(batch)
            self._release(store, len(batch) - done - self.room)
            following = self._fitting_slice(store, fitted(batch, store), done)
            if len(following):
                return store, following
            if not self._release(store, len(batch) - done):
                if not len(self):
                    raise StateError(f"max_bytes: expected room for an experience, got {self._max_bytes} bytes: raise it")
                raise self._full(store, batch)

    def _fitting_slice(self, store: Store, batch: ExperienceBatch, done: int) -> ExperienceBatch:
        """Return as much of a batch from ``done`` on as fits, or somewhat less."""
        count = min(len(batch) - done, self.room)
        while True:
            following = batch if count == len(batch) else batch.select(np.arange(done, done + count))
            if not count or store.reserve(following):
                return following
            count //= 2

    def _wait(self, deadline: float = np.inf) -> None:
        """Wait for a change, or for a moment; deferred signals are raised here and end the write."""
        raise_pending()
        self._waiting += 1
        self._changed.notify_all()  # readers in ``await_number`` must not wait for more
        try:
            self._changed.wait(min(TICK, max(deadline - time.monotonic(), 0.0)))
        finally:
            self._waiting -= 1
        self._require_open()
