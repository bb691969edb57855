"""Reads a replay buffer in the order in which it was written, from any key on, and keeps the positions of its readers."""

from __future__ import annotations

import numpy as np

from generals_env.recorders.buffers.buffer_base import BufferBase
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.statistics_columns import StatisticsColumns, statistics_columns

__all__ = ["OrderedReader"]


class OrderedReader(BufferBase):
    """The part of ``ReplayBuffer`` that returns experiences in order."""

    def snapshot(self) -> ExperienceBatch:
        """Return a copy of all experiences, in the order in which they were written.

        Raises:
            StateError: If there are none.
        """
        with self._changed:
            store = self._require_stored()
            return ExperienceBatch.concat(list(store.between(store.first, store.next)))

    def drain(self) -> ExperienceBatch:
        """Remove all experiences and return them, in the order in which they were written; their memory is freed.

        Raises:
            StateError: If there are none.
        """
        with self._changed:
            batch = self.snapshot()
            self.clear()
            return batch

    def read(self, first: int, count: int, timeout: float = 0.0) -> ExperienceBatch | None:
        """Return up to ``count`` experiences from key ``first`` on; they stay in the buffer.

        Their ``sequence`` is their key. If the first one is above ``first``, those between were dropped.

        Args:
            first: The key, see ``span``.
            count: Maximum number.
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

    def columns(self, first: int, count: int) -> tuple[int, list[StatisticsColumns]] | None:
        """Return the key of the first experience that ``read`` would return, and columns of all; None if there is none."""
        with self._changed:
            oldest, following = self.span
            low, high = max(first, oldest), min(max(first, oldest) + count, following)
            store = self._store
            if store is None or low >= high:
                return None
            if store.like.recipe.shaping:  # shaped rewards are computed from boards
                return low, [statistics_columns(batch) for batch in store.between(low, high)]
            return low, list(store.columns(low, high))

    def await_number(self, number: int, seconds: float, until_full: bool = False) -> bool:
        """Wait until the experience with this key was written.

        Args:
            number: The key, see ``span``.
            seconds: Maximum time to wait.
            until_full: Whether to return also when no more experiences can be written at present: a writer waits for room, or
                the buffer is closed.

        Returns:
            Whether it was written, or, with ``until_full``, no more experiences can be written at present.
        """
        with self._changed:

            def came() -> bool:
                return self.span[1] > number or (until_full and (self._waiting > 0 or self._closed))

            self._changed.wait_for(lambda: self._closed or came(), max(seconds, 0.0))
            return came()

    def took(self, reader: object, number: int, holds: bool = True) -> None:
        """Note that a reader has taken, or does not want, all experiences before a key.

        A full buffer with ``overflow`` ``"block"`` or ``"raise"`` drops experiences that all its readers have taken. The
        consumers of a server are readers of its buffer.

        Args:
            reader: Any object that identifies the reader, until ``leave``.
            number: The key, see ``span``.
            holds: Whether the buffer keeps experiences until this reader has taken them. While all readers are such that it
                does not, a full buffer drops its oldest experiences.
        """
        with self._changed:
            self._readers.move(reader, number, holds)
            if self._waiting:
                self._changed.notify_all()

    def leave(self, reader: object) -> None:
        """Remove a reader: experiences are not kept for it any longer."""
        with self._changed:
            self._readers.leave(reader)
            if self._waiting:
                self._changed.notify_all()
