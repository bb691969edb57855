"""Experience in memory, to be drawn from at random: boards, of which tensors are made when they are asked for."""

from __future__ import annotations

import copy
import logging
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self, overload

import numpy as np
import numpy.typing as npt

from generals_env.arguments import is_number, positive
from generals_env.concurrency.interrupts import deferred, raise_pending
from generals_env.concurrency.process_owner import Owner
from generals_env.engine.packed.packing import ENTRY
from generals_env.engine.packed.recording import EXPERIENCE
from generals_env.errors import ConfigError, StateError
from generals_env.pickling import pickled_as
from generals_env.recorders.buffers.reader_positions import Readers
from generals_env.recorders.buffers.stores.growable_tables import row_bytes
from generals_env.recorders.buffers.stores.store import Keys, Store
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.collate import in_common
from generals_env.recorders.experience.counted_columns import Columns, columns_of
from generals_env.recorders.experience.tensors import Tensors
from generals_env.seeding import seed_state

__all__ = [
    "BufferStats",
    "NoRoomError",
    "ReplayBuffer",
]

logger = logging.getLogger(__name__)


OVERFLOWS = ("drop_oldest", "block", "raise")
STORES = ("boards", "zstd", "games")

#: Attributes that a copy does not share: locks, readers and waiting writers, and the process.
NOT_COPIED = ("_changed", "_readers", "_waiting", "_begun", "_owner")

TICK = 0.1  # seconds after which a writer that waits looks whether it is to be interrupted

PATIENCE = 30.0  # seconds without room after which a writer says what it waits for

WAITS = "write: waiting for room: {} experiences are held, {} consumers read them; drain the buffer, or let a consumer read all"


class NoRoomError(StateError):
    """There is no room in a full buffer now."""


@pickled_as("generals_env.recorders")
class BufferStats(NamedTuple):
    """What a buffer holds and what became of the rest; ``added = size + dropped + removed``.

    Attributes:
        size: Experiences held.
        capacity: How many there is room for.
        added: Written since the buffer was made.
        dropped: The oldest ones, which made room for others.
        removed: Taken out by ``drain`` and ``clear``, or, where a buffer drops nothing, to make room when all readers had them.
        skipped: Not kept by ``keep_probability``; they are not counted as added.
        games: Games of those held.
        nbytes: Bytes in use.
        mean_reward: Of those held; 0 if there are none.
        least_reward: Likewise.
        most_reward: Likewise.
    """

    size: int
    capacity: int
    added: int
    dropped: int
    removed: int
    skipped: int
    games: int
    nbytes: int
    mean_reward: float
    least_reward: float
    most_reward: float


