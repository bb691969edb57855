"""Creates, reads, seals and deletes the segment files of the log: SQLite databases, of which only the newest is written to.

``segment_00000000000000000128.db`` has the experiences from number 128 on. While it is written to it is in WAL mode, so that
other processes can read it at any time. When it is full, or the log is closed, it is sealed: all data are brought into the one
file, and ``segment_00000000000000000128.json`` gets its size and checksums. A sealed segment never changes, and is read
without locks.
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

#: Folders in the folder of a log: positions of consumers, and damaged files that a repair keeps.
CONSUMERS, DAMAGED = "consumers", "damaged"

PAGE = 4096  # bytes of a page of SQLite; salvage relies on it

BLOCK = 2**20  # bytes under one checksum, and so the precision with which damage outside of chunks is located

WAIT = 5.0  # seconds to wait for the locks of readers

COLUMNS = "first, count, written_at, most_turn, games, checksum, data"

SCHEMA = (
    "CREATE TABLE chunks (first INTEGER PRIMARY KEY, count INTEGER, written_at INTEGER, most_turn INTEGER, games TEXT,"
    " checksum INTEGER, data BLOB)"
)

#: Error codes of SQLite that do not indicate damage of the file.
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
    """Size, checksums and range of a complete segment.

    Attributes:
        bytes: Size of the file.
        crc32: CRC-32 of the whole file.
        blocks: CRC-32 of each ``BLOCK`` bytes.
        first: Number of the first experience.
        last: Number of the last experience.
        count: Number of experiences; smaller than the range if a repair has left gaps.
        written_at: When the newest chunk was written, nanoseconds UTC.
    """

    bytes: int
    crc32: int
    blocks: list[int]
    first: int
    last: int
    count: int
    written_at: int


def segment_path(folder: Path, first: int) -> Path:
    """Return the path of the segment whose first experience has this number."""
    return folder / f"segment_{first:020d}.db"


def start_of(path: Path) -> int:
    """Return the first number of a segment, from its name."""
    return int(path.stem.removeprefix("segment_"))


def seal_path(path: Path) -> Path:
    """Return the path of the seal of a segment."""
    return path.with_suffix(".json")


def companions(path: Path) -> tuple[Path, Path]:
    """Return the files that SQLite keeps beside a database in WAL mode: the WAL file and its index."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def starts_in(folder: Path) -> list[int]:
    """Return the first numbers of the segments in a folder, in order.

    Raises:
        StorageError: If the folder cannot be read.
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
        raise StorageError(f"{seal_path(path)}: expected the seal of a segment, got {content!r:.200}: run repair()") from error


def orphans_in(folder: Path) -> list[Path]:
    """Return the seals in a folder whose segments are missing."""
    return sorted(path for path in folder.glob("segment_*.json") if not path.with_suffix(".db").exists())


def log_leftovers(folder: Path, written: bool) -> list[Path]:
    """Return the unfinished files that killed processes left in the folder of a log.

    Args:
        folder: The folder of the log.
        written: Whether a process may be writing to the log: then an unfinished segment is not left over.
    """
    found: set[Path] = set()
    for one in (folder, folder / CONSUMERS, folder / DAMAGED):
        found.update(leftovers_in(one, below=False))
        if not written:
            found.update(one.glob(f"segment_*.db{UNFINISHED}*"))
    return sorted(found)


# --- SQLite -----------------------------------------------------------------------------------------------------------


def create(path: Path) -> None:
    """Make an empty segment, which appears whole.

    Raises:
        OSError, sqlite3.Error: If it cannot be made. No file is left.
    """
    unfinished = path.with_name(f"{path.name}{UNFINISHED}")
    try:
        unlink(unfinished)  # left by a crash
        with closing(connect(unfinished)) as connection:
            for setting in (f"page_size={PAGE}", "auto_vacuum=NONE", "journal_mode=WAL"):
                connection.execute(f"PRAGMA {setting}")
            connection.execute(SCHEMA)
        unfinished.replace(path)
        sync_folder(path.parent)
    finally:
        unlink(unfinished)


def connect(path: Path, durability: str = "commit") -> sqlite3.Connection:
    """Return a connection for writing, with explicit transactions."""
    connection = databases.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA synchronous={'FULL' if durability == 'commit' else 'NORMAL'}")
        # So a transaction writes each page once, and a broken frame before intact ones can only be damage.
        connection.execute("PRAGMA cache_spill=OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """Return a connection for reading, also in a read-only folder.

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
        # The writer crashed with all data in one file, and SQLite cannot make its WAL files in a read-only folder.
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        connection = databases.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    return connection


