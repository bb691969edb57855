"""Compiles functions with numba: the decorators ``kernel``, ``subroutine`` and ``inlined``.

``nogil`` lets a thread pool divide a batch. ``parallel=True`` is not used: from Python threads it aborts on numba's workqueue
layer, and forking after OpenMP kills the child. ``kernel_cache`` keeps compiled code between processes.

A function that Python calls is a ``kernel``; one that only kernels call is a ``subroutine``, compiled as a part of them.
``numba_compiler`` shortens the first compilation.

The rules of the competition are an argument ``castles`` of kernels, None or True: numba drops code below
``if castles is not None`` before it compiles a function for None, so that games with other rules neither wait for it nor carry
it. Only a condition of this form is dropped, in the function that has the argument.

Each decorator sets ``_nrt`` and ``forceinline``: if they are left open, numba 0.68 takes them from the caller for which it
compiles a function first, and all later callers get that code: the speed of kernels would depend on the order of calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.core.types import unliteral

from generals_env.engine.kernel_cache.compile_notice import watch_compilation
from generals_env.engine.kernel_cache.numba_hook import KernelCache
from generals_env.engine.numba_compiler import CalleePipeline, KernelPipeline

__all__ = ["inlined", "kernel", "subroutine"]

Function = TypeVar("Function", bound=Callable[..., Any])

# The annotations of numba lack some options.
compile_with: Any = numba.njit
OPTIONS = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
CALLEE = {"pipeline_class": CalleePipeline, "no_cpython_wrapper": True}
KERNEL = {"_nrt": True, "forceinline": False}
# Without numba's runtime (_nrt) arrays are not reference-counted: the counters are shared by all threads, and counting them
# atomically made a turn of a batch ten times slower. Numba refuses to compile an allocation then.
SUBROUTINE = {"_nrt": False, "forceinline": False}
INLINED = {"_nrt": False, "forceinline": True}

watch_compilation()


def kernel(function: Function) -> Function:
    """Compile ``function`` with numba on its first call, once for each signature, or load it from the cache.

    Without a folder that only this user can write to, each process compiles anew, which takes some seconds.
    """
    compiled: Any = compile_with(pipeline_class=KernelPipeline, **KERNEL, **OPTIONS)(function)
    if not numba.config.DISABLE_JIT:  # type: ignore[attr-defined]  # it is made at run time
        compiled._cache = KernelCache(function)  # as ``cache=True`` does with numba's own, which misses edited callees
    return compiled


def subroutine(function: Function) -> Function:
    """Compile ``function`` for kernels to call. It must not allocate: its caller owns all arrays.

    Python must not call it, except as ``function.py_func``, which is not compiled.
    """
    return one_for_each_type(compile_with(**CALLEE, **SUBROUTINE, **OPTIONS)(function))


def inlined(function: Function) -> Function:
    """Compile ``function`` into each of its callers: for small functions, and for large ones that have one call.

    ``Boards`` and similar arguments are some hundred words, which a call copies: that often costs more than the call itself.
    """
    return one_for_each_type(compile_with(**CALLEE, **INLINED, **OPTIONS)(function))


def one_for_each_type(compiled: Any) -> Any:
    """Compile a function once for each type of its arguments; numba compiles it once more for each constant in a call."""
    if not numba.config.DISABLE_JIT:  # type: ignore[attr-defined]  # it is made at run time
        resolve = compiled.get_call_template

        def resolve_types(arguments: Any, keywords: Any) -> Any:
            return resolve(tuple(map(unliteral, arguments)), {name: unliteral(kind) for name, kind in keywords.items()})

        compiled.get_call_template = resolve_types
    return compiled
