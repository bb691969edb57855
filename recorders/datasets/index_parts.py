"""Indexes the files of one writer on a store that many writers share, without a race between them.

Each writer has a part of a folder's index to itself, and replaces it after each flush: one request, and no other process writes
it. When the part has grown, when the hour is over and when the writer closes, the entries are merged into the folder's index by
a conditional write, and the part is deleted. Readers read the parts and then the index, so they see an entry at any moment. A
merge that fails does no harm: the part stays, and is merged later, or by ``repair_dataset``.
"""

from __future__ import annotations

import logging
import math
from typing import Any

from generals_env.errors import StorageError
from generals_env.recorders.datasets.index import Entries, changed, decoded, encoded, index_of, inside
from generals_env.recorders.datasets.index_as_parquet import columns_of, wrapped
from generals_env.recorders.filesystem.file_stores import FileStore
from generals_env.recorders.formats.file_names import PARQUET_INDEX, index_part

__all__ = ["IndexParts"]

logger = logging.getLogger(__name__)

#: Minimum entries of a part before it is merged.
PART_ENTRIES = 64


class IndexParts:
    """The parts of indexes that one writer writes, one a folder."""

    def __init__(self, store: FileStore, writer: str, form: str) -> None:
        """Index files of a writer.

        Args:
            store: The store.
            writer: An id that no other writer has, on any machine.
            form: A key of ``FORMATS``, the format of all files of the writer.
        """
        self._store = store
        self._writer = writer
        self._index = index_of(form)
        self._held: dict[str, Entries] = {}  # of the part of each folder
        self._merged: dict[str, int] = {}  # entries of the folder's index when this writer merged last
        self._number = 0  # of the part, where parts cannot be merged
        self._columns: Any = None

    def add(self, folder: str, entries: Entries) -> None:
        """Add entries of new files; they are stored when this returns.

        Raises:
            StorageError: If the part cannot be written: the entries are not taken.
        """
        held = {**self._held.get(folder, {}), **entries}
        self._store.replace(inside(folder, self._part), self._content(folder, held))
        self._held[folder] = held
        for earlier in [name for name in self._held if name != folder]:
            self._merge(earlier)
        # A flush rewrites the part, and a merge the index of n entries: with parts of sqrt(2 n) entries both cost alike.
        if len(held) >= max(PART_ENTRIES, math.isqrt(2 * self._merged.get(folder, 0))):
            self._merge(folder)

    def close(self) -> None:
        """Merge all parts into the indexes of their folders."""
        for folder in list(self._held):
            self._merge(folder)

    @property
    def _part(self) -> str:
        return index_part(self._index, f"{self._writer}-{self._number}")

    def _content(self, folder: str, entries: Entries) -> bytes:
        """Return the content of a part."""
        if self._index != PARQUET_INDEX:
            return encoded(entries)
        if self._columns is None:
            self._columns = columns_of(self._store.read(inside(folder, name)) for name in entries)
        return wrapped(encoded(entries), self._columns)

    def _merge(self, folder: str) -> None:
        """Merge a part into its index, and delete it; if that fails, it stays."""
        if not self._store.has_safe_change:
            # Two merges at the same moment would lose entries. So the part stays as it is, and the next one begins.
            self._held.pop(folder)
            self._number += 1
            return
        name = inside(folder, self._index)

        def merged(_: str, entries: Entries) -> Entries:
            # Listed each time: a file that retention has deleted must not come back into the index.
            sizes = {file.name: file.size for file in self._store.files(folder)}
            new = {file: one for file, one in self._held[folder].items() if sizes.get(inside(folder, file)) == one.bytes}
            self._merged[folder] = len(entries) + len(new)
            return {**entries, **new}

        def changed_if_sound(content: bytes | None) -> bytes | None:
            if content is not None:
                decoded(f"{self._store.url}/{name}", content)  # repair_dataset() rebuilds a damaged one from all files
            return changed(self._store, folder, self._index, merged, {}, content)

        try:
            self._store.change(name, changed_if_sound)
            self._store.delete(inside(folder, self._part))
        except StorageError as error:
            logger.warning("a part of the index is not merged yet: %s", error)
            return
        self._held.pop(folder)
