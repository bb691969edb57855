"""Holds the experiences of a replay buffer: one store behind a lock, its limits, and counts of what was removed."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from generals_env.concurrency.interrupts import deferred
from generals_env.concurrency.process_owner import Owner
from generals_env.errors import StateError
from generals_env.recorders.buffers.reader_positions import ReaderPositions
from generals_env.recorders.buffers.stores.store import Store
from generals_env.recorders.buffers.stores.store_factory import create_store, min_experience_bytes
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.batch_kind import BatchKind
from generals_env.recorders.experience.collate import in_common
from generals_env.seeding import seed_state

__all__ = ["OWN_ATTRIBUTES", "BufferBase", "NoRoomError", "fitted"]

#: Attributes that a copy or pickle does not take over: ``_begin`` makes new ones.
OWN_ATTRIBUTES = ("_changed", "_readers", "_waiting", "_begun", "_owner")


class NoRoomError(StateError):
    """A full buffer has no room at present."""


class BufferBase:
    """The state that the base classes of ``ReplayBuffer`` share, one for each thing a buffer does.

    Each of them takes ``_changed`` before it reads or changes what is held, and notifies it after a change.
    """

    _beside = 0  # bytes that an experience takes outside the store

    # Defaults for pickles of buffers that did not have these attributes yet.
    _dropped_newest = 0
    _max_wait: float | None = None

    def __init__(
        self,
        capacity: int | None,
        max_bytes: int | None,
        overflow: str,
        store: str,
        keep: float,
        seed: int | None,
        max_wait: float | None = None,
    ) -> None:
        """Begin with an empty buffer; the store is made with the first batch."""
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._overflow = overflow
        self._kind = store
        self._keep = keep
        self._max_wait = max_wait
        self._rng = np.random.default_rng(seed_state(seed))
        self._store: Store | None = None
        self._next = 0  # key of the next experience while there is no store
        self._removed = 0
        self._skipped = 0
        self._dropped_newest = 0
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        """Make the attributes that copies do not take over, see ``OWN_ATTRIBUTES``."""
        self._changed = threading.Condition()
        self._readers = ReaderPositions()
        self._waiting = 0  # writers that wait for room
        self._begun: tuple[ExperienceBatch, ExperienceBatch, int] | None = None  # see ``OverflowWriter._put_in_slices``
        self._owner = Owner()

    def __len__(self) -> int:
        """Return the number of experiences in the buffer."""
        with self._changed:  # a kernel may change both ends between two reads
            store = self._store
            return store.next - store.first if store else 0

    @property
    def span(self) -> tuple[int, int]:
        """Key of the oldest experience, and the key of the next one written: keys count all experiences written, from 0."""
        with self._changed:
            store = self._store
            return (store.first, store.next) if store else (self._next, self._next)

    @property
    def room(self) -> int:
        """How many more experiences fit within ``capacity``."""
        store = self._store
        return store.capacity - len(self) if store else (self._capacity or 0)

    def clear(self) -> None:
        """Remove all experiences and free their memory."""
        with self._changed:
            if self._store is not None:
                self._removed += len(self)
                self._next = self._store.next
                self._store = None
            self._changed.notify_all()

    def _require_open(self) -> None:
        if self._closed:
            raise StateError("write: expected an open buffer, got one that is closed: make another buffer")

    def _require_stored(self) -> Store:
        """Return the store; raise ``StateError`` if it holds no experience."""
        store = self._store
        if store is None or store.next == store.first:
            raise StateError("sample: expected experiences in the buffer, got none: write() some first")
        return store

    # Subclasses add to these two what they keep for each experience.

    def _put(self, store: Store, batch: ExperienceBatch, kept: npt.NDArray[np.bool_] | None = None) -> None:
        """Write a batch that has been checked to the store."""
        store.put(batch, kept)

    def _drop(self, store: Store, count: int) -> None:
        """Drop the oldest experiences."""
        store.drop(count)

    def _releasable(self, store: Store) -> int:
        """Return how many of the oldest experiences all readers have taken."""
        return max(min(self._readers.taken, store.next) - store.first, 0)

    def _release(self, store: Store, count: int) -> bool:
        """Drop up to ``count`` of the oldest experiences that all readers have taken; return whether there were any."""
        count = min(count, self._releasable(store))
        if count <= 0:
            return False
        with deferred():
            self._drop(store, count)
            self._removed += count
        return True

    def _store_for(self, batch: ExperienceBatch) -> Store:
        """Return a store that takes a batch, made or enlarged for its board shape if need be.

        Raises:
            ConfigError: If the batch is of another kind than the experiences in the store.
            NoRoomError: If they do not fit at that shape, and must not be dropped.
        """
        store = self._store
        if store is None:
            store = self._store = self._new_store(batch, self._next)
        BatchKind.of(store.like).require_joins("batch", BatchKind.of(batch))
        like = store.like
        if batch.metadata != like.metadata:
            store.like = replace(like, metadata=in_common([like.metadata, batch.metadata]))
        height, width = (max(one, other) for one, other in zip(batch.shape, like.shape, strict=True))
        if (height, width) != like.shape:
            held = list(store.between(store.first, store.next))
            larger = self._new_store(batch.select(np.zeros(0, np.int64)).padded(height, width), store.first)
            for older in held:
                larger.put(older.padded(height, width))
            if larger.first > store.first and self._overflow != "drop_oldest":
                if self._release(store, len(self) // 2 + 1):
                    return self._store_for(batch)
                at = f"{height}x{width}"
                raise NoRoomError(
                    f"write: expected room for {len(self)} experiences at {at}, got too few max_bytes: "
                    "drain() the buffer, or raise max_bytes"
                )
            store = self._store = larger
        return store

    def _new_store(self, like: ExperienceBatch, first: int) -> Store:
        capacity, max_bytes = self._capacity, self._max_bytes
        if max_bytes is not None:
            room = max(max_bytes // (min_experience_bytes(self._kind, like) + self._beside), 1)
            capacity = room if capacity is None else min(capacity, room)  # a ring takes memory for all of it in time
            max_bytes -= capacity * self._beside
        return create_store(self._kind, like, capacity or 1, max_bytes, first)  # one of the two was given


def fitted(batch: ExperienceBatch, store: Store) -> ExperienceBatch:
    """Return a batch padded to the board shape of a store."""
    return batch if batch.shape == store.like.shape else batch.padded(*store.like.shape)
