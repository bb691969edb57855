"""Reads and writes the indexes of a dataset's folders, which hold the size, checksum and counts of each file.

They make damage and loss of files detectable, and counts available without reading files. A folder has one index of its
Parquet files, inside a Parquet file without rows, and one of all others, ``_index.json``. In folders of earlier versions the
latter has entries of all files; the next change of the indexes moves them. The files are the authority: an index that is
missing or out of date is rebuilt from them, and readers list the files themselves.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from generals_env.errors import StorageError
from generals_env.recorders.datasets.index_as_parquet import columns_of, unwrapped, wrapped
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.filesystem.file_stores import FileStore, is_hidden
from generals_env.recorders.formats.file_names import INDEXES, JSON_INDEX, PARQUET_INDEX, is_index, parsed_name

__all__ = [
    "Entries",
    "FileEntry",
    "change_indexes",
    "changed",
    "decoded",
    "describe",
    "encoded",
    "folder_of",
    "index_of",
    "inside",
    "read_indexes",
]

logger = logging.getLogger(__name__)

#: Version of the format of the index.
VERSION = 1


@dataclass(frozen=True)
class FileEntry:
    """Entry of a file in an index.

    Attributes:
        bytes: Size of the file.
        crc32: CRC-32 of its content.
        experiences: Number of experiences.
        games: Number of games.
        first_sequence: Lowest sequence number, None without experiences.
        last_sequence: Highest sequence number.
        first_turn: Lowest turn.
        last_turn: Highest turn.
        runs: Ids of the recorders that gave the sequence numbers, as far as they are known.
        offsets: ``[first experience, first byte]`` of sections that can be decoded alone, in formats that have them.
    """

    bytes: int
    crc32: int
    experiences: int
    games: int
    first_sequence: int | None
    last_sequence: int | None
    first_turn: int | None
    last_turn: int | None
    runs: tuple[str, ...] = ()
    offsets: tuple[tuple[int, int], ...] = ()


Entries = dict[str, FileEntry]


def describe(batch: ExperienceBatch, content: bytes, offsets: Iterable[tuple[int, int]] = ()) -> FileEntry:
    """Return the entry of a file with this content, the encoding of ``batch``."""
    sequence, turn = batch.sequence, batch.turn
    run = batch.metadata.get("run")
    return FileEntry(
        bytes=len(content),
        crc32=zlib.crc32(content),
        experiences=len(batch),
        games=len(batch.game_ids),
        first_sequence=int(sequence.min()) if len(batch) else None,
        last_sequence=int(sequence.max()) if len(batch) else None,
        first_turn=int(turn.min()) if len(batch) else None,
        last_turn=int(turn.max()) if len(batch) else None,
        runs=(run,) if isinstance(run, str) else (),
        offsets=tuple(offsets),
    )


def index_of(form: str) -> str:
    """Return the name, without folder, of the index for files of a format."""
    return PARQUET_INDEX if form == "parquet" else JSON_INDEX


def read_indexes(store: FileStore, folder: str, names: Iterable[str] = INDEXES) -> tuple[Entries, dict[str, str]]:
    """Return the entries in the indexes of a folder.

    Args:
        store: The store.
        folder: The folder in it.
        names: Which indexes and parts of indexes to read, if they exist.

    Returns:
        The entries by names of files, without the folder; descriptions of damaged indexes by their names, with the folder.
    """
    entries: Entries = {}
    damages: dict[str, str] = {}
    # Parts first: one that is gone has been merged into its index, which is read afterwards. The Parquet index is the last, as
    # it overrules entries of earlier versions.
    waiting = sorted(set(names), key=order_of, reverse=True)
    while waiting:
        index = waiting.pop(0)
        name = inside(folder, index)
        try:
            entries |= decoded(f"{store.url}/{name}", store.read(name))
        except FileNotFoundError:
            if index not in INDEXES and is_index(index) not in waiting:  # the index is newer than the list of files
                waiting = sorted([*waiting, is_index(index)], key=order_of, reverse=True)
            continue
        except StorageError as error:
            damages[name] = str(error)
    return entries, damages


def order_of(name: str) -> int:
    """Return the place of an index in ``INDEXES``; parts of indexes come after them."""
    return INDEXES.index(name) if name in INDEXES else len(INDEXES)


def change_indexes(store: FileStore, folder: str, change: Callable[[str, Entries], Entries]) -> None:
    """Replace the entries of a folder's indexes, and merge their parts into them; an index without entries is deleted.

    A part is deleted when the index has its entries, unless its writer has replaced it in the meantime. So a crash at any
    moment leaves each entry in the index or in a part.

    Args:
        store: The store.
        folder: The folder in it.
        change: Takes the name of an index, without the folder, and its entries, none if it is damaged or does not exist;
            returns the new entries. It may be called several times.
    """
    there = {file.name.rpartition("/")[2] for file in store.files(folder, hidden=True) if folder_of(file.name) == folder}
    needed = {index_of_file(name) for name in there if not is_hidden(name) and parsed_name(name) is not None}
    parts, entries = read_parts(store, folder, sorted(name for name in there if name not in INDEXES and is_index(name)))
    needed |= {is_index(part) for part in parts}
    for index in INDEXES:  # the Parquet index first: it takes over entries of Parquet files from the other
        if index in needed or index in there:
            store.change(inside(folder, index), partial(changed, store, folder, index, change, entries))
    for part, content in parts.items():
        store.change(inside(folder, part), partial(unless_changed, content))


def read_parts(store: FileStore, folder: str, names: Iterable[str]) -> tuple[dict[str, bytes], Entries]:
    """Return the contents of parts of indexes by their names, without the folder, and the entries of all."""
    parts: dict[str, bytes] = {}
    entries: Entries = {}
    for part in names:
        name = inside(folder, part)
        try:
            parts[part] = store.read(name)
            entries |= decoded(f"{store.url}/{name}", parts[part])
        except FileNotFoundError:  # it was merged in the meantime
            continue
        except StorageError as error:
            if part not in parts:
                raise
            logger.warning("its entries are rebuilt: %s", error)
    return parts, entries


def unless_changed(merged: bytes, content: bytes | None) -> bytes | None:
    """Return None, to delete a part that has been merged; or the new content if its writer has replaced it."""
    return None if content == merged else content


def changed(
    store: FileStore,
    folder: str,
    index: str,
    change: Callable[[str, Entries], Entries],
    parts: Entries,
    content: bytes | None,
) -> bytes | None:
    """Return the new content of an index, None if it has no entries; ``parts`` are the entries of its parts."""
    name = inside(folder, index)
    entries = dict(parts)
    columns = None
    if index == PARQUET_INDEX:
        entries |= read_indexes(store, folder, [JSON_INDEX])[0]
    if content is not None:
        try:
            entries |= decoded(name, content)
            columns = unwrapped(content)[1] if index == PARQUET_INDEX else None
        except StorageError as error:
            logger.warning("%s/%s is rebuilt: %s", store.url, name, error)
    entries = change(index, {file: entry for file, entry in entries.items() if index_of_file(file) == index})
    if not entries or index == JSON_INDEX:
        return encoded(entries) if entries else None
    columns = columns or columns_of(store.read(inside(folder, file)) for file in sorted(entries))
    return None if columns is None else wrapped(encoded(entries), columns)


def index_of_file(file: str) -> str:
    """Return the name of the index that has the entry of a file."""
    parsed = parsed_name(file)
    return index_of(parsed.format) if parsed else JSON_INDEX


def inside(folder: str, name: str) -> str:
    """Return a file's name in the store from its folder and its own name."""
    return f"{folder}/{name}" if folder else name


