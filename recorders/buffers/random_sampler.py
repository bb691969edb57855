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
            store = self._require_stored()
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
