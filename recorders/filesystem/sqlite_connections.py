"""Opens SQLite connections that a forked child does not close.

SQLite forbids the use of a connection in a child of the process that opened it, and closing is a use: it rolls back the
transaction of a thread of the parent, in memory that both share. A child would close its copy when it is garbage collected.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import weakref
from pathlib import Path
from typing import Any

__all__ = ["connect"]


class Connection(sqlite3.Connection):
    """A connection that supports weak references and reports every damaged file as an ``sqlite3.Error``."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Run a statement; arguments and errors are those of ``sqlite3.Connection.execute``."""
        try:
            return super().execute(*arguments)
        except UnicodeDecodeError as error:  # SQLite's message repeats the damaged schema, and Python fails to decode it
            raise sqlite3.DatabaseError(f"malformed database schema, which is not UTF-8 ({error})") from error


connections: weakref.WeakSet[Connection] = weakref.WeakSet()


def connect(database: str | Path, **options: Any) -> sqlite3.Connection:
    """Return a connection that is wholly closed by ``close``; arguments and errors as of ``sqlite3.connect``."""
    # Python caches statements, and SQLite keeps a closed connection open as long as a statement of it exists. The frame that a
    # signal handler receives refers to the cache if the signal came while the connection was made, and may be kept for long.
    connection: Connection = sqlite3.connect(database, factory=Connection, cached_statements=0, **options)
    connections.add(connection)
    return connection


def keep_for_ever() -> None:
    """Keep all connections of the parent open in a forked child until the process ends."""
    for connection in list(connections):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    connections.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=keep_for_ever)
