"""Reads a data file of a dataset, checks it against its index entry, and mends indexes."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from dataclasses import dataclass

from generals_env.errors import StorageError
from generals_env.recorders.datasets.index import (
    Entries,
    FileEntry,
    change_indexes,
    describe,
    folder_of,
    index_of,
    read_indexes,
)
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.filter import EVERYTHING, ExperienceFilter
from generals_env.recorders.filesystem.file_stores import FileStore, is_hidden
from generals_env.recorders.formats import format_of
from generals_env.recorders.formats.file_names import in_order, is_index, parsed_name, safe_id

__all__ = ["DataFile", "entry_of", "files_in", "mend_index"]


@dataclass(frozen=True)
class DataFile:
    """A file of experience in a store.

    Attributes:
        store: The store.
        name: Its name in the store.
        size: Bytes.
        format: A key of ``FORMATS``.
        entry: Its entry in the index, None if it has none.
    """

    store: FileStore
    name: str
    size: int
    format: str
    entry: FileEntry | None = None

    @property
    def place(self) -> str:
        """Path or URL, for messages."""
        return f"{self.store.url}/{self.name}"

    @property
    def experiences(self) -> int | None:
        """Number of experiences according to the index; None if it has no entry."""
        return self.entry.experiences if self.entry else None

    def may_hold(self, selection: ExperienceFilter) -> bool:
        """Return whether such experiences may be in it, judging by its name and its index entry."""
        parsed = parsed_name(self.name)
        if selection.game_ids is not None and parsed is not None and parsed.kind == "game":
            if parsed.id not in {safe_id(name) for name in selection.game_ids}:
                return False
        last = self.entry.last_turn if self.entry else None
        return selection.min_turn is None or last is None or last >= selection.min_turn

    def read(self, selection: ExperienceFilter = EVERYTHING) -> ExperienceBatch | None:
        """Return the selected experiences, None if there are none.

        Raises:
            StorageError: If it cannot be read, is damaged, or differs from its index entry.
        """
        batch = selection.apply(self.whole())
        return batch if len(batch) or selection == EVERYTHING else None

    def whole(self) -> ExperienceBatch:
        """Return all experiences; errors as of ``read``."""
        try:
            content = self.store.read(self.name)
        except FileNotFoundError as error:
            raise StorageError(f"path: expected {self.place!r} to exist, got {error}: open the dataset again") from error
        if self.entry is not None and (len(content), zlib.crc32(content)) != (self.entry.bytes, self.entry.crc32):
            raise self._damaged(f"{len(content)} bytes with another checksum than in the index")
        return self._decoded(content)

    def read_at(self, index: int) -> tuple[int, ExperienceBatch]:
        """Return a section of the file that has experience ``index``, and the index of the first experience in it.

        In formats with sections that can be decoded alone, only that section is read; in others the section is the whole file.

        Raises:
            StorageError: As ``read``.
        """
        offsets = self.entry.offsets if self.entry else ()
        if len(offsets) < 2:
            return 0, self.whole()
        number = bisect_right(offsets, index, key=lambda offset: offset[0]) - 1
        first, start = offsets[number]
        stop = offsets[number + 1][1] if number + 1 < len(offsets) else None
        return first, self._decoded(self.store.read(self.name, start, stop))

    def _decoded(self, content: bytes) -> ExperienceBatch:
        try:
            return format_of(self.format).decode(content)
        except StorageError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, what: str) -> StorageError:
        return StorageError(
            f"path: expected a file of experiences, got {self.place!r} ({what}): skip it with Dataset.skip_damaged(), or run "
            "repair_dataset()"
        )


def files_in(store: FileStore, under: str = "") -> tuple[list[DataFile], dict[str, str]]:
    """Return the data files of a store in their order, and descriptions of damaged indexes by their names."""
    sizes = dict(store.files(under, hidden=True))
    damages: dict[str, str] = {}
    indexes: dict[str, Entries] = {}
    names: dict[str, list[str]] = {}
    for name in sizes:
        if is_index(name.rpartition("/")[2]):
            names.setdefault(folder_of(name), []).append(name.rpartition("/")[2])
    files = []
    for name in in_order(name for name in sizes if not is_hidden(name)):
        parsed = parsed_name(name)
        assert parsed is not None  # noqa: S101 - ``in_order`` leaves other files out
        folder = parsed.folder
        if folder not in indexes:
            indexes[folder], damaged = read_indexes(store, folder, names.get(folder, []))
            damages |= damaged
        files.append(DataFile(store, name, sizes[name], parsed.format, indexes[folder].get(name.rpartition("/")[2])))
    return files, damages


def entry_of(form: str, batch: ExperienceBatch, content: bytes) -> FileEntry:
    """Return the index entry of a file of format ``form`` with this content, the encoding of ``batch``."""
    offsets = getattr(format_of(form), "offsets", None)
    return describe(batch, content, () if offsets is None else offsets(content))


def mend_index(store: FileStore, folder: str, added: Entries | None = None) -> list[str]:
    """Update the indexes of a folder: add entries of files that they lack, and remove those of files that are gone.

    Files that cannot be read get no entry.

    Args:
        store: The store.
        folder: The folder in it.
        added: Known entries of new files.

    Returns:
        Descriptions of the files that cannot be read.
    """
    damaged: dict[str, str] = {}

    def complete(index: str, entries: Entries) -> Entries:
        known = {**entries, **(added or {})}
        found: Entries = {}
        for stored in store.files(folder):
            parsed = parsed_name(stored.name)
            if parsed is None or parsed.folder != folder or index_of(parsed.format) != index:
                continue
            name = stored.name.rpartition("/")[2]
            if name in known and known[name].bytes == stored.size:
                found[name] = known[name]
                continue
            try:
                content = store.read(stored.name)
                found[name] = entry_of(parsed.format, format_of(parsed.format).decode(content), content)
            except (StorageError, FileNotFoundError) as error:
                damaged[stored.name] = f"{store.url}/{stored.name}: {error}"
        return found

    change_indexes(store, folder, complete)
    return list(damaged.values())
