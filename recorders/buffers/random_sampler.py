"""Samples experiences and trajectories from a replay buffer at random, with equal probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import overload

import numpy as np
import numpy.typing as npt

from generals_env.arguments import positive
from generals_env.errors import ConfigError, StateError
from generals_env.recorders.buffers.buffer_base import BufferBase
from generals_env.recorders.buffers.stores.store import Keys, Store
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.tensors import Tensors

__all__ = ["RandomSampler"]


class RandomSampler(BufferBase):
    """The part of ``ReplayBuffer`` that returns random experiences."""

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
        """Sample experiences uniformly, with replacement.

        Args:
            n: Number of experiences.
            out: The batch of an earlier call, whose arrays are reused; or ``Tensors`` (in pinned memory, if they were made
                so) to be filled and returned.
            n_step: Number of turns that an experience spans; see ``ExperienceBatch.n_step``.
            gamma: Discount factor of the summed rewards, with ``n_step``.
            augment: Whether to transform each by a random symmetry of the board (one that keeps its shape).

        Raises:
            ConfigError: If an argument has an invalid value.
            StateError: If the buffer is empty.
        """
        positive("n", n)
        if out is not None and not isinstance(out, (ExperienceBatch, Tensors)):
            raise ConfigError(f"out: expected an ExperienceBatch or Tensors, got {type(out).__name__}")
        with self._changed:
            keys = self._draw(self._require_stored(), n)
            into = None if isinstance(out, Tensors) else out
            batch = self._take(keys, into, n_step, gamma)
            symmetries = self._symmetries(batch) if augment else None
        if symmetries is not None:
            batch = batch.turned(symmetries)
        return batch.tensors(out) if isinstance(out, Tensors) else batch

    def _draw(self, store: Store, n: int) -> Keys:
        return self._rng.integers(store.first, store.next, n)

    def _symmetries(self, batch: ExperienceBatch) -> npt.NDArray[np.int64]:
        return self._rng.integers(8 if batch.shape[0] == batch.shape[1] else 4, size=len(batch))

    def _take(self, keys: Keys, out: ExperienceBatch | None, n_step: int, gamma: float) -> ExperienceBatch:
        """Return the experiences with these keys, spanning ``n_step`` turns."""
        store = self._require_stored()
        if positive("n_step", n_step) == 1:
            return store.take(keys, out=out)
        chain = store.follow(keys, n_step)
        present = chain >= 0
        flat = store.take(chain[present])
        # The turns of each experience are next to each other, its first one before the others.
        firsts = np.concatenate([[0], np.cumsum(present.sum(axis=1))[:-1]])
        games = np.repeat(np.arange(len(keys), dtype=np.int32), present.sum(axis=1))
        numbered = flat.rows.copy()
        numbered["game"] = games  # an experience sampled twice gets two games
        names = tuple(flat.game_ids[game] for game in flat.game[firsts])
        return replace(flat, rows=numbered, game_ids=names).n_step(n_step, gamma).select(firsts)

    def sample_trajectories(self, n: int, length: int) -> ExperienceBatch:
        """Sample n trajectories, each ``length`` consecutive turns of one player: (n * length,) experiences.

        The first experience is uniform among all that are followed by enough turns.

        Raises:
            ConfigError: If an argument is not a positive integer.
            StateError: If the buffer holds no such trajectory.
        """
        positive("n", n)
        positive("length", length)
        with self._changed:
            store = self._require_stored()
            found: list[Keys] = []
            missing, tries = n, 0
            while missing > 0:
                trajectories = store.follow(self._draw(store, 2 * missing), length)
                whole = trajectories[trajectories[:, -1] >= 0][:missing]
                found.append(whole)
                missing -= len(whole)
                tries += 1
                if tries == 100 and missing == n:  # check all experiences before giving up
                    everything = np.arange(store.first, store.next)
                    if not (store.follow(everything, length)[:, -1] >= 0).any():
                        raise StateError(
                            f"sample_trajectories: expected a trajectory of {length} turns, got none: pass a smaller length"
                        )
            return store.take(np.concatenate(found).ravel())
