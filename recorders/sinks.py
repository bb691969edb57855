"""Where experience goes: three verbs, and what they may be given as."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from generals_env.errors import ConfigError
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["AnySink", "ClosingSink", "Sink", "open_sink"]


@runtime_checkable
class Sink(Protocol):
    """Takes experience."""

    def write(self, batch: ExperienceBatch) -> Any:
        """Take a batch; the arrays are the sink's from now on.

        An error says that the batch has not been taken, and may be given again: so what a sink keeps, to bring it further
        later, is no error.
        """

    def flush(self) -> None:
        """Bring everything taken so far to where it is to stay."""

    def close(self) -> None:
        """Flush and take no more."""


class ClosingSink(ABC):
    """A sink that closes at the end of a ``with`` block."""

    @abstractmethod
    def write(self, batch: ExperienceBatch) -> Any:
        """Take a batch; see ``Sink``."""

    @abstractmethod
    def flush(self) -> None:
        """Bring everything taken so far to where it is to stay."""

    @abstractmethod
    def close(self) -> None:
        """Flush and take no more."""

    def __enter__(self) -> Self:
        """Return the sink."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the sink."""
        self.close()


#: What a sink may be given as.
AnySink = str | Path | Sink | Sequence[str | Path | Sink]


def open_sink(sink: AnySink) -> Sink:
    """Return a sink: a path or URL becomes a ``DatasetWriter``, several a ``MultiSink``, a sink stays itself.

    Raises:
        ConfigError: If it is none of these.
        StorageError: If the place cannot be written.
    """
    if isinstance(sink, (str, Path)):
        from generals_env.recorders.storage.writer import DatasetWriter

        return DatasetWriter(sink)
    if isinstance(sink, Sink):
        return sink
    if isinstance(sink, (list, tuple)) and sink:
        from generals_env.recorders.storage.multi import MultiSink

        return MultiSink(sink)
    raise ConfigError(f"sink: expected a path, an object with write, flush and close, or several of these, got {sink!r}")
