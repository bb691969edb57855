"""Defines a gate before a sink that ends writes from another thread: none begins after it was shut."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from generals_env.errors import StateError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import Sink

__all__ = ["WriteGate"]


class WriteGate:
    """Lets writes to sinks pass until it is shut.

    Attributes:
        is_shut: Whether writes are refused.
    """

    def __init__(self) -> None:
        """Begin open."""
        self.is_shut = False
        self._writing = threading.Lock()

    def before(self, sink: Sink) -> Sink:
        """Return a sink that passes on to ``sink`` what may pass."""
        return GatedSink(self, sink)

    def shut(self, seconds: float) -> None:
        """Refuse writes from now on, and wait for a limited time until one that has begun is over."""
        self.is_shut = True
        if self._writing.acquire(timeout=seconds):
            self._writing.release()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Call a sink in the block.

        Raises:
            StateError: If the gate is shut.
        """
        with self._writing:
            if self.is_shut:
                raise StateError("rollout: expected to write before close, got the rest of a task that was cut off")
            yield


class GatedSink:
    """Passes batches on to a sink through a gate."""

    def __init__(self, gate: WriteGate, sink: Sink) -> None:
        self._gate, self._sink = gate, sink

    def write(self, batch: ExperienceBatch) -> None:
        """Write a batch."""
        with self._gate.passing():
            self._sink.write(batch)

    def flush(self) -> None:
        """Flush the sink."""
        with self._gate.passing():
            self._sink.flush()

    def close(self) -> None:
        """Close the sink."""
        with self._gate.passing():
            self._sink.close()
