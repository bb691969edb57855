"""Writes the experience of a log to files, each experience once, also if the process is killed at any moment."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from generals_env.errors import StorageError
from generals_env.operations.metrics.process_metrics import ProcessMetrics
from generals_env.operations.metrics.registry import MetricsRegistry
from generals_env.operations.metrics.source_metrics import StorageMetrics
from generals_env.operations.metrics.stage_metrics import StageMetrics
from generals_env.operations.run.files import level_of, open_writer, storage_place
from generals_env.operations.run.stored_position import StoredPosition
from generals_env.operations.run.structured_logs import set_level
from generals_env.operations.settings.models import Settings
from generals_env.recorders import DatasetWriter, ExperienceLog
from generals_env.recorders.datasets.writer import WriterStats

__all__ = ["StorageWorker"]

logger = logging.getLogger(__name__)

TICK = 0.2  # seconds to wait for experience before looking at the clock

SLOW = 10.0  # seconds of writing after which that is reported: disk or bucket do not answer

PAUSES = (0.1, 0.3, 1.0, 3.0, 10.0)  # seconds between tries while files cannot be written; the last one repeats


class StorageWorker:
    """Reads a log as its consumer ``storage`` and writes files; commits its position when files are safe."""

    def __init__(self, settings: Settings) -> None:
        """Prepare to work; ``run`` opens log and files."""
        self._settings = settings
        self._draining = threading.Event()
        self._level = level_of(settings)
        self._writer: DatasetWriter | None = None
        self._log: ExperienceLog | None = None
        self._stored: StoredPosition | None = None
        self._read = -1  # sequence of the last experience that the writer has taken
        self._problem = ""
        self._stats: WriterStats | None = None  # a copy, as asking the writer waits while it writes a file
        self._begun: float | None = None  # when the writer was called, if it has not returned yet
        stages = StageMetrics()
        stages.start()
        self._registry = MetricsRegistry("storage")
        self._registry.add(ProcessMetrics("storage"), stages)

    def drain(self) -> None:
        """See ``Role``."""
        self._draining.set()

    def change(self, settings: Settings) -> None:
        """See ``Role``."""
        set_level(settings.logging.level)
        self._level.change(**settings.compression.model_dump())

    def run(self, ready: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """See ``Role``."""
        log = ExperienceLog(self._settings.log.directory, mode="r")
        with open_writer(self._settings, self._level) as writer:
            stored = StoredPosition(log, writer.store)
            self._log, self._writer, self._stored, self._read = log, writer, stored, stored.committed
            self._note_stats()
            self._registry.add(StorageMetrics(self))
            ready({"place": storage_place(self._settings)})
            self._copy(log, writer, stored)
            self._persist(writer.flush)
            stored.commit(self._read)
            return self.status()

    def _copy(self, log: ExperienceLog, writer: DatasetWriter, stored: StoredPosition) -> None:
        """Write what the log gets, until the worker is drained and has reached the end."""
        began = time.monotonic()
        with log.reader(self._read) as reader:
            while not (self._draining.is_set() and self._read >= log.last):
                batch = reader.poll(TICK)
                if batch is not None:
                    last = int(batch.sequence[-1])
                    prepared = stored.prepare(batch)
                    self._persist(lambda: writer.write(prepared))  # noqa: B023 - called at once
                    self._read = last
                if writer.stats().pending and time.monotonic() - began >= self._settings.storage.max_file_seconds:
                    self._persist(writer.flush)
                if not writer.stats().pending:
                    stored.commit(self._read)
                    began = time.monotonic()

    def _persist(self, function: Callable[[], None]) -> None:
        """Call a function until it raises no ``OSError``; the log keeps all experience meanwhile.

        Raises:
            StorageError: The error of the last try, if the worker is drained meanwhile.
        """
        tries = 0
        while True:
            self._begun = time.monotonic()
            try:
                function()
            except OSError as error:
                if str(error) != self._problem:
                    logger.error("files cannot be written, the log keeps the experience: %s", error)  # noqa: TRY400
                self._problem = str(error)
                if tries >= len(PAUSES) and self._draining.is_set():
                    raise StorageError(f"storage: {error}: the log keeps the experience for the next run") from error
                self._draining.wait(PAUSES[min(tries, len(PAUSES) - 1)])
                tries += 1
            else:
                if self._problem:
                    logger.info("files can be written again")
                self._problem = ""
                return
            finally:
                self._begun = None
                self._note_stats()

    def _note_stats(self) -> None:
        """Note the figures of the writer for other threads; the former ones stay while the folder cannot be read."""
        if self._writer is not None:
            with suppress(OSError):
                self._stats = self._writer.stats()

    def stats(self) -> WriterStats:
        """Return the last figures of the writer, without waiting for it."""
        return self._stats or WriterStats()

    def status(self) -> dict[str, Any]:
        """See ``Role``."""
        begun, stats = self._begun, self._stats
        seconds = 0.0 if begun is None else time.monotonic() - begun
        slow = f"a file has been written for {seconds:.0f} s, the log keeps the experience" if seconds > SLOW else ""
        problem = self._problem or slow
        found: dict[str, Any] = {"problems": {"storage": problem} if problem else {}}
        if stats is not None and self._log is not None and self._stored is not None:
            found |= {"read": self._read + 1, "committed": self._stored.committed + 1, "lag": self._log.last - self._read}
            found |= {"written": stats.written, "pending": stats.pending, "files": stats.files, "bytes": stats.bytes}
            found |= {"dropped": stats.dropped, "deleted": stats.deleted, "level": self._level.level}
        return found

    def metrics(self) -> bytes:
        """See ``Role``."""
        return self._registry.dump()

    def parts(self) -> dict[str, Any]:
        """See ``Role``."""
        found = {"log": self._log, "writer": self.stats, "position": self.status}
        return {name: part for name, part in found.items() if part is not None}
