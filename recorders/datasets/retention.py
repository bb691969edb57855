"""Deletes the oldest files of a dataset, or moves them to an archive, by age and total size."""

from __future__ import annotations

import logging

from generals_env.arguments import check_integer, is_number
from generals_env.errors import ConfigError
from generals_env.recorders.datasets.data_file import DataFile, files_in, mend_index
from generals_env.recorders.datasets.index import Entries, change_indexes
from generals_env.recorders.filesystem.file_stores import FileStore
from generals_env.recorders.formats.file_names import parsed_name, partition_end

__all__ = ["FileRetention"]

logger = logging.getLogger(__name__)


class FileRetention:
    """Applies the limits of a dataset. It sees whole files only, so it touches none that is being written.

    Attributes:
        deleted: How many files were deleted.
        archived: How many files were moved to the archive.
    """

    def __init__(self, store: FileStore, keep_bytes: int | None, keep_seconds: float | None, archive: FileStore | None) -> None:
        """Limit ``store``; the other arguments are those of ``DatasetWriter``."""
        if keep_bytes is not None:
            check_integer("keep_bytes", keep_bytes, 0, 2**62)
        if keep_seconds is not None and (not is_number(keep_seconds) or keep_seconds < 0):
            raise ConfigError(f"keep_seconds: expected seconds, 0 or more, got {keep_seconds!r}")
        self._store = store
        self._keep_bytes = keep_bytes
        self._keep_seconds = keep_seconds
        self._archive = archive
        self.deleted = 0
        self.archived = 0

    def apply(self, now: float) -> None:
        """Remove files that are too old at ``now``, in seconds since 1970, and the oldest ones beyond the size limit."""
        if self._keep_bytes is None and self._keep_seconds is None:
            return
        files = oldest_first(self._store)
        total = sum(file.size for file in files)
        for file in files:
            end = partition_end(folder_of(file))
            aged = self._keep_seconds is not None and end is not None and now - end >= self._keep_seconds
            if not aged and (self._keep_bytes is None or total <= self._keep_bytes):
                break
            self._remove(file)
            total -= file.size

    def make_room(self, count: int) -> None:
        """Remove the oldest files until ``count`` bytes are freed, or no file is left."""
        for file in oldest_first(self._store):
            if count <= 0:
                return
            self._remove(file)
            count -= file.size

    def _remove(self, file: DataFile) -> None:
        folder, _, name = file.name.rpartition("/")
        if self._archive is not None:
            content = self._store.read(file.name)
            try:
                self._archive.create(file.name, content)
            except FileExistsError:  # it was copied, but not deleted, before a crash
                if self._archive.read(file.name) != content:
                    raise
            mend_index(self._archive, folder, None if file.entry is None else {name: file.entry})
            self.archived += 1
        else:
            self.deleted += 1
        self._store.delete(file.name)

        def without(_: str, entries: Entries) -> Entries:
            return {other: entry for other, entry in entries.items() if other != name}

        change_indexes(self._store, folder, without)
        logger.info("%s %s", "archived" if self._archive else "deleted", file.place)


def folder_of(file: DataFile) -> str:
    """Return the folder of a file."""
    parsed = parsed_name(file.name)
    return parsed.folder if parsed else ""


def oldest_first(store: FileStore) -> list[DataFile]:
    """Return the files of a store in the order of their hours, and of their numbers within one."""
    files, _ = files_in(store)
    return sorted(files, key=folder_of)  # sorting is stable, so the order within a folder stays
