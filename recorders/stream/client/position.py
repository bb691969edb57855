"""Where a consumer is in a stream, and how it finds its way back after a crash."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from generals_env.errors import StorageError
from generals_env.pickling import pickled_as
from generals_env.recorders.filesystem.checked_json import read_checked, write_checked

__all__ = ["Position"]


@pickled_as("generals_env.recorders")
@dataclass(frozen=True)
class Position:
    """Where a consumer is in a stream.

    Attributes:
        stream_id: Which stream.
        next_sequence: Number of the next experience.
    """

    stream_id: str
    next_sequence: int

    def save(self, path: str | Path) -> None:
        """Write it to a file, at once and safe from a crash.

        Raises:
            StorageError: If it cannot be written. What was there before is still there.
        """
        try:
            write_checked(Path(path), asdict(self))
        except OSError as error:
            raise StorageError(f"path: expected to write to {str(path)!r}, got {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> Position | None:
        """Return what ``save`` wrote, None if there is no such file.

        Raises:
            StorageError: If it is damaged.
        """
        try:
            fields = read_checked(Path(path))
            return None if fields is None else cls(str(fields["stream_id"]), int(fields["next_sequence"]))
        except (OSError, ValueError, KeyError, TypeError) as error:  # a StorageError is an OSError
            raise StorageError(f"path: expected the position of a consumer, got {str(path)!r} ({error})") from error
