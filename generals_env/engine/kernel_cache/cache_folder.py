"""Finds a folder for compiled kernels that only this user can write to, and removes such folders when they are no longer used.

A folder is named by what its kernels were compiled from, so environments and checkouts with the same engine share it, and it is
never stale. Loading a kernel unpickles and executes it: files that another user could have written are not used.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numba

from generals_env.engine.kernel_cache.source_hash import ENGINE

__all__ = [
    "DAY",
    "KERNEL_SUFFIX",
    "STAMP_SUFFIX",
    "UNFINISHED_SUFFIX",
    "find_folder",
    "is_safe",
    "make_folder",
    "mark_used",
    "remove_unused",
]

#: A version and a hash.
FOLDER_NAME = re.compile(r"[^/]+-[0-9a-f]{16}")
KERNEL_SUFFIX, UNFINISHED_SUFFIX = ".nbc", ".tmp"

#: Ends the names of lists of kernels, which the command ``generals-env warm`` keeps beside them.
STAMP_SUFFIX = ".warm"

#: Marks a folder as written by this package and as excluded from backups (https://bford.info/cachedir/); its modification time
#: is that of the last use.
TAG_NAME = "CACHEDIR.TAG"
TAG = b"""Signature: 8a477f597d28d172789f06886806bc55
# Kernels of generals_env, compiled by numba. This folder may be deleted at any time, and is when unused for 30 days.
"""

DAY = 24 * 60 * 60.0
UNUSED = 30 * DAY
OTHERS_CAN_WRITE = stat.S_IWGRP | stat.S_IWOTH


def find_folder(name: str) -> Path | None:
    """Return the folder ``name`` for compiled kernels, created if needed.

    Its parent is ``NUMBA_CACHE_DIR`` if set, otherwise the user's cache folder; if that cannot be used, the ``__pycache__`` of
    the engine. A read-only folder, for example one prepared by an administrator, is the last choice.

    Returns:
        The folder, or None if none can be used.
    """
    readable = None
    for place in places():
        folder = place / name
        if prepare_folder(folder):
            if os.access(folder, os.W_OK):
                return folder
            readable = readable or folder
    return readable


def places() -> Iterator[Path]:
    """Yield candidates for the parent folder, best first."""
    numba_folder: str = numba.config.CACHE_DIR  # type: ignore[attr-defined]  # it is made at run time
    if numba_folder:
        yield Path(numba_folder).absolute() / "generals_env"
    else:
        user_folder = user_cache_folder()
        if user_folder and is_private(user_folder):
            yield user_folder / "generals_env"
    yield ENGINE / "__pycache__"


def user_cache_folder() -> Path | None:
    """Return the folder where this user's programs keep caches, which need not exist; None if the user has none."""
    try:
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches"
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        given = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return given if given.is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # no HOME, and the user is not in the system's list
        return None


def is_private(folder: Path) -> bool:
    """Return whether ``folder`` is, or would be created, in a folder of this user.

    False if HOME is a shared temporary folder, or if the administrator runs programs with a user's HOME: they would leave files
    there that the user cannot replace.
    """
    if not hasattr(os, "geteuid"):
        return True
    try:
        existing = next(place for place in (folder, *folder.parents) if place.exists()).stat()
    except OSError:
        return False
    return existing.st_uid == os.geteuid() or (existing.st_uid == 0 and not existing.st_mode & stat.S_ISVTX)


def prepare_folder(folder: Path) -> bool:
    """Create ``folder`` if needed, empty it if others could write to it, and return whether kernels can be read from it."""
    try:
        make_folder(folder)
        if folder.is_symlink():
            return False
        status = folder.stat()
        if is_own(status) and (status.st_mode & OTHERS_CAN_WRITE or not os.access(folder, os.R_OK | os.X_OK)):
            folder.chmod(0o755)
            if is_safe(folder.stat()):  # a file system without permissions ignores chmod
                remove_files(folder)
                warnings.warn(
                    f"the folder of compiled kernels {folder}: expected the permissions 755, got "
                    f"{stat.S_IMODE(status.st_mode):o}: it is emptied, and the kernels are compiled again",
                    RuntimeWarning,
                    stacklevel=2,
                )
        return is_safe(folder.stat()) and os.access(folder, os.R_OK | os.X_OK)
    except OSError:  # the caller tries the next candidate
        return False


def make_folder(folder: Path) -> None:
    """Create ``folder`` and its parents unless they exist."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)


def is_own(status: os.stat_result) -> bool:
    """Return whether this user owns a file or folder."""
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()


def is_safe(status: os.stat_result) -> bool:
    """Return whether only this user or the administrator can have written a file or folder."""
    if not hasattr(os, "geteuid"):
        return True  # on Windows others cannot write to a user's folders, and modes carry no permissions
    return (is_own(status) or status.st_uid == 0) and not status.st_mode & OTHERS_CAN_WRITE


def mark_used(folder: Path) -> None:
    """Record that ``folder`` is used; safe for two callers at once. A folder that this user cannot write to stays as it is."""
    tag = folder / TAG_NAME
    with contextlib.suppress(OSError):
        if not tag.exists() or tag.read_bytes() != TAG or is_older(tag, DAY):
            tag.write_bytes(TAG)


def remove_unused(folder: Path) -> None:
    """Remove folders of this package beside ``folder`` unused for 30 days, and unfinished files of killed processes.

    A process that begins to use a folder while it is removed compiles the missing kernels again.
    """
    try:
        others = [path for path in folder.parent.iterdir() if FOLDER_NAME.fullmatch(path.name)]
    except OSError:  # a read-only folder of another user
        return
    for other in others:
        with contextlib.suppress(OSError):  # another process removes it as well, uses it again, or owns it
            tag = other / TAG_NAME
            if other.is_symlink() or tag.read_bytes() != TAG:
                continue
            if other != folder and is_older(tag, UNUSED):
                remove_files(other)
                other.rmdir()
            else:
                for path in other.glob(f"*{UNFINISHED_SUFFIX}"):
                    if is_older(path, DAY):
                        path.unlink()


def remove_files(folder: Path) -> None:
    """Remove the files of this package in ``folder``, the tag last, so that the next call continues an interrupted removal."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == TAG_NAME):
        if path.suffix in (KERNEL_SUFFIX, UNFINISHED_SUFFIX, STAMP_SUFFIX) or path.name == TAG_NAME:
            path.unlink(missing_ok=True)


def is_older(path: Path, seconds: float) -> bool:
    """Return whether ``path`` was last changed more than ``seconds`` ago."""
    return time.time() - path.stat().st_mtime > seconds
