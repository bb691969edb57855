"""Retries writes to a sink that fails for a while."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from generals_env.arguments import as_config
from generals_env.concurrency.interrupts import raise_pending
from generals_env.concurrency.process_owner import Owner
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import ClosingSink, Sink
from generals_env.recorders.filesystem.retry import Retry
from generals_env.recorders.sinks.multi import open_sink

__all__ = ["RetryingSink"]


@pickled_as("generals_env.recorders")
class RetryingSink(NotCopied, ClosingSink):
    """Writes batches to a sink, and repeats calls that fail: by default 5 tries, after 0.1, 0.2, 0.4 and 0.8 seconds.

    The sink must not have taken a batch for which it raises. In a process that was forked off the one that made the
    ``RetryingSink``, ``write`` and ``flush`` raise ``StateError``, and ``close`` does nothing.

    Attributes:
        sink: The sink.
        retry: Number and times of the tries.
    """

    _instead = "make another RetryingSink of a sink of its own"

    def __init__(self, sink: str | Path | Sink, retry: Retry | Mapping[str, Any] | None = None) -> None:
        """Write to ``sink``.

        Args:
            sink: A sink, or a path or URL that ``open_sink`` takes.
            retry: Number and times of the tries: a ``Retry``, or a mapping of its fields.
        """
        self.sink = open_sink(sink)
        self.retry = as_config("retry", Retry, retry, Retry())
        self._owner = Owner()

    def write(self, batch: ExperienceBatch) -> Any:
        """Write a batch to the sink; the error of the last try is raised here."""
        self._owner.check("sink")

        def write() -> Any:
            raise_pending()  # the sink has refused the batch so far
            return self.sink.write(batch)

        return self.retry.call("write", write)

    def flush(self) -> None:
        """Flush the sink, with the same tries."""
        self._owner.check("sink")
        self.retry.call("flush", self.sink.flush)

    def close(self) -> None:
        """Close the sink, with the same tries."""
        if self._owner.is_here:
            self.retry.call("close", self.sink.close)
