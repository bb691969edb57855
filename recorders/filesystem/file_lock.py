"""Locks a file until the process that holds the lock ends, on every platform, by means of SQLite."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from generals_env.concurrency.process_owner import Owner
from generals_env.errors import StorageError
from generals_env.recorders.filesystem.sqlite_connections import connect

__all__ = ["FileLock"]


class FileLock:
    """An exclusive lock, held until ``close`` or the end of the process, also if it is killed.

    The file stays empty, and is never deleted: else two processes could lock two files of the same name.
    """

    def __init__(self, path: str | Path, timeout: float = 0) -> None:
        """Lock a file, which is made if it is not there.

        Args:
            path: The file. It must be used for nothing else.
            timeout: Seconds to wait while another process or thread holds the lock.

        Raises:
            StorageError: If it is held longer than that, or the file cannot be made.
        """
        self.path = Path(path)
        self._owner = Owner()
        try:
            # It may be closed by another thread than the one that locked it.
            self._connection = connect(self.path, timeout=timeout, isolation_level=None, check_same_thread=False)
        except (sqlite3.Error, ValueError) as error:  # a null byte is a ValueError
            raise StorageError(f"lock: expected a file that can be made, got {str(path)!r} ({error})") from error
        try:
            self._connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            self._connection.close()
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                raise StorageError(
                    f"lock: expected {str(path)!r} to be free, got a lock that another process or object holds"
                ) from error
            raise StorageError(f"lock: expected a file that can be locked, got {str(path)!r} ({error})") from error

    def close(self) -> None:
        """Release the lock; in a forked child this does nothing, as the parent holds it."""
        if self._owner.is_here:
            self._connection.close()

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *details: Any) -> None:
        self.close()
