"""Writes compiled kernels to files, and reads them back after a check of permissions and checksum.

Damaged files, and files that cannot be written, only cost time: kernels are compiled again, and one warning in each process
names the folder.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from generals_env.engine.kernel_cache.cache_folder import DAY, UNFINISHED_SUFFIX, is_safe, make_folder, mark_used, remove_unused

__all__ = ["CacheFiles", "read_checked"]

CHECKSUM_BYTES = 32


def read_checked(path: Path, drop: Callable[[str], None]) -> bytes | None:
    """Return what a file holds behind its checksum; None if it does not exist, or after ``drop(reason)`` if it is unusable."""
    try:
        with path.open("rb") as file:
            if not is_safe(os.fstat(file.fileno())):
                drop("others can write to it")
                return None
            stored = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        drop(str(error))
        return None
    checksum, content = stored[:CHECKSUM_BYTES], stored[CHECKSUM_BYTES:]
    if hashlib.sha256(content).digest() != checksum:
        drop("its checksum is wrong")
        return None
    return content


class CacheFiles:
    """Reads and writes the files of one folder; each is a checksum followed by the content."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``, which ``find_folder`` has checked, and remove unused folders beside it."""
        self.folder = folder
        self.warned = False
        self.marked = time.time()
        mark_used(folder)
        remove_unused(folder)

    def read(self, name: str) -> bytes | None:
        """Return the content of file ``name``; None if it does not exist, or is damaged or unsafe and therefore dropped."""
        content = read_checked(self.folder / name, functools.partial(self.drop, name))
        if content is not None:
            self.mark()
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write ``content`` to file ``name`` atomically."""
        try:
            make_folder(self.folder)  # it may have been removed since
            if not os.access(self.folder, os.W_OK):
                return  # a read-only folder, prepared by an administrator
            handle, unfinished = tempfile.mkstemp(dir=self.folder, prefix=f"{name}.", suffix=UNFINISHED_SUFFIX)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(content).digest() + content)
                Path(unfinished).chmod(0o644)
                Path(unfinished).replace(self.folder / name)
            finally:
                Path(unfinished).unlink(missing_ok=True)
        except OSError as error:
            self.warn(f"{name} cannot be kept ({error}): each process compiles it again")
            return
        self.mark()

    def drop(self, name: str, reason: str) -> None:
        """Remove a file that cannot be used, and warn."""
        with contextlib.suppress(OSError):  # warn even if it cannot be removed
            (self.folder / name).unlink()
        self.warn(f"{name} cannot be used ({reason}): it is compiled again")

    def warn(self, what: str) -> None:
        """Warn about the folder, once."""
        if not self.warned:
            self.warned = True
            text = f"the folder of compiled kernels {self.folder}: {what}. If this comes again, delete the folder."
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def mark(self) -> None:
        """Mark the folder as used, once a day."""
        now = time.time()
        if now - self.marked > DAY:
            self.marked = now
            mark_used(self.folder)
