"""Segments of the log: SQLite databases, one written to, the others sealed by a small file beside them and never changed.

``segment_00000000000000000128.db`` holds the experiences from number 128 on. While it is written to it is in WAL mode, which
readers in other processes may look into at any time. Once it is full, or the log closed, all of it is in one file, and
``segment_00000000000000000128.json`` has its size and checksums. From then on it is read without any lock.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from generals_env.errors import StorageError
from generals_env.recorders.filesystem import sqlite_connections as databases
from generals_env.recorders.filesystem.atomic_files import UNFINISHED, sync_folder
from generals_env.recorders.filesystem.checked_json import read_checked, write_checked
from generals_env.recorders.filesystem.leftovers import leftovers_in
from generals_env.recorders.log.chunk_rows import Chunk

__all__ = [
    "BLOCK",
    "CONSUMERS",
    "DAMAGED",
    "PAGE",
    "Seal",
    "append",
    "blocks_of",
    "companions",
    "connect",
    "create",
    "is_damage",
    "last_in",
    "log_leftovers",
    "open_to_read",
    "orphans_in",
    "rows",
    "seal",
    "seal_of",
    "seal_path",
    "segment_path",
    "start_of",
    "starts_in",
    "unlink",
    "unlink_companions",
]

logger = logging.getLogger(__name__)

SEGMENT = re.compile(r"segment_(\d{20})\.db")

#: Folders in that of a log: positions of consumers, and damaged files that a repair keeps.
CONSUMERS, DAMAGED = "consumers", "damaged"

PAGE = 4096  # bytes of a page of SQLite: what salvage relies on

BLOCK = 2**20  # bytes under one checksum: damage outside of chunks is told that closely

WAIT = 5.0  # seconds for readers that are in the middle of a page

COLUMNS = "first, count, written_at, most_turn, games, checksum, data"

SCHEMA = (
    "CREATE TABLE chunks (first INTEGER PRIMARY KEY, count INTEGER, written_at INTEGER, most_turn INTEGER, games TEXT,"
    " checksum INTEGER, data BLOB)"
)

#: Codes of SQLite that say nothing of what is in the file.
NO_DAMAGE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_FULL,
)


@dataclass(frozen=True)
class Seal:
    """What is known of a segment that is complete.

    Attributes:
        bytes: Of the file.
        crc32: Of the whole file.
        blocks: CRC-32 of each ``BLOCK`` bytes.
        first: Number of the first experience.
        last: Of the last.
        count: How many there are; fewer than from first to last where a repair has left gaps.
        written_at: Nanoseconds UTC, of the newest chunk.
    """

    bytes: int
    crc32: int
    blocks: list[int]
    first: int
    last: int
    count: int
    written_at: int


def segment_path(folder: Path, first: int) -> Path:
    """Return where the segment lies whose first experience has this number."""
    return folder / f"segment_{first:020d}.db"


def start_of(path: Path) -> int:
    """Return the number that the name of a segment tells."""
    return int(path.stem.removeprefix("segment_"))


def seal_path(path: Path) -> Path:
    """Return where the seal of a segment lies."""
    return path.with_suffix(".json")


def companions(path: Path) -> tuple[Path, Path]:
    """Return the files that SQLite keeps beside a database in WAL mode: the log and its index."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def starts_in(folder: Path) -> list[int]:
    """Return the first numbers of the segments in a folder, in order.

    Raises:
        StorageError: If it cannot be read.
    """
    try:
        return sorted(int(found[1]) for found in map(SEGMENT.fullmatch, os.listdir(folder)) if found)  # noqa: PTH208 - faster
    except OSError as error:
        raise StorageError(f"folder: expected one that can be read, got {str(folder)!r} ({error})") from error


def seal_of(path: Path) -> Seal | None:
    """Return the seal of a segment, None if it has none.

    Raises:
        StorageError: If it is damaged.
    """
    content = read_checked(seal_path(path))
    try:
        return None if content is None else Seal(**content)
    except TypeError as error:
        raise StorageError(f"{seal_path(path)}: expected the seal of a segment, got {content!r:.200}") from error


def orphans_in(folder: Path) -> list[Path]:
    """Return the seals in a folder whose segments are not there."""
    return sorted(path for path in folder.glob("segment_*.json") if not path.with_suffix(".db").exists())


def log_leftovers(folder: Path, written: bool) -> list[Path]:
    """Return what killed processes have left in the folder of a log: files that are no part of it.

    Args:
        folder: Of the log.
        written: Whether a process may be writing to the log: then a segment that is being made is none.
    """
    found: set[Path] = set()
    for place in (folder, folder / CONSUMERS, folder / DAMAGED):
        found.update(leftovers_in(place, below=False))
        if not written:
            found.update(place.glob(f"segment_*.db{UNFINISHED}*"))
    return sorted(found)


# --- SQLite -----------------------------------------------------------------------------------------------------------


def create(path: Path) -> None:
    """Make an empty segment: readers never see it half made.

    Raises:
        OSError, sqlite3.Error: If it cannot be made. Nothing stays.
    """
    unfinished = path.with_name(f"{path.name}{UNFINISHED}")
    try:
        unlink(unfinished)  # of a crash
        with closing(connect(unfinished)) as connection:
            for setting in (f"page_size={PAGE}", "auto_vacuum=NONE", "journal_mode=WAL"):
                connection.execute(f"PRAGMA {setting}")
            connection.execute(SCHEMA)
        unfinished.replace(path)
        sync_folder(path.parent)
    finally:
        unlink(unfinished)


