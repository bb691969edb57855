"""Where a consumer is in a stream, and how it finds its way back after a crash."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from generals_env.errors import StorageError
from generals_env.recorders.spill_files import sync_folder

__all__ = ["Position"]


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
        place = Path(path)
        unfinished = place.with_name(f".{uuid.uuid4().hex}.part")
        try:
            with unfinished.open("wb") as file:
                file.write(json.dumps(asdict(self)).encode())
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(place)
            sync_folder(place.parent)
        except OSError as error:
            raise StorageError(f"path: expected to write to {str(path)!r}, got {error}") from error
        finally:
            unfinished.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> Position | None:
        """Return what ``save`` wrote, None if there is no such file.

        Raises:
            StorageError: If it is damaged.
        """
        try:
            fields = json.loads(Path(path).read_bytes())
            return cls(str(fields["stream_id"]), int(fields["next_sequence"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"path: expected the position of a consumer, got {str(path)!r} ({error})") from error
