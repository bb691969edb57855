"""Recorded experience, read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from generals_env.errors import StorageError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.formats.npz import dataset_files, read_npz

__all__ = ["Dataset", "open_dataset"]


class Dataset:
    """Batches of experience in files, read one file at a time, in the order in which they were written."""

    def __init__(self, files: list[Path]) -> None:
        """Read ``files``."""
        self.files = files

    def __iter__(self) -> Iterator[ExperienceBatch]:
        """Yield a batch a file.

        Raises:
            StorageError: If a file cannot be read or is damaged.
        """
        for file in self.files:
            yield read_npz(file)

    def __repr__(self) -> str:
        """Return how many files there are."""
        return f"Dataset({len(self.files)} files)"


def open_dataset(path: str | Path) -> Dataset:
    """Return the dataset in a folder, or in one file.

    Raises:
        StorageError: If there is none.
    """
    try:
        place = Path(path)
        files = [place] if place.is_file() else dataset_files(place)
    except (TypeError, ValueError, OSError) as error:
        raise StorageError(f"path: expected a folder or a file, got {path!r} ({error})") from error
    if not files:
        raise StorageError(f"path: expected a folder with experiences_*.npz, or one such file, got {str(path)!r}")
    return Dataset(files)
