"""Reads kernels that ``generals-env warm --out`` compiled for a named processor level, for example into a container image.

They are used only where they are what this process would compile, on a processor that has all features of the level; otherwise
one warning says what differs, and kernels are compiled and kept as usual. Nothing here writes.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite import binding

from generals_env.engine.kernel_cache.cache_files import read_checked
from generals_env.engine.kernel_cache.cache_folder import is_safe
from generals_env.engine.kernel_cache.source_hash import SOURCES
from generals_env.version import __version__

__all__ = ["LEVELS", "MANIFEST", "VARIABLE", "ShippedKernels", "missing_features", "origin", "shipped_kernels"]

#: Environment variable that names the folder.
VARIABLE = "GENERALS_ENV_KERNELS"

#: File that says what the kernels beside it were compiled from and for; written last.
MANIFEST = "kernels.json"

X86 = ("cmov", "cx8", "fxsr", "mmx", "sse", "sse2")
X86_V2 = (*X86, "cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3")
X86_V3 = (*X86_V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")
X86_V4 = (*X86_V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")

#: Features of processor levels, by the names of LLVM (https://gitlab.com/x86-psABIs/x86-64-ABI); "generic" needs none beyond
#: those of all processors of the architecture.
LEVELS: dict[str, tuple[str, ...]] = {
    "generic": (),
    "x86-64": X86,
    "x86-64-v2": X86_V2,
    "x86-64-v3": X86_V3,
    "x86-64-v4": X86_V4,
}


class RefusedError(Exception):
    """The kernels of a folder cannot be used; the text says why."""


def origin() -> dict[str, str]:
    """Return what kernels depend on, beside the processor."""
    return {
        "generals_env": __version__,
        "sources of the engine": str(SOURCES)[:16],
        "Python": f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}",
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "numpy": np.__version__,
        "platform": binding.get_process_triple(),
    }


def missing_features(level: str) -> list[str]:
    """Return the features of a processor level that this processor lacks."""
    try:
        here = binding.get_host_cpu_features()
    except RuntimeError:  # LLVM cannot tell
        return list(LEVELS[level])
    return [name for name in LEVELS[level] if not here.get(name)]


class ShippedKernels:
    """The files of a folder that ``generals-env warm --out`` has written."""

    def __init__(self, folder: Path) -> None:
        """Check the folder.

        Raises:
            RefusedError: If its kernels cannot be used here.
        """
        self.folder = folder.resolve()
        self.warned = False
        if not self.folder.is_dir():
            raise RefusedError("expected a folder, found none: run generals-env warm --out with its path")
        manifest = self.folder / MANIFEST
        if not manifest.is_file():
            raise RefusedError(f"expected {MANIFEST} in it, found none: run generals-env warm --out with its path")
        for path in (self.folder, manifest):
            if not is_safe(path.stat()):
                raise RefusedError(f"{path} can be written by others: let root or this user own it, mode 755")
        try:
            stored = json.loads(manifest.read_text(encoding="utf-8"))
            made_of, self.level, target = dict(stored["origin"]), str(stored["cpu"]), tuple(map(str, stored["target"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RefusedError(f"{MANIFEST} cannot be read ({error!r}): run generals-env warm --out again") from None
        here = origin()
        differing = [f"{name} {made_of.get(name)}, here it is {here[name]}" for name in here if made_of.get(name) != here[name]]
        if differing:
            raise RefusedError(f"compiled with {'; '.join(differing)}: run generals-env warm --out again with these versions")
        if self.level not in LEVELS:
            raise RefusedError(f"compiled for the unknown processor level {self.level!r}: run generals-env warm --out again")
        if missing := missing_features(self.level):
            raise RefusedError(
                f"compiled for {self.level}, but this processor lacks {', '.join(missing)}: run generals-env warm --out "
                "again with a lower --cpu"
            )
        self.target = target

    def magic_tuple(self) -> tuple[str, ...]:
        """Return the processor for which the kernels were compiled, as numba's code generators do."""
        return self.target

    def read(self, name: str) -> bytes | None:
        """Return the content of file ``name``; None if it is not there or cannot be used."""
        return read_checked(self.folder / name, functools.partial(self.drop, name))

    def drop(self, name: str, reason: str) -> None:
        """Warn, once, about a file that cannot be used; it stays."""
        if not self.warned:
            self.warned = True
            warn(self.folder, f"{name} cannot be used ({reason}): run generals-env warm --out again")


def warn(folder: Path, reason: Any) -> None:
    """Warn that kernels of a folder are not used."""
    text = f"{VARIABLE}, kernels in {folder}: {reason}, or unset {VARIABLE}. Kernels are compiled here and kept as usual."
    warnings.warn(text, RuntimeWarning, stacklevel=2)


@functools.cache
def shipped_kernels() -> ShippedKernels | None:
    """Return the kernels that ``GENERALS_ENV_KERNELS`` names; None without it, and after a warning if they cannot be used."""
    place = os.environ.get(VARIABLE)
    if not place:
        return None
    try:
        return ShippedKernels(Path(place))
    except (RefusedError, OSError) as reason:
        warn(Path(place), reason)
        return None