def folder_of(name: str) -> str:
    """Return the folder of a file."""
    return name.rpartition("/")[0]


def encoded(entries: Mapping[str, FileEntry]) -> bytes:
    """Return the content of an index."""
    files = {name: asdict(entry) for name, entry in sorted(entries.items())}
    body = {
        "version": VERSION,
        "experiences": sum(entry.experiences for entry in entries.values()),
        "bytes": sum(entry.bytes for entry in entries.values()),
        "files": files,
    }
    return json.dumps({**body, "checksum": checksum(body)}, indent=1).encode()


def checksum(body: Mapping[str, Any]) -> int:
    """Return the checksum of an index."""
    return zlib.crc32(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())


def decoded(name: str, content: bytes) -> Entries:
    """Return the entries of an index; raise ``StorageError`` if it is damaged."""
    try:
        if is_index(name.rpartition("/")[2]) == PARQUET_INDEX:
            content, _ = unwrapped(content)
        body = json.loads(content)
        recorded = body.pop("checksum")
        if (
            body["version"] != VERSION
            or recorded != checksum(body)
            or content != json.dumps({**body, "checksum": recorded}, indent=1).encode()
        ):
            raise ValueError("its checksum differs")  # noqa: TRY301 - reported with the others
        entries = {}
        for file, fields in body["files"].items():
            offsets = tuple((int(first), int(start)) for first, start in fields.pop("offsets"))
            entries[file] = FileEntry(**{**fields, "runs": tuple(fields["runs"])}, offsets=offsets)
    except (StorageError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            f"{name}: expected an index of version {VERSION}, got damage ({error}): run repair_dataset() to rebuild it"
        ) from error
    return entries
