"""Defines what a sink of experience is: an object with ``write``, ``flush`` and ``close``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from generals_env.recorders.experience.batch import ExperienceBatch

__all__ = [
    "AnySink",
    "ClosingSink",
    "Sink",
    "checked_sink",
]

Checkable = TypeVar("Checkable", bound="CheckableSink")


@runtime_checkable
class Sink(Protocol):
    """Takes batches of experience."""

    def write(self, batch: ExperienceBatch) -> Any:
        """Take a batch; the arrays are the sink's from now on.

        An error means that the batch has not been taken and may be written again. So a sink that keeps a batch to store it
        later does not raise.
        """

    def flush(self) -> None:
        """Store everything taken so far."""

    def close(self) -> None:
        """Flush, and refuse further batches."""


class ClosingSink(ABC):
    """A sink that closes at the end of a ``with`` block."""

    @abstractmethod
    def write(self, batch: ExperienceBatch) -> Any:
        """Take a batch; see ``Sink``."""

    @abstractmethod
    def flush(self) -> None:
        """Store everything taken so far."""

    @abstractmethod
    def close(self) -> None:
        """Flush, and refuse further batches."""

    def __enter__(self) -> Self:
        """Return the sink."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the sink."""
        self.close()


class CheckableSink(Sink, Protocol):
    """A sink of a server."""

    def check(self) -> None:
        """Raise an error unless the server takes experiences."""


def checked_sink(sink: Checkable) -> Checkable:
    """Return a sink after its ``check``; if that raises, the sink is closed."""
    try:
        sink.check()
    except BaseException:
        sink.close()
        raise
    return sink


#: A sink, or the paths, URLs and lists that ``open_sink`` takes.
AnySink = str | Path | Sink | Sequence[str | Path | Sink]
