"""Writes files of pictures whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from generals_env.errors import StorageError

__all__ = ["whole_file"]


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield the name of a new file in the folder of ``path``; at the end it replaces ``path``, after an error it is removed.

    Raises:
        StorageError: If the file cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"path: expected a file that can be written, got {str(path)!r} ({error}): pass another path"
        ) from error
    finally:
        with suppress(OSError):  # the folder may be missing, or no folder
            unfinished.unlink(missing_ok=True)
