"""Where experience goes: three verbs, and what they may be given as."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from generals_env.errors import ConfigError
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["Sink", "open_sink"]


@runtime_checkable
class Sink(Protocol):
    """Takes experience."""

    def write(self, batch: ExperienceBatch) -> None:
        """Take a batch; the arrays are the sink's from now on."""

    def flush(self) -> None:
        """Bring everything taken so far to where it is to stay."""

    def close(self) -> None:
        """Flush and take no more."""


def open_sink(sink: str | Path | Sink) -> Sink:
    """Return a sink: a path becomes a folder of NPZ files, a sink stays itself.

    Raises:
        ConfigError: If it is neither.
        StorageError: If the folder cannot be written.
    """
    if isinstance(sink, (str, Path)):
        from generals_env.recorders.formats.npz import NpzWriter

        return NpzWriter(sink)
    if isinstance(sink, Sink):
        return sink
    raise ConfigError(f"sink: expected a path or an object with write, flush and close, got {sink!r}")
