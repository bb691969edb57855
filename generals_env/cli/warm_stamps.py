"""Remembers which kernels a group needs, so that ``generals-env warm`` sees at once that all of them are there.

A stamp is a file beside the kernels that lists them, for one processor, one set of compiler settings and one set of libraries.
"""

from __future__ import annotations

import hashlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numba
from numba.core.registry import cpu_target

from generals_env.engine.kernel_cache.cache_folder import KERNEL_SUFFIX, STAMP_SUFFIX
from generals_env.engine.kernel_cache.numba_hook import SETTINGS, cache_files
from generals_env.engine.kernel_cache.shipped_kernels import VARIABLE

__all__ = ["KernelFiles", "is_warm", "write_stamp"]

#: Libraries without which the group ``storage`` leaves formats out.
OPTIONAL = ("pyarrow", "google")


class KernelFiles:
    """Collects the names of kernels that this process reads or writes.

    Attributes:
        names: The names.
    """

    def __init__(self) -> None:
        """Begin to watch; there is no way to stop."""
        self.names: set[str] = set()
        sys.addaudithook(self._see)

    def _see(self, event: str, values: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename"):
            path = str(values[0 if event == "open" else 1])
            if path.endswith(KERNEL_SUFFIX):
                self.names.add(Path(path).name)


def stamp(group: str) -> Path | None:
    """Return the file of a group's stamp; None if there is none, as kernels come from elsewhere or cannot be kept."""
    files = cache_files()
    if files is None or os.environ.get(VARIABLE):
        return None
    settings = [getattr(numba.config, name, None) for name in SETTINGS]
    libraries = [find_spec(name) is not None for name in OPTIONAL]
    made_for = repr((cpu_target.target_context.codegen().magic_tuple(), settings, libraries))
    return files.folder / f"{group}-{hashlib.sha256(made_for.encode()).hexdigest()[:16]}{STAMP_SUFFIX}"


def is_warm(group: str) -> bool:
    """Return whether all kernels of a group are in the folder."""
    path = stamp(group)
    try:
        return path is not None and all((path.parent / name).is_file() for name in path.read_text().split())
    except OSError:  # the group was never compiled
        return False


def write_stamp(group: str, names: set[str]) -> None:
    """Remember the kernels of a group that was compiled."""
    path = stamp(group)
    if path is not None and os.access(path.parent, os.W_OK):
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        unfinished.write_text("\n".join(sorted(names)))
        unfinished.replace(path)
