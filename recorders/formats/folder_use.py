"""What a folder is used for: a log, files of experience, a queue or a saved buffer; never two of these at once.

Each hides or spoils the other: ``open_dataset`` reads a folder as a log as soon as a log is in it. So who opens a folder to
write says what for, and is refused where it is used for something else.
"""

from __future__ import annotations

import os
import re
import sys
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from generals_env.errors import StorageError
from generals_env.recorders.filesystem.atomic_files import lock_descriptor
from generals_env.recorders.filesystem.file_lock import FileLock
from generals_env.recorders.formats.file_names import INDEXES, parsed_name

if sys.platform != "win32":
    import fcntl

__all__ = ["DATASET", "LOG", "QUEUE", "SAVED", "Use", "local_folder", "refuse_mixed", "refuse_other_uses", "uses_of"]

LOG = "a log"
DATASET = "files of experience"
QUEUE = "a queue of a SpillBuffer"
SAVED = "a saved buffer"

#: How to go on where a folder is used for something else.
REMEDIES = {
    LOG: "choose another folder, or write to that log with ExperienceLog(folder)",
    DATASET: "choose another folder, or write files with DatasetWriter(folder)",
    QUEUE: "choose another folder, or read the queue to its end with SpillBuffer(folder) and delete the folder",
    SAVED: "choose another folder",
}

SEGMENT = re.compile(r"segment_\d{20}\.(db|json)")
SPILL = re.compile(r"\d{18}-\d+-[0-9a-f]{8}\.spill")
LOG_LOCK, QUEUE_LOCK, DATASET_LOCK = "writer.lock", ".lock", ".dataset.lock"
SAVED_ARRAYS = "buffer.npz"


def local_folder(argument: str, place: str | Path) -> Path:
    """Return the path of a folder; ``Path`` alone would make a folder called ``s3:`` of a URL.

    Raises:
        StorageError: If it is a URL.
    """
    if isinstance(place, str) and "://" in place:
        raise StorageError(
            f"{argument}: expected a folder of this machine, got the URL {place!r}: choose a folder, or write files of "
            "experience to the URL with DatasetWriter"
        )
    return Path(place)


def uses_of(folder: Path) -> dict[str, str]:
    """Return what a folder is used for, and of each use the name of something that shows it; empty if it is not there.

    Raises:
        StorageError: If it cannot be read.
    """
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - faster
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise StorageError(f"folder: expected one that can be read, got {str(folder)!r} ({error})") from error
    uses: dict[str, str] = {}
    for name in names:
        if SEGMENT.fullmatch(name):
            uses.setdefault(LOG, name)
        elif SPILL.fullmatch(name):
            uses.setdefault(QUEUE, name)
        elif name == SAVED_ARRAYS:
            uses.setdefault(SAVED, name)
    # A lock alone shows a use as long as it is held: a killed process leaves the file.
    for use, lock in ((LOG, LOG_LOCK), (QUEUE, QUEUE_LOCK)):
        if lock in names and use not in uses and is_locked(folder / lock):
            uses[use] = lock
    if SAVED not in uses:  # whose experience lies in files, too
        file = next(files_of_experience(folder, names), None)
        if file is not None:
            uses[DATASET] = file
        elif DATASET_LOCK in names and is_claimed(folder / DATASET_LOCK):
            uses[DATASET] = DATASET_LOCK
    return uses


def files_of_experience(folder: Path, names: list[str], everywhere: bool = False) -> Iterator[str]:
    """Yield the files and indexes of a dataset in a folder and its partitions, or in all folders below it."""
    below = []
    for name in names:
        if name in INDEXES or (not name.startswith(".") and parsed_name(name) is not None):
            yield name
        elif name.startswith("year=") or (everywhere and not name.startswith(".")):
            below.append(name)
    for name in below:
        for place, folders, files in os.walk(folder / name):
            folders[:] = sorted(one for one in folders if not one.startswith("."))
            for file in sorted(files):
                if file in INDEXES or (not file.startswith(".") and parsed_name(file) is not None):
                    yield Path(place, file).relative_to(folder).as_posix()


def refuse_other_uses(folder: Path, use: str, argument: str, reading: bool = False) -> None:
    """Raise if a folder is used for something else.

    Args:
        folder: The folder, which need not be there.
        use: One of ``LOG``, ``DATASET``, ``QUEUE`` and ``SAVED``.
        argument: What the caller calls the folder.
        reading: Whether it is to be read only: then it may be used for something else, too, but not instead.

    Raises:
        StorageError: If it is, or cannot be read.
    """
    uses = uses_of(folder)
    if reading and use in uses:
        return
    if use == LOG and not uses and not reading and folder.is_dir():
        # As a log it would be read no longer as the dataset that it is now, with all folders below it.
        file = next(files_of_experience(folder, sorted(os.listdir(folder)), everywhere=True), None)  # noqa: PTH208 - faster
        uses = {} if file is None else {DATASET: file}
    for other, shown in uses.items():
        if other != use:
            told = f"expected a folder for {use}, got {str(folder)!r}, which holds {other} ({shown})"
            raise StorageError(f"{argument}: {told}: {REMEDIES[other]}")


def refuse_mixed(folder: Path, argument: str) -> None:
    """Raise if a folder that is to be read holds a log and files of experience: either would hide the other.

    Raises:
        StorageError: If it does.
    """
    uses = uses_of(folder)
    files = uses.get(DATASET) or uses.get(SAVED)
    if LOG in uses and SEGMENT.fullmatch(uses[LOG]) and files and files != DATASET_LOCK:
        told = f"expected a log or files of experience, got {str(folder)!r}, which holds both ({uses[LOG]} and {files})"
        raise StorageError(
            f"{argument}: {told}: move segment_*, writer.lock, lost.json, consumers and damaged, those that are there, to "
            "another folder, which is the log then; this one keeps the files"
        )


def is_locked(path: Path) -> bool:
    """Return whether a process holds a ``FileLock``."""
    try:
        FileLock(path).close()
    except StorageError:
        return True
    return False


# --- Datasets, which any number of processes write to at a time -------------------------------------------------------


def is_claimed(path: Path) -> bool:
    """Return whether a process has a ``Use`` of this file."""
    if sys.platform == "win32":
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # it is gone, or of another user
        return False
    try:
        return lock_descriptor(descriptor) is False
    finally:
        os.close(descriptor)


class Use:
    """Shows others that files of experience are written to a folder, before the first of them is there, until ``close``.

    It does nothing where the lock cannot be had: there files show it, once they are there.
    """

    def __init__(self, folder: Path) -> None:
        """Show it."""
        self._finalizer: weakref.finalize[..., Use] | None = None
        if sys.platform == "win32":
            return
        with suppress(OSError):  # a file system without locks, or a file of another user
            descriptor = os.open(folder / DATASET_LOCK, os.O_RDONLY | os.O_CREAT, 0o666)
            self._finalizer = weakref.finalize(self, os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_SH)

    def close(self) -> None:
        """Show it no more."""
        if self._finalizer is not None:
            self._finalizer()
