"""Keeps experiences in memory as packed boards, and makes tensors of those that are sampled."""

from __future__ import annotations

import numpy as np

from generals_env.arguments import is_number, positive
from generals_env.errors import ConfigError
from generals_env.pickling import pickled_as
from generals_env.recorders.buffers.buffer_base import NoRoomError
from generals_env.recorders.buffers.buffer_stats import BufferStats
from generals_env.recorders.buffers.ordered_reader import OrderedReader
from generals_env.recorders.buffers.overflow_policy import OVERFLOWS
from generals_env.recorders.buffers.persistence import PersistentBuffer
from generals_env.recorders.buffers.random_sampler import RandomSampler
from generals_env.recorders.buffers.stores.store_factory import STORES, create_store
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["STORES", "BufferStats", "NoRoomError", "ReplayBuffer"]


@pickled_as("generals_env.recorders")
class ReplayBuffer(PersistentBuffer, RandomSampler, OrderedReader):
    """A sink that keeps experiences in memory and samples them; thread-safe.

    A board is stored once for all players and for both turns that it belongs to: some 460 bytes an experience at 20x20 with two
    players, where tensors would take 36,000. ``sample`` returns an ``ExperienceBatch``, whose ``states()``, ``tensors()`` or
    ``to_torch()`` make tensors.

    Examples:
        >>> buffer = ReplayBuffer(1_000_000, seed=1)  # doctest: +SKIP
        >>> with ExperienceRecorder(generals_env.make_vec(1024), buffer) as env:
        ...     env.reset(seed=1)
        ...     env.play(1000, ("expander", "random"))
        >>> batch = buffer.sample(256).tensors()
    """

    def __init__(
        self,
        capacity: int | None = None,
        *,
        max_bytes: int | None = None,
        overflow: str = "drop_oldest",
        store: str = "boards",
        keep_probability: float = 1.0,
        seed: int | None = None,
        max_wait: float | None = None,
    ) -> None:
        """Set the buffer up; memory is allocated as experiences come.

        Args:
            capacity: Maximum number of experiences.
            max_bytes: Maximum memory, instead of ``capacity`` or together with it.
            overflow: What a full buffer does: ``"drop_oldest"`` drops and counts the oldest experiences, ``"block"`` lets
                ``write`` wait for room, ``"drop_newest"`` drops and counts what has no room, ``"raise"`` refuses the batch.
                With the latter three, ``drain`` and ``clear`` make room; so do the oldest experiences that all consumers of its
                servers have taken.
            store: How experiences are stored: ``"boards"`` samples fastest; ``"zstd"`` compresses each batch; ``"games"``
                stores a board every 32 turns and the actions between, and resimulates them.
            keep_probability: Probability of each experience to be kept. Those that end a game are always kept.
            seed: Seed of the sampling; random if None.
            max_wait: Seconds after which a write that waits for room, and gets none, raises; None to wait without end.

        Raises:
            ConfigError: If an argument has an invalid value, or neither ``capacity`` nor ``max_bytes`` is given.
        """
        if capacity is None and max_bytes is None:
            raise ConfigError("capacity: expected it or max_bytes, got neither: pass one of them")
        capacity = None if capacity is None else positive("capacity", capacity)
        max_bytes = None if max_bytes is None else positive("max_bytes", max_bytes)
        if overflow not in OVERFLOWS:
            raise ConfigError(f"overflow: expected one of {', '.join(OVERFLOWS)}, got {overflow!r}")
        if store not in STORES:
            raise ConfigError(f"store: expected one of {', '.join(STORES)}, got {store!r}")
        if not is_number(keep_probability) or not 0 <= keep_probability <= 1:
            raise ConfigError(f"keep_probability: expected a number from 0 to 1, got {keep_probability!r:.80}")
        if max_wait is not None and (not is_number(max_wait) or not 0 < max_wait < np.inf):
            raise ConfigError(f"max_wait: expected a positive number of seconds or None, got {max_wait!r:.80}")
        super().__init__(capacity, max_bytes, overflow, store, float(keep_probability), seed, max_wait)

    def stats(self) -> BufferStats:
        """Return what the buffer holds and what became of the other experiences."""
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
                min_reward=float(rewards.min()) if known else 0.0,
                max_reward=float(rewards.max()) if known else 0.0,
                dropped_newest=self._dropped_newest,
            )

    def warm(self, batch: ExperienceBatch) -> None:
        """Compile the kernels that writing and reading use, by doing both once with a batch in a store of its own."""
        store = create_store(self._kind, batch, 4, None, 0)
        for kept in (None, np.ones(len(batch), np.bool_)):
            store.reserve(batch)
            store.put(batch, kept)
        keys = np.arange(store.first, store.next)
        store.follow(keys, 2)
        store.take(keys)
        for _ in (*store.between(store.first, store.next), *store.columns(store.first, store.next)):
            pass
        store.drop(1)
