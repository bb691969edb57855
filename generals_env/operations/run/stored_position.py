"""Stores up to which experience of a log files are safe, and finds what files hold beyond it after a kill."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from generals_env.recorders import ExperienceBatch, ExperienceLog
from generals_env.recorders.datasets.data_file import files_in
from generals_env.recorders.filesystem.checked_json import read_checked, write_checked
from generals_env.recorders.filesystem.file_stores import FileStore
from generals_env.recorders.formats.file_names import partition_of
from generals_env.recorders.stream.server.log_source import identity_of

__all__ = ["CONSUMER", "StoredPosition"]

logger = logging.getLogger(__name__)

#: Name of the consumer under which the log stores the position of the files.
CONSUMER = "storage"

SINCE_FILE = "storage.json"

MARGIN = 3600.0  # seconds that the clock may have been set back


class StoredPosition:
    """The last experience of a log that is safe in files, and the experiences after it that files hold already.

    A worker can be killed after a file was written and before the position was committed. The next one reads the files of the
    hours since the last commit; batches in files name their log in ``metadata["log"]``.

    Attributes:
        committed: Sequence of the last experience that is safe, -1 for none.
    """

    def __init__(self, log: ExperienceLog, store: FileStore) -> None:
        """Read the position, and the files after it.

        Raises:
            StorageError: If the position or one of these files is damaged, or cannot be read.
        """
        self._log = log
        self._since_file = log.folder / SINCE_FILE
        self._log_id = identity_of(log.folder)
        committed = log.position(CONSUMER)
        self.committed = -1 if committed is None else committed
        since = read_checked(self._since_file)
        self._written = np.zeros(0, np.int64) if since is None else self._find_written(store, str(since["folder"]))
        if committed is None:
            log.commit(CONSUMER, -1)  # from now on the log keeps what files do not hold
        self._note_hour()

    def commit(self, sequence: int) -> None:
        """Store that all experiences up to ``sequence`` are safe in files.

        Raises:
            StorageError: If it cannot be written.
        """
        if sequence > self.committed:
            self._log.commit(CONSUMER, sequence)
            self._note_hour()
            self.committed = sequence

    def prepare(self, batch: ExperienceBatch) -> ExperienceBatch:
        """Return a batch of the log to be written: without experiences that files hold, and with the name of the log."""
        if len(self._written) and len(batch) and batch.sequence[0] <= self._written[-1]:
            batch = batch.select(~np.isin(batch.sequence, self._written))
        return replace(batch, metadata={**batch.metadata, "log": self._log_id})

    def _note_hour(self) -> None:
        """Store the folder of the hour from which on a later worker must read files."""
        write_checked(self._since_file, {"folder": partition_of(time.time() - MARGIN)})

    def _find_written(self, store: FileStore, folder: str) -> npt.NDArray[np.int64]:
        """Return the sequences of this log after the committed one in files of ``folder`` and later ones, sorted (N,) int64."""
        found = [np.zeros(0, np.int64)]
        for file in files_in(store)[0]:
            last = file.entry.last_sequence if file.entry else None
            if str(Path(file.name).parent.as_posix()) < folder or (last is not None and last <= self.committed):
                continue
            batch = file.whole()
            if batch.metadata.get("log") == self._log_id:
                found.append(batch.sequence[batch.sequence > self.committed])
        sequences = np.unique(np.concatenate(found))
        if len(sequences):
            logger.info("files hold %d experiences after the last commit already", len(sequences))
        return sequences
