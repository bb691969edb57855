"""Reads and extends a file of lines that several processes may add to: ``LineFile``.

Lines are only added. A process that is killed leaves at most an unfinished last line, which is not read, and which the next
process removes before it adds lines.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from generals_env.errors import StorageError

__all__ = ["LineFile"]

BLOCK = 2**16  # bytes read at once to find the last end of a line


class LineFile:
    """A file of lines.

    Attributes:
        path: The file, which need not exist.
    """

    def __init__(self, path: Path, max_line: int) -> None:
        """Name a file whose lines have at most ``max_line`` bytes."""
        self.path = path
        self._max_line = max_line

    def read(self) -> list[bytes]:
        """Return the finished lines, without their ends.

        Raises:
            StorageError: If the file cannot be read, or a line is too long.
        """
        lines: list[bytes] = []
        try:
            if not self.path.exists():
                return lines
            with self.path.open("rb") as file:
                while line := file.readline(self._max_line + 1):
                    if line.endswith(b"\n"):
                        lines.append(line[:-1])
                    elif len(line) <= self._max_line:
                        break  # unfinished
                    else:
                        raise StorageError(
                            f"{self.path}, line {len(lines) + 1}: expected at most {self._max_line} bytes, got more: "
                            "remove the line"
                        )
        except OSError as error:
            raise error if isinstance(error, StorageError) else self._failed("read", error) from error
        return lines

    def cut(self) -> int:
        """Remove an unfinished last line, and return its bytes; no other process may add lines meanwhile.

        Raises:
            StorageError: If the file cannot be written.
        """
        try:
            if not self.path.exists():
                return 0
            with self.path.open("r+b") as file:
                size = end = file.seek(0, os.SEEK_END)
                while end > 0:
                    begin = max(0, end - BLOCK)
                    file.seek(begin)
                    place = file.read(end - begin).rfind(b"\n")
                    if place >= 0:
                        end = begin + place + 1
                        break
                    end = begin
                if end < size:
                    file.truncate(end)
                return size - end
        except OSError as error:
            raise self._failed("written", error) from error

    def add(self, lines: Sequence[bytes]) -> None:
        """Add lines durably, all or none; no other process may add lines meanwhile.

        Raises:
            StorageError: If the file cannot be written.
        """
        self.cut()
        try:
            with self.path.open("ab", buffering=0) as file:
                before = file.seek(0, os.SEEK_END)
                try:
                    data = memoryview(b"".join(line + b"\n" for line in lines))
                    while data:
                        data = data[file.write(data) :]
                    os.fsync(file.fileno())
                except BaseException:  # a full disk, or an interruption
                    file.truncate(before)
                    raise
        except OSError as error:
            raise self._failed("written", error) from error

    def _failed(self, done: str, error: OSError) -> StorageError:
        return StorageError(f"file: expected one that can be {done}, got {str(self.path)!r} ({error})")
