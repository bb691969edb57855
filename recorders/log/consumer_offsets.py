"""Stores the committed positions of a log's consumers, each in its own file, so that processes can write independently."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from generals_env.errors import ConfigError, StorageError
from generals_env.recorders.filesystem.atomic_files import make_folder
from generals_env.recorders.filesystem.checked_json import read_checked, write_checked
from generals_env.recorders.log.segment_files import CONSUMERS

__all__ = ["ConsumerOffsets"]


class ConsumerOffsets:
    """Positions of consumers: the number of the last experience that each has processed, -1 for none."""

    def __init__(self, log: Path) -> None:
        self.folder = log / CONSUMERS

    def files(self) -> list[Path]:
        """Return the files of all consumers.

        Raises:
            StorageError: If the folder cannot be read.
        """
        try:
            return sorted(path for path in self.folder.iterdir() if path.suffix == ".json") if self.folder.is_dir() else []
        except OSError as error:
            raise StorageError(f"{self.folder}: expected a folder that can be read, got {error}") from error

    def all(self) -> dict[str, int]:
        """Return all positions by name.

        Raises:
            StorageError: If a file is damaged.
        """
        found = (read_position(path) for path in self.files())
        return dict(entry for entry in found if entry is not None)

    def position(self, name: str) -> int | None:
        """Return the position of a consumer, None if it has committed none.

        Raises:
            ConfigError: If the name is no string.
            StorageError: If its file is damaged.
        """
        entry = read_position(self._path(name))
        return None if entry is None else entry[1]

    def commit(self, name: str, sequence: int) -> None:
        """Write the position of a consumer; it is safe from a crash on return.

        Raises:
            ConfigError: If the name is no string.
            StorageError: If it cannot be written. The previous position is still there.
        """
        path = self._path(name)
        try:
            make_folder(self.folder)
            write_checked(path, {"name": name, "sequence": int(sequence)})
        except OSError as error:
            raise StorageError(f"consumer: expected to write {str(path)!r}, got {error}") from error

    def forget(self, name: str) -> None:
        """Delete the position of a consumer, so that retention no longer waits for it.

        Raises:
            ConfigError: If the name is no string.
            StorageError: If there is no consumer of that name, or its file cannot be deleted.
        """
        path = self._path(name)
        try:
            path.unlink()
        except FileNotFoundError as error:
            raise StorageError(f"consumer: expected one that has committed, got {name!r}: consumers() lists them") from error
        except OSError as error:
            raise StorageError(f"consumer: expected to delete {str(path)!r}, got {error}") from error

    def _path(self, name: str) -> Path:
        """Return the file of a consumer: a readable, portable name with a hash that makes it unique."""
        if not isinstance(name, str):
            raise ConfigError(f"name: expected a string, got {name!r:.200}")
        readable = re.sub(r"[^a-z0-9]+", "_", name.lower())[:40]
        return self.folder / f"{readable}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:32]}.json"


def read_position(path: Path) -> tuple[str, int] | None:
    """Return the name and the position in a file, None if it does not exist.

    Raises:
        StorageError: If it is damaged.
    """
    content = read_checked(path)
    try:
        return None if content is None else (content["name"], content["sequence"])
    except KeyError as error:
        raise StorageError(f"{path}: expected the position of a consumer, got {content!r:.200}: run repair()") from error
