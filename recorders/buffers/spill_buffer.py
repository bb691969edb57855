"""A queue of experience between players and learners: in memory as far as that goes, then on disk, in order."""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from generals_env.arguments import check_integer, is_number
from generals_env.concurrency.interrupts import deferred, raise_pending
from generals_env.concurrency.process_owner import Owner, finalize
from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.buffers.spill_files import Segment, decode, encode, segments_in
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.filesystem.atomic_files import UNFINISHED, Unfinished, make_folder, unfinished_file
from generals_env.recorders.filesystem.file_lock import FileLock
from generals_env.recorders.formats.folder_use import QUEUE, QUEUE_LOCK, local_folder, refuse_other_uses

__all__ = ["SpillBuffer", "SpillStats"]

logger = logging.getLogger(__name__)

STEP = 10**6  # between numbers of segments: what lay before them in memory goes between

#: Where a segment goes that cannot be read; the next one takes its place.
DAMAGED = "damaged.spill"

OVERFLOWS = ("block", "raise", "drop_oldest")

GLANCE = 0.05  # seconds between two looks whether Ctrl-C was pressed

Queue = deque[ExperienceBatch]


@dataclass(frozen=True)
class SpillStats:
    """What became of experience; ``recovered + added == read + dropped + damaged + in_memory + on_disk``.

    Attributes:
        recovered: Experiences that lay in the folder at the beginning.
        added: Written since.
        read: Handed out.
        dropped: Given up for newer ones.
        damaged: Lost with segments that could not be read.
        in_memory: Waiting there.
        on_disk: Waiting there.
        memory_bytes: Of all that is in memory.
        disk_bytes: Of all segments.
        segments: How many there are.
        spilled: Experiences that were brought to disk so far.
        damaged_segments: How many could not be read; the log has their names, and the last one lies in ``damaged.spill``.
    """

    recovered: int
    added: int
    read: int
    dropped: int
    damaged: int
    in_memory: int
    on_disk: int
    memory_bytes: int
    disk_bytes: int
    segments: int
    spilled: int
    damaged_segments: int


