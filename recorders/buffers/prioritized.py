"""Samples experiences in proportion to priorities: Schaul et al., "Prioritized Experience Replay", ICLR 2016."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_options, is_number, keywords, positive
from generals_env.engine.storage.sum_tree import draw_slots, set_priorities
from generals_env.errors import ConfigError
from generals_env.pickling import pickled_as
from generals_env.recorders.buffers.replay_buffer import ReplayBuffer
from generals_env.recorders.buffers.stores.store import Keys, Store
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["PrioritizedReplayBuffer", "PrioritizedSample"]


#: Maximum priority to the power of alpha: sums of priorities must stay finite.
MAX_SCALED = 1e290


@pickled_as("generals_env.recorders")
class PrioritizedSample(NamedTuple):
    """Result of ``PrioritizedReplayBuffer.sample``.

    Attributes:
        batch: n experiences.
        keys: (n,) int64, for ``update_priorities``.
        weights: (n,) float32, importance sampling weights; the largest in the buffer is 1.
    """

    batch: ExperienceBatch
    keys: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]


@pickled_as("generals_env.recorders")
class PrioritizedReplayBuffer(ReplayBuffer):
    """A replay buffer that samples an experience with probability ``priority**alpha / sum(priority**alpha)``.

    New experiences get the largest priority given so far, so that each is soon sampled once. A key is never reused: once its
    experience was dropped, an update with the key changes nothing.
    """

    _beside = 64  # two trees, of up to twice as many leaves as the capacity, and as many inner nodes

    def __init__(self, capacity: int | None = None, *, alpha: float = 0.6, epsilon: float = 1e-6, **options: Any) -> None:
        """Set the buffer up.

        Args:
            capacity: Maximum number of experiences.
            alpha: Exponent of priorities, 0 for uniform sampling.
            epsilon: Added to every priority, so that each experience may be sampled.
            **options: Further arguments of ``ReplayBuffer``.

        Raises:
            ConfigError: If an argument has an invalid value.
            OptionError: If an option is unknown.
        """
        check_options(PrioritizedReplayBuffer, options, keywords(ReplayBuffer))
        super().__init__(capacity, **options)
        for name, value in (("alpha", alpha), ("epsilon", epsilon)):
            if not is_number(value) or not 0 <= value < np.inf:
                raise ConfigError(f"{name}: expected a number of at least 0, got {value!r:.80}")
        self.alpha = float(alpha)
        self.epsilon = float(epsilon)
        self._largest = 1.0  # priority**alpha of new experiences
        self._sums = self._least = np.zeros(2)
        self._leaves: Store | None = None  # the store that the trees belong to

    # --- Writing --------------------------------------------------------------------------------------------------

    def _put(self, store: Store, batch: ExperienceBatch, kept: npt.NDArray[np.bool_] | None = None) -> None:
        first, start = store.first, store.next
        try:
            super()._put(store, batch, kept)
        finally:
            self._set(store, np.arange(first, min(store.first, start)), 0.0)
            self._set(store, np.arange(max(start, store.first), store.next), self._largest)

    def warm(self, batch: ExperienceBatch) -> None:
        """See ``ReplayBuffer.warm``."""
        super().warm(batch)
        sums, minima, slots = np.zeros(8), np.full(8, np.inf), np.zeros(1, np.int64)
        set_priorities(sums, minima, slots, np.ones(1))
        draw_slots(sums, np.zeros(1), slots)

    def _drop(self, store: Store, count: int) -> None:
        first = store.first
        super()._drop(store, count)
        self._set(store, np.arange(first, store.first), 0.0)

    def _store_for(self, batch: ExperienceBatch) -> Store:
        store = super()._store_for(batch)
        self._fit_trees(store)
        return store

    def clear(self) -> None:
        """Remove all experiences and free their memory."""
        with self._changed:
            super().clear()
            self._leaves = None
            self._sums = self._least = np.zeros(2)

    def _fit_trees(self, store: Store) -> None:
        """Make trees for a store that has replaced another one."""
        if self._leaves is store:
            return
        old, sums = self._leaves, self._sums
        leaves = 1 << max(store.capacity - 1, 1).bit_length()
        self._sums, self._least = np.zeros(2 * leaves), np.full(2 * leaves, np.inf)
        self._leaves = store
        keys = np.arange(store.first, store.next)
        if old is not None and len(keys):
            self._set(store, keys, sums[len(sums) // 2 + keys % old.capacity])

    def _set(self, store: Store, keys: Keys, values: float | npt.NDArray[np.float64]) -> None:
        if len(keys):
            priorities = np.ascontiguousarray(np.broadcast_to(np.asarray(values, np.float64), keys.shape))
            set_priorities(self._sums, self._least, keys % store.capacity, priorities)

    def update_priorities(self, keys: Keys, priorities: npt.NDArray[Any]) -> int:
        """Set priorities of experiences, usually the absolute values of their temporal difference errors.

        Args:
            keys: (n,) integers from ``sample``.
            priorities: (n,) numbers of at least 0; ``epsilon`` is added.

        Returns:
            Number of stale keys: their experiences had been dropped.

        Raises:
            ConfigError: If shapes differ, or a priority is negative or not finite; then nothing was changed.
        """
        names, values = np.asarray(keys), np.asarray(priorities, np.float64)
        if names.ndim != 1 or names.dtype.kind not in "iu" or values.shape != names.shape:
            raise ConfigError(f"priorities: expected one for each of {names.shape} integer keys, got {values.shape}")
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ConfigError(f"priorities: expected finite numbers of at least 0, got {priorities!r:.200}")
        with np.errstate(over="ignore"):
            scaled = (values + self.epsilon) ** self.alpha
        if (scaled > MAX_SCALED).any():  # sums of them must be finite, too
            raise ConfigError(f"priorities: expected at most {MAX_SCALED} to the power of alpha, got {priorities!r:.200}")
        with self._changed:
            store = self._store
            if store is None or store is not self._leaves:
                return len(names)
            present = (names >= store.first) & (names < store.next)
            if not present.all():
                names, scaled = names[present], scaled[present]
            if len(names):
                set_priorities(self._sums, self._least, np.ascontiguousarray(names % store.capacity, np.int64), scaled)
                self._largest = max(self._largest, float(scaled.max()))
            return int(len(present) - present.sum())

    # --- Drawing --------------------------------------------------------------------------------------------------

    def sample(  # type: ignore[override]  # returns weights and keys, too
        self,
        n: int,
        out: ExperienceBatch | None = None,
        *,
        beta: float = 0.4,
        n_step: int = 1,
        gamma: float = 0.99,
        augment: bool = False,
    ) -> PrioritizedSample:
        """Sample experiences, one from each of n equal sections of the sum of priorities.

        Args:
            n: Number of experiences.
            out: The batch of an earlier call, whose arrays are reused.
            beta: How far the weights compensate for the priorities, 1 for fully.
            n_step: See ``ReplayBuffer.sample``.
            gamma: Likewise.
            augment: Likewise.

        Raises:
            ConfigError: If an argument has an invalid value.
            StateError: If the buffer is empty.
        """
        positive("n", n)
        if out is not None and not isinstance(out, ExperienceBatch):
            raise ConfigError(f"out: expected an ExperienceBatch, got {type(out).__name__}")
        if not is_number(beta) or not 0 <= beta <= 1:
            raise ConfigError(f"beta: expected a number from 0 to 1, got {beta!r:.80}")
        with self._changed:
            store = self._require_stored()
            slots = np.empty(n, np.int64)
            if self._sums[1] > 0:
                draw_slots(self._sums, (np.arange(n) + self._rng.random(n)) / n, slots)
                keys = store.first + (slots - store.first) % store.capacity
                priorities = self._sums[len(self._sums) // 2 + slots]
                weights = (self._least[1] / priorities) ** beta  # (N P(i))**-beta over the largest of these
            else:  # without epsilon, all priorities may be 0
                keys, weights = self._draw(store, n), np.ones(n)
            batch = self._take(keys, out, n_step, gamma)
            symmetries = self._symmetries(batch) if augment else None
        if symmetries is not None:
            batch = batch.turned(symmetries)
        return PrioritizedSample(batch, keys, weights.astype(np.float32))

    def _saved(self) -> dict[str, npt.NDArray[Any]]:
        store = self._require_stored()
        leaves = self._sums[len(self._sums) // 2 :]
        keys = np.arange(store.first, store.next)
        return {"priorities": leaves[keys % store.capacity], "largest": np.array(self._largest)}

    def _restore(self, arrays: dict[str, npt.NDArray[Any]], count: int) -> None:
        store, priorities = self._store, arrays.get("priorities")
        if store is not None and priorities is not None:
            self._largest = max(self._largest, float(arrays["largest"]))
            keys = np.arange(store.next - count, store.next)
            held = keys >= store.first
            self._set(store, keys[held], priorities[:count][held])
