"""Finds out when an experience of a log was written, without reading its chunk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from generals_env.errors import StorageError
from generals_env.recorders.log.segment_files import open_to_read, segment_path, starts_in

__all__ = ["written_at"]

QUERY = (
    "SELECT written_at FROM chunks WHERE first >= ifnull((SELECT max(first) FROM chunks WHERE first <= :number), :number)"
    " AND first + count > :number ORDER BY first LIMIT 1"
)


def written_at(folder: Path, number: int) -> int | None:
    """Return when the experience with a number, or the next one, was written, in nanoseconds since 1970; None without any.

    Raises:
        StorageError: If the log cannot be read.
    """
    starts = starts_in(folder)
    begin = max((start for start in starts if start <= number), default=-1)
    for start in (start for start in starts if start >= begin):
        path = segment_path(folder, start)
        try:
            connection = open_to_read(path)
            try:
                found = connection.execute(QUERY, {"number": number}).fetchone()
            finally:
                connection.close()
        except sqlite3.Error as error:
            if not path.exists():
                continue  # retention has deleted it meanwhile
            raise StorageError(f"{path}: expected a segment that can be read, got {error}") from error
        if found is not None:
            return int(found[0])
    return None
