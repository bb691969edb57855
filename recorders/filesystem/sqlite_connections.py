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
    """A connection that supports weak references."""


connections: weakref.WeakSet[Connection] = weakref.WeakSet()


def connect(database: str | Path, **options: Any) -> sqlite3.Connection:
    """Return a connection; arguments and errors as of ``sqlite3.connect``."""
    connection: Connection = sqlite3.connect(database, factory=Connection, **options)
    connections.add(connection)
    return connection


def keep_for_ever() -> None:
    """Keep all connections of the parent open in a forked child until the process ends."""
    for connection in list(connections):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    connections.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=keep_for_ever)
