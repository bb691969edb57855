"""Files and folders that are there whole or not at all, and stay there after a crash.

A file is written without a name where the system can do that (Linux): then a killed process leaves nothing. Elsewhere, and for
folders, it has a hidden name that ends in ``.part`` and a lock that is gone with the process: ``leftovers.py`` goes by it.
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

#: How the names of files and folders end that are not yet whole.
UNFINISHED = ".part"

#: Names that this module gives to them; other programs have files that end in ``.part``, too.
UNFINISHED_NAME = re.compile(r"\.(.+-)?[0-9a-f]{32}\.part")

#: What opening a file without a name raises where the file system or the kernel does not know how.
NAMELESS_UNKNOWN = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)


class Unfinished:
    """A file with its content, safe from a crash, that is to get its name.

    Attributes:
        path: Its hidden name for now; None if it has none.
    """

    def __init__(self, file: BinaryIO, folder: Path, path: Path | None) -> None:
        """Take an open file in ``folder``."""
        self.path = path
        self._file = file
        self._folder = folder

    def create(self, path: Path) -> None:
        """Give the file its name in the same folder, at once.

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
        """Give the file its name in the same folder, at once, in place of a file that has it.

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
        """Close the file where an open one cannot be renamed."""
        if sys.platform == "win32":
            self._file.close()


@contextmanager
def unfinished_file(folder: Path, write: Callable[[BinaryIO], object]) -> Iterator[Unfinished]:
    """Lend a new file in ``folder``, safe from a crash, which is gone at the end unless it was given a name.

    Args:
        folder: Where the file will lie.
        write: Writes the content.

    Raises:
        OSError: If it cannot be written, and what ``write`` raises.
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
    """Return a new file without a name, None where there is no such thing."""
    if sys.platform != "linux" or not os.path.exists("/proc/self/fd"):  # noqa: PTH110 - no path of ours
        return None
    try:
        file = open(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")  # noqa: SIM115, PTH123 - closed by the caller
    except OSError as error:
        if error.errno in NAMELESS_UNKNOWN:
            return None
        raise
    lock_descriptor(file.fileno())  # for the moment in which it has a hidden name
    return file


def link_descriptor(descriptor: int, path: Path) -> None:
    """Give an open file without a name a name; raise ``FileExistsError`` if there is a file of that name."""
    # A folder's descriptor makes Python call linkat(), which alone follows the link; the path is absolute.
    os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)


def hidden_name(folder: Path, of: str = "") -> Path:
    """Return a name in ``folder`` that nothing has, for something that is to be called ``of``."""
    return folder / f".{of[:150] + '-' if of else ''}{uuid.uuid4().hex}{UNFINISHED}"


def hidden_file(folder: Path) -> tuple[BinaryIO, Path]:
    """Return a new file with a hidden name, locked as far as the file system can do that."""
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
    if sys.platform != "win32":  # which lets no process delete what another one has open
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
    return True


@contextmanager
def unfinished_folder(path: Path) -> Iterator[Path]:
    """Lend a new folder beside ``path`` that becomes ``path`` when the block ends, and is gone if the block raises.

    Raises:
        OSError: If it cannot be made, or there is something at ``path`` that is no empty folder.
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
    """Put a new content in a file's place, at once and safe from a crash; on any error what was there before still is.

    Raises:
        OSError: As ``unfinished_file``.
    """
    with unfinished_file(path.parent, write) as unfinished:
        unfinished.replace(path)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, safe from a crash; do nothing if it is there.

    Raises:
        OSError: If it cannot be made.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk."""
    if sys.platform == "win32":
        return  # which opens no folders
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
