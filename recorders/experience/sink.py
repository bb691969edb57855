"""Where experience goes: three verbs, and what they may be given as."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from generals_env.recorders.experience.batch import ExperienceBatch

__all__ = [
    "AnySink",
    "ClosingSink",
    "Sink",
]


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
