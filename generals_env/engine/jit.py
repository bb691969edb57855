"""How the kernels are compiled.

``nogil`` lets a thread pool cut a batch. ``parallel=True`` is not used: from Python threads it aborts on numba's workqueue
layer, and forking after OpenMP kills the child. ``kernel_cache.py`` keeps compiled code between processes.

Only what Python calls is a ``kernel``; what only kernels call is a ``subroutine``, compiled without the wrappers for Python
and C and cached with its callers. That halves the time of the first compilation.

Each decorator sets ``_nrt`` and ``forceinline``: where they are left open, numba 0.68 takes them from the caller for which it
compiles a function first, and all later callers get that code. Kernels would then be kept fast or slow by the order of calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

from generals_env.engine.kernel_cache.numba_hook import KernelCache

__all__ = ["inlined", "kernel", "subroutine"]

Function = TypeVar("Function", bound=Callable[..., Any])

# numba's own annotations leave some options out.
compile_with: Any = numba.njit
OPTIONS = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


def kernel(function: Function) -> Function:
    """Compile ``function`` with numba on its first call, once for each signature, or load what an earlier process compiled.

    Where no folder can be written that belongs to this user alone, each process compiles anew: that costs seconds but works.
    """
    compiled: Any = compile_with(_nrt=True, forceinline=False, **OPTIONS)(function)
    if not numba.config.DISABLE_JIT:  # type: ignore[attr-defined]  # it is made at run time
        compiled._cache = KernelCache(function)  # as ``cache=True`` does with numba's own, which misses edited callees
    return compiled


def subroutine(function: Function) -> Function:
    """Compile ``function`` for kernels to call. It allocates nothing: its caller owns all arrays.

    Python must not call it (that would crash) but for ``function.py_func``, its uncompiled self.
    """
    # Without numba's runtime (_nrt) arrays are not reference-counted: the counters are shared by all threads, and
    # counting them atomically made a turn of a batch ten times slower. Numba refuses to compile an allocation then.
    compiled: Function = compile_with(no_cpython_wrapper=True, forceinline=False, _nrt=False, **OPTIONS)(function)
    return compiled


def inlined(function: Function) -> Function:
    """Compile ``function`` into each of its callers: for small ones, and for large ones that are called in one place.

    A ``Boards`` and the like are some hundred words, which a call copies: more than what most calls do with them.
    """
    compiled: Function = compile_with(no_cpython_wrapper=True, forceinline=True, _nrt=False, **OPTIONS)(function)
    return compiled
