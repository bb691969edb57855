"""Queues batches between writers and readers, in memory up to a limit and beyond it on disk, in order."""

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
from generals_env.recorders.buffers.spill_files import Segment, decode, encode, lock_folder, segments_in
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.batch_kind import BatchKind
from generals_env.recorders.filesystem.atomic_files import UNFINISHED, Unfinished, make_folder, unfinished_file
from generals_env.recorders.formats.folder_use import QUEUE, local_folder, refuse_other_uses

__all__ = ["SpillBuffer", "SpillStats"]

logger = logging.getLogger(__name__)

STEP = 10**6  # gap between numbers of segments, for segments of experience that was in memory before them

#: Name that an unreadable segment is moved to; the next one replaces it.
DAMAGED = "damaged.spill"

OVERFLOWS = ("block", "raise", "drop_oldest", "drop_newest")

POLL_SECONDS = 0.05  # between two checks for Ctrl-C

Queue = deque[ExperienceBatch]


@dataclass(frozen=True)
class SpillStats:
    """Counts of experiences and bytes; ``recovered + added == read + dropped + damaged + in_memory + on_disk``.

    Attributes:
        recovered: Experiences in the folder when the buffer was made.
        added: Experiences written since.
        read: Experiences returned by ``read``.
        dropped: Experiences dropped for newer ones, or new ones dropped by ``overflow="drop_newest"``.
        damaged: Experiences lost with damaged segments.
        in_memory: Experiences waiting in memory.
        on_disk: Experiences waiting on disk.
        memory_bytes: Bytes of all batches in memory.
        disk_bytes: Bytes of all segments.
        segments: Number of segments.
        spilled: Experiences written to disk so far.
        damaged_segments: Number of damaged segments; their names are logged, and the last one is kept as ``damaged.spill``.
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
    """A first-in, first-out queue of experience.

    It has three sections, from the oldest to the newest experience::

        read <-- head (memory) <-- segments (disk) <-- tail (memory) <-- write

    While the head takes less than ``threshold`` of ``max_bytes``, the other two are empty. Beyond that, batches collect in the
    tail, and are written to disk as a segment when they are a tenth of ``max_bytes`` (half of what the threshold leaves).
    When the head is empty, segments are read back one at a time; after the last one the queue is in memory only again. The
    memory of all arrays is at most ``max_bytes`` and a batch.

    When ``max_disk_bytes`` is reached, ``write`` waits, raises, or drops the oldest experiences: first the head, then the
    oldest segment, so that the rest is always the newest without a gap.

    A segment is written completely or not at all, and has a checksum; it is deleted after its last experience was read. The
    next buffer of the folder continues with its segments, in order, however the process ended; experiences in memory only are
    lost (``flush`` and ``close`` write them to disk), and a segment that was being read is read from its beginning again. A
    damaged segment is logged by name, counted and skipped. Only one buffer may use a folder at a time, in one process: a
    forked child may neither write nor read.

    Any number of threads may write and read. Batches are read as they were written, bit for bit.
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
        """Continue with the segments in ``folder``, which is made if it does not exist.

        Args:
            folder: Folder of the segments.
            max_bytes: Maximum memory.
            threshold: Share of it above which new experience is written to disk, above 0 and below 1.
            max_disk_bytes: Maximum size of all segments.
            overflow: What ``write`` does without room: ``"block"`` waits for readers, ``"raise"`` refuses the batch,
                ``"drop_oldest"`` drops the oldest experiences, ``"drop_newest"`` the batch.

        Raises:
            ConfigError: If an argument has an invalid value.
            StorageError: If the folder cannot be written, holds other data, or is used by another buffer.
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
        self._producing = threading.Lock()  # held by the writer, also while it waits and encodes
        self._changed = threading.Condition()  # held briefly for any access to the attributes below
        self._head, self._tail = Queue(), Queue()
        self._taken = 0  # experiences of the first batch that were read
        self._memory_bytes = self._tail_bytes = 0
        self._loading = False  # whether a segment is being read
        self._opened: Segment | None = None  # its batches are in the head
        self._opened_batches = 0  # number of its batches there
        self._added = self._read = self._dropped = self._damaged = self._in_memory = self._spilled = 0
        self._damaged_segments = 0
        self._closed = False
        self._owner = Owner()
        try:
            self._folder = local_folder("folder", folder)
            refuse_other_uses(self._folder, QUEUE, "folder")
            make_folder(self._folder)
            finalize(self, lock_folder(self._folder).close)
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
        """Return the number of waiting experiences."""
        self._owner.check("spill buffer")  # before any lock: a thread of the parent may have held it at the fork
        with self._changed:
            return self._in_memory + self._on_disk

    def stats(self) -> SpillStats:
        """Return all counts at one moment."""
        self._owner.check("spill buffer")
        with self._changed:
            counts = {item.name: getattr(self, f"_{item.name}") for item in fields(SpillStats) if item.name != "segments"}
            return SpillStats(segments=len(self._segments) + (self._loading or self._opened is not None), **counts)

    # --- Writing --------------------------------------------------------------------------------------------------

    def write(self, batch: ExperienceBatch) -> None:
        """Write a batch; its arrays must not be changed afterwards.

        Raises:
            ConfigError: If its metadata or game ids cannot be encoded as JSON, when it is written to disk.
            StateError: After ``close``, also while waiting, or in a process forked from the one that made the buffer. The batch
                was not written.
            StorageError: If there is no room and ``overflow="raise"``, or the disk fails. The batch was not written.
        """
        self._owner.check("spill buffer")
        if not len(batch):
            return
        with self._producing, deferred():
            while not self._take(batch):
                if not self._spill():
                    with self._changed:
                        self._added += len(batch)
                        self._dropped += len(batch)
                    return

    def _take(self, batch: ExperienceBatch) -> bool:
        """Add a batch if there is room in memory; return whether there was."""
        size = batch.nbytes
        with self._changed:
            self._check_open()
            if not self._segments and not self._loading and self._memory_bytes + size <= self._memory_limit:
                self._head += self._tail  # readers have read all segments
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

    def _spill(self) -> bool:
        """Write the tail to disk, unless readers take it meanwhile; return False if a new batch is to be dropped instead."""
        with self._changed:
            tail = self._tail
            batches = tuple(tail)
        if not batches:
            return True
        data = encode(batches)
        with self._changed:
            while self._tail is tail and self._disk_bytes + len(data) > self._disk_limit:
                self._check_open()
                waits = self._overflow == "block" and (self._loading or self._opened is not None or len(self._segments) > 0)
                if waits or (self._overflow == "drop_oldest" and self._loading):
                    self._changed.wait(POLL_SECONDS)
                    raise_pending()  # the batch was not added
                elif self._overflow == "drop_oldest":
                    self._drop_oldest()
                elif self._overflow == "drop_newest":
                    return False
                else:
                    self._refuse(len(data))
            if self._tail is not tail:
                return True
        with self._written(data) as unfinished, self._changed:
            if self._tail is tail:
                self._segments.append(self._published(unfinished, self._next, data, batches))
                self._next += STEP
                self._tail, self._tail_bytes = Queue(), 0
        return True

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("write: expected an open buffer, got one that is closed: make another buffer")

    def _refuse(self, size: int) -> None:
        raise StorageError(
            f"max_disk_bytes: expected room for {size} bytes more, got {self._disk_limit} with {self._disk_bytes} taken: "
            "raise it, or read faster"
        )

    def _drop_oldest(self) -> None:
        """Drop the head and the oldest segment; the tail, too, if there is no segment: it exceeds the limit of the disk."""
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
        """Yield a file with this content, synchronised to disk, that has no name yet."""
        with ExitStack() as stack:
            try:
                unfinished = stack.enter_context(unfinished_file(self._folder, lambda file: file.write(data)))
            except OSError as error:
                raise StorageError(f"folder: expected to write to {str(self._folder)!r}, got {error}") from error
            yield unfinished

    def _published(
        self, unfinished: Unfinished, number: int, data: bytes, batches: Sequence[ExperienceBatch], cut: int = 0
    ) -> Segment:
        """Name a file as a segment, and count its batches, without the first ``cut`` experiences, as on disk."""
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
        """Write to disk what is in memory only, so that a crash loses nothing; readers read it back from there.

        Raises:
            StateError: In a process forked from the one that made the buffer.
            StorageError: If the disk fails or has no room. What is not on disk then stays in memory, in order.
        """
        self._owner.check("spill buffer")
        with self._producing, deferred(), self._changed:
            while self._loading:
                self._changed.wait(POLL_SECONDS)
                raise_pending()
            if self._tail:
                self._segments.append(self._flush_newest(self._tail, self._next, 0))
                self._next += STEP
                self._tail_bytes = 0
            kept = self._opened_batches  # are on disk already
            if len(self._head) > kept and not self._segments:
                self._next += STEP
            following = self._segments[0].number if self._segments else self._next - STEP
            while len(self._head) > kept:
                following -= 1
                self._segments.appendleft(self._flush_newest(self._head, following, kept))

    def _flush_newest(self, queue: Queue, number: int, kept: int) -> Segment:
        """Write the newest batches of a queue, but not its first ``kept``, to disk; after a failure the order is unchanged."""
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
        """Write everything to disk and refuse further batches; waiting experiences can still be read. No-op in a forked child.

        Raises:
            StorageError: As ``flush``; experiences in memory can still be read in this process.
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

        There may be fewer than n though more are waiting, if the next ones have another shape, number of players, recipe or
        kind of dense observations. Metadata that differs is dropped, as by ``ExperienceBatch.concat``.

        Args:
            n: Maximum number of experiences.
            timeout: Seconds to wait for the first one; None waits until the buffer is closed.

        Raises:
            ConfigError: If an argument has an invalid value.
            StateError: In a process forked from the one that made the buffer.
            StorageError: If the disk fails. The next call tries again.
        """
        self._owner.check("spill buffer")
        check_integer("n", n, 1, 2**62)
        if timeout is not None and (not is_number(timeout) or not timeout >= 0):
            raise ConfigError(f"timeout: expected seconds from 0, or None, got {timeout!r}")
        deadline = None if timeout is None else time.monotonic() + timeout
        slices: list[ExperienceBatch] = []
        count = 0
        while count < n:
            try:
                if not self._fill_head(None if slices else deadline, waits=not slices):
                    break
            except StorageError:
                if not slices:
                    raise
                break  # return what was read so far; the next call meets the error again
            with self._changed:
                if not self._head:
                    continue  # another thread has taken the batch
                if slices and not fits(slices[0], self._head[0]):
                    break
                batch, low = self._head[0], self._taken
                taken = min(n - count, len(batch) - low)
                self._take_out(taken)
                self._read += taken
            count += taken
            slices.append(batch if taken == len(batch) else batch.select(np.arange(low, low + taken)))
        return ExperienceBatch.concat(slices) if len(slices) > 1 else (slices[0] if slices else None)

    def _fill_head(self, deadline: float | None, waits: bool) -> bool:
        """Fill the head from the segments or the tail, or wait for a batch; return whether the head has one."""
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
        """Read a segment into the head, or skip it if it is damaged."""
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
        """Remove the next ``count`` experiences from the first batch of the head, and delete a segment after its last one."""
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
        """Delete a segment, or rename it."""
        self._disk_bytes -= segment.size
        try:
            if to is None:
                segment.path.unlink(missing_ok=True)
            elif segment.path.exists():
                segment.path.replace(to)
        except OSError as error:
            logger.error("%s: could not be deleted: %s", segment.path, error)  # noqa: TRY400 - a traceback would tell nothing more
        self._changed.notify_all()


def fits(one: ExperienceBatch, other: ExperienceBatch) -> bool:
    """Return whether two batches can be concatenated without padding or conversion."""
    return one.shape == other.shape and BatchKind.of(one).joins(BatchKind.of(other))
