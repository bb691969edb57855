"""Reads and writes small JSON files with a checksum, atomically."""

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
    """Return the text of a file with this content and its checksum; equal contents have equal texts."""
    inner = json.dumps(content, sort_keys=True)
    return json.dumps({"content": content, "checksum": zlib.crc32(inner.encode())}, sort_keys=True).encode()


def write_checked(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file by JSON with a checksum, atomically and safe from a crash.

    Raises:
        OSError: If it cannot be written. The old content is still there.
    """
    replace_file(path, lambda file: file.write(text_of(content)))


def read_checked(path: Path) -> dict[str, Any] | None:
    """Return the content that ``write_checked`` wrote, None if there is no such file.

    Raises:
        StorageError: If it is damaged or cannot be read.
    """
    try:
        data = path.read_bytes()
        content: dict[str, Any] = json.loads(data)["content"]
        if text_of(content) != data:
            raise ValueError("expected another checksum")  # noqa: TRY301 - reported with the others
    except FileNotFoundError:
        return None
    except Exception as error:
        # Damaged text can make json raise nearly anything.
        raise StorageError(
            f"{path}: expected a file with its checksum, got damage ({type(error).__name__}: {error}): restore it from "
            "a copy, or delete it"
        ) from error
    return content


def sync_file(path: Path) -> None:
    """Sync to disk all that any process has written to a file."""
    with path.open("r+b") as file:  # Windows syncs nothing that is open for reading only
        os.fsync(file.fileno())
