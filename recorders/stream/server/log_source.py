"""Adapts a durable log to the interface that the server reads from and writes to."""

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
from generals_env.recorders.log.chunk_times import written_at
from generals_env.recorders.stream.server.experience_source import Consumer, EncodedRange, SourceCursor, StreamFilter

__all__ = ["LogSource"]

IDENTITY_FILE = "stream.json"

LOCK_FILE = "stream.lock"


class LogSource:
    """A log as an ``ExperienceSource``; the folder holds the stream id, so sequences stay valid across restarts."""

    def __init__(self, log: ExperienceLog) -> None:
        """Read from a log.

        Raises:
            StorageError: If the file with the stream id can be neither read nor created.
        """
        self.stream_id = identity_of(log.folder)
        self._log = log
        try:
            log.write(EMPTY_BATCH)
            self.writable = True
        except StateError:
            self.writable = False
        except StorageError:
            self.writable = True  # not at the moment: ``check`` reports it

    @property
    def like(self) -> ExperienceBatch | None:
        """See ``ExperienceSource``."""
        return None

    @property
    def span(self) -> tuple[int, int]:
        """See ``ExperienceSource``."""
        following = self._log.last + 1
        return min(self._log.first, following), following

    def cursor(self, first: int, stream_filter: StreamFilter, consumer: Consumer | None = None) -> SourceCursor:
        """See ``ExperienceSource``."""
        return LogSourceCursor(self._log, first, stream_filter)

    def collected_at(self, sequence: int) -> int | None:
        """See ``ExperienceSource``."""
        return written_at(self._log.folder, sequence)

    def columns(self, first: int, following: int) -> Iterator[tuple[int, StatisticsColumns]]:
        """See ``ExperienceSource``."""
        cursor = self.cursor(first, StreamFilter())
        try:
            while cursor.position < following and (batch := cursor.read_batch(0)) is not None:
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
        """See ``ExperienceSource``. Writing an empty batch fails for the same reasons as any other write."""
        _ = self.span
        if self.writable:
            self._log.write(EMPTY_BATCH)


class LogSourceCursor:
    """Position in a log; see ``SourceCursor``."""

    def __init__(self, log: ExperienceLog, first: int, stream_filter: StreamFilter) -> None:
        selection = stream_filter.selection
        self._filter = stream_filter
        self._skipped = 0
        self._reader = log.reader(
            first - 1, game_ids=selection.game_ids, player_ids=selection.player_ids, min_turn=selection.min_turn
        )

    @property
    def position(self) -> int:
        """See ``SourceCursor``."""
        return self._reader.position + 1

    @property
    def missed(self) -> int:
        """See ``SourceCursor``."""
        return self._reader.missed + self._skipped

    def read_batch(self, seconds: float, before: int | None = None) -> ExperienceBatch | None:
        """See ``SourceCursor``."""
        batch = self._reader.poll(seconds, before)
        return None if batch is None else self._filter.apply(batch)

    def skip_to(self, sequence: int) -> None:
        """See ``SourceCursor``."""
        self._skipped += self._reader.skip_to(sequence)

    def read_range(self, seconds: float, wait: float) -> EncodedRange | None:
        """See ``SourceCursor``. Returns a chunk as it is stored, without waiting for more."""
        chunk = self._reader.chunk(seconds)
        return None if chunk is None else EncodedRange(chunk.first, chunk.count, chunk.written_at, chunk.data)

    def acknowledge(self) -> None:
        """See ``SourceCursor``. Does nothing: a log keeps experiences independently of consumers."""

    def close(self) -> None:
        """See ``SourceCursor``."""
        self._reader.close()


def identity_of(folder: Path) -> str:
    """Return the stream id of the log in a folder; create it in a file there the first time."""
    lock = FileLock(folder / LOCK_FILE, timeout=10)
    try:
        content = read_checked(folder / IDENTITY_FILE)
        if content is None:
            content = {"stream_id": uuid.uuid4().hex}
            write_checked(folder / IDENTITY_FILE, content)
    except OSError as error:
        raise StorageError(
            f"{folder / IDENTITY_FILE}: expected a readable and writable file, got {error}: check the permissions of the folder"
        ) from error
    finally:
        lock.close()
    return str(content["stream_id"])


#: An empty batch.
EMPTY_BATCH = ExperienceBatch((), np.zeros(0, EXPERIENCE), pack(empty_boards(0, 4, 4, 2)), (4, 4))