def connect(path: Path, durability: str = "commit") -> sqlite3.Connection:
    """Return a connection that writes; transactions begin and end where they are told to."""
    connection = databases.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA synchronous={'FULL' if durability == 'commit' else 'NORMAL'}")
        # So no page of a transaction is written twice, and a broken frame before good ones is damage and nothing else.
        connection.execute("PRAGMA cache_spill=OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """Return a connection that reads, also where nothing can be written.

    Raises:
        sqlite3.Error: If the file cannot be opened.
    """
    sealed = seal_path(path).exists()
    options = "mode=ro&immutable=1" if sealed else "mode=ro"
    uri = f"{path.absolute().as_uri()}?{options}"
    connection = databases.connect(uri, uri=True, timeout=WAIT, isolation_level=None, check_same_thread=False)
    try:
        if not sealed:
            connection.execute("SELECT 1 FROM chunks LIMIT 1").fetchall()
    except sqlite3.Error as error:
        connection.close()
        if is_damage(error) or companions(path)[0].exists() or not path.exists() or os.access(path.parent, os.W_OK):
            raise
        # The writer crashed with everything in one file, and what SQLite wants to put beside it cannot be written here.
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        connection = databases.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    return connection


def is_damage(error: Exception) -> bool:
    """Return whether an exception of a library means that a file is damaged, not that it cannot be read now."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in NO_DAMAGE


def append(connection: sqlite3.Connection, chunks: list[Chunk]) -> None:
    """Write chunks in one transaction: all or none.

    Raises:
        sqlite3.Error: If they cannot be written.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)", [chunk.row for chunk in chunks])
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def rows(connection: sqlite3.Connection, after: int, most_bytes: int) -> list[tuple[Any, ...]]:
    """Return rows in order, from the one on in which number ``after + 1`` is; one at least, while there is one.

    Nothing stays open, or the writer could not begin its log anew.

    Args:
        connection: Of a segment.
        after: Number of an experience.
        most_bytes: Of data, but for the last row.
    """
    cursor = connection.execute(
        f"SELECT {COLUMNS} FROM chunks WHERE first >= ifnull((SELECT max(first) FROM chunks WHERE first <= :next), :next)"  # noqa: S608
        " AND first + count > :next ORDER BY first",
        {"next": after + 1},
    )
    try:
        found, size = [], 0
        for row in cursor:
            found.append(row)
            size += len(row[-1] or b"")
            if size >= most_bytes:
                break
        return found
    finally:
        cursor.close()


def last_in(connection: sqlite3.Connection) -> int:
    """Return the last number in a segment, -1 if there is none."""
    row = connection.execute("SELECT first + count - 1 FROM chunks ORDER BY first DESC LIMIT 1").fetchall()
    return int(row[0][0]) if row else -1


# --- From written to sealed, to gone ----------------------------------------------------------------------------------


def seal(path: Path, gaps: bool = False) -> Seal | None:
    """Bring all of a segment into one file and seal it, unless there is nothing in it.

    Nobody may have a connection that writes.

    Args:
        path: The segment.
        gaps: Whether experiences may be missing in it.

    Returns:
        The seal; None where nothing was in it.

    Raises:
        StorageError: If the segment is damaged, cannot be written, or a reader does not let go of it.
    """
    try:
        with closing(connect(path)) as connection:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            summary = "SELECT min(first), max(first + count) - 1, total(count), max(written_at) FROM chunks"
            first, last, count, written_at = connection.execute(summary).fetchone()
        if busy:
            raise ValueError("a reader that does not let go of it")  # noqa: TRY301 - told with the others
        if first is None:
            return None
        if not gaps and (first != start_of(path) or count != last - first + 1):
            raise ValueError(f"{count:.0f} experiences from {first} to {last}")  # noqa: TRY301 - told with the others
        size, whole, blocks = checksums(path)
        sealed = Seal(size, whole, blocks, first, last, int(count), written_at)
        write_checked(seal_path(path), asdict(sealed))
        unlink_companions(path)
    except (sqlite3.Error, OSError, TypeError, ValueError) as error:  # a damaged row may hold anything
        raise StorageError(f"{path}: expected a segment that can be sealed, got {error}") from error
    return sealed


def unlink_companions(path: Path) -> None:
    """Take away what SQLite leaves beside a sealed segment where a reader was connected."""
    for companion in companions(path):
        try:
            companion.unlink(missing_ok=True)
        except PermissionError as error:  # Windows, while it still is; the next opening tries again
            logger.debug("%s: stays for now: %s", companion, error)


def checksums(path: Path) -> tuple[int, int, list[int]]:
    """Return size, checksum, and checksums of the blocks of a file."""
    size, whole, blocks = 0, 0, []
    for block in blocks_of(path):
        size += len(block)
        whole = zlib.crc32(block, whole)
        blocks.append(zlib.crc32(block))
    return size, whole, blocks


def blocks_of(path: Path) -> Iterator[bytes]:
    """Yield the content of a file."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def unlink(path: Path) -> None:
    """Take a segment away, with all that is beside it; a seal without a segment would look like damage, so that goes first."""
    for one in (seal_path(path), path, *companions(path)):
        one.unlink(missing_ok=True)
