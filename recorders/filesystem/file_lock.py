"""A lock on a file that is gone with the process that holds it, on every platform: SQLite knows how."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from generals_env.concurrency.process_owner import Owner
from generals_env.errors import StorageError
from generals_env.recorders.filesystem.sqlite_connections import connect

__all__ = ["FileLock"]


class FileLock:
    """An exclusive lock, held from the beginning until ``close`` or the end of the process, however that comes.

    The file stays empty, and stays: to delete it would let two processes lock two files of the same name.
    """

    def __init__(self, path: str | Path, timeout: float = 0) -> None:
        """Lock a file, which is made if it is not there.

        Args:
            path: The file. It must be used for nothing else.
            timeout: Seconds to wait while somebody else holds it.

        Raises:
            StorageError: If it is held longer than that, or cannot be made.
        """
        self.path = Path(path)
        self._owner = Owner()
        try:
            # Whoever closes it need not be the thread that locked it.
            self._connection = connect(self.path, timeout=timeout, isolation_level=None, check_same_thread=False)
        except (sqlite3.Error, ValueError) as error:  # a null byte is a ValueError
            raise StorageError(f"lock: expected a file that can be made, got {str(path)!r} ({error})") from error
        try:
            self._connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            self._connection.close()
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                raise StorageError(f"lock: expected {str(path)!r} to be free, got one that somebody else holds") from error
            raise StorageError(f"lock: expected a file that can be locked, got {str(path)!r} ({error})") from error

    def close(self) -> None:
        """Let others have the lock; in a forked child this does nothing, as the parent holds it."""
        if self._owner.is_here:
            self._connection.close()

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *details: Any) -> None:
        self.close()
