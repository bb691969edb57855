"""What lies in a folder of a dataset, so that damage and loss are noticed, and counts are known unread.

There is an index of the Parquet files, inside a Parquet file without rows, and one of all others, ``_index.json``. In folders
of earlier versions the latter tells of all files; the next change of the indexes brings each entry where it belongs. The files
are what counts: an index that is missing or behind is made anew from them, and readers go by the files.
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
from generals_env.recorders.datasets.parquet_index import columns_of, unwrapped, wrapped
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.filesystem.stores import FileStore, is_hidden
from generals_env.recorders.formats.file_names import INDEXES, JSON_INDEX, PARQUET_INDEX, parsed_name

__all__ = ["Entries", "FileEntry", "change_indexes", "describe", "folder_of", "index_of", "inside", "read_indexes"]

logger = logging.getLogger(__name__)

#: Version of the form of the index.
VERSION = 1


@dataclass(frozen=True)
class FileEntry:
    """What an index tells of a file.

    Attributes:
        bytes: Its size.
        crc32: Of its content.
        experiences: How many there are.
        games: How many games they are of.
        first_sequence: Lowest sequence number, None without experiences.
        last_sequence: Highest.
        first_turn: Lowest turn.
        last_turn: Highest.
        runs: Names of the recorders, as far as they are known: sequence numbers are theirs.
        offsets: ``[first experience, first byte]`` of parts that can be read on their own, where the format has such parts.
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
    """Return the entry for a file with this content, which holds ``batch``."""
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
    """Return the name of the index that tells of files in a format, without the folder."""
    return PARQUET_INDEX if form == "parquet" else JSON_INDEX


def read_indexes(store: FileStore, folder: str, names: Iterable[str] = INDEXES) -> tuple[Entries, dict[str, str]]:
    """Return what the indexes of a folder tell.

    Args:
        store: Where.
        folder: Of which folder.
        names: Which indexes; those that are not there tell nothing.

    Returns:
        The entries by the names of files, without the folder; what is wrong with indexes that are damaged, by their names, with
        the folder.
    """
    entries: Entries = {}
    damages: dict[str, str] = {}
    for index in sorted(names, key=INDEXES.index, reverse=True):  # what the one for all files told before is overruled
        name = inside(folder, index)
        try:
            entries |= parsed(f"{store.url}/{name}", store.read(name))
        except FileNotFoundError:
            continue
        except StorageError as error:
            damages[name] = str(error)
    return entries, damages


def change_indexes(store: FileStore, folder: str, change: Callable[[str, Entries], Entries]) -> None:
    """Replace what a folder's indexes tell by what ``change`` makes of it; an index without entries is deleted.

    Args:
        store: Where.
        folder: Of which folder.
        change: Is given the name of an index, without the folder, and its entries, none if it is damaged or not there; gives
            those that it is to have. It may be called several times.
    """
    there = {file.name.rpartition("/")[2] for file in store.files(folder, hidden=True) if folder_of(file.name) == folder}
    needed = {told_by(name) for name in there if not is_hidden(name) and parsed_name(name) is not None}
    for index in INDEXES:  # the one for Parquet files first: it takes over what the other one told of them
        if index in needed or index in there:
            store.change(inside(folder, index), partial(changed, store, folder, index, change))


def changed(
    store: FileStore, folder: str, index: str, change: Callable[[str, Entries], Entries], content: bytes | None
) -> bytes | None:
    """Return the new content of an index, None if there is nothing to be told."""
    name = inside(folder, index)
    entries: Entries = {}
    columns = None
    if index == PARQUET_INDEX:
        entries, _ = read_indexes(store, folder, [JSON_INDEX])
    if content is not None:
        try:
            entries |= parsed(name, content)
            columns = unwrapped(content)[1] if index == PARQUET_INDEX else None
        except StorageError as error:
            logger.warning("%s/%s is made anew: %s", store.url, name, error)
    entries = change(index, {file: entry for file, entry in entries.items() if told_by(file) == index})
    if not entries or index == JSON_INDEX:
        return written(entries) if entries else None
    columns = columns or columns_of(store.read(inside(folder, file)) for file in sorted(entries))
    return None if columns is None else wrapped(written(entries), columns)


def told_by(file: str) -> str:
    """Return the name of the index that tells of a file."""
    told = parsed_name(file)
    return index_of(told.format) if told else JSON_INDEX


def inside(folder: str, name: str) -> str:
    """Return the name of a file with its folder."""
    return f"{folder}/{name}" if folder else name


def folder_of(name: str) -> str:
    """Return the folder of a file."""
    return name.rpartition("/")[0]


def written(entries: Mapping[str, FileEntry]) -> bytes:
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


def parsed(place: str, content: bytes) -> Entries:
    """Return the entries that an index tells; raise ``StorageError`` if it is damaged."""
    try:
        if place.endswith(PARQUET_INDEX):
            content, _ = unwrapped(content)
        body = json.loads(content)
        told = body.pop("checksum")
        if (
            body["version"] != VERSION
            or told != checksum(body)
            or content != json.dumps({**body, "checksum": told}, indent=1).encode()
        ):
            raise ValueError("the checksum is another one")  # noqa: TRY301 - told with the others
        entries = {}
        for name, fields in body["files"].items():
            offsets = tuple((int(first), int(start)) for first, start in fields.pop("offsets"))
            entries[name] = FileEntry(**{**fields, "runs": tuple(fields["runs"])}, offsets=offsets)
    except (StorageError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{place}: expected an index of version {VERSION}, got damage ({error})") from error
    return entries
