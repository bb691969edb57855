"""Files that are there whole or not at all, and stay there after a crash."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

__all__ = ["UNFINISHED", "make_folder", "replace_file", "sync_folder", "write_beside"]

#: What files are called that are not yet whole; before it comes a name that begins with a dot.
UNFINISHED = ".part"


def write_beside(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    """Return a new file beside ``path``, safe from a crash, whose name nobody looks at; on any error there is none.

    Args:
        path: Whose place it is to take.
        write: Writes the content.

    Raises:
        OSError: If it cannot be written, and whatever ``write`` raises.
    """
    unfinished = path.with_name(f".{uuid.uuid4().hex}{UNFINISHED}")
    try:
        with unfinished.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return unfinished


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Put a new content in a file's place, at once and safe from a crash; on any error what was there before still is.

    Raises:
        OSError: As ``write_beside``.
    """
    unfinished = write_beside(path, write)
    try:
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, safe from a crash; do nothing if it is there.

    Raises:
        OSError: If it cannot be made.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk."""
    if sys.platform == "win32":
        return  # which opens no folders
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
