"""Divides a log into parts of a dataset: ranges of experiences that are read at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from generals_env.errors import StorageError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.filter import EVERYTHING, ExperienceFilter
from generals_env.recorders.log.experience_log import ExperienceLog
from generals_env.recorders.log.segment_files import segment_path, starts_in

__all__ = ["LogPart", "is_log", "log_parts"]

#: Experiences in a part: 31 MB of memory at 20x20.
EXPERIENCES = 65_536


@dataclass(frozen=True)
class LogPart:
    """Experiences ``first`` to ``last`` of a log.

    Attributes:
        folder: The folder of the log.
        first: Number of the first experience.
        last: Number of the last experience.
        size: Approximate bytes: the size of the log divided evenly.
        format: Always ``"log"``.
    """

    folder: Path
    first: int
    last: int
    size: int
    format: str = "log"

    @property
    def place(self) -> str:
        """Folder and range, for messages."""
        return f"{self.folder} [{self.first} to {self.last}]"

    @property
    def experiences(self) -> int:
        """Number of experiences, unless some are damaged or deleted."""
        return self.last - self.first + 1

    def may_hold(self, selection: ExperienceFilter) -> bool:
        """Return True: the reader of the log skips chunks itself."""
        return True

    def read(self, selection: ExperienceFilter = EVERYTHING) -> ExperienceBatch | None:
        """Return the selected experiences, None if there are none.

        Raises:
            StorageError: If some are damaged, or were deleted since.
        """
        found = []
        reader = ExperienceLog(self.folder, mode="r").reader(
            self.first - 1, game_ids=selection.game_ids, player_ids=selection.player_ids, min_turn=selection.min_turn
        )
        with reader:
            while reader.position < self.last and (batch := reader.poll()) is not None:
                inside = batch.sequence <= self.last
                found.append(batch if inside.all() else batch.select(inside))
            if reader.missed:
                raise StorageError(
                    f"path: expected all experiences of {self.place!r}, got {reader.missed} missing: open the dataset again"
                )
        found = [batch for batch in found if len(batch)]
        return ExperienceBatch.concat(found) if found else None


def is_log(folder: Path) -> bool:
    """Return whether a folder is a log."""
    return bool(starts_in(folder))


def log_parts(folder: Path) -> list[LogPart]:
    """Return the parts of a log as it is now.

    Raises:
        StorageError: If it cannot be read.
    """
    log = ExperienceLog(folder, mode="r")
    first, last = log.first, log.last
    size = sum(segment_path(folder, start).stat().st_size for start in starts_in(folder))
    return [
        LogPart(folder, low, high, size * (high - low + 1) // (last - first + 1))
        for low in range(first, last + 1, EXPERIENCES)
        for high in (min(low + EXPERIENCES - 1, last),)
    ]
