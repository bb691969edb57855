"""Keeps the counts of an ``InsertLimiter`` in a file that several processes of one machine share."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

from generals_env.errors import StorageError
from generals_env.recorders.filesystem.atomic_files import make_folder
from generals_env.recorders.filesystem.sqlite_connections import connect
from generals_env.recorders.sinks.insert_limits import InsertCounts

__all__ = ["FileCounts"]

TIMEOUT = 30.0  # seconds to wait for other processes, each of which holds the lock for some microseconds

TABLE = (
    "CREATE TABLE IF NOT EXISTS counts (id INTEGER PRIMARY KEY, inserted INTEGER, sampled INTEGER, wanted INTEGER, limits TEXT)"
)

ADD = (
    "UPDATE counts SET inserted = inserted + ?, sampled = sampled + ?, wanted = max(wanted - ?, 0) "
    "RETURNING inserted, sampled, wanted"
)


class FileCounts:
    """Counts in a file of SQLite. A process that is killed leaves them as they were after its last call.

    What the operating system had not written is lost with the machine: the counts may then be those of some seconds before.
    """

    def __init__(self, path: str | Path, limits: str | None) -> None:
        """Open the file, which is made if it is not there.

        Args:
            path: The file, on a disk of this machine.
            limits: What is kept beside the counts if nothing is.

        Raises:
            StorageError: If it cannot be opened.
        """
        self.place = str(path)
        self._calling = threading.Lock()
        try:
            make_folder(Path(path).parent)
            self._connection = connect(path, timeout=TIMEOUT, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute("PRAGMA journal_mode = TRUNCATE")
            if limits is not None:
                self._connection.execute(TABLE)
                self._connection.execute("INSERT OR IGNORE INTO counts VALUES (0, 0, 0, 0, ?)", (limits,))
            found = self._connection.execute("SELECT limits FROM counts").fetchone()
        except (sqlite3.Error, OSError, ValueError) as error:  # a null byte is a ValueError
            raise StorageError(
                f"place: expected a file of counts, got {self.place!r} ({error}): pass limits to make it"
            ) from error
        self.limits = str(found[0]) if found else ""

    def add(self, inserted: int = 0, sampled: int = 0) -> InsertCounts:
        """Add to the counts and return them; inserted experiences are no longer wanted."""
        return self._one(ADD, (inserted, sampled, inserted))

    def get(self) -> InsertCounts:
        """Return the counts."""
        return self._one("SELECT inserted, sampled, wanted FROM counts")

    def want(self, count: int) -> None:
        """Set how many experiences are wanted."""
        self._one("UPDATE counts SET wanted = ? RETURNING inserted, sampled, wanted", (count,))

    def draw(self, n: int, limit: float, samples_per_insert: float) -> InsertCounts | None:
        """Add n draws if the balance, which falls by n, stays at or above a limit; return the counts then, else None."""
        statement = (
            "UPDATE counts SET sampled = sampled + ? WHERE ? * inserted - sampled - ? >= ? RETURNING inserted, sampled, wanted"
        )
        rows = self._rows(statement, (n, samples_per_insert, n, limit))
        return rows[0] if rows else None

    def _one(self, statement: str, values: tuple[Any, ...] = ()) -> InsertCounts:
        rows = self._rows(statement, values)
        if not rows:
            raise StorageError(f"place: expected counts in {self.place!r}, got an empty table: delete the file")
        return rows[0]

    def _rows(self, statement: str, values: tuple[Any, ...]) -> list[InsertCounts]:
        try:
            with self._calling:
                return [InsertCounts(*row) for row in self._connection.execute(statement, values).fetchall()]
        except sqlite3.Error as error:
            raise StorageError(f"place: expected counts in {self.place!r}, got {error}: check the file") from error

    def close(self) -> None:
        """Close the file."""
        with self._calling:
            self._connection.close()
