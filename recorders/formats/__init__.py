"""Files of experience, one module a format.

Each module has three names:

- ``SUFFIX``: how its files are called.
- ``encode(batch) -> bytes``: the content of a file that holds a batch. The same batch gives the same experiences back, bit for
  bit in every column and board; boards may lie in another order.
- ``decode(data) -> ExperienceBatch``: the batch in a file's content; a ``StorageError`` if it is damaged, or none of ours.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from generals_env.errors import ConfigError
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["FORMATS", "Format", "format_of", "format_of_file"]

#: Formats by name, and the suffix of their files.
FORMATS = {
    "npz": ".npz",
    "parquet": ".parquet",
    "tfrecord": ".tfrecord",
    "tfrecord.gz": ".tfrecord.gz",
    "games": ".games",
}


class Format(Protocol):
    """What each module of this package is."""

    SUFFIX: str

    def encode(self, batch: ExperienceBatch) -> bytes:
        """Return the content of a file that holds a batch."""

    def decode(self, data: bytes) -> ExperienceBatch:
        """Return the batch in a file's content."""


def format_of(name: str) -> Format:
    """Return the format that is called ``name``.

    Raises:
        ConfigError: If there is none.
        ImportError: Without what it needs (``pip install "generals_env[storage]"``).
    """
    if name not in FORMATS:
        raise ConfigError(f"format: expected one of {', '.join(FORMATS)}, got {name!r}")
    module: Any = importlib.import_module(f"{__name__}.{name.replace('.', '_')}")
    return module  # type: ignore[no-any-return]  # a module that is a ``Format``


def format_of_file(name: str) -> str | None:
    """Return the name of the format of a file by how it is called, None if it is none of ours."""
    found = [key for key, suffix in FORMATS.items() if name.endswith(suffix)]
    return max(found, key=len, default=None)
