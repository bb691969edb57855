"""Replaces numba's cache of compiled kernels by one that is keyed by all sources of the engine.

The key of numba's own cache (0.68) has the file of a kernel, but neither the files of the functions that it calls nor the
settings of the compiler: after an upgrade it would play old rules. It also loads damaged files without a check.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import sys
from collections.abc import Callable
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.runtime.nrt import rtsys
from numba.core.serialize import dumps

from generals_env.engine.kernel_cache.cache_files import CacheFiles
from generals_env.engine.kernel_cache.cache_folder import KERNEL_SUFFIX, find_folder
from generals_env.engine.kernel_cache.second_process import SecondProcess
from generals_env.engine.kernel_cache.shipped_kernels import ShippedKernels, shipped_kernels
from generals_env.engine.kernel_cache.source_hash import SOURCES, hash_sources
from generals_env.version import __version__

__all__ = ["KernelCache"]

#: Numba's settings that change the compiled code; the processor's features are part of ``magic_tuple``.
SETTINGS = (
    "BOUNDSCHECK",
    "DEBUGINFO_DEFAULT",
    "DISABLE_INTEL_SVML",
    "ENABLE_AVX",
    "EXTEND_VARIABLE_LIFETIMES",
    "LLVM_REFPRUNE_FLAGS",
    "LLVM_REFPRUNE_PASS",
    "LOOP_VECTORIZE",
    "OPT",
    "SLP_VECTORIZE",
    "USING_SVML",
)


#: Of this version it is known what loading needs.
TESTED_VERSION = "0.68."


@functools.cache
def cache_files() -> CacheFiles | None:
    """Return the files of this process's kernels; None without a usable folder or a hash of the sources."""
    if SOURCES is None:
        return None
    python = sys.implementation.cache_tag, getattr(sys, "abiflags", "")
    made_of = repr((SOURCES, python, numba.__version__, llvmlite.__version__, np.__version__))
    folder = find_folder(f"{__version__}-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}")
    return CacheFiles(folder) if folder else None


second_process = SecondProcess()


def prepare_to_load(target_context: Any) -> None:
    """Make numba ready to load code.

    Before it loads, numba imports all that it can compile, scipy's linear algebra included: half of the time of a start whose
    kernels are compiled. Loaded code needs numba's runtime alone, and a compilation makes the same imports itself.
    """
    if numba.__version__.startswith(TESTED_VERSION):
        rtsys.initialize(target_context)
    else:
        target_context.refresh()


class KernelCache(NullCache):
    """Loads and saves the compiled code of one kernel, a file for each signature.

    Numba calls the methods under its lock, one thread at a time.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        """Cache a module-level function of the engine."""
        self.function = function

    @property
    def cache_path(self) -> str | None:
        """Return the folder."""
        files = cache_files()
        return str(files.folder) if files else None

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return the code for a signature; None if it must be compiled."""
        prepare_to_load(target_context)
        for files, target in ((shipped_kernels(), shipped_kernels()), (cache_files(), target_context.codegen())):
            if files is not None and (result := self.load(files, self.key(signature, target), target_context)) is not None:
                return result
        files = cache_files()
        if files is None:
            return None
        key = self.key(signature, target_context.codegen())
        name = self.function.__name__
        second_process.wait_for(name, files.folder / self.file_name(key))
        result = self.load(files, key, target_context)
        if result is None:
            second_process.begin(name, files.folder)
        return result

    def load(self, files: CacheFiles | ShippedKernels, key: tuple[Any, ...], target_context: Any) -> Any:
        """Return the code for a key; None if a folder does not have it."""
        name = self.file_name(key)
        content = files.read(name)
        if content is None:
            return None
        try:
            stored_key, parts = pickle.loads(content)  # noqa: S301 - only this user can have written it, and it is undamaged
            return CompileResult._rebuild(target_context, *parts) if stored_key == key else None
        except Exception as error:  # unpickling and linking can raise any exception
            files.drop(name, repr(error))
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Save the code for a signature, unless it holds addresses of this process or the sources changed meanwhile."""
        files = cache_files()
        if files is None or result.lifted or result.library.has_dynamic_globals or hash_sources() != SOURCES:
            return
        key = self.key(signature, result.codegen)
        files.write(self.file_name(key), dumps((key, result._reduce())))

    def key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        """Return the key of the code: all that it depends on, except what the folder's name is hashed from."""
        function = self.function
        # A process that runs while its sources are replaced may import a newer function than ``SOURCES`` was hashed from.
        bytecode = hashlib.sha256(function.__code__.co_code).hexdigest()
        settings = tuple(repr(getattr(numba.config, name, None)) for name in SETTINGS)
        return (function.__module__, function.__qualname__, bytecode, signature, codegen.magic_tuple(), settings)

    def file_name(self, key: tuple[Any, ...]) -> str:
        """Return the name of the file for a key."""
        return f"{self.function.__name__}-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}{KERNEL_SUFFIX}"
