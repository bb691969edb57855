"""Limits the rate of writes to a buffer by the number of draws from it, to keep a replay ratio."""

from __future__ import annotations

import threading

from generals_env.concurrency.process_owner import Owner
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import Sink

__all__ = ["PacedSink"]


class PacedSink:
    """Sink that blocks writers until earlier experiences have been drawn often enough."""

    def __init__(self, sink: Sink, ratio: float, ahead: int) -> None:
        """Write to ``sink``.

        Args:
            sink: Where to write.
            ratio: Minimum average number of draws per experience.
            ahead: How many experiences are written without waiting for draws.
        """
        self._sink, self._ratio, self._ahead = sink, ratio, ahead
        self._changed = threading.Condition()
        self._written = self._drawn = 0
        self._released = False
        self._owner = Owner()

    def write(self, batch: ExperienceBatch) -> None:
        """Write a batch, after earlier ones were drawn often enough."""
        self._owner.check("sink")  # before the lock: after a fork, a thread of the parent may hold it for ever
        with self._changed:
            self._changed.wait_for(lambda: self._released or (self._written - self._ahead) * self._ratio < self._drawn)
            self._written += len(batch)
        try:
            self._sink.write(batch)
        except BaseException:  # not written: it is counted when it is written again
            with self._changed:
                self._written -= len(batch)
            raise

    def count_draws(self, count: int) -> None:
        """Count experiences that have been drawn."""
        with self._changed:
            self._drawn += count
            self._changed.notify_all()

    def release(self) -> None:
        """Let all writers continue, now and later."""
        with self._changed:
            self._released = True
            self._changed.notify_all()

    def flush(self) -> None:
        """Flush the sink."""
        self._sink.flush()

    def close(self) -> None:
        """Close the sink; in a forked child do nothing."""
        if self._owner.is_here:
            self._sink.close()
