"""Encodes and decodes files of experience, one module per format.

Each module has three names:

- ``SUFFIX``: the suffix of its files.
- ``encode(batch, level=None) -> bytes``: returns the content of a file with a batch, compressed at a level of 1 to 22; None for
  the one that suits the format. ``decode`` restores the batch bit for bit in every column and board; boards may be in another
  order.
- ``decode(data) -> ExperienceBatch``: returns the batch of a file's content, or raises ``StorageError`` if the content is
  damaged or of another format.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from generals_env.errors import ConfigError
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["FORMATS", "Format", "format_of", "format_of_file"]

#: The suffix of files by the name of their format.
FORMATS = {
    "npz": ".npz",
    "parquet": ".parquet",
    "tfrecord": ".tfrecord",
    "tfrecord.gz": ".tfrecord.gz",
    "games": ".games",
}


class Format(Protocol):
    """The interface of a module of this package."""

    SUFFIX: str

    def encode(self, batch: ExperienceBatch, level: int | None = None) -> bytes:
        """Return the content of a file with a batch, compressed at a level of 1 to 22."""

    def decode(self, data: bytes) -> ExperienceBatch:
        """Return the batch of a file's content."""


def format_of(name: str) -> Format:
    """Return the module of a format.

    Raises:
        ConfigError: If the name is unknown.
        ImportError: If a package that the format needs is missing (``pip install "generals_env[storage]"``).
    """
    if name not in FORMATS:
        raise ConfigError(f"format: expected one of {', '.join(FORMATS)}, got {name!r}")
    module: Any = importlib.import_module(f"{__name__}.{name.replace('.', '_')}")
    return module  # type: ignore[no-any-return]  # a module that is a ``Format``


def format_of_file(name: str) -> str | None:
    """Return the name of the format of a file from its suffix, None for other files."""
    found = [key for key, suffix in FORMATS.items() if name.endswith(suffix)]
    return max(found, key=len, default=None)
