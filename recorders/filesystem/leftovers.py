"""Finds and removes the unfinished files and folders that killed processes left."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from generals_env.recorders.filesystem.atomic_files import UNFINISHED, UNFINISHED_NAME, lock_descriptor
from generals_env.recorders.filesystem.disk_space import network_kind

__all__ = ["leftovers_beside", "leftovers_in", "remove"]

logger = logging.getLogger(__name__)

#: Seconds without a change after which an unfinished file counts as left over, where locks of other machines are not seen.
AGE = 3600.0


def leftovers_in(folder: Path, below: bool = True) -> list[Path]:
    """Return the unfinished files and folders in ``folder`` that no process owns.

    A process that writes one holds a lock on it. On a network file system, where the process may run on another machine, it
    must also be unchanged for an hour.

    Args:
        folder: A dataset or a log: all hidden names in it that end in ``.part`` are this package's.
        below: Whether to look into the folders below it, too.
    """
    found: list[Path] = []
    for inner, folders, names in os.walk(folder):
        unfinished = {name for name in (*folders, *names) if name.startswith(".") and name.endswith(UNFINISHED)}
        found += without_owner(Path(inner, name) for name in unfinished)
        folders[:] = [name for name in folders if below and name not in unfinished]
    return sorted(found)


def leftovers_beside(path: Path) -> list[Path]:
    """Return the unfinished files and folders beside ``path`` that no process owns; other programs may have files there."""
    try:
        beside = [Path(entry) for entry in os.scandir(path.parent) if UNFINISHED_NAME.fullmatch(entry.name)]
    except OSError:  # there is no such folder, or it cannot be read
        return []
    return sorted(without_owner(beside))


def without_owner(paths: Iterable[Path]) -> list[Path]:
    """Return those unfinished files and folders, all of one folder, that no process owns."""
    paths = list(paths)
    network = bool(paths) and network_kind(paths[0].parent) is not None
    return [path for path in paths if not is_owned(path, network)]


def is_owned(path: Path, network: bool) -> bool:
    """Return whether a process may be writing an unfinished file or folder; True in doubt."""
    try:
        if network and time.time() - path.stat().st_mtime < AGE:
            return True
        if sys.platform == "win32":
            path.rename(path)  # fails while a process has it open
            return False
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return True  # it is gone by now, or this process may not read it
    try:
        locked = lock_descriptor(descriptor)
        return time.time() - os.fstat(descriptor).st_mtime < AGE if locked is None else not locked
    finally:
        os.close(descriptor)


def remove(paths: Iterable[Path]) -> list[Path]:
    """Remove files and folders, and return those that were removed; the others are logged."""
    gone = []
    for path in paths:
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s: left over, and could not be removed: %s", path, error)
        else:
            logger.info("%s: left over, removed", path)
            gone.append(path)
    return gone