@pickled_as("generals_env.recorders")
class SpillBuffer(NotCopied):
    """A queue: what is written first is read first.

    It has three parts, from the oldest to the newest experience::

        read <-- head (memory) <-- segments (disk) <-- tail (memory) <-- write

    As long as the head takes less than ``threshold`` of ``max_bytes``, there is nothing else. Beyond that, batches gather in
    the tail, and go to disk as a segment when they are a tenth of ``max_bytes`` (half of what the threshold leaves). Segments
    are read back one at a time, when the head is empty; once all have been, the queue is in memory only again. Memory is
    that of the arrays, at most ``max_bytes`` and a batch.

    When ``max_disk_bytes`` do not suffice, ``write`` waits, raises, or gives up the oldest: first what lies in the head, then
    the oldest segment, so what is left is always the newest without a hole.

    A segment is whole or not there, and carries a checksum; it is deleted when the last of it is handed out. What a process
    leaves in the folder, however it ends, the next one reads on, in order; what was in memory only is lost (``flush`` and
    ``close`` bring it to disk), and the segment that was being read comes again from its beginning. One that is damaged
    is logged by name, counted and skipped. Only one buffer may have a folder at a time, in one process: a forked child may
    neither write nor read.

    Any number of threads may write and read. Batches come back as they went in, bit for bit.
    """

    _instead = "hand on what it holds, or make another SpillBuffer with a folder of its own"

    def __init__(
        self,
        folder: str | Path,
        max_bytes: int = 2**28,
        threshold: float = 0.8,
        max_disk_bytes: int = 2**32,
        overflow: str = "block",
    ) -> None:
        """Go on with what is in ``folder``, which is made if it is not there.

        Args:
            folder: Where segments go.
            max_bytes: Most memory to take.
            threshold: Share of it above which new experience goes to disk, above 0 and below 1.
            max_disk_bytes: Most bytes of all segments.
            overflow: What a ``write`` does when there is no room: ``"block"`` waits for readers, ``"raise"`` takes nothing,
                ``"drop_oldest"`` makes room.

        Raises:
            ConfigError: If an argument is not what it should be.
            StorageError: If the folder cannot be written, is used for something else, or another buffer has it.
        """
        check_integer("max_bytes", max_bytes, 1, 2**62)
        check_integer("max_disk_bytes", max_disk_bytes, 1, 2**62)
        if not is_number(threshold) or not 0 < threshold < 1:
            raise ConfigError(f"threshold: expected a share above 0 and below 1, got {threshold!r}")
        if overflow not in OVERFLOWS:
            raise ConfigError(f"overflow: expected one of {', '.join(OVERFLOWS)}, got {overflow!r}")
        self._overflow = overflow
        self._memory_limit = int(max_bytes * threshold)
        self._segment_bytes = min((max_bytes - self._memory_limit) // 2, max_disk_bytes // 4)
        self._disk_limit = int(max_disk_bytes)
        self._producing = threading.Lock()  # held by who writes, while waiting and encoding, too
        self._changed = threading.Condition()  # held for moments, by all who touch what follows
        self._head, self._tail = Queue(), Queue()
        self._taken = 0  # experiences of the first batch that have been handed out
        self._memory_bytes = self._tail_bytes = 0
        self._loading = False  # whether a segment is being read
        self._opened: Segment | None = None  # whose batches lie in the head
        self._opened_batches = 0  # how many of them
        self._added = self._read = self._dropped = self._damaged = self._in_memory = self._spilled = 0
        self._damaged_segments = 0
        self._closed = False
        self._owner = Owner()
        try:
            self._folder = local_folder("folder", folder)
            refuse_other_uses(self._folder, QUEUE, "folder")
            make_folder(self._folder)
            finalize(self, locked(self._folder).close)
            for unfinished in self._folder.glob(f".*{UNFINISHED}"):
                unfinished.unlink()
            self._segments = deque(segments_in(self._folder))
        except StorageError:
            raise
        except (OSError, ValueError, TypeError) as error:  # a null byte is a ValueError
            raise StorageError(f"folder: expected one that can be written, got {folder!r} ({error})") from error
        self._disk_bytes = sum(segment.size for segment in self._segments)
        self._recovered = self._on_disk = sum(segment.count for segment in self._segments)
        self._next = max((segment.number for segment in self._segments), default=0) + STEP

    def __len__(self) -> int:
        """Return how many experiences are waiting."""
        self._owner.check("spill buffer")  # before any lock: a thread of the parent may hold it for ever
        with self._changed:
            return self._in_memory + self._on_disk

    def stats(self) -> SpillStats:
        """Return all counts, of one moment."""
        self._owner.check("spill buffer")
        with self._changed:
            counts = {item.name: getattr(self, f"_{item.name}") for item in fields(SpillStats) if item.name != "segments"}
            return SpillStats(segments=len(self._segments) + (self._loading or self._opened is not None), **counts)

    # --- Writing --------------------------------------------------------------------------------------------------

    def write(self, batch: ExperienceBatch) -> None:
        """Take a batch; the arrays are the buffer's from now on.

        Raises:
            ConfigError: If its metadata or game ids cannot be written as JSON, once it is to go to disk.
            StateError: After ``close``, also while waiting, or in a process that was forked off the one that made the
                buffer. The batch has not been taken.
            StorageError: If there is no room and the buffer raises then, or the disk fails. The batch has not been taken.
        """
        self._owner.check("spill buffer")
        if not len(batch):
            return
        with self._producing, deferred():
            while not self._take(batch):
                self._spill()

    def _take(self, batch: ExperienceBatch) -> bool:
        """Take a batch if there is room in memory."""
        size = batch.nbytes
        with self._changed:
            self._check_open()
            if not self._segments and not self._loading and self._memory_bytes + size <= self._memory_limit:
                self._head += self._tail  # readers have caught up
                self._tail, self._tail_bytes = Queue(), 0
                self._head.append(batch)
            elif self._tail and self._tail_bytes + size > self._segment_bytes:
                return False
            else:
                self._tail.append(batch)
                self._tail_bytes += size
            self._memory_bytes += size
            self._added += len(batch)
            self._in_memory += len(batch)
            self._changed.notify_all()
            return True

    def _spill(self) -> None:
        """Bring the tail to disk, unless readers come and take it."""
        with self._changed:
            tail = self._tail
            batches = tuple(tail)
        if not batches:
            return
        data = encode(batches)
        with self._changed:
            while self._tail is tail and self._disk_bytes + len(data) > self._disk_limit:
                self._check_open()
                waits = self._overflow == "block" and (self._loading or self._opened is not None or len(self._segments) > 0)
                if waits or (self._overflow == "drop_oldest" and self._loading):
                    self._changed.wait(GLANCE)
                    raise_pending()  # the batch has not been taken
                elif self._overflow == "drop_oldest":
                    self._drop_oldest()
                else:
                    self._refuse(len(data))
            if self._tail is not tail:
                return
        with self._written(data) as unfinished, self._changed:
            if self._tail is tail:
                self._segments.append(self._published(unfinished, self._next, data, batches))
                self._next += STEP
                self._tail, self._tail_bytes = Queue(), 0

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("write: expected an open buffer, got one that is closed")

    def _refuse(self, size: int) -> None:
        raise StorageError(
            f"max_disk_bytes: expected room for {size} bytes more, got {self._disk_limit} with {self._disk_bytes} taken"
        )

    def _drop_oldest(self) -> None:
        """Give up the head and the oldest segment; the tail, too, if there is no segment: it is larger than the disk may be."""
        if not self._segments and self._opened is None:
            self._head += self._tail
            self._tail, self._tail_bytes = Queue(), 0
        while self._head:
            count = len(self._head[0]) - self._taken
            self._take_out(count)
            self._dropped += count
        if self._segments:
            segment = self._segments.popleft()
            self._on_disk -= segment.count
            self._dropped += segment.count
            self._delete(segment)

    @contextmanager
    def _written(self, data: bytes) -> Iterator[Unfinished]:
        """Lend a file with this content, safe from a crash, that has no name yet."""
        with ExitStack() as stack:
            try:
                unfinished = stack.enter_context(unfinished_file(self._folder, lambda file: file.write(data)))
            except OSError as error:
                raise StorageError(f"folder: expected to write to {str(self._folder)!r}, got {error}") from error
            yield unfinished

    def _published(
        self, unfinished: Unfinished, number: int, data: bytes, batches: Sequence[ExperienceBatch], cut: int = 0
    ) -> Segment:
        """Make a segment of a file: batches that were in memory, but for the first ``cut`` experiences, are on disk."""
        count, checksum = sum(map(len, batches)) - cut, zlib.crc32(data)
        path = self._folder / f"{number:018d}-{count}-{checksum:08x}.spill"
        try:
            unfinished.create(path)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise StorageError(f"folder: expected to write to {str(self._folder)!r}, got {error}") from error
        self._disk_bytes += len(data)
        self._on_disk += count
        self._spilled += count
        self._in_memory -= count
        self._memory_bytes -= sum(batch.nbytes for batch in batches)
        self._changed.notify_all()
        return Segment(path, number, count, checksum, len(data))

    def flush(self) -> None:
        """Bring to disk what is in memory only: what comes after a crash has it all. Readers read it back from there.

        Raises:
            StateError: In a process that was forked off the one that made the buffer.
            StorageError: If the disk fails or may not take that much. What is not on disk then stays in memory, in order.
        """
        self._owner.check("spill buffer")
        with self._producing, deferred(), self._changed:
            while self._loading:
                self._changed.wait(GLANCE)
                raise_pending()
            if self._tail:
                self._segments.append(self._flush_newest(self._tail, self._next, 0))
                self._next += STEP
                self._tail_bytes = 0
            kept = self._opened_batches  # which are on disk already
            if len(self._head) > kept and not self._segments:
                self._next += STEP
            following = self._segments[0].number if self._segments else self._next - STEP
            while len(self._head) > kept:
                following -= 1
                self._segments.appendleft(self._flush_newest(self._head, following, kept))

    def _flush_newest(self, queue: Queue, number: int, kept: int) -> Segment:
        """Bring the newest batches of a queue to disk, but not its first ``kept``: what fails leaves all in order."""
        low = len(queue) - 1
        size = queue[low].nbytes
        while low > kept and size + queue[low - 1].nbytes <= self._segment_bytes:
            low -= 1
            size += queue[low].nbytes
        batches = list(queue)[low:]
        cut = self._taken if queue is self._head and low == 0 else 0
        data = encode([batches[0].select(np.arange(cut, len(batches[0]))), *batches[1:]] if cut else batches)
        if self._disk_bytes + len(data) > self._disk_limit:
            self._refuse(len(data))
        with self._written(data) as unfinished:
            segment = self._published(unfinished, number, data, batches, cut)
        for _ in batches:
            queue.pop()
        if cut:
            self._taken = 0
        return segment

    def close(self) -> None:
        """Bring everything to disk and take no more; what waits can still be read. A forked child leaves that to its parent.

        Raises:
            StorageError: As ``flush``; what is in memory can be read in this process.
        """
        if not self._owner.is_here:
            return
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self.flush()

    # --- Reading --------------------------------------------------------------------------------------------------

    def read(self, n: int, timeout: float | None = 0) -> ExperienceBatch | None:
        """Return the oldest experiences, up to ``n`` of them, as one batch; None if there is none.

        There may be fewer than n though more are waiting: where the next ones have another shape, number of players, recipe or
        kind of dense observations. Metadata in which they differ is dropped, as by ``ExperienceBatch.concat``.

        Args:
            n: At most how many.
            timeout: Seconds to wait for the first, None for as long as the buffer is open.

        Raises:
            ConfigError: If an argument is not what it should be.
            StateError: In a process that was forked off the one that made the buffer.
            StorageError: If the disk fails. What was to be read is tried again next time.
        """
        self._owner.check("spill buffer")
        check_integer("n", n, 1, 2**62)
        if timeout is not None and (not is_number(timeout) or not timeout >= 0):
            raise ConfigError(f"timeout: expected seconds from 0, or None, got {timeout!r}")
        deadline = None if timeout is None else time.monotonic() + timeout
        parts: list[ExperienceBatch] = []
        count = 0
        while count < n:
            try:
                if not self._fill_head(None if parts else deadline, waits=not parts):
                    break
            except StorageError:
                if not parts:
                    raise
                break  # what was taken is handed out; the next read comes upon it again
            with self._changed:
                if not self._head:
                    continue  # somebody else was faster
                if parts and not fits(parts[0], self._head[0]):
                    break
                batch, low = self._head[0], self._taken
                taken = min(n - count, len(batch) - low)
                self._take_out(taken)
                self._read += taken
            count += taken
            parts.append(batch if taken == len(batch) else batch.select(np.arange(low, low + taken)))
        return ExperienceBatch.concat(parts) if len(parts) > 1 else (parts[0] if parts else None)

    def _fill_head(self, deadline: float | None, waits: bool) -> bool:
        """Return whether there is something in the head, after bringing it there, or waiting for it."""
        with self._changed:
            while not self._head:
                if self._loading:
                    self._changed.wait()
                elif self._segments:
                    segment = self._segments.popleft()
                    self._loading = True
                    break
                elif self._tail:
                    self._head, self._tail, self._tail_bytes = self._tail, Queue(), 0
                    self._changed.notify_all()
                else:
                    left = None if deadline is None else deadline - time.monotonic()
                    if not waits or self._closed or (left is not None and left <= 0):
                        return False
                    self._changed.wait(left)
            else:
                return True
        self._load(segment)
        return True

    def _load(self, segment: Segment) -> None:
        """Bring a segment into the head, or skip it."""
        batches: list[ExperienceBatch] = []
        failure: Exception | None = None
        try:
            batches = decode(segment.path.read_bytes(), segment)
        except (ValueError, StorageError, FileNotFoundError) as error:
            failure = error
        except BaseException as error:
            with self._changed:
                self._segments.appendleft(segment)
                self._loading = False
                self._changed.notify_all()
            if isinstance(error, OSError):
                raise StorageError(f"folder: expected to read {str(segment.path)!r}, got {error}") from error
            raise
        with self._changed:
            self._loading = False
            self._on_disk -= segment.count
            if failure is None:
                self._head += batches
                self._opened, self._opened_batches = segment, len(batches)
                self._in_memory += segment.count
                self._memory_bytes += sum(batch.nbytes for batch in batches)
            else:
                logger.error("%s: skipped, with %d experiences: %s", segment.path, segment.count, failure)
                self._damaged += segment.count
                self._damaged_segments += 1
                self._delete(segment, segment.path.with_name(DAMAGED))
            self._changed.notify_all()

    def _take_out(self, count: int) -> None:
        """Take the next ``count`` experiences out of the first batch of the head, and what is used up off the disk."""
        self._taken += count
        self._in_memory -= count
        if self._taken == len(self._head[0]):
            self._memory_bytes -= self._head.popleft().nbytes
            self._taken = 0
            self._opened_batches -= self._opened is not None
            if self._opened is not None and not self._opened_batches:
                self._delete(self._opened)
                self._opened = None
            self._changed.notify_all()

    def _delete(self, segment: Segment, to: Path | None = None) -> None:
        """Take a segment off the disk, or away under another name."""
        self._disk_bytes -= segment.size
        try:
            if to is None:
                segment.path.unlink(missing_ok=True)
            elif segment.path.exists():
                segment.path.replace(to)
        except OSError as error:
            logger.error("%s: could not be deleted: %s", segment.path, error)  # noqa: TRY400 - nothing is wrong here
        self._changed.notify_all()


def locked(folder: Path) -> FileLock:
    """Return the lock of a folder, held; raise ``StorageError`` if another buffer holds it."""
    try:
        return FileLock(folder / QUEUE_LOCK)
    except StorageError as error:
        raise StorageError(f"folder: expected one that no other buffer has, got {str(folder)!r} ({error})") from error


def fits(one: ExperienceBatch, other: ExperienceBatch) -> bool:
    """Return whether two batches become one without a change to either."""
    return (
        one.shape == other.shape
        and one.players == other.players
        and one.recipe == other.recipe
        and (one.dense is None) == (other.dense is None)
        and one.state_shape == other.state_shape
        and (one.dense is None or other.dense is None or one.dense.observations.dtype == other.dense.observations.dtype)
    )
