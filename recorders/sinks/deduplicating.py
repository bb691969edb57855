"""Deduplicates experiences on their way to a sink, by hashes of game, player and turn."""

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
from generals_env.recorders.experience.identity import MAX_REMEMBERED, experience_hashes
from generals_env.recorders.experience.sink import Sink

__all__ = ["DeduplicatingSink"]


@pickled_as("generals_env.recorders")
class DeduplicatingSink(NotCopied):
    """Writes experiences that it has not seen to another sink, and counts repeats.

    The identity of an experience is its game, player and turn; other columns do not matter. The last ``capacity`` identities
    are remembered as 64-bit hashes. So a new experience is taken for a repeat, and lost, with a probability of at most
    ``capacity / 2**64``: with a million remembered, 5.4e-14. A repeat that comes after ``capacity`` others is not noticed.

    Experiences that the next sink refuses (its ``write`` raises) are not remembered: they may be written again. Writes from
    several threads run one after another.

    Attributes:
        capacity: How many hashes are remembered.
    """

    _instead = "make another DeduplicatingSink, with known=this one's remembered"

    def __init__(self, sink: Sink, capacity: int = 1_000_000, known: npt.NDArray[np.uint64] | None = None) -> None:
        """Write to ``sink``.

        Args:
            sink: The next sink.
            capacity: How many hashes to remember, 24 to 40 bytes each.
            known: (k,) uint64, ``remembered`` of another one, in this process or another: repeats of these are dropped, too.

        Raises:
            ConfigError: If an argument has the wrong type or value.
        """
        if not isinstance(sink, Sink):
            raise ConfigError(
                f"sink: expected an object with write, flush and close, got {sink!r}: open a path with DatasetWriter(path)"
            )
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
                raise ConfigError(f"known: expected (k,) uint64, got {known!r:.200}: pass the remembered of another sink")
            self._add(known)

    @property
    def passed(self) -> int:
        """Experiences written to the next sink so far."""
        return self._passed

    @property
    def repeats(self) -> int:
        """Experiences dropped so far as repeats."""
        return self._repeats

    @property
    def remembered(self) -> npt.NDArray[np.uint64]:
        """(k,) uint64, the remembered hashes, the oldest first."""
        with self._lock:
            return in_order(self._members)

    def write(self, batch: ExperienceBatch) -> None:
        """Write the experiences of ``batch`` that are new to the next sink: the batch itself if all are, no batch if none is.

        Raises:
            StateError: After ``close``, or in a process that was forked off the one that made the sink.
        """
        self._owner.check("sink")  # before the lock: a thread of the parent may hold it for ever
        with self._lock:
            if self._closed:
                raise StateError("write: expected an open sink, got one that is closed: make a new one")
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
        """Remember hashes; return which of them are new, (n,), and the hash that was forgotten for each of these."""
        new, forgotten = np.empty(len(hashes), np.bool_), np.empty(len(hashes), np.uint64)
        return new, forgotten[: add_new(self._members, np.ascontiguousarray(hashes), new, forgotten)]

    def flush(self) -> None:
        """Flush the next sink."""
        self._sink.flush()

    def close(self) -> None:
        """Close the next sink, and refuse further batches; does nothing in a forked process."""
        if not self._owner.is_here:
            return
        with self._lock:
            self._closed = True
        self._sink.close()
