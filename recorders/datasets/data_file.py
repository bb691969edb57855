"""A file of experience in a store: read, checked against its index, and indexed."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from dataclasses import dataclass

from generals_env.errors import StorageError
from generals_env.recorders.datasets.index import Entries, FileEntry, change_indexes, describe, index_of, inside, read_indexes
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.filter import EVERYTHING, ExperienceFilter
from generals_env.recorders.filesystem.stores import FileStore, is_hidden
from generals_env.recorders.formats import format_of
from generals_env.recorders.formats.file_names import INDEXES, in_order, parsed_name, safe_id

__all__ = ["DataFile", "entry_of", "files_in", "mend_index"]


@dataclass(frozen=True)
class DataFile:
    """A file of experience.

    Attributes:
        store: Where it lies.
        name: Its name there.
        size: Bytes.
        format: A key of ``FORMATS``.
        entry: What the index tells of it, None if it tells nothing.
    """

    store: FileStore
    name: str
    size: int
    format: str
    entry: FileEntry | None = None

    @property
    def place(self) -> str:
        """Where it lies, for people."""
        return f"{self.store.url}/{self.name}"

    @property
    def experiences(self) -> int | None:
        """How many experiences it holds, as the index tells; None if it does not."""
        return self.entry.experiences if self.entry else None

    def may_hold(self, selection: ExperienceFilter) -> bool:
        """Return whether there may be such experiences, as far as name and index tell."""
        told = parsed_name(self.name)
        if selection.game_ids is not None and told is not None and told.kind == "game":
            if told.id not in {safe_id(name) for name in selection.game_ids}:
                return False
        last = self.entry.last_turn if self.entry else None
        return selection.min_turn is None or last is None or last >= selection.min_turn

    def read(self, selection: ExperienceFilter = EVERYTHING) -> ExperienceBatch | None:
        """Return those of its experiences that are wanted, None if there is none.

        Raises:
            StorageError: If it cannot be read, is damaged, or is not what the index tells.
        """
        batch = selection.apply(self.whole())
        return batch if len(batch) or selection == EVERYTHING else None

    def whole(self) -> ExperienceBatch:
        """Return all its experiences; errors as in ``read``."""
        try:
            content = self.store.read(self.name)
        except FileNotFoundError as error:
            raise StorageError(f"path: expected {self.place!r} to be there, got {error}") from error
        if self.entry is not None and (len(content), zlib.crc32(content)) != (self.entry.bytes, self.entry.crc32):
            raise self._damaged(f"{len(content)} bytes with another checksum than the index tells")
        return self._decoded(content)

    def read_at(self, index: int) -> tuple[int, ExperienceBatch]:
        """Return a part of the file that has experience ``index``, and the number of the first one in it.

        Formats whose parts stand alone give one part, of which alone bytes are moved; others the whole file.

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
        return StorageError(f"path: expected a file of experiences, got {self.place!r} ({what})")


def files_in(store: FileStore, under: str = "") -> tuple[list[DataFile], dict[str, str]]:
    """Return the files of experience in a store in their order, and what is wrong with indexes, by their names."""
    sizes = dict(store.files(under, hidden=True))
    damages: dict[str, str] = {}
    indexes: dict[str, Entries] = {}
    files = []
    for name in in_order(name for name in sizes if not is_hidden(name)):
        told = parsed_name(name)
        assert told is not None  # noqa: S101 - ``in_order`` leaves others out
        folder = told.folder
        if folder not in indexes:
            indexes[folder], wrong = read_indexes(store, folder, [index for index in INDEXES if inside(folder, index) in sizes])
            damages |= wrong
        files.append(DataFile(store, name, sizes[name], told.format, indexes[folder].get(name.rpartition("/")[2])))
    return files, damages


def entry_of(form: str, batch: ExperienceBatch, content: bytes) -> FileEntry:
    """Return the index entry for a file in format ``form`` with this content, which holds ``batch``."""
    offsets = getattr(format_of(form), "offsets", None)
    return describe(batch, content, () if offsets is None else offsets(content))


def mend_index(store: FileStore, folder: str, added: Entries | None = None) -> list[str]:
    """Bring a folder's indexes up to its files: add those that they lack, and forget those that are gone.

    Files that cannot be read are left out.

    Args:
        store: Where.
        folder: Which folder.
        added: Entries that are known.

    Returns:
        What is wrong with files that cannot be read.
    """
    damaged: dict[str, str] = {}

    def complete(index: str, entries: Entries) -> Entries:
        known = {**entries, **(added or {})}
        found: Entries = {}
        for stored in store.files(folder):
            told = parsed_name(stored.name)
            if told is None or told.folder != folder or index_of(told.format) != index:
                continue
            name = stored.name.rpartition("/")[2]
            if name in known and known[name].bytes == stored.size:
                found[name] = known[name]
                continue
            try:
                content = store.read(stored.name)
                found[name] = entry_of(told.format, format_of(told.format).decode(content), content)
            except (StorageError, FileNotFoundError) as error:
                damaged[stored.name] = f"{store.url}/{stored.name}: {error}"
        return found

    change_indexes(store, folder, complete)
    return list(damaged.values())
