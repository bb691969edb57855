"""Small files that are there whole or not at all, and show whether a byte of them has changed."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from generals_env.errors import StorageError
from generals_env.recorders.filesystem.atomic_files import replace_file

__all__ = ["read_checked", "sync_file", "write_checked"]


def text_of(content: Mapping[str, Any]) -> bytes:
    """Return the one text that stands for this content."""
    inner = json.dumps(content, sort_keys=True)
    return json.dumps({"content": content, "checksum": zlib.crc32(inner.encode())}, sort_keys=True).encode()


def write_checked(path: Path, content: Mapping[str, Any]) -> None:
    """Put JSON into a file, at once and safe from a crash; what was there before is gone.

    Raises:
        OSError: If it cannot be written. What was there before is still there.
    """
    replace_file(path, lambda file: file.write(text_of(content)))


def read_checked(path: Path) -> dict[str, Any] | None:
    """Return what ``write_checked`` put there, None if there is no such file.

    Raises:
        StorageError: If it is damaged or cannot be read.
    """
    try:
        data = path.read_bytes()
        content: dict[str, Any] = json.loads(data)["content"]
        if text_of(content) != data:
            raise ValueError("expected another checksum")  # noqa: TRY301 - told with the others
    except FileNotFoundError:
        return None
    except Exception as error:
        # Damaged text can make json raise nearly anything.
        raise StorageError(f"{path}: expected a file as it was written, got {type(error).__name__}: {error}") from error
    return content


def sync_file(path: Path) -> None:
    """Bring to disk what others have written to a file."""
    with path.open("r+b") as file:  # Windows syncs nothing that is open for reading only
        os.fsync(file.fileno())
