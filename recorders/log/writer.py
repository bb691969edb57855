"""Writes a log: groups batches into transactions, begins and seals segments, and recovers from crashes."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from generals_env.concurrency.process_owner import Owner
from generals_env.errors import StateError, StorageError
from generals_env.recorders.filesystem.checked_json import sync_file
from generals_env.recorders.filesystem.disk_space import free_bytes
from generals_env.recorders.filesystem.file_lock import FileLock
from generals_env.recorders.filesystem.leftovers import remove
from generals_env.recorders.log.abandoned_ranges import abandoned_ranges, write_abandoned
from generals_env.recorders.log.chunk_rows import Chunk, PendingChunk
from generals_env.recorders.log.consumer_offsets import ConsumerOffsets
from generals_env.recorders.log.retention import SegmentRetention
from generals_env.recorders.log.segment_files import (
    Seal,
    append,
    companions,
    connect,
    create,
    last_in,
    log_leftovers,
    orphans_in,
    seal,
    seal_of,
    segment_path,
    starts_in,
    unlink,
    unlink_companions,
)
from generals_env.recorders.log.wal_parser import read_wal

__all__ = ["LOCK", "LogWriter", "locked"]

logger = logging.getLogger(__name__)

LOCK = "writer.lock"

LOCK_WAIT = 0.5  # seconds: another process may hold the lock for a moment, to check for a writer


def locked(folder: Path, timeout: float = LOCK_WAIT) -> FileLock:
    """Lock a log, and return the lock.

    Raises:
        StorageError: If another process or object writes to the log, or the lock cannot be made.
    """
    try:
        return FileLock(folder / LOCK, timeout)
    except StorageError as error:
        raise StorageError(
            f"log: expected {str(folder)!r} to have no other writer ({error}): close that one, or open the log with mode='r'"
        ) from error


@dataclass
class PendingWrite:
    """A batch that waits to be written, and the result: its last number, or an error."""

    chunks: list[PendingChunk]
    last: int = -1
    done: bool = False
    error: BaseException | None = None


@dataclass
class Current:
    """The segment that is being written."""

    path: Path
    connection: sqlite3.Connection
    nbytes: int = field(default=0)  # of the data written to it


class LogWriter:
    """Appends to a log. Threads that write at the same time share a transaction, and so the time of one disk sync."""

    def __init__(
        self,
        folder: Path,
        durability: str,
        retention: SegmentRetention,
        segment_bytes: int,
        min_free_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        """Open an existing log and recover it from a crash; arguments as of ``ExperienceLog``."""
        self._folder, self._durability, self._retention = folder, durability, retention
        self._segment_bytes, self._min_free_bytes, self._clock = segment_bytes, min_free_bytes, clock
        self._changed = threading.Condition()
        self._waiting: list[PendingWrite] = []
        self._busy = False
        self._closed = False
        self._owner = Owner()
        self._current: Current | None = None
        self._sealed: dict[int, Seal] = {}
        self.commits = 0
        self.next = 0
        self._lock = locked(folder)
        try:
            self._recover()
            self._retain()
        except BaseException:
            self._lock.close()
            raise

    # --- Interface ------------------------------------------------------------------------------------------------

    def append(self, chunks: list[PendingChunk]) -> int:
        """Write the chunks of a batch in one transaction, and return the number of the last experience.

        Raises:
            StateError: After ``close``, or in a process that was forked off the one that opened the log.
            StorageError: If they cannot be written. None of them is.
        """
        self.check_process()  # before the lock: a thread of the parent may hold it for ever
        mine = PendingWrite(chunks)
        with self._changed:
            self._check_open()
            self._waiting.append(mine)
            while self._busy and not mine.done:
                self._changed.wait()
        if not mine.done:
            with self._exclusively():
                self._write(self._taken())
        if mine.error is not None:
            raise StorageError(str(mine.error)) from mine.error
        return mine.last

    def flush(self) -> None:
        """Sync to disk all that is committed.

        Raises:
            StateError: In a process that was forked off the one that opened the log.
            StorageError: If the disk fails.
        """
        self.check_process()
        with self._exclusively():
            if self._current is not None and self._durability == "normal":
                try:
                    sync_file(companions(self._current.path)[0])
                except OSError as error:
                    raise StorageError(f"log: expected to write to {str(self._current.path)!r}, got {error}") from error

    def close(self) -> None:
        """Seal the current segment and release the lock; does nothing in a forked child.

        Raises:
            StorageError: If it cannot be sealed. All that was written is there, and the next writer seals it.
        """
        if not self._owner.is_here:
            return
        with self._changed:
            if self._closed:
                return
            self._closed = True
        with self._exclusively():
            try:
                self._write(self._taken())  # batches that were waiting
                self._finish_current()
                self._seal_all()
            finally:
                self._lock.close()

    def wait(self, commits: int, seconds: float) -> None:
        """Wait up to ``seconds`` until ``self.commits`` differs from ``commits``."""
        with self._changed:
            self._changed.wait_for(lambda: self.commits != commits, seconds)

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Close all segments while the block runs, and recover afterwards.

        Raises:
            StateError: After ``close``, or in a process that was forked off the one that opened the log.
        """
        self.check_process()
        with self._exclusively():
            self._check_open()
            self._finish_current()
            try:
                yield
            finally:
                self._recover()

    @property
    def current(self) -> Path | None:
        """Path of the segment that is being written, if there is one."""
        current = self._current
        return None if current is None else current.path

    def check_process(self) -> None:
        """Raise ``StateError`` in a process that was forked off the one that opened the log."""
        self._owner.check("log")

    # --- Transactions ---------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("log: expected an open one, got one that is closed: open another ExperienceLog of the folder")

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Let only one thread change the files."""
        with self._changed:
            while self._busy:
                self._changed.wait()
            self._busy = True
        try:
            yield
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _taken(self) -> list[PendingWrite]:
        """Take all waiting batches."""
        with self._changed:
            group, self._waiting = self._waiting, []
            return group

    def _write(self, group: list[PendingWrite]) -> None:
        """Write batches in one transaction, and set the result of each."""
        if not group:
            return  # another thread has already written this batch
        error: BaseException | None = None
        try:
            self._commit(group)
        except StorageError as failure:
            error = failure
        except BaseException as failure:
            error = failure
            raise
        finally:
            with self._changed:
                for waiting in group:
                    waiting.done, waiting.error = True, error
                self.commits += 1
                self._changed.notify_all()

    # --- Segments -------------------------------------------------------------------------------------------------

    def _commit(self, group: list[PendingWrite]) -> None:
        now = int(self._clock() * 1e9)
        current = self._segment(rolls=any(waiting.chunks for waiting in group))
        chunks: list[Chunk] = []
        number = self.next
        for waiting in group:
            for pending in waiting.chunks:
                chunks.append(pending.at(number, now))
                number += pending.count
            waiting.last = number - 1
        try:
            append(current.connection, chunks)
        except BaseException as error:
            with suppress(sqlite3.Error):  # report the error of the append, not this one
                # The commit may have succeeded before an interrupt.
                self.next = max(self.next, last_in(current.connection) + 1)
            if isinstance(error, sqlite3.Error):
                raise StorageError(f"log: expected to write to {str(current.path)!r}, got {error}") from error
            raise
        self.next = number
        current.nbytes += sum(len(chunk.data) for chunk in chunks)
        if self._retention.max_age is not None:
            self._retain()

    def _segment(self, rolls: bool) -> Current:
        """Return the segment to write to: a new one if the current one is full and ``rolls``. Check free space first."""
        free = free_bytes(self._folder)
        if free < self._min_free_bytes:
            raise StorageError(
                f"min_free_bytes: expected {self._min_free_bytes} free at {str(self._folder)!r}, got {free}: free some, or "
                "set max_bytes"
            )
        if rolls and self._current is not None and self._current.nbytes >= self._segment_bytes:
            self._finish_current()
            try:
                self._seal_all()
            except StorageError as error:  # nothing is lost, and the next segment tries again
                logger.warning("%s: not sealed for now: %s", self._folder, error)
        if self._current is None:
            path = segment_path(self._folder, self.next)
            try:
                if not path.exists():  # else it is empty and left by a crash; readers may have opened it
                    create(path)
                self._current = Current(path, connect(path, self._durability))
            except (OSError, sqlite3.Error) as error:
                raise StorageError(f"log: expected to make {str(path)!r}, got {error}") from error
            self._retain()
        elif not self._current.path.exists():
            raise StorageError(
                f"log: expected {str(self._current.path)!r} to stay while it is written to, got none: open the log again"
            )
        return self._current

    def _finish_current(self) -> None:
        if self._current is not None:
            self._current.connection.close()
            self._current = None

    def _seal_all(self) -> None:
        """Seal all segments that are not sealed; none may be in use by a writer."""
        for start in starts_in(self._folder):
            if start not in self._sealed:
                sealed = seal(segment_path(self._folder, start))
                if sealed is not None:
                    self._sealed[start] = sealed

    def _retain(self) -> None:
        """Delete segments beyond the limits, but never the newest: its name tells the next number."""
        old = dict(sorted(self._sealed.items()))
        newest = old.popitem() if old and self._current is None else None
        unsealed = (self._current.nbytes if self._current else 0) + (newest[1].bytes if newest else 0)
        self._retention.apply(old, unsealed, int(self._clock() * 1e9))
        self._sealed = old | dict([newest] if newest else [])

    # --- After a crash --------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Clean up after a crash, determine the next number, and seal all segments.

        Raises:
            StorageError: If there is damage that writing could make worse.
        """
        try:
            remove(log_leftovers(self._folder, written=False))
            self._sealed = {}
            for start in starts_in(self._folder):
                self._recover_segment(segment_path(self._folder, start), start)
            for orphan in orphans_in(self._folder):
                raise StorageError(f"{orphan}: expected the segment of this seal, got none")  # noqa: TRY301 - reported below
            lost = abandoned_ranges(self._folder)
            self.next = max([segment.last + 1 for segment in self._sealed.values()] + [last + 1 for _, last in lost] + [0])
            seen = max(ConsumerOffsets(self._folder).all().values(), default=-1)
            if seen >= self.next:  # after a power cut with durability "normal": a number is never given twice
                logger.warning("%s: experiences %d to %d were read by a consumer, and are lost", self._folder, self.next, seen)
                write_abandoned(self._folder, [*lost, (self.next, seen)])
                self.next = seen + 1
            for start in starts_in(self._folder):
                if start not in self._sealed and start != self.next:
                    unlink(segment_path(self._folder, start))  # it is empty, and no longer needed
        except StorageError as error:
            raise StorageError(f"{error}: run repair(), which keeps all intact experiences") from error
        except OSError as error:
            raise StorageError(f"log: expected a folder that can be written, got {str(self._folder)!r} ({error})") from error

    def _recover_segment(self, path: Path, start: int) -> None:
        sealed = seal_of(path)
        if sealed is None:
            wal = companions(path)[0]
            damaged_at = read_wal(wal).damaged_at
            if damaged_at is not None:
                raise StorageError(f"{wal}: expected intact commits, got damage at byte {damaged_at}")
            sealed = seal(path)
            if sealed is None:
                return
        elif path.stat().st_size != sealed.bytes:
            raise StorageError(f"{path}: expected {sealed.bytes} bytes, got {path.stat().st_size}")
        else:
            unlink_companions(path)
        self._sealed[start] = sealed