def is_damage(error: Exception) -> bool:
    """Return whether an exception means that a file is damaged, not that it cannot be read now."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in NO_DAMAGE


def append(connection: sqlite3.Connection, chunks: list[Chunk]) -> None:
    """Write chunks in one transaction.

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


def rows(connection: sqlite3.Connection, after: int, max_bytes: int) -> list[tuple[Any, ...]]:
    """Return rows in order, from the row that has number ``after + 1`` on; at least one, if there is one.

    The transaction ends here, as a longer one would keep the writer from resetting the WAL file.

    Args:
        connection: A connection to a segment.
        after: Number of an experience.
        max_bytes: No further row is read once the data have this size.
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
            if size >= max_bytes:
                break
        return found
    finally:
        cursor.close()


def last_in(connection: sqlite3.Connection) -> int:
    """Return the last number in a segment, -1 if it is empty."""
    row = connection.execute("SELECT first + count - 1 FROM chunks ORDER BY first DESC LIMIT 1").fetchall()
    return int(row[0][0]) if row else -1


# --- Sealing and deleting ---------------------------------------------------------------------------------------------


def seal(path: Path, gaps: bool = False) -> Seal | None:
    """Bring all data of a segment into one file and seal it, unless it is empty.

    No connection for writing may be open.

    Args:
        path: The segment.
        gaps: Whether experiences may be missing in it.

    Returns:
        The seal; None if the segment is empty.

    Raises:
        StorageError: If the segment is damaged, cannot be written, or a reader keeps it locked.
    """
    try:
        with closing(connect(path)) as connection:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            summary = "SELECT min(first), max(first + count) - 1, total(count), max(written_at) FROM chunks"
            first, last, count, written_at = connection.execute(summary).fetchone()
        if busy:
            raise ValueError("a reader that keeps it locked")  # noqa: TRY301 - reported with the others
        if first is None:
            return None
        if not gaps and (first != start_of(path) or count != last - first + 1):
            raise ValueError(f"{count:.0f} experiences from {first} to {last}")  # noqa: TRY301 - reported with the others
        size, whole, blocks = checksums(path)
        sealed = Seal(size, whole, blocks, first, last, int(count), written_at)
        write_checked(seal_path(path), asdict(sealed))
        unlink_companions(path)
    except (sqlite3.Error, OSError, TypeError, ValueError) as error:  # a damaged row may hold anything
        raise StorageError(f"{path}: expected a segment that can be sealed, got {error}") from error
    return sealed


def unlink_companions(path: Path) -> None:
    """Delete the WAL files that SQLite leaves beside a sealed segment if a reader was connected."""
    for companion in companions(path):
        try:
            companion.unlink(missing_ok=True)
        except PermissionError as error:  # on Windows, while a reader is connected; the next writer tries again
            logger.debug("%s: stays for now: %s", companion, error)


def checksums(path: Path) -> tuple[int, int, list[int]]:
    """Return the size, the checksum, and the checksums of the blocks of a file."""
    size, whole, blocks = 0, 0, []
    for block in blocks_of(path):
        size += len(block)
        whole = zlib.crc32(block, whole)
        blocks.append(zlib.crc32(block))
    return size, whole, blocks


def blocks_of(path: Path) -> Iterator[bytes]:
    """Yield the content of a file in blocks."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def unlink(path: Path) -> None:
    """Delete a segment with its files: the seal first, as a seal without a segment would look like damage."""
    for one in (seal_path(path), path, *companions(path)):
        one.unlink(missing_ok=True)
