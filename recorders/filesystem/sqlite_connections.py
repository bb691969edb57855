"""Connections to SQLite that a forked child cannot close.

SQLite forbids using a connection in a child of the process that opened it, and closing is a use: it rolls back what a thread of
the parent is writing, in memory that both share. The child would do so as soon as it drops its copy, at its exit at the latest.
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
    """A connection that can be referred to weakly, and that tells of a damaged file with an error of SQLite only."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Run a statement; arguments and errors are those of ``sqlite3.Connection.execute``."""
        try:
            return super().execute(*arguments)
        except UnicodeDecodeError as error:  # SQLite's message repeats the damaged schema, and Python fails to decode it
            raise sqlite3.DatabaseError(f"malformed database schema, which is not UTF-8 ({error})") from error


connections: weakref.WeakSet[Connection] = weakref.WeakSet()


def connect(database: str | Path, **options: Any) -> sqlite3.Connection:
    """Return a connection, of which nothing is open after ``close``; arguments and errors are those of ``sqlite3.connect``."""
    # Python keeps statements in a cache, and SQLite keeps a closed connection open as long as there is a statement. The frame
    # that the handler of a signal is given refers to the cache if the signal came while it was made, and may be kept for long.
    connection: Connection = sqlite3.connect(database, factory=Connection, cached_statements=0, **options)
    connections.add(connection)
    return connection


def keep_for_ever() -> None:
    """Keep all connections from being closed as long as the process lives, also at the end of the interpreter."""
    for connection in list(connections):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    connections.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=keep_for_ever)
