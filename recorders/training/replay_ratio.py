"""Experience no faster than it is learned from."""

from __future__ import annotations

import threading

from generals_env.concurrency.process_owner import Owner
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import Sink

__all__ = ["PacedSink"]


class PacedSink:
    """Lets whoever writes wait until what was written before has been drawn often enough."""

    def __init__(self, sink: Sink, ratio: float, ahead: int) -> None:
        """Write to ``sink``.

        Args:
            sink: Where to.
            ratio: How often an experience is to be drawn before further ones are taken, on average.
            ahead: How many may be there undrawn.
        """
        self._sink, self._ratio, self._ahead = sink, ratio, ahead
        self._changed = threading.Condition()
        self._written = self._drawn = 0
        self._released = False
        self._owner = Owner()

    def write(self, batch: ExperienceBatch) -> None:
        """Take a batch, when it is time."""
        self._owner.check("sink")  # before the lock: a thread of the parent may hold it for ever
        with self._changed:
            self._changed.wait_for(lambda: self._released or (self._written - self._ahead) * self._ratio < self._drawn)
            self._written += len(batch)
        try:
            self._sink.write(batch)
        except BaseException:  # it has not been taken, and is counted when it comes again
            with self._changed:
                self._written -= len(batch)
            raise

    def drew(self, count: int) -> None:
        """Say that so many experiences have been drawn."""
        with self._changed:
            self._drawn += count
            self._changed.notify_all()

    def release(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._released = True
            self._changed.notify_all()

    def flush(self) -> None:
        """Flush the sink."""
        self._sink.flush()

    def close(self) -> None:
        """Close the sink; a forked child leaves that to its parent."""
        if self._owner.is_here:
            self._sink.close()
