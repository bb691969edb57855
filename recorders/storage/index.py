"""``_index.json``: what lies in a folder of a dataset, so that damage and loss are noticed, and counts are known unread.

The files are what counts: an index that is missing or behind is made anew from them, and readers go by the files.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from generals_env.errors import StorageError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.storage.layout import INDEX
from generals_env.recorders.storage.stores import Store

__all__ = ["FileEntry", "change_index", "describe", "read_index"]

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


def read_index(store: Store, folder: str) -> Entries:
    """Return the entries of a folder's index by the names of files, without the folder; empty if there is no index.

    Raises:
        StorageError: If the index is damaged.
    """
    name = index_name(folder)
    try:
        content = store.read(name)
    except FileNotFoundError:
        return {}
    return parsed(f"{store.url}/{name}", content)


def change_index(store: Store, folder: str, change: Callable[[Entries | None], Entries]) -> None:
    """Replace a folder's index by what ``change`` makes of its entries; without entries it is deleted.

    Args:
        store: Where.
        folder: Of which folder.
        change: Is given None if there is no index, or if it is damaged.
    """
    name = index_name(folder)

    def changed(content: bytes | None) -> bytes | None:
        entries = None
        if content is not None:
            try:
                entries = parsed(name, content)
            except StorageError as error:
                logger.warning("%s/%s is made anew: %s", store.url, name, error)
        new = change(entries)
        return written(new) if new else None

    store.change(name, changed)


def index_name(folder: str) -> str:
    """Return the name of a folder's index."""
    return f"{folder}/{INDEX}" if folder else INDEX


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
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{place}: expected an index of version {VERSION}, got damage ({error})") from error
    return entries
