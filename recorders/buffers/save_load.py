"""Saves the experiences of a buffer to a folder of files, with further arrays, and loads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.errors import StorageError
from generals_env.recorders.datasets.data_file import files_in
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.filesystem.atomic_files import make_folder, replace_file, unfinished_folder
from generals_env.recorders.filesystem.file_stores import LocalStore
from generals_env.recorders.filesystem.leftovers import leftovers_beside, remove
from generals_env.recorders.formats.npz import SUFFIX, encode

__all__ = ["load_buffer", "save_buffer"]

#: Maximum number of experiences of a file.
FILE_EXPERIENCES = 65_536

#: File of the further arrays.
EXTRA = "buffer.npz"


def save_buffer(folder: Path, batches: Iterable[ExperienceBatch], arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write batches and arrays to a new folder, which appears when it is complete.

    Raises:
        StorageError: If the folder exists or cannot be written.
    """
    if folder.exists():
        raise StorageError(f"path: expected a folder that is not there yet, got {str(folder)!r}: pass another one")
    remove(leftovers_beside(folder))
    try:
        make_folder(folder.parent)
        with unfinished_folder(folder) as unfinished:
            store = LocalStore(unfinished)
            count = files = 0
            for batch in batches:
                count += len(batch)
                for low in range(0, len(batch), FILE_EXPERIENCES):
                    rows = batch.slice(low, low + FILE_EXPERIENCES)
                    content = encode(rows if len(rows) == len(batch) else rows.compact())
                    store.create(f"experiences_{files:06d}{SUFFIX}", content)
                    files += 1
            extra = {"experiences": np.array(count), **arrays}
            replace_file(unfinished / EXTRA, lambda file: np.savez(file, **extra))  # type: ignore[arg-type]  # mypy takes the arrays for allow_pickle
    except OSError as error:
        raise StorageError(f"path: expected to write to {str(folder)!r}, got {error}") from error


def load_buffer(folder: Path) -> tuple[list[ExperienceBatch], dict[str, npt.NDArray[Any]]]:
    """Return the batches and arrays that ``save_buffer`` wrote.

    Raises:
        StorageError: If it cannot be read, or is damaged.
    """
    try:
        with np.load(folder / EXTRA, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        count = int(arrays.pop("experiences"))
    except Exception as error:
        # For damaged files zlib, zipfile and numpy raise almost any exception.
        raise StorageError(f"path: expected a folder that save() wrote, got {str(folder)!r} ({error})") from error
    files = [file for file in files_in(LocalStore(folder))[0] if "/" not in file.name]  # others may lie in folders below
    batches = [file.whole() for file in files]
    found = sum(map(len, batches))
    if count != found:
        raise StorageError(
            f"path: expected {count} experiences in {str(folder)!r}, got {found}: a file is missing or does not belong there"
        )
    return batches, arrays
