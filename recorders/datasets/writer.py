"""Writes experience to the files of a dataset, in one folder for each hour, with an index in each folder."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from generals_env.arguments import check_integer, is_number
from generals_env.concurrency.interrupts import deferred
from generals_env.concurrency.process_owner import Owner
from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.datasets.data_file import entry_of, mend_index
from generals_env.recorders.datasets.index import FileEntry
from generals_env.recorders.datasets.index_parts import IndexParts
from generals_env.recorders.datasets.retention import FileRetention
from generals_env.recorders.encoding.compression_level import Level, check_level, level_now, record_times
from generals_env.recorders.encoding.timings import measured
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.batch_kind import BatchKind
from generals_env.recorders.experience.collate import GAMES
from generals_env.recorders.experience.identity import experience_hashes
from generals_env.recorders.experience.sink import ClosingSink
from generals_env.recorders.filesystem.file_stores import FileStore, LocalStore, open_store
from generals_env.recorders.filesystem.retry import Retry
from generals_env.recorders.formats import format_of
from generals_env.recorders.formats.file_names import file_name, partition_of, safe_id
from generals_env.recorders.formats.folder_use import DATASET, Use, refuse_other_uses

__all__ = ["DatasetWriter", "WriterStats"]

logger = logging.getLogger(__name__)

NAMINGS = ("packed", "games")

WHEN_FULL = ("raise", "drop", "delete_oldest")

#: Metadata in which the batches of one file may differ: the file then leaves the seed out, and joins what is told of games.
OF_A_GAME = ("seed", GAMES)


#: Columns that are equal in repeats, beside game, player and turn.
REPEATED = ("sequence", "action", "reward", "terminated", "truncated")

#: What experience in one file has in common: the game, if files are of games, and the kind of its batches.
Key = tuple[str, BatchKind]


@dataclass(frozen=True)
class WriterStats:
    """Counts of a writer; ``taken == written + pending``.

    Attributes:
        taken: Experiences taken.
        written: Experiences in files that are written and synced.
        pending: Experiences in memory, which are lost if the process is killed now.
        dropped: Experiences that were not taken, as the disk was full.
        files: Files written.
        bytes: Bytes of these files.
        deleted: Files deleted because of their age, or to free space.
        archived: Files moved to the archive.
        free_bytes: Free space on the disk; None where it is unknown.
    """

    taken: int = 0
    written: int = 0
    pending: int = 0
    dropped: int = 0
    files: int = 0
    bytes: int = 0
    deleted: int = 0
    archived: int = 0
    free_bytes: int | None = None


@dataclass
class OpenFile:
    """Experience that will become a file.

    Attributes:
        key: The game and the kind that all its experience has.
        kind: ``"part"`` or ``"game"``.
        id: Id of the writer or the game, as file names have it.
        folder: The folder of the hour in which it was begun.
        begun: When it was begun, in seconds since 1970.
        batches: The experience.
        bytes: Its size in memory.
        seen: Players of the game who have experiences in it.
        ended: Players for whom the game has ended.
    """

    key: Key
    kind: str
    id: str
    folder: str
    begun: float
    batches: list[ExperienceBatch] = field(default_factory=list)
    bytes: int = 0
    seen: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        """Whether it holds a single game that has ended for all its players."""
        return self.kind == "game" and self.ended >= self.seen

    def is_old(self, now: float, max_age: float) -> bool:
        """Return whether it was begun ``max_age`` seconds ago or earlier, or the clock was set back since."""
        return not 0 <= now - self.begun < max_age

    def add(self, batch: ExperienceBatch) -> None:
        """Append a batch."""
        self.batches.append(batch)
        self.bytes += batch.nbytes
        if self.kind == "game":
            self.seen.update(np.unique(batch.player_id).tolist())
            self.ended.update(np.unique(batch.player_id[batch.terminated | batch.truncated]).tolist())


@pickled_as("generals_env.recorders")
class DatasetWriter(NotCopied, ClosingSink):
    """Writes experience to files in a folder or on S3.

    Experience is collected in memory and becomes a file when it is large or old enough, when the hour (UTC) changes, and when
    ``flush`` or ``close`` is called. **When ``flush`` returns, everything taken before is safe**: in files that survive a
    crash. A killed process loses only later experience; files appear whole. ``open_dataset`` reads the dataset, also while it
    is written.

    With ``naming="packed"`` (``part_<writer>_0000.npz``) many games on boards of one shape share a file: for training, and
    when games are many or short. With ``naming="games"`` (``game_<id>_0000.npz``) each game has files of its own, with a
    new file when the game goes on after one was written: for looking up, moving or deleting single games. A file takes some
    milliseconds and at least a kilobyte, however short the game.

    Any number of writers, on any number of machines, may write to one folder or URL: none overwrites files of another. At a URL
    each writes a part of the index, which it merges into the index when the part has grown and when it closes.

    With ``writer_id`` publishing can be repeated: a writer that is given the same batches, the same ``writer_id`` and a clock
    that stands still (``clock=lambda: 1_700_000_000.0``) publishes files of the same names. A file that is there already with
    the same experiences, whatever the times of their collection, counts as written; one with other experiences stays, and the
    new file gets the next number, with a warning in the log.

    ``write`` takes a whole batch, or raises and takes nothing. Files that cannot be written stay in memory and are tried again
    with the next ``write`` or ``flush``, so nothing that was taken is lost while the process lives.

    Attributes:
        store: The folder or URL.
        format: A key of ``formats.FORMATS``.
        naming: ``"packed"`` or ``"games"``.
    """

    _instead = "make another DatasetWriter of the same folder or URL, any number may write to it"

    def __init__(
        self,
        place: str | Path,
        format: str = "npz",  # noqa: A002 - the usual name
        naming: str = "packed",
        *,
        max_file_bytes: int = 2**25,
        max_file_seconds: float = 300.0,
        keep_bytes: int | None = None,
        keep_seconds: float | None = None,
        archive: str | Path | None = None,
        min_free_bytes: int = 2**28,
        when_full: str = "raise",
        compression_level: Level | None = None,
        retry: Retry | None = None,
        timeout: float = 30.0,
        clock: Callable[[], float] = time.time,
        writer_id: str | None = None,
    ) -> None:
        """Write to ``place``, which is made if it does not exist; files that it holds stay.

        Args:
            place: A folder, or a URL as ``open_store`` takes it.
            format: ``"npz"``, ``"parquet"``, ``"tfrecord"``, ``"tfrecord.gz"`` or ``"games"``.
            naming: ``"packed"`` or ``"games"``.
            max_file_bytes: A file is written when its experience takes this much memory; on disk it is much smaller.
            max_file_seconds: A file is also written at the first ``write`` this long after it was begun.
            keep_bytes: Maximum bytes of all files of the dataset: the oldest are deleted, or archived. None for no limit.
            keep_seconds: Files are deleted, or archived, this long after the hour in which they were begun. None for never.
            archive: A folder or URL to which such files are moved; without, they are deleted.
            min_free_bytes: Minimum free space of a local disk.
            when_full: What ``write`` does when less is free: ``"raise"``, ``"drop"`` the batch (counted), or
                ``"delete_oldest"`` files (or archive them).
            compression_level: Level of the compression, 1 (the fastest) to 22, or an ``AdaptiveLevel``: of zstd for Parquet and
                ``games``; of zlib for NPZ and ``tfrecord.gz``, where levels above 9 count as 9. By default each format has
                its own: 9 for ``games``, 1 for the others.
            retry: How often requests over the network are tried.
            timeout: Seconds to wait for an answer of S3.
            clock: Returns the time in seconds since 1970: of the hour in whose folder files are, and of their age.
            writer_id: Names packed files instead of a random id, such as the run id of a rollout's task.

        Raises:
            ConfigError: If an argument has a wrong value.
            ImportError: Without the libraries that the format or the URL needs.
            StorageError: If the folder or URL cannot be written, or the folder is used for something else, as for a log.
        """
        for name, value, choices in (("naming", naming, NAMINGS), ("when_full", when_full, WHEN_FULL)):
            if value not in choices:
                raise ConfigError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
        check_integer("max_file_bytes", max_file_bytes, 1, 2**40)
        check_integer("min_free_bytes", min_free_bytes, 0, 2**62)
        if not is_number(max_file_seconds) or max_file_seconds <= 0:
            raise ConfigError(f"max_file_seconds: expected seconds above 0, got {max_file_seconds!r}")
        self._level: Level | None = None if compression_level is None else check_level("compression_level", compression_level)
        self._format = format_of(format)
        self.format = format
        self.naming = naming
        self.store = opened("sink", place, retry, timeout)
        archived = None if archive is None else opened("archive", archive, retry, timeout)
        self._retention = FileRetention(self.store, keep_bytes, keep_seconds, archived)
        self._max_file_bytes = max_file_bytes
        self._max_age = float(max_file_seconds)
        self._min_free_bytes = min_free_bytes
        self._when_full = when_full
        self._clock = clock
        self._lock = threading.RLock()
        if writer_id is not None and (not isinstance(writer_id, str) or not writer_id):
            raise ConfigError(f"writer_id: expected text, got {writer_id!r}: leave it out for a random one")
        unique = f"{int(clock() * 1000):011x}{uuid.uuid4().hex[:5]}"  # sorts by time
        self._id = unique if writer_id is None else safe_id(writer_id)
        self._repeatable = writer_id is not None
        # In a local folder a lock keeps writers apart, and other programs that scan the folder see one index.
        self._parts = None if isinstance(self.store, LocalStore) else IndexParts(self.store, unique, format)
        self._numbers: dict[tuple[str, str], int] = {}  # of the next file, by kind and id
        self._open: dict[Key, OpenFile] = {}
        self._full: list[OpenFile] = []  # complete, to be written
        self._unindexed: dict[str, dict[str, FileEntry]] = {}  # entries of files that no index has yet, by folder
        self._checked: Mapping[str, Any] | None = None  # metadata that were found to be valid JSON
        self._about = ""  # the same as text, without ``OF_A_GAME``
        self._stats = WriterStats()
        self._closed = False
        self._use: Use | None = None
        if isinstance(self.store, LocalStore):
            self._use = Use(self.store.folder)
            refuse_other_uses(self.store.folder, DATASET, "sink")  # again: another use may have begun in the meantime
            self.store.clear(self.store.leftovers())
        self._owner = Owner()

    def stats(self) -> WriterStats:
        """Return all counts at one moment."""
        with self._lock:
            moved, free = self._retention, self.store.free_bytes()
            return replace(self._stats, deleted=moved.deleted, archived=moved.archived, free_bytes=free)

    # --- Taking batches -------------------------------------------------------------------------------------------

    def write(self, batch: ExperienceBatch) -> None:
        """Take a batch; the caller must not change its arrays afterwards.

        Raises:
            StateError: After ``close``, or in a process that was forked off the one that made the writer.
            StorageError: If files that are due cannot be written, or the disk is full. The batch has not been taken.
        """
        self._owner.check("writer")  # before the lock: a thread of the parent may hold it for ever
        with self._lock, deferred():
            if self._closed:
                raise StateError(
                    "write: expected an open writer, got a closed one: make another DatasetWriter of the same place"
                )
            if not len(batch):
                return
            self._check(batch)
            now = self._clock()
            folder = partition_of(now)
            self._close_files(
                [file for file in self._open.values() if file.folder != folder or file.is_old(now, self._max_age)]
            )
            self._publish_full()
            if not self._has_room(0):
                self._stats = replace(self._stats, dropped=self._stats.dropped + len(batch))
                return
            for game, part in self._divided(batch):
                self._add(game, part, now)
            count = len(batch)
            self._stats = replace(self._stats, taken=self._stats.taken + count, pending=self._stats.pending + count)
            self._close_files([file for file in self._open.values() if file.bytes >= self._max_file_bytes or file.is_over])
            self._close_largest()
            try:
                self._publish_full()
            except Exception as error:  # the batch is taken whatever fails; the next call tries again and raises
                logger.warning("files stay in memory, to be written later: %s", error)

    def _check(self, batch: ExperienceBatch) -> None:
        """Raise ``ConfigError`` if a batch cannot be written: found out later, it would block its file for ever."""
        if batch.metadata is not self._checked:
            about = {name: value for name, value in batch.metadata.items() if name not in OF_A_GAME}
            try:
                json.dumps(dict(batch.metadata))
                self._about = json.dumps(about, sort_keys=True)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"metadata: expected what JSON takes, got {batch.metadata!r:.200} ({error})") from error
            self._checked = batch.metadata
        try:
            "".join(batch.game_ids).encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"game_ids: expected text, got {error}") from error

    def _add(self, game: str, part: ExperienceBatch, now: float) -> None:
        """Add experience of a game, or of many if ``game`` is empty, to the open file of its kind."""
        key = (game, BatchKind.of(part)._replace(metadata=self._about))
        file = self._open.get(key)
        if file is None:
            kind, name = ("part", self._id) if self.naming == "packed" else ("game", safe_id(game))
            file = self._open[key] = OpenFile(key, kind, name, partition_of(now), now)
        file.add(part)

    def _divided(self, batch: ExperienceBatch) -> list[tuple[str, ExperienceBatch]]:
        """Return the parts of a batch that go to different files, each with the id of its game."""
        if self.naming == "packed":
            return [("", batch)]
        if len(batch.game_ids) == 1:
            return [(batch.game_ids[0], batch)]
        order = np.argsort(batch.game, kind="stable")
        bounds = np.searchsorted(batch.game[order], np.arange(len(batch.game_ids) + 1))
        parts = [order[bounds[game] : bounds[game + 1]] for game in range(len(batch.game_ids))]
        return [(batch.game_ids[game], batch.select(rows)) for game, rows in enumerate(parts) if len(rows)]

    def _has_room(self, size: int) -> bool:
        """Return whether enough of the disk stays free after ``size`` more bytes, after deleting old files; or raise."""
        free, needed = self.store.free_bytes(), self._min_free_bytes + size
        if free is not None and free < needed and self._when_full == "delete_oldest":
            self._retention.make_room(needed - free)
            free = self.store.free_bytes()
        if free is None or free >= needed:
            return True
        if self._when_full == "drop":
            return False
        raise StorageError(
            f"min_free_bytes: expected {needed} bytes free in {self.store.url!r}, got {free}: free some, or use "
            "when_full='delete_oldest' or 'drop'"
        )

    # --- Writing files --------------------------------------------------------------------------------------------

    def _close_files(self, files: list[OpenFile]) -> None:
        """Mark files as complete, to be written next."""
        for file in files:
            self._full.append(self._open.pop(file.key))

    def _close_largest(self) -> None:
        """Complete the largest files until all open files together take at most the memory of four."""
        # One by one: completing all at once would delay ``write``, and write many small files.
        total = sum(file.bytes for file in self._open.values())
        while total > 4 * self._max_file_bytes:
            largest = max(self._open.values(), key=lambda file: file.bytes)
            total -= largest.bytes
            self._close_files([largest])

    def _publish_full(self) -> None:
        """Write the complete files, the oldest first; those that cannot be written stay."""
        while self._full:
            self._publish(self._full[0])
            self._full.pop(0)
            self._retention.apply(self._clock())
        # Each index lists all files of its folder, so it is written less often the more files there are.
        if sum(map(len, self._unindexed.values())) > max(self._stats.files // 8, 8):
            self._write_indexes()

    def _publish(self, file: OpenFile) -> None:
        batch = file.batches[0] if len(file.batches) == 1 else ExperienceBatch.concat(file.batches)
        file.batches[:] = [batch]  # concatenated once, however often writing fails
        started = time.perf_counter()
        level = None if self._level is None else level_now(self._level)
        content = measured("file", batch, partial(self._format.encode, batch, level))
        encoded, count = time.perf_counter(), len(batch)
        if not self._has_room(len(content)):
            self._stats = replace(self._stats, pending=self._stats.pending - count, dropped=self._stats.dropped + count)
            return
        number = self._numbers.get((file.kind, file.id), 0)
        while True:
            name = file_name(file.folder, file.kind, file.id, number, self.format)
            number += 1
            try:
                measured("write", batch, partial(self.store.create, name, content), len(content))
            except FileExistsError:  # another writer has written that game, or the same task
                if not self._repeatable:
                    continue
                there = self.store.read(name)
                if not self._holds_same(there, batch):
                    logger.warning("%s/%s holds other experiences: the next number is used", self.store.url, name)
                    continue
                content = there
            break
        self._numbers[file.kind, file.id] = number
        record_times(self._level, batch.nbytes, len(content), started, encoded)
        self._unindexed.setdefault(file.folder, {})[name.rpartition("/")[2]] = entry_of(self.format, batch, content)
        self._stats = replace(
            self._stats,
            written=self._stats.written + count,
            pending=self._stats.pending - count,
            files=self._stats.files + 1,
            bytes=self._stats.bytes + len(content),
        )

    def _holds_same(self, content: bytes, batch: ExperienceBatch) -> bool:
        """Return whether a file has the experiences of a batch in the same order, whatever the times of their collection."""
        try:
            other = self._format.decode(content)
        except StorageError:
            return False
        return len(other) == len(batch) and all(
            np.array_equal(one, two)
            for one, two in (
                (experience_hashes(other), experience_hashes(batch)),
                *((getattr(other, name), getattr(batch, name)) for name in REPEATED),
            )
        )

    def _write_indexes(self) -> None:
        for folder in list(self._unindexed):
            if self._parts is not None:
                self._parts.add(folder, self._unindexed[folder])
            else:
                for damage in mend_index(self.store, folder, self._unindexed[folder]):
                    logger.warning("not indexed: %s", damage)
            del self._unindexed[folder]

    def flush(self) -> None:
        """Write all experience taken so far to files.

        Raises:
            StateError: In a process that was forked off the one that made the writer.
            StorageError: If a file cannot be written; it stays in memory and is tried again.
        """
        self._owner.check("writer")
        with self._lock, deferred():
            self._close_files(list(self._open.values()))
            self._publish_full()
            self._write_indexes()

    def close(self) -> None:
        """Write all experience taken so far, and close the writer; does nothing in a forked child.

        Raises:
            StorageError: If a file cannot be written; it stays in memory, and ``close`` can be called again.
        """
        if not self._owner.is_here:
            return
        with self._lock:
            self.flush()
            if self._parts is not None:
                self._parts.close()
            self._closed = True
            if self._use is not None:
                self._use.close()


def opened(argument: str, place: str | Path, retry: Retry | None, timeout: float) -> FileStore:
    """Return the store of a dataset, which is made if it does not exist.

    Raises:
        StorageError: If the folder is used for something else, or as ``open_store``.
    """
    store = open_store(place, create=True, retry=retry, timeout=timeout)
    if isinstance(store, LocalStore):
        refuse_other_uses(store.folder, DATASET, argument)
    return store