@pickled_as("generals_env.recorders")
class ReplayBuffer:
    """A sink that keeps experiences in memory and draws from them; safe to use from many threads.

    Boards are kept, once for all players and for both ends of a turn: some 460 bytes an experience at 20x20 with two players,
    where tensors would take 36,000. What is drawn is an ``ExperienceBatch``, of which ``states()``, ``tensors()`` or
    ``to_torch()`` make tensors.

    Example:
        >>> buffer = ReplayBuffer(1_000_000, seed=1)  # doctest: +SKIP
        >>> with ExperienceRecorder(generals_env.make_vec(1024), buffer) as env:
        ...     env.reset(seed=1)
        ...     env.play(1000, ("expander", "random"))
        >>> batch = buffer.sample(256).tensors()
    """

    _beside = 0  # bytes of an experience beside the store

    def __init__(
        self,
        capacity: int | None = None,
        *,
        max_bytes: int | None = None,
        overflow: str = "drop_oldest",
        store: str = "boards",
        keep_probability: float = 1.0,
        seed: int | None = None,
    ) -> None:
        """Set the buffer up; it takes memory as experiences come.

        Args:
            capacity: The most experiences to keep.
            max_bytes: The most bytes to take, instead of or beside ``capacity``.
            overflow: What happens when it is full: ``"drop_oldest"`` counts what it drops, ``"block"`` lets ``write`` wait
                for room, ``"raise"`` refuses the batch. ``drain`` and ``clear`` make room for these two; so do the oldest
                experiences that all consumers of its servers have taken.
            store: How experiences are kept: ``"boards"`` for the fastest draws; ``"zstd"`` compresses a batch at a time as it
                comes; ``"games"`` keeps a board every 32 turns and the actions between, and plays them again.
            keep_probability: Of each experience. Those that end a game are always kept.
            seed: Of what is drawn; random without.

        Raises:
            ConfigError: If an argument has a value it cannot have, or there is neither capacity nor max_bytes.
        """
        if capacity is None and max_bytes is None:
            raise ConfigError("capacity: expected it or max_bytes, got neither")
        self._capacity = None if capacity is None else positive("capacity", capacity)
        self._max_bytes = None if max_bytes is None else positive("max_bytes", max_bytes)
        if overflow not in OVERFLOWS:
            raise ConfigError(f"overflow: expected one of {', '.join(OVERFLOWS)}, got {overflow!r}")
        if store not in STORES:
            raise ConfigError(f"store: expected one of {', '.join(STORES)}, got {store!r}")
        if not is_number(keep_probability) or not 0 <= keep_probability <= 1:
            raise ConfigError(f"keep_probability: expected a number from 0 to 1, got {keep_probability!r:.80}")
        self._overflow = overflow
        self._kind = store
        self._keep = float(keep_probability)
        self._rng = np.random.default_rng(seed_state(seed))
        self._store: Store | None = None
        self._next = 0  # key of the next experience while there is no store
        self._removed = 0
        self._skipped = 0
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        """Set what a copy has of its own; see ``NOT_COPIED``."""
        self._changed = threading.Condition()
        self._readers = Readers()
        self._waiting = 0  # writers that wait for room
        self._begun: tuple[ExperienceBatch, ExperienceBatch, int] | None = None  # see ``_put_in_parts``
        self._owner = Owner()

    def __len__(self) -> int:
        """Return how many experiences there are."""
        with self._changed:  # a kernel may move both ends between two looks
            store = self._store
            return store.next - store.first if store else 0

    # --- Writing --------------------------------------------------------------------------------------------------

    def write(self, batch: ExperienceBatch) -> None:
        """Take a batch.

        Where it has to wait for room, an interrupt ends the wait. What was taken by then stays; given the same batch once more,
        ``write`` goes on behind it.

        Raises:
            ConfigError: If it is none, or its games have another number of players or its observations are made in another way
                than those held.
            StateError: After ``close``, if the buffer is full and is to raise, or in a process that was forked off the one
                that made the buffer; then nothing was taken.
        """
        self._write(batch, self._keep)

    def offer(self, batch: ExperienceBatch, seconds: float) -> None:
        """Take a batch whole or not at all, and wait for room no longer than that, whatever the buffer does when it is full.

        Raises:
            ConfigError: As ``write``.
            StateError: As ``write``, or if there is no room in time; then nothing was taken.
        """
        self._write(batch, self._keep, seconds)

    def _write(self, batch: ExperienceBatch, keep: float, seconds: float | None = None) -> None:
        """Take a batch, each experience with probability ``keep``; whole within ``seconds``, if they are given."""
        self._owner.check("buffer")
        if not isinstance(batch, ExperienceBatch):
            raise ConfigError(f"batch: expected an ExperienceBatch, got {type(batch).__name__}")
        with self._changed:
            self._require_open()
            kept = None
            if keep < 1:
                kept = (self._rng.random(len(batch)) < keep) | batch.terminated | batch.truncated
            wanted = batch if kept is None or self._overflow == "drop_oldest" else batch.select(kept)
            if self._overflow == "block" and seconds is None:
                self._put_in_parts(batch, wanted)
            else:
                with deferred():  # waiting for room in there is ended by signals
                    self._put_whole(batch, wanted, kept, seconds or 0.0)
                    self._skipped += 0 if kept is None else len(batch) - int(kept.sum())
            self._changed.notify_all()

    def _put(self, store: Store, batch: ExperienceBatch, kept: npt.NDArray[np.bool_] | None = None) -> None:
        """Write a batch for which everything has been checked."""
        store.put(batch, kept)

    def _put_whole(
        self, batch: ExperienceBatch, wanted: ExperienceBatch, kept: npt.NDArray[np.bool_] | None, seconds: float
    ) -> None:
        """Write a batch, or of it what is wanted, at once; raise if there is no room in time."""
        if self._overflow == "drop_oldest":
            store = self._fitting(batch)
            self._put(store, fitted(batch, store), kept)
            return
        deadline = time.monotonic() + seconds
        while True:
            try:
                store = self._with_room(wanted)
                break
            except NoRoomError:
                never = self._store is not None and len(wanted) > self._store.capacity
                if never or time.monotonic() >= deadline:
                    raise
            self._wait(deadline)
        self._put(store, fitted(batch, store), kept)

    def _with_room(self, batch: ExperienceBatch) -> Store:
        """Return a store with room for all of a batch; raise ``NoRoomError`` if what all readers have does not make any."""
        store = self._store
        if store is not None and len(batch) - self.room > self._releasable(store):
            raise self._full(store, batch)
        store = self._fitting(batch)
        self._release(store, len(batch) - self.room)
        while not store.reserve(fitted(batch, store)):
            if not self._release(store, len(batch)):
                raise self._full(store, batch)
        return store

    def _full(self, store: Store, batch: ExperienceBatch) -> NoRoomError:
        return NoRoomError(f"write: expected room for {len(batch)} experiences, got {self.room} of {store.capacity}")

    def _put_in_parts(self, batch: ExperienceBatch, wanted: ExperienceBatch) -> None:
        """Write what is wanted of a batch, waiting for room; go on where a write of the same batch was interrupted."""
        done = 0
        if self._begun is not None and self._begun[0] is batch:
            _, wanted, done = self._begun
        self._begun = None
        since: float | None = time.monotonic()
        try:
            while done < len(wanted):
                try:
                    store, part = self._next_part(wanted, done)
                except NoRoomError:
                    if since is not None and time.monotonic() > since + PATIENCE:
                        logger.warning("%s", WAITS.format(len(self), self._readers.count))
                        since = None
                    self._wait()
                    continue
                with deferred():  # both or neither
                    self._put(store, part)
                    done += len(part)
                self._changed.notify_all()
                since = time.monotonic()
        except BaseException:
            self._begun = (batch, wanted, done) if 0 < done < len(wanted) and not self._closed else None
            raise
        self._skipped += len(batch) - len(wanted)

    def _next_part(self, batch: ExperienceBatch, done: int) -> tuple[Store, ExperienceBatch]:
        """Return as much of a batch from ``done`` on as there is room for, and the store for it; else raise ``NoRoomError``."""
        while True:
            store = self._fitting(batch)
            self._release(store, len(batch) - done - self.room)
            part = self._fitting_part(store, fitted(batch, store), done)
            if len(part):
                return store, part
            if not self._release(store, len(batch) - done):
                if not len(self):
                    raise StateError(f"max_bytes: expected room for an experience, got {self._max_bytes} bytes")
                raise self._full(store, batch)

    # --- Room -----------------------------------------------------------------------------------------------------

    def took(self, reader: object, number: int) -> None:
        """Take note that a reader of ``read`` has, or does not want, whatever comes before a number.

        A full buffer with ``overflow`` ``"block"`` or ``"raise"`` makes room of what all its readers have. ConsumerOffsets of a
        server are such readers.

        Args:
            reader: Any object that stands for the reader, until ``leave``.
            number: See ``span``.
        """
        with self._changed:
            self._readers.move(reader, number)
            if self._waiting:
                self._changed.notify_all()

    def leave(self, reader: object) -> None:
        """Wait for a reader no longer."""
        with self._changed:
            self._readers.leave(reader)
            if self._waiting:
                self._changed.notify_all()

    def _releasable(self, store: Store) -> int:
        """Return how many of the oldest experiences all readers have."""
        return max(min(self._readers.taken, store.next) - store.first, 0)

    def _release(self, store: Store, count: int) -> bool:
        """Make room of at most ``count`` of the oldest experiences, as far as all readers have them; return whether any had."""
        count = min(count, self._releasable(store))
        if count <= 0:
            return False
        with deferred():
            self._drop(store, count)
            self._removed += count
        return True

    def _drop(self, store: Store, count: int) -> None:
        """Drop the oldest experiences."""
        store.drop(count)

    def _wait(self, deadline: float = np.inf) -> None:
        """Wait until something changes, or for a moment; signals that were put off end the write here."""
        raise_pending()
        self._waiting += 1
        self._changed.notify_all()  # who waits for more in a piece gets no more
        try:
            self._changed.wait(min(TICK, max(deadline - time.monotonic(), 0.0)))
        finally:
            self._waiting -= 1
        self._require_open()

    def _fitting_part(self, store: Store, batch: ExperienceBatch, done: int) -> ExperienceBatch:
        """Return as much of a batch from ``done`` on as there is room for, or somewhat less."""
        count = min(len(batch) - done, self.room)
        while True:
            part = batch if count == len(batch) else batch.select(np.arange(done, done + count))
            if not count or store.reserve(part):
                return part
            count //= 2

    @property
    def room(self) -> int:
        """How many experiences still fit, as far as they are counted."""
        store = self._store
        return store.capacity - len(self) if store else (self._capacity or 0)

    def _fitting(self, batch: ExperienceBatch) -> Store:
        """Return a store for boards of this shape."""
        store = self._store
        if store is None:
            store = self._store = self._new_store(batch, self._next)
        like = store.like
        if batch.players != like.players:
            raise ConfigError(f"batch: expected games of {like.players} players, got {batch.players}")
        if batch.recipe != like.recipe or (batch.dense is None) != (like.dense is None):
            raise ConfigError(f"batch: expected observations made as {like.recipe}, got {batch.recipe}")
        if batch.dense is not None and like.dense is not None:
            kinds = [(one.observations.dtype, one.observations.shape[1:]) for one in (like.dense, batch.dense)]
            if kinds[0] != kinds[1]:
                raise ConfigError(f"batch: expected observations of {kinds[0]}, got {kinds[1]}")
        if batch.metadata != like.metadata:
            store.like = replace(like, metadata=in_common([like.metadata, batch.metadata]))
        height, width = (max(one, other) for one, other in zip(batch.shape, like.shape, strict=True))
        if (height, width) != like.shape:
            parts = list(store.between(store.first, store.next))
            larger = self._new_store(batch.select(np.zeros(0, np.int64)).padded(height, width), store.first)
            for part in parts:
                larger.put(part.padded(height, width))
            if larger.first > store.first and self._overflow != "drop_oldest":
                if self._release(store, len(self) // 2 + 1):
                    return self._fitting(batch)
                at = f"{height}x{width}"
                raise NoRoomError(f"write: expected room for {len(self)} experiences at {at}, got too few max_bytes")
            store = self._store = larger
        return store

    def _new_store(self, like: ExperienceBatch, first: int) -> Store:
        capacity, most = self._capacity, self._max_bytes
        if most is not None:
            room = max(most // (self._least_bytes(like) + self._beside), 1)
            capacity = room if capacity is None else min(capacity, room)  # a ring takes memory for all of it in time
            most -= capacity * self._beside
        return self._store_of(like, capacity or 1, most, first)  # one of the two was given

    def _store_of(self, like: ExperienceBatch, capacity: int, most: int | None, first: int) -> Store:
        if self._kind == "zstd":
            from generals_env.recorders.buffers.stores.zstd_store import ZstdStore

            return ZstdStore(like, capacity, most, first)
        if self._kind == "games":
            from generals_env.recorders.buffers.stores.game_store import GameStore

            return GameStore(like, capacity, most, first)
        from generals_env.recorders.buffers.stores.board_store import BoardStore

        return BoardStore(like, capacity, most, first)

    def _least_bytes(self, like: ExperienceBatch) -> int:
        """Return how many bytes an experience takes at the least, if all players share every board."""
        tiles: int = like.boards.tiles.shape[1]
        players = like.players
        board: int = 2 * tiles * (players + 1 if like.recipe.memory else 1)
        if self._kind == "zstd":
            return 8
        if self._kind == "games":
            return 24 + (16 + board // 32) // players
        shared = (board + ENTRY.itemsize + 8) * 33 // (32 * players)  # as a ring makes room for boards
        size: int = EXPERIENCE.itemsize + 8 + shared
        return size if like.dense is None else size + 2 * row_bytes(like.dense.observations)

    def warm(self, batch: ExperienceBatch) -> None:
        """Compile the kernels that writing and reading use: do it all once with a batch, beside what is held."""
        store = self._store_of(batch, 4, None, 0)
        for kept in (None, np.ones(len(batch), np.bool_)):
            store.reserve(batch)
            store.put(batch, kept)
        keys = np.arange(store.first, store.next)
        store.follow(keys, 2)
        store.take(keys)
        for _ in (*store.between(store.first, store.next), *store.columns(store.first, store.next)):
            pass
        store.drop(1)

    def flush(self) -> None:
        """Do nothing: what ``write`` has taken is there."""

    def close(self) -> None:
        """Take no more; what is held stays, and can be drawn from."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _require_open(self) -> None:
        if self._closed:
            raise StateError("write: expected an open buffer, got one that is closed")

    # --- Drawing --------------------------------------------------------------------------------------------------

    @overload
    def sample(
        self, n: int, out: ExperienceBatch | None = None, *, n_step: int = 1, gamma: float = 0.99, augment: bool = False
    ) -> ExperienceBatch: ...
    @overload
    def sample(self, n: int, out: Tensors, *, n_step: int = 1, gamma: float = 0.99, augment: bool = False) -> Tensors: ...
    def sample(
        self,
        n: int,
        out: ExperienceBatch | Tensors | None = None,
        *,
        n_step: int = 1,
        gamma: float = 0.99,
        augment: bool = False,
    ) -> ExperienceBatch | Tensors:
        """Draw experiences, each as likely as any other, one may come twice.

        Args:
            n: How many.
            out: What an earlier call gave, to be written over; or ``Tensors`` (in pinned memory, if they are made so) to be
                filled and returned.
            n_step: How many turns an experience is to span; see ``ExperienceBatch.n_step``.
            gamma: Discount of the rewards summed, with ``n_step``.
            augment: Whether to show each in a random one of the board's symmetries (of those that keep its shape).

        Raises:
            ConfigError: If an argument has a value it cannot have.
            StateError: If the buffer is empty.
        """
        positive("n", n)
        if out is not None and not isinstance(out, (ExperienceBatch, Tensors)):
            raise ConfigError(f"out: expected an ExperienceBatch or Tensors, got {type(out).__name__}")
        with self._changed:
            keys = self._draw(self._required(), n)
            into = None if isinstance(out, Tensors) else out
            batch = self._taken(keys, into, n_step, gamma)
            symmetries = self._symmetries(batch) if augment else None
        if symmetries is not None:
            batch = batch.turned(symmetries)
        return batch.tensors(out) if isinstance(out, Tensors) else batch

    def _draw(self, store: Store, n: int) -> Keys:
        return self._rng.integers(store.first, store.next, n)

    def _symmetries(self, batch: ExperienceBatch) -> npt.NDArray[np.int64]:
        return self._rng.integers(8 if batch.shape[0] == batch.shape[1] else 4, size=len(batch))

    def _taken(self, keys: Keys, out: ExperienceBatch | None, n_step: int, gamma: float) -> ExperienceBatch:
        """Return the experiences with these keys, spanning ``n_step`` turns."""
        store = self._required()
        if positive("n_step", n_step) == 1:
            return store.take(keys, out=out)
        course = store.follow(keys, n_step)
        present = course >= 0
        flat = store.take(course[present])
        # The turns of each experience stand together, its first one before the others.
        firsts = np.concatenate([[0], np.cumsum(present.sum(axis=1))[:-1]])
        games = np.repeat(np.arange(len(keys), dtype=np.int32), present.sum(axis=1))
        numbered = flat.rows.copy()
        numbered["game"] = games  # an experience drawn twice is two courses
        names = tuple(flat.game_ids[game] for game in flat.game[firsts])
        return replace(flat, rows=numbered, game_ids=names).n_step(n_step, gamma).select(firsts)

    def sample_trajectories(self, n: int, length: int) -> ExperienceBatch:
        """Draw courses of ``length`` turns of one player, one after another: (n * length,) experiences.

        Every experience that is followed by that many is as likely to be the first as any other.

        Raises:
            ConfigError: If an argument is not a positive integer.
            StateError: If the buffer holds no such course.
        """
        positive("n", n)
        positive("length", length)
        with self._changed:
            store = self._required()
            found: list[Keys] = []
            missing, tries = n, 0
            while missing > 0:
                courses = store.follow(self._draw(store, 2 * missing), length)
                whole = courses[courses[:, -1] >= 0][:missing]
                found.append(whole)
                missing -= len(whole)
                tries += 1
                if tries == 100 and missing == n:  # look at all of them before giving up
                    everything = np.arange(store.first, store.next)
                    if not (store.follow(everything, length)[:, -1] >= 0).any():
                        raise StateError(f"sample_trajectories: expected a course of {length} turns, got none")
            return store.take(np.concatenate(found).ravel())

    def _required(self) -> Store:
        store = self._store
        if store is None or store.next == store.first:
            raise StateError("sample: expected experiences in the buffer, got none")
        return store

    # --- All of it ------------------------------------------------------------------------------------------------

    def stats(self) -> BufferStats:
        """Return what is held and what became of the rest."""
        with self._changed:
            store = self._store
            rewards = store.rewards() if store else np.zeros(0, np.float32)
            known = len(rewards) > 0
            size = len(self)
            added = store.next if store else self._next
            return BufferStats(
                size=size,
                capacity=store.capacity if store else (self._capacity or 0),
                added=added,
                dropped=added - size - self._removed,
                removed=self._removed,
                skipped=self._skipped,
                games=store.games if store else 0,
                nbytes=store.nbytes if store else 0,
                mean_reward=float(rewards.mean(dtype=np.float64)) if known else 0.0,
                least_reward=float(rewards.min()) if known else 0.0,
                most_reward=float(rewards.max()) if known else 0.0,
            )

    def snapshot(self) -> ExperienceBatch:
        """Return a copy of all experiences, in the order in which they were written.

        Raises:
            StateError: If there are none.
        """
        with self._changed:
            store = self._required()
            return ExperienceBatch.concat(list(store.between(store.first, store.next)))

    @property
    def span(self) -> tuple[int, int]:
        """Number of the oldest experience, and the number that the next one will get: all that came are counted from 0 on."""
        with self._changed:
            store = self._store
            return (store.first, store.next) if store else (self._next, self._next)

    def read(self, first: int, count: int, timeout: float = 0.0) -> ExperienceBatch | None:
        """Return the oldest ``count`` experiences from number ``first`` on, or as many as there are; they stay in the buffer.

        Their ``sequence`` is their number; above ``first`` it tells how many are not there any more.

        Args:
            first: The number, see ``span``.
            count: How many at the most.
            timeout: Seconds to wait for the first one.

        Returns:
            None if there is none.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self.span[1] > first, timeout)
            oldest, following = self.span
            low = max(first, oldest)
            if self._store is None or low >= following:
                return None
            high = min(low + count, following)
            batch = ExperienceBatch.concat(list(self._store.between(low, high)))
        batch.rows["sequence"] = np.arange(low, high)
        return batch

    def columns(self, first: int, count: int) -> tuple[int, list[Columns]] | None:
        """Return columns of what ``read`` would return, and the number of the first of them; None if there is nothing."""
        with self._changed:
            oldest, following = self.span
            low, high = max(first, oldest), min(max(first, oldest) + count, following)
            store = self._store
            if store is None or low >= high:
                return None
            if store.like.recipe.shaping:  # what is added to rewards comes from boards
                return low, [columns_of(batch) for batch in store.between(low, high)]
            return low, list(store.columns(low, high))

    def await_number(self, number: int, seconds: float, until_full: bool = False) -> bool:
        """Wait until an experience with this number came.

        Args:
            number: See ``span``.
            seconds: To wait at most.
            until_full: Whether to end the wait, too, when nothing more comes for now: a writer waits for room, or the buffer is
                closed.

        Returns:
            Whether it came, or, with ``until_full``, nothing more comes for now.
        """
        with self._changed:

            def came() -> bool:
                return self.span[1] > number or (until_full and (self._waiting > 0 or self._closed))

            self._changed.wait_for(lambda: self._closed or came(), max(seconds, 0.0))
            return came()

    @property
    def closed(self) -> bool:
        """Whether nothing can be written any more; known at once, whatever goes on."""
        return self._closed

    def drain(self) -> ExperienceBatch:
        """Return all experiences, in the order in which they were written, and forget them; their memory is given back.

        Raises:
            StateError: If there are none.
        """
        with self._changed:
            batch = self.snapshot()
            self.clear()
            return batch

    def clear(self) -> None:
        """Forget all experiences and give their memory back."""
        with self._changed:
            if self._store is not None:
                self._removed += len(self)
                self._next = self._store.next
                self._store = None
            self._changed.notify_all()

    # --- Files ----------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write all experiences to a folder, which must not be there yet; it appears when it is whole.

        Raises:
            StateError: If there are none.
            StorageError: If it cannot be written, or is there.
        """
        from generals_env.recorders.buffers.save_load import save_buffer

        with self._changed:
            store = self._required()
            save_buffer(Path(path), store.between(store.first, store.next), self._saved())

    def load(self, path: str | Path) -> None:
        """Write the experiences of a folder that ``save`` made to the buffer, as ``write`` does, but all of them.

        Raises:
            ConfigError: As ``write``.
            StateError: As ``write``.
            StorageError: If it cannot be read, or is damaged; then nothing was taken.
        """
        from generals_env.recorders.buffers.save_load import load_buffer

        batches, arrays = load_buffer(Path(path))
        with self._changed:
            for batch in batches:
                self._write(batch, 1.0)  # it was thinned out when it was collected
            self._restore(arrays)

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle the experiences and settings, as of one moment: other threads may go on writing."""
        with self._changed:
            state = {name: value for name, value in self.__dict__.items() if name not in NOT_COPIED}
            return copy.deepcopy(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up what ``__getstate__`` gave."""
        self.__dict__.update(state)
        self._begin()

    def __copy__(self) -> Self:
        """Return a buffer of the same experiences; a copy never shares them, as both would write over them."""
        other = object.__new__(type(self))
        other.__setstate__(self.__getstate__())
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a buffer of the same experiences."""
        return self.__copy__()

    def _saved(self) -> dict[str, npt.NDArray[Any]]:
        """Return what is to be saved beside the experiences."""
        return {}

    def _restore(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Take what ``_saved`` gave, for the experiences just written."""


def fitted(batch: ExperienceBatch, store: Store) -> ExperienceBatch:
    """Return a batch on boards as large as those of a store."""
    return batch if batch.shape == store.like.shape else batch.padded(*store.like.shape)
