"""A sink that lets each experience pass once."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_integer
from generals_env.concurrency.process_owner import Owner
from generals_env.engine.storage.hash_set import EMPTY, Words, add_new, empty_hash_set, forget_newest, in_order
from generals_env.errors import ConfigError, StateError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.identity import experience_hashes
from generals_env.recorders.experience.sink import Sink

__all__ = ["DeduplicatingSink"]

MAX_REMEMBERED = 2**30  # ids: 24 GiB


@pickled_as("generals_env.recorders")
class DeduplicatingSink(NotCopied):
    """Hands on what it has not seen, and counts what it has.

    An experience is known by game, player and turn, whatever else it holds; the last ``capacity`` of them are remembered as
    64-bit hashes. So a new experience is taken for a repeat, and lost, with a probability of at most ``capacity / 2**64``: with
    a million remembered, 5.4e-14, or one in 18 million million. A repeat that comes after ``capacity`` others is not noticed.

    Experience that the next sink refuses (it raises) is not remembered: it may come again. Any number of threads may write,
    one after another.

    Attributes:
        capacity: How many ids are remembered.
    """

    _instead = "make another DeduplicatingSink, with what this one remembered as known"

    def __init__(self, sink: Sink, capacity: int = 1_000_000, known: npt.NDArray[np.uint64] | None = None) -> None:
        """Hand on to ``sink``.

        Args:
            sink: Where to.
            capacity: How many ids to remember, 24 to 40 bytes each.
            known: (k,) uint64, what another one ``remembered``, in this process or another: repeats of that are dropped, too.

        Raises:
            ConfigError: If an argument is not what it should be.
        """
        if not isinstance(sink, Sink):
            raise ConfigError(f"sink: expected an object with write, flush and close, got {sink!r}")
        check_integer("capacity", capacity, 1, MAX_REMEMBERED)
        self.capacity = int(capacity)
        self._sink = sink
        self._members = empty_hash_set(self.capacity)
        self._lock = threading.Lock()
        self._passed = self._repeats = 0
        self._closed = False
        self._owner = Owner()
        if known is not None:
            if not isinstance(known, np.ndarray) or known.dtype != np.uint64 or known.ndim != 1 or (known == EMPTY).any():
                raise ConfigError(f"known: expected (k,) uint64 as another sink remembered, got {known!r:.200}")
            self._add(known)

    @property
    def passed(self) -> int:
        """Experiences handed on so far."""
        return self._passed

    @property
    def repeats(self) -> int:
        """Experiences dropped so far, as they had been handed on before."""
        return self._repeats

    @property
    def remembered(self) -> npt.NDArray[np.uint64]:
        """(k,) uint64, hashes of the experiences that are remembered, the oldest first."""
        with self._lock:
            return in_order(self._members)

    def write(self, batch: ExperienceBatch) -> None:
        """Hand on the experiences of ``batch`` that are new: the batch itself if all are, nothing if none is.

        Raises:
            StateError: After ``close``, or in a process that was forked off the one that made the sink.
        """
        self._owner.check("sink")  # before the lock: a thread of the parent may hold it for ever
        with self._lock:
            if self._closed:
                raise StateError("write: expected an open sink, got one that is closed")
            new, forgotten = self._add(experience_hashes(batch))
            count = len(forgotten)
            try:
                if count == len(batch):
                    self._sink.write(batch)
                elif count:
                    self._sink.write(batch.select(new))
            except BaseException:
                forget_newest(self._members, count, forgotten)
                raise
            self._passed += count
            self._repeats += len(batch) - count

    def _add(self, hashes: Words) -> tuple[npt.NDArray[np.bool_], Words]:
        """Remember hashes; return which of them are new (n,), and what was forgotten for each of these."""
        new, forgotten = np.empty(len(hashes), np.bool_), np.empty(len(hashes), np.uint64)
        return new, forgotten[: add_new(self._members, np.ascontiguousarray(hashes), new, forgotten)]

    def flush(self) -> None:
        """Flush the next sink."""
        self._sink.flush()

    def close(self) -> None:
        """Close the next sink and take no more; a forked child leaves that to its parent."""
        if not self._owner.is_here:
            return
        with self._lock:
            self._closed = True
        self._sink.close()
