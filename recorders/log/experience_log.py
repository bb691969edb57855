"""Defines ``ExperienceLog``: a log that survives crashes, in order and without repeats, for one writer and many readers."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from generals_env.arguments import check_flag, check_integer, is_number
from generals_env.concurrency.interrupts import deferred
from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.encoding.batch_codec import LEVEL
from generals_env.recorders.encoding.byte_shuffle import raw_size
from generals_env.recorders.encoding.compression_level import Level, check_level, level_now, record_times
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.filter import ExperienceFilter
from generals_env.recorders.experience.sink import ClosingSink
from generals_env.recorders.filesystem.atomic_files import make_folder
from generals_env.recorders.filesystem.disk_space import network_kind
from generals_env.recorders.formats.folder_use import LOG, local_folder, refuse_other_uses
from generals_env.recorders.log.chunk_rows import split_into_chunks
from generals_env.recorders.log.consumer_offsets import ConsumerOffsets
from generals_env.recorders.log.reader import LogReader
from generals_env.recorders.log.repair import repair
from generals_env.recorders.log.retention import SegmentRetention
from generals_env.recorders.log.segment_files import last_in, open_to_read, seal_of, segment_path, starts_in
from generals_env.recorders.log.verify import LogReport, verify
from generals_env.recorders.log.writer import LOCK, LogWriter, locked

__all__ = ["ExperienceLog"]

DURABILITIES = ("commit", "normal")

FOLLOW = 0.05  # seconds between checks of ``stop``


@pickled_as("generals_env.recorders")
class ExperienceLog(NotCopied, ClosingSink):
    """A folder of experience that survives crashes; a sink.

    The log numbers experiences itself, from 0 and without gaps; the ``sequence`` of batches that are read is the log's number,
    not the recorder's. One process at a time writes, any number read. The folder must be on a disk of this machine: SQLite
    cannot share a log between machines.
    """

    _instead = 'open ExperienceLog(folder, mode="r"), which can be copied, in any number of processes'

    def __init__(
        self,
        folder: str | Path,
        durability: str = "commit",
        *,
        mode: str = "a",
        segment_bytes: int = 64 * 2**20,
        max_bytes: int | None = None,
        max_age: float | None = None,
        drop_unread: bool = False,
        min_free_bytes: int = 256 * 2**20,
        compression_level: Level = LEVEL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open a log, which is made if it does not exist.

        Args:
            folder: The folder of the log.
            durability: What a batch survives once ``write`` has returned: with ``"commit"`` a power cut; with ``"normal"`` a
                killed process, and a power cut only after ``flush``.
            mode: ``"a"`` to write and read, ``"r"`` to read an existing log, also while another process writes to it.
            segment_bytes: Size at which a new segment file is begun; only whole segments are deleted.
            max_bytes: Maximum size of all segments; the oldest are deleted. None for no limit.
            max_age: Seconds after which experiences may be deleted. None for never.
            drop_unread: Whether experiences that a registered consumer has not read may be deleted, too.
            min_free_bytes: Minimum free space of the disk; ``write`` raises below it.
            compression_level: Level of zstd, 1 (the fastest) to 22, or an ``AdaptiveLevel``.
            clock: Returns seconds UTC, as ``time.time`` does.

        Raises:
            ConfigError: If an argument has a wrong value.
            StorageError: If another process or object writes to the log, the folder is used for something else, is on a
                network file system or cannot be opened, or the log is damaged in a way that writing could make worse (see
                ``repair``).
        """
        if durability not in DURABILITIES:
            raise ConfigError(f"durability: expected one of {', '.join(DURABILITIES)}, got {durability!r}")
        if mode not in ("a", "r"):
            raise ConfigError(f"mode: expected 'a' or 'r', got {mode!r}")
        check_integer("segment_bytes", segment_bytes, 1, 2**40)
        check_integer("min_free_bytes", min_free_bytes, 0, 2**62)
        if max_bytes is not None:
            check_integer("max_bytes", max_bytes, 1, 2**62)
        if max_age is not None and (not is_number(max_age) or not max_age > 0):
            raise ConfigError(f"max_age: expected seconds above 0, or None, got {max_age!r}")
        check_flag("drop_unread", drop_unread)
        self._level: Level = check_level("compression_level", compression_level)
        try:
            self.folder = local_folder("folder", folder)
            refuse_other_uses(self.folder, LOG, "folder", reading=mode == "r")
            if mode == "a":
                make_folder(self.folder)
            is_folder, network = self.folder.is_dir(), network_kind(self.folder)
        except StorageError:
            raise
        except (OSError, ValueError, TypeError) as error:  # a null byte is a ValueError
            raise StorageError(f"folder: expected one that can be made, got {folder!r} ({error})") from error
        if not is_folder:
            raise StorageError(
                f"folder: expected a log, got {str(folder)!r}, which is no folder: open it with mode='a' to make it"
            )
        if network is not None:
            raise StorageError(
                f"folder: expected a disk of this machine, got {str(folder)!r} on {network}: choose a local folder"
            )
        self._consumers = ConsumerOffsets(self.folder)
        self._writer: LogWriter | None = None
        if mode == "a":
            retention = SegmentRetention(self.folder, max_bytes, max_age, drop_unread)
            self._writer = LogWriter(self.folder, durability, retention, segment_bytes, min_free_bytes, clock)
            try:
                refuse_other_uses(self.folder, LOG, "folder")  # again: another use may have begun in the meantime
            except StorageError:
                self._writer.close()
                raise

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copy and pickle a log that only reads; errors as of ``NotCopied``."""
        return super().__reduce_ex__(protocol) if self._writer is not None else object.__reduce_ex__(self, protocol)

    # --- Writing --------------------------------------------------------------------------------------------------

    def write(self, batch: ExperienceBatch) -> int:
        """Write a whole batch or, on any error, nothing.

        Threads may write at the same time: they compress in parallel, and share transactions.

        Returns:
            The number of its last experience, once it is committed; for an empty batch, the last number of the log.

        Raises:
            ConfigError: If the arrays of the batch do not fit together, or its metadata cannot be written as JSON.
            StateError: After ``close``, if the log was opened to be read, or in a process that was forked off the one that
                opened it.
            StorageError: If it cannot be written. It may be written again.
        """
        with deferred():  # an interrupt comes before the write, or after its number is returned
            writer, started = self._open_writer("write"), time.perf_counter()
            chunks = split_into_chunks(batch, level_now(self._level))
            encoded = time.perf_counter()
            last = writer.append(chunks)
            if chunks and not isinstance(self._level, int):
                raw = sum(raw_size(chunk.data) for chunk in chunks)
                record_times(self._level, raw, sum(len(chunk.data) for chunk in chunks), started, encoded)
            return last

    def flush(self) -> None:
        """Sync all that was written to disk, so that it survives a power cut.

        Raises:
            StateError: In a process that was forked off the one that opened the log.
            StorageError: If the disk fails.
        """
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Flush, and close the log for writing; reading goes on. Does nothing in a forked child.

        Raises:
            StorageError: If the disk fails. What was written is there, and the next writer recovers it.
        """
        if self._writer is not None:
            self._writer.close()

    def _open_writer(self, name: str) -> LogWriter:
        if self._writer is None:
            raise StateError(f"{name}: expected a log opened with mode='a', got one with mode='r': open it with mode='a'")
        return self._writer

    # --- Reading --------------------------------------------------------------------------------------------------

    @property
    def first(self) -> int:
        """Number of the oldest experience that is kept; the next number if there is none."""
        return min(starts_in(self.folder), default=self.last + 1)

    @property
    def last(self) -> int:
        """Number of the newest experience, -1 if there is none.

        Raises:
            StateError: In a process that was forked off the one that opened the log to write.
            StorageError: If the newest segment is damaged, or cannot be read.
        """
        if self._writer is not None:
            self._writer.check_process()
            return self._writer.next - 1
        for start in reversed(starts_in(self.folder)):
            path = segment_path(self.folder, start)
            sealed = seal_of(path)
            if sealed is not None:
                return sealed.last
            try:
                with closing(open_to_read(path)) as connection:
                    last = last_in(connection)
            except (sqlite3.Error, TypeError, ValueError) as error:
                raise StorageError(f"{path}: expected a segment that can be read, got {error}: run verify()") from error
            if last >= 0:
                return last
        return -1

    def reader(
        self,
        after: int = -1,
        *,
        game_ids: Collection[str] | None = None,
        player_ids: Collection[int] | None = None,
        min_turn: int | None = None,
        on_damage: str = "raise",
    ) -> LogReader:
        """Return a reader of the experiences after a number.

        Args:
            after: The number, -1 to read from the beginning.
            game_ids: Read only experiences of these games.
            player_ids: Read only experiences of these players.
            min_turn: Read only experiences of this turn or later.
            on_damage: ``"raise"`` a ``StorageError`` at damaged experiences, or ``"skip"`` and count them.

        Raises:
            ConfigError: If an argument has a wrong value.
            StateError: In a process that was forked off the one that opened the log to write.
        """
        if self._writer is not None:
            self._writer.check_process()
        check_integer("after", after, -1, 2**62)
        if on_damage not in ("raise", "skip"):
            raise ConfigError(f"on_damage: expected 'raise' or 'skip', got {on_damage!r}")
        chosen = ExperienceFilter.of(game_ids, player_ids, min_turn)
        return LogReader(self.folder, int(after), chosen, on_damage == "skip", self._writer)

    def read(
        self,
        after: int = -1,
        *,
        game_ids: Collection[str] | None = None,
        player_ids: Collection[int] | None = None,
        min_turn: int | None = None,
        on_damage: str = "raise",
        follow: bool = False,
        stop: threading.Event | None = None,
    ) -> Iterator[ExperienceBatch]:
        """Yield the experiences after a number, in order, one batch for each chunk.

        Args:
            after: As of ``reader``.
            game_ids: As of ``reader``.
            player_ids: As of ``reader``.
            min_turn: As of ``reader``.
            on_damage: As of ``reader``.
            follow: Whether to wait at the end for new experiences, of this or another process, and go on.
            stop: Ends ``follow`` when it is set.

        Raises:
            ConfigError: If an argument has a wrong value.
            StateError: In a process that was forked off the one that opened the log to write.
            StorageError: If experiences are damaged, or cannot be read.
        """
        reader = self.reader(after, game_ids=game_ids, player_ids=player_ids, min_turn=min_turn, on_damage=on_damage)
        return batches(reader, follow, stop or threading.Event())

    # --- Consumers ------------------------------------------------------------------------------------------------

    def commit(self, name: str, sequence: int) -> None:
        """Write the position of a consumer; later experiences are kept for it.

        Args:
            name: Name of the consumer, any string.
            sequence: Number of the last experience that it has processed, -1 for none.

        Raises:
            ConfigError: If the name is no string, or there is no experience of that number.
            StorageError: If it cannot be written. The previous position is still there.
        """
        check_integer("sequence", sequence, -1, self.last)
        self._consumers.commit(name, sequence)

    def position(self, name: str) -> int | None:
        """Return the position that a consumer has committed, None if it has committed none.

        Raises:
            ConfigError: If the name is no string.
            StorageError: If its file is damaged.
        """
        return self._consumers.position(name)

    def consumers(self) -> dict[str, int]:
        """Return the positions of all consumers by name.

        Raises:
            StorageError: If a file is damaged.
        """
        return self._consumers.all()

    def forget(self, name: str) -> None:
        """Delete the position of a consumer, so that no experiences are kept for it.

        Raises:
            ConfigError: If the name is no string.
            StorageError: If there is no consumer of that name.
        """
        self._consumers.forget(name)

    # --- Damage ---------------------------------------------------------------------------------------------------

    def verify(self) -> LogReport:
        """Check every byte of the log, and report what is damaged, where, and which experiences are intact.

        Raises:
            StorageError: If the log cannot be read at all.
        """
        return verify(self.folder, self._is_written())

    def _is_written(self) -> bool:
        """Return whether this or another process has the log open for writing."""
        if self._writer is not None and self._writer.current is not None:
            return True
        if not (self.folder / LOCK).exists():
            return False
        try:
            locked(self.folder, timeout=0).close()
        except StorageError:
            return True  # or the folder is read-only: then a less thorough check does no harm
        return False

    def repair(self) -> LogReport:
        """Rebuild damaged segments from their intact experiences, with the same numbers, and report what was wrong.

        The damaged files are kept in ``damaged/``. Lost numbers are not used again: readers count them in ``missed``, and
        writing goes on after the last known number. A consumer whose file is damaged must commit again.

        Raises:
            StorageError: If another process or object writes to the log, or it cannot be written.
        """
        if self._writer is not None:
            with self._writer.at_rest():
                return repair(self.folder)
        with locked(self.folder):
            return repair(self.folder)


def batches(reader: LogReader, follow: bool, stop: threading.Event) -> Iterator[ExperienceBatch]:
    """Yield the batches of a reader."""
    with reader:
        while not stop.is_set():
            batch = reader.poll(FOLLOW if follow else 0)
            if batch is not None:
                yield batch
            elif not follow:
                return
