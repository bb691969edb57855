"""Reads a log from a place on, in order, while others write to it, throw its oldest part away, or damage it."""

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

POLL = 0.004  # seconds between looks at what another process may have written

RELIST = 0.25  # seconds between looks at all names in the folder, meanwhile

FETCH = 2**20  # bytes of data that are read ahead


class LogReader:
    """Hands out what is in a log after some number, once each, in order.

    Nothing in the log is held while the caller works, however long that takes. For one thread.

    Attributes:
        position: Number of the last experience that was handed out, or passed over as it did not match.
        missed: Experiences after the beginning that the log had given up before they were read: by retention, or in a repair.
        damaged: Experiences that were skipped since they are damaged.
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
        self._start: int | None = None  # of the segment that is being read
        self._connection: sqlite3.Connection | None = None
        self._salvaged = False  # all that is whole in the segment is in the queue, or was
        self._ended = False  # all that was in it when it was sealed has been read
        self._closed = False
        self._owner = Owner()

    def poll(self, timeout: float = 0) -> ExperienceBatch | None:
        """Return the next experiences, all of one chunk; None if there is none.

        Args:
            timeout: Seconds to wait for them.

        Raises:
            StateError: After ``close``, or in a process that was forked off the one that made the reader.
            StorageError: If they are damaged, or cannot be read. The reader stays where it is.
        """
        deadline = time.monotonic() + timeout
        while True:
            after = self.position
            chunk = self.chunk(max(0.0, deadline - time.monotonic()))
            if chunk is None:
                return None
            try:
                batch = wanted_after(chunk.batch(), after, self._chosen)
            except StorageError as error:  # its checksum is right: it was written like that
                if not self._skips:
                    self.position = after
                    self._queue.appendleft(chunk)
                    raise StorageError(
                        f"{self._folder}: expected experiences {chunk.first} to {chunk.last}: {error}"
                    ) from error
                logger.error("%s: %d to %d are skipped: %s", self._folder, chunk.first, chunk.last, error)  # noqa: TRY400
                self.damaged += chunk.count
                continue
            if len(batch):
                return batch

    def chunk(self, timeout: float = 0) -> Chunk | None:
        """Return the next chunk in which experiences can match, compressed as it is; None if there is none.

        Its first experiences may lie before the place to read from, and there may be some in it that do not match.

        Args:
            timeout: Seconds to wait for it.

        Raises:
            StateError: After ``close``, or in a process that was forked off the one that made the reader.
            StorageError: If it is damaged, or cannot be read. The reader stays where it is.
        """
        self._owner.check("reader")
        if self._closed:
            raise StateError("reader: expected an open one, got one that is closed")
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
                self._pass_over(chunk.first)
                self._queue.popleft()
                self.position = chunk.last
                if may_match(chunk, self._chosen):
                    return chunk

    def close(self) -> None:
        """Let go of the log; a forked child leaves that to its parent."""
        self._closed = True
        if self._owner.is_here:
            self._leave()

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *details: Any) -> None:
        self.close()

    # --- Segments -------------------------------------------------------------------------------------------------

    def _fetch(self, thorough: bool) -> bool:
        """Put the next chunks into the queue; return whether there are any.

        Args:
            thorough: Whether to look for a segment with any name. Seldom does one not begin with the very next number, so that
                those who wait need not list the folder each time.
        """
        while True:
            # What comes after is looked for first: then this segment was complete before it was read for the last time.
            following = self._following(thorough)
            if self._start is not None and self._read_segment(segment_path(self._folder, self._start)):
                return True
            if following is None:
                return False
            self._leave()
            self._start = following

    def _following(self, thorough: bool) -> int | None:
        """Return the start of the segment after the present one, or of the first to be read."""
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
        """Put the next chunks of the present segment into the queue; return whether there are any."""
        if self._salvaged:
            return False
        # Before its rows: it may be sealed, with more in it, right after those are read.
        end = -1 if self._ended else self._end_of(path)
        try:
            if self._connection is None:
                self._connection = open_to_read(path)
            found = rows(self._connection, self.position, FETCH)
        except sqlite3.Error as error:
            if not path.exists():
                return False  # it was thrown away meanwhile
            if not is_damage(error):
                raise StorageError(f"{path}: expected a segment that can be read, got {error}") from error
            return self._read_damaged(path, str(error), end)
        for row in found:
            try:
                chunk = Chunk.of_row(row)
                expected = self._queue[-1].last + 1 if self._queue else self.position + 1
                if chunk.last < expected:
                    raise ValueError(f"expected experience {expected}, got {chunk.last}")  # noqa: TRY301 - told with the others
                if chunk.first > expected and self._gaps(expected, chunk.first - 1)[1]:
                    raise ValueError(f"expected experience {expected}, got {chunk.first}")  # noqa: TRY301 - told with the others
            except Exception as error:
                # A damaged row may hold anything.
                if self._queue:
                    break  # those before it come first
                return self._read_damaged(path, str(error), end)
            self._queue.append(chunk)
        if not self._queue:
            first = self.position + 1
            if end >= first and self._gaps(first, end)[1]:
                return self._read_damaged(path, f"expected experiences up to {end}, got none from {first} on", end)
            self._ended = end >= 0
            if end < 0 and not companions(path)[0].exists():
                self._disconnect()  # what was opened may be a file that nobody writes to, and somebody does now
        return bool(self._queue)

    def _end_of(self, path: Path) -> int:
        """Return the last number in a segment if it is sealed, -1 if nobody knows."""
        try:
            sealed = seal_of(path)
        except StorageError as error:  # the chunks may be intact; verify() tells of the seal
            logger.error("%s", error)  # noqa: TRY400 - nothing of the stack helps
            return -1
        return -1 if sealed is None else sealed.last

    def _read_damaged(self, path: Path, what: str, end: int) -> bool:
        """Put what is whole in a damaged segment into the queue, or raise; ``end`` is the number it ended with, if known."""
        try:
            whole = [chunk for chunk in salvage(path) if chunk.last > self.position]
        except OSError as error:
            raise StorageError(f"{path}: expected a segment that can be read, got {error}") from error
        if not self._skips:
            first = self.position + 1
            gone = f"{first} to {whole[0].first - 1}" if whole and whole[0].first > first else f"from {first} on"
            raise StorageError(f"{path}: expected experiences {gone}, got damage ({what}); repair() keeps what is intact")
        logger.error("%s: damaged, and read as far as it is whole: %s", path, what)
        self._queue.extend(whole)
        self._salvaged = not whole  # they are handed out, and then there is one look more
        if self._salvaged:
            self._pass_over(end + 1)
        return bool(whole)

    # --- Gaps -----------------------------------------------------------------------------------------------------

    def _pass_over(self, first: int) -> None:
        """Move on to a chunk that begins with this number, over whatever is missing before it."""
        if first <= self.position + 1:
            return
        given_up, damaged = self._gaps(self.position + 1, first - 1)
        if damaged and not self._skips:
            ranges = ", ".join(f"{low} to {high}" for low, high in damaged)
            raise StorageError(f"{self._folder}: expected experiences {ranges}, got none; repair() keeps what is intact")
        if damaged:
            logger.error("%s: experiences are damaged, and skipped: %s", self._folder, damaged)
        self.missed += given_up
        self.damaged += sum(high - low + 1 for low, high in damaged)
        self.position = first - 1

    def _gaps(self, first: int, last: int) -> tuple[int, list[tuple[int, int]]]:
        """Return how many of these missing numbers the log has given up, and what is left of them: that is damage."""
        seals = [start_of(path.with_suffix(".db")) for path in orphans_in(self._folder)]
        oldest = min(starts_in(self._folder) + seals, default=0)
        try:
            lost = abandoned_ranges(self._folder)
        except StorageError as error:  # then all that is missing is damage
            logger.error("%s", error)  # noqa: TRY400 - nothing of the stack helps
            lost = []
        damaged = missing(first, last, [(-1, oldest - 1), *lost])
        return last - first + 1 - sum(high - low + 1 for low, high in damaged), damaged
