"""A durable log as a feed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from generals_env.engine.boards import empty_boards
from generals_env.engine.packed.packing import pack
from generals_env.errors import StateError, StorageError
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch
from generals_env.recorders.experience.statistics_columns import StatisticsColumns, statistics_columns
from generals_env.recorders.filesystem.checked_json import read_checked, write_checked
from generals_env.recorders.filesystem.file_lock import FileLock
from generals_env.recorders.log import ExperienceLog
from generals_env.recorders.stream.server.source import EncodedRange, SourceCursor, StreamFilter

__all__ = ["LogSource"]

IDENTITY = "stream.json"

LOCK = "stream.lock"


class LogSource:
    """A log as a feed; its numbers stay what they are for as long as the folder is there. See ``ExperienceSource``."""

    def __init__(self, log: ExperienceLog) -> None:
        """ExperienceSource from a log.

        Raises:
            StorageError: If the file with the log's identity can be neither read nor made.
        """
        self.stream_id = identity_of(log.folder)
        self._log = log
        try:
            log.write(NOTHING)
            self.writable = True
        except StateError:
            self.writable = False
        except StorageError:
            self.writable = True  # not now, says ``check``

    @property
    def like(self) -> ExperienceBatch | None:
        """See ``ExperienceSource``."""
        return None

    @property
    def span(self) -> tuple[int, int]:
        """See ``ExperienceSource``."""
        following = self._log.last + 1
        return min(self._log.first, following), following

    def cursor(self, first: int, wanted: StreamFilter, consumer: bool = False) -> SourceCursor:
        """See ``ExperienceSource``."""
        return LogSourceCursor(self._log, first, wanted)

    def columns(self, first: int, following: int) -> Iterator[tuple[int, StatisticsColumns]]:
        """See ``ExperienceSource``."""
        cursor = self.cursor(first, StreamFilter())
        try:
            while cursor.position < following and (batch := cursor.batch(0)) is not None:
                flags = (batch.sequence >= first) & (batch.sequence < following)
                batch = batch if flags.all() else batch.select(flags)
                if len(batch):
                    yield int(batch.sequence[0]), statistics_columns(batch)
        finally:
            cursor.close()

    def write(self, batch: ExperienceBatch) -> None:
        """See ``ExperienceSource``."""
        self._log.write(batch)

    def flush(self) -> None:
        """See ``ExperienceSource``."""
        self._log.flush()

    def warm(self, batch: ExperienceBatch) -> None:
        """See ``ExperienceSource``. A log has no kernels of its own."""

    def check(self) -> None:
        """See ``ExperienceSource``. A write of nothing meets whatever would stop another."""
        _ = self.span
        if self.writable:
            self._log.write(NOTHING)


class LogSourceCursor:
    """A place in a log; see ``SourceCursor``."""

    def __init__(self, log: ExperienceLog, first: int, wanted: StreamFilter) -> None:
        chosen = wanted.selection
        self._wanted = wanted
        self._reader = log.reader(first - 1, game_ids=chosen.game_ids, player_ids=chosen.player_ids, min_turn=chosen.min_turn)

    @property
    def position(self) -> int:
        """See ``SourceCursor``."""
        return self._reader.position + 1

    @property
    def missed(self) -> int:
        """See ``SourceCursor``."""
        return self._reader.missed

    def batch(self, seconds: float) -> ExperienceBatch | None:
        """See ``SourceCursor``."""
        batch = self._reader.poll(seconds)
        return None if batch is None else self._wanted.apply(batch)

    def piece(self, seconds: float, wait: float) -> EncodedRange | None:
        """See ``SourceCursor``. Chunks are handed out as they are stored: none waits for more."""
        chunk = self._reader.chunk(seconds)
        return None if chunk is None else EncodedRange(chunk.first, chunk.count, chunk.data)

    def settle(self) -> None:
        """See ``SourceCursor``. A log keeps experiences however far consumers are."""

    def close(self) -> None:
        """See ``SourceCursor``."""
        self._reader.close()


def identity_of(folder: Path) -> str:
    """Return what the log in a folder is known by, in this and every later process."""
    lock = FileLock(folder / LOCK, timeout=10)
    try:
        content = read_checked(folder / IDENTITY)
        if content is None:
            content = {"stream_id": uuid.uuid4().hex}
            write_checked(folder / IDENTITY, content)
    except OSError as error:
        raise StorageError(f"{folder / IDENTITY}: expected a file that can be written, got {error}") from error
    finally:
        lock.close()
    return str(content["stream_id"])


#: A batch without experiences.
NOTHING = ExperienceBatch((), np.zeros(0, EXPERIENCE), pack(empty_boards(0, 4, 4, 2)), (4, 4))
