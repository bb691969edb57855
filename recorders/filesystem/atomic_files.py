"""Writes files and folders atomically: they appear whole or not at all, and survive a crash.

On Linux a file is written without a name, so that a killed process leaves nothing. Elsewhere, and for folders, it has a hidden
name that ends in ``.part`` and a lock that ends with the process; ``leftovers.py`` tells by the lock which are left over.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl

__all__ = [
    "UNFINISHED",
    "UNFINISHED_NAME",
    "Unfinished",
    "make_folder",
    "replace_file",
    "sync_folder",
    "unfinished_file",
    "unfinished_folder",
]

#: Suffix of files and folders that are being written.
UNFINISHED = ".part"

#: The names that this module gives them: other programs also write files that end in ``.part``.
UNFINISHED_NAME = re.compile(r"\.(.+-)?[0-9a-f]{32}\.part")

#: Errors of opening a file without a name where the file system or the kernel does not support it.
NAMELESS_UNKNOWN = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)


class Unfinished:
    """A written and synced file that has not got its final name yet.

    Attributes:
        path: Its hidden name; None if it has no name.
    """

    def __init__(self, file: BinaryIO, folder: Path, path: Path | None) -> None:
        """Take an open file in ``folder``."""
        self.path = path
        self._file = file
        self._folder = folder

    def create(self, path: Path) -> None:
        """Name the file ``path``, in the same folder, atomically.

        Raises:
            FileExistsError: If there is a file of that name.
            OSError: If it cannot be named.
        """
        if self.path is None:
            link_descriptor(self._file.fileno(), path)
        else:
            try:
                os.link(self.path, path)
            except FileExistsError:
                raise
            except OSError:  # a file system without hard links
                if path.exists():
                    raise FileExistsError(errno.EEXIST, "expected no such file", str(path)) from None
                self._let_go()
                self.path.replace(path)
        sync_folder(path.parent)

    def replace(self, path: Path) -> None:
        """Name the file ``path``, in the same folder, atomically, and replace a file of that name.

        Raises:
            OSError: If it cannot be named.
        """
        if self.path is None:
            self.path = hidden_name(self._folder)
            link_descriptor(self._file.fileno(), self.path)
        self._let_go()
        self.path.replace(path)
        sync_folder(path.parent)

    def _let_go(self) -> None:
        """Close the file on Windows, which renames no open files."""
        if sys.platform == "win32":
            self._file.close()


@contextmanager
def unfinished_file(folder: Path, write: Callable[[BinaryIO], object]) -> Iterator[Unfinished]:
    """Write and sync a new file in ``folder``, which is deleted when the block ends unless the block named it.

    Args:
        folder: Where the file will lie.
        write: Writes the content.

    Raises:
        OSError: If it cannot be written; and all that ``write`` raises.
    """
    file, path = nameless_file(folder), None
    if file is None:
        file, path = hidden_file(folder)
    unfinished = Unfinished(file, folder, path)
    try:
        write(file)
        file.flush()
        os.fsync(file.fileno())
        yield unfinished
    finally:
        file.close()
        if unfinished.path is not None:
            unfinished.path.unlink(missing_ok=True)


def nameless_file(folder: Path) -> BinaryIO | None:
    """Return a new file without a name, None where that is not supported."""
    if sys.platform != "linux" or not os.path.exists("/proc/self/fd"):  # noqa: PTH110 - a path of the system
        return None
    try:
        file = open(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")  # noqa: SIM115, PTH123 - closed by the caller
    except OSError as error:
        if error.errno in NAMELESS_UNKNOWN:
            return None
        raise
    lock_descriptor(file.fileno())  # ``replace`` gives it a hidden name for a moment
    return file


def link_descriptor(descriptor: int, path: Path) -> None:
    """Name an open file that has no name; raise ``FileExistsError`` if there is a file of that name."""
    # A folder's descriptor makes Python call linkat(), which alone follows the link; the path is absolute.
    os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)


def hidden_name(folder: Path, of: str = "") -> Path:
    """Return an unused hidden name in ``folder`` for a file or folder whose final name is ``of``."""
    return folder / f".{of[:150] + '-' if of else ''}{uuid.uuid4().hex}{UNFINISHED}"


def hidden_file(folder: Path) -> tuple[BinaryIO, Path]:
    """Return a new file with a hidden name, locked if the file system supports locks."""
    while True:
        path = hidden_name(folder)
        file = path.open("x+b")
        if lock_descriptor(file.fileno()) is not False and (sys.platform == "win32" or os.fstat(file.fileno()).st_nlink):
            return file, path
        file.close()  # another process took the file for a leftover before it was locked


def lock_descriptor(descriptor: int) -> bool | None:
    """Lock an open file or folder until it is closed.

    Returns:
        True; False if another process has locked it, None on a file system without locks.
    """
    if sys.platform != "win32":  # Windows lets no process delete a file that another one has open
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
    return True


@contextmanager
def unfinished_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside ``path`` that is renamed to ``path`` when the block ends, and deleted if the block raises.

    Raises:
        OSError: If it cannot be made, or ``path`` exists and is no empty folder.
    """
    hidden = hidden_name(path.parent, path.name)
    hidden.mkdir()
    descriptor = -1 if sys.platform == "win32" else os.open(hidden, os.O_RDONLY)
    try:
        if descriptor >= 0:
            lock_descriptor(descriptor)
        yield hidden
        hidden.rename(path)
        sync_folder(path.parent)
    finally:
        if descriptor >= 0:
            os.close(descriptor)
        shutil.rmtree(hidden, ignore_errors=True)


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replace the content of a file atomically and safe from a crash; on any error the old content is still there.

    Raises:
        OSError: As ``unfinished_file``.
    """
    with unfinished_file(path.parent, write) as unfinished:
        unfinished.replace(path)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, safe from a crash; do nothing if it exists.

    Raises:
        OSError: If it cannot be made.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk."""
    if sys.platform == "win32":
        return  # Windows opens no folders
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
