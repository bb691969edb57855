"""Reads a log in order from a given number on, while it is written, its oldest segments are deleted, or it is damaged."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generals_env.concurrency.process_owner import Owner
from generals_env.errors import StateError, StorageError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.filter import ExperienceFilter
from generals_env.recorders.log.abandoned_ranges import abandoned_ranges, missing
from generals_env.recorders.log.chunk_rows import Chunk, may_match, wanted_after
from generals_env.recorders.log.salvage import salvage
from generals_env.recorders.log.segment_files import (
    companions,
    is_damage,
    open_to_read,
    orphans_in,
    rows,
    seal_of,
    segment_path,
    start_of,
    starts_in,
)

if TYPE_CHECKING:
    from generals_env.recorders.log.writer import LogWriter

__all__ = ["LogReader"]

logger = logging.getLogger(__name__)

POLL = 0.004  # seconds between checks for chunks of another process

RELIST = 0.25  # seconds between listings of the folder

FETCH = 2**20  # bytes of data to read ahead


class LogReader:
    """Returns the experiences of a log after a given number, each once, in order. To be used by one thread.

    It holds no lock and no transaction between calls.

    Attributes:
        position: Number of the last experience that was returned, or skipped because it did not match.
        missed: Experiences that retention deleted, or a repair lost, before they were read.
        damaged: Damaged experiences that were skipped.
    """

    def __init__(
        self, folder: Path, after: int, chosen: ExperienceFilter, skip_damage: bool, writer: LogWriter | None = None
    ) -> None:
        """Read a log; see ``ExperienceLog.reader``."""
        self.position = after
        self.missed = 0
        self.damaged = 0
        self._folder, self._chosen, self._skips, self._writer = folder, chosen, skip_damage, writer
        self._queue: deque[Chunk] = deque()
        self._start: int | None = None  # first number of the current segment
        self._connection: sqlite3.Connection | None = None
        self._salvaged = False  # whether all intact chunks of the damaged segment were queued
        self._ended = False  # whether the current segment is sealed and read to its end
        self._closed = False
        self._owner = Owner()

    def poll(self, timeout: float = 0, before: int | None = None) -> ExperienceBatch | None:
        """Return the next experiences, all of one chunk; None if there are none.

        Args:
            timeout: Seconds to wait for them.
            before: Number to stop before; then the batch may be empty.

        Raises:
            StateError: After ``close``, or in a process that was forked off the one that made the reader.
            StorageError: If they are damaged, or cannot be read. The position stays the same.
        """
        deadline = time.monotonic() + timeout
        while True:
            after = self.position
            chunk = self.chunk(max(0.0, deadline - time.monotonic()))
            if chunk is None:
                return None
            try:
                batch = wanted_after(chunk.batch(), after, self._chosen)
            except StorageError as error:  # its checksum is right, so it was written like this
                if not self._skips:
                    self.position = after
                    self._queue.appendleft(chunk)
                    raise StorageError(
                        f"{self._folder}: expected experiences {chunk.first} to {chunk.last}: {error}"
                    ) from error
                logger.error("%s: %d to %d are skipped: %s", self._folder, chunk.first, chunk.last, error)  # noqa: TRY400
                self.damaged += chunk.count
                continue
            if before is not None and chunk.last >= before:
                self.position = max(after, chunk.first - 1, before - 1)
                self._queue.appendleft(chunk)
                return batch.select(batch.sequence < before)
            if len(batch):
                return batch

    def skip_to(self, number: int) -> int:
        """Continue with a number after ``position``, never back; return how many experiences are skipped."""
        skipped = max(number - 1 - self.position, 0)
        if skipped:
            self.position = number - 1
            while self._queue and self._queue[0].last < number:
                self._queue.popleft()
        return skipped

    def chunk(self, timeout: float = 0) -> Chunk | None:
        """Return the next chunk that may have matching experiences, still compressed; None if there is none.

        It may begin with experiences up to ``position``, and have experiences that do not match.

        Args:
            timeout: Seconds to wait for it.

        Raises:
            StateError: After ``close``, or in a process that was forked off the one that made the reader.
            StorageError: If it is damaged, or cannot be read. The position stays the same.
        """
        self._owner.check("reader")
        if self._closed:
            raise StateError("reader: expected an open one, got one that is closed: get another with ExperienceLog.reader()")
        deadline = time.monotonic() + timeout
        listed = -RELIST
        while True:
            thorough = self._writer is not None or time.monotonic() - listed >= RELIST
            listed = time.monotonic() if thorough else listed
            commits = self._writer.commits if self._writer else 0
            if not self._queue and not self._fetch(thorough):
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                if self._writer:
                    self._writer.wait(commits, left)
                else:
                    time.sleep(min(left, POLL))
                continue
            while self._queue:
                chunk = self._queue[0]
                self._skip_to(chunk.first)
                self._queue.popleft()
                self.position = chunk.last
                if may_match(chunk, self._chosen):
                    return chunk

    def close(self) -> None:
        """Close the current segment; does nothing in a forked child."""
        self._closed = True
        if self._owner.is_here:
            self._leave()

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *details: Any) -> None:
        self.close()

    # --- Segments -------------------------------------------------------------------------------------------------

    def _fetch(self, thorough: bool) -> bool:
        """Queue the next chunks; return whether there are any.

        Args:
            thorough: Whether to list the folder for the next segment. Its name nearly always has the very next number, so
                that a waiting reader need not list the folder each time.
        """
        while True:
            # Look for the next segment first: if there is one, this segment was complete before the read below.
            following = self._following(thorough)
            if self._start is not None and self._read_segment(segment_path(self._folder, self._start)):
                return True
            if following is None:
                return False
            self._leave()
            self._start = following

    def _following(self, thorough: bool) -> int | None:
        """Return the first number of the segment after the current one, or of the segment to begin with."""
        following = self.position + 1
        if self._start is not None and following != self._start and segment_path(self._folder, following).exists():
            return following
        if not thorough and self._start is not None:
            return None
        starts = starts_in(self._folder)
        if self._start is not None:
            return next((start for start in starts if start > self._start), None)
        return max((start for start in starts if start <= following), default=min(starts, default=None))

    def _leave(self) -> None:
        self._disconnect()
        self._start, self._salvaged, self._ended = None, False, False

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read_segment(self, path: Path) -> bool:
        """Queue the next chunks of the current segment; return whether there are any."""
        if self._salvaged:
            return False
        # Read the seal before the rows: afterwards the segment may be sealed with more rows.
        end = -1 if self._ended else self._end_of(path)
        try:
            if self._connection is None:
                self._connection = open_to_read(path)
            found = rows(self._connection, self.position, FETCH)
        except sqlite3.Error as error:
            if not path.exists():
                return False  # retention has deleted it meanwhile
            if not is_damage(error):
                raise StorageError(f"{path}: expected a segment that can be read, got {error}") from error
            return self._read_damaged(path, str(error), end)
        for row in found:
            try:
                chunk = Chunk.of_row(row)
                expected = self._queue[-1].last + 1 if self._queue else self.position + 1
                if chunk.last < expected:
                    raise ValueError(f"expected experience {expected}, got {chunk.last}")  # noqa: TRY301 - reported with the others
                if chunk.first > expected and self._gaps(expected, chunk.first - 1)[1]:
                    raise ValueError(f"expected experience {expected}, got {chunk.first}")  # noqa: TRY301 - reported with the others
            except Exception as error:
                # A damaged row may hold anything.
                if self._queue:
                    break  # return the chunks before it first
                return self._read_damaged(path, str(error), end)
            self._queue.append(chunk)
        if not self._queue:
            first = self.position + 1
            if end >= first and self._gaps(first, end)[1]:
                return self._read_damaged(path, f"expected experiences up to {end}, got none from {first} on", end)
            self._ended = end >= 0
            if end < 0 and not companions(path)[0].exists():
                self._disconnect()  # it may have been opened as immutable, and a writer may begin to write to it
        return bool(self._queue)

    def _end_of(self, path: Path) -> int:
        """Return the last number in a segment if it is sealed, else -1."""
        try:
            sealed = seal_of(path)
        except StorageError as error:  # the chunks may be intact; verify() reports the seal
            logger.error("%s", error)  # noqa: TRY400 - the stack does not help
            return -1
        return -1 if sealed is None else sealed.last

    def _read_damaged(self, path: Path, what: str, end: int) -> bool:
        """Queue the intact chunks of a damaged segment, or raise.

        Args:
            path: The segment.
            what: Describes the damage.
            end: Its last number if it is sealed, else -1.
        """
        try:
            whole = [chunk for chunk in salvage(path) if chunk.last > self.position]
        except OSError as error:
            raise StorageError(f"{path}: expected a segment that can be read, got {error}") from error
        if not self._skips:
            first = self.position + 1
            gone = f"{first} to {whole[0].first - 1}" if whole and whole[0].first > first else f"from {first} on"
            raise StorageError(
                f"{path}: expected experiences {gone}, got damage ({what}): run repair(), which keeps all intact ones, or "
                "read with on_damage='skip'"
            )
        logger.error("%s: damaged, only its intact chunks are read: %s", path, what)
        self._queue.extend(whole)
        self._salvaged = not whole  # the next call, after they are returned, salvages again
        if self._salvaged:
            self._skip_to(end + 1)
        return bool(whole)

    # --- Gaps -----------------------------------------------------------------------------------------------------

    def _skip_to(self, first: int) -> None:
        """Move ``position`` to before number ``first``, and count the missing experiences between as missed or damaged."""
        if first <= self.position + 1:
            return
        abandoned, damaged = self._gaps(self.position + 1, first - 1)
        if damaged and not self._skips:
            ranges = ", ".join(f"{low} to {high}" for low, high in damaged)
            raise StorageError(
                f"{self._folder}: expected experiences {ranges}, got none: run repair(), which keeps all "
                "intact ones, or read with on_damage='skip'"
            )
        if damaged:
            logger.error("%s: experiences are damaged, and skipped: %s", self._folder, damaged)
        self.missed += abandoned
        self.damaged += sum(high - low + 1 for low, high in damaged)
        self.position = first - 1

    def _gaps(self, first: int, last: int) -> tuple[int, list[tuple[int, int]]]:
        """Return how many of these missing numbers are deleted or abandoned; and the ranges of the rest, which are damage."""
        seals = [start_of(path.with_suffix(".db")) for path in orphans_in(self._folder)]
        oldest = min(starts_in(self._folder) + seals, default=0)
        try:
            lost = abandoned_ranges(self._folder)
        except StorageError as error:  # then all missing numbers count as damage
            logger.error("%s", error)  # noqa: TRY400 - the stack does not help
            lost = []
        damaged = missing(first, last, [(-1, oldest - 1), *lost])
        return last - first + 1 - sum(high - low + 1 for low, high in damaged), damaged
