"""Defines the position of a consumer in a stream, and saves it to a file to resume after a crash."""

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
    """Position of a consumer in a stream.

    Attributes:
        stream_id: Identifies the stream.
        next_sequence: Sequence of the next experience.
    """

    stream_id: str
    next_sequence: int

    def save(self, path: str | Path) -> None:
        """Write the position to a file, atomically and durably.

        Raises:
            StorageError: If the file cannot be written; the previous file is unchanged.
        """
        try:
            write_checked(Path(path), asdict(self))
        except OSError as error:
            raise StorageError(f"path: expected a writable file, got {str(path)!r} ({error}): pass another path") from error

    @classmethod
    def load(cls, path: str | Path) -> Position | None:
        """Return the position in a file that ``save`` wrote, None if there is no such file.

        Raises:
            StorageError: If the file is damaged.
        """
        try:
            fields = read_checked(Path(path))
            return None if fields is None else cls(str(fields["stream_id"]), int(fields["next_sequence"]))
        except (OSError, ValueError, KeyError, TypeError) as error:  # a StorageError is an OSError
            raise StorageError(
                f"path: expected the position of a consumer, got {str(path)!r} ({error}): remove the file to start anew"
            ) from error
