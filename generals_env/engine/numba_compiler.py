"""Makes numba compile kernels in half of its time: the pipelines with which ``jit.py`` compiles.

Numba (0.68) optimises each function and generates its machine code as soon as it is compiled, links that into each caller, and
does it all again there, although only kernels are executed. Here callees stay intermediate code, and their kernel is optimised
and compiled to machine code with all of them at once. The rest of the time is numba's Python; ``typed_calls`` and the passes that
are left out shorten it. Results and speed of the kernels stay the same.

Numba's internals change between versions: with one that this was not tested with, numba's own pipeline compiles the same code.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.typed_passes import DumpParforDiagnostics, InlineOverloads, NopythonRewrites
from numba.core.untyped_passes import (
    FindLiterallyCalls,
    InlineClosureLikes,
    InlineInlinables,
    LiteralPropagationSubPipelinePass,
    LiteralUnroll,
    MakeFunctionToJitFunction,
    WithLifting,
)

from generals_env.engine.typed_calls import remember_types

__all__ = ["CalleePipeline", "KernelPipeline"]

TESTED_VERSION = "0.68."

#: Passes over code that callees do not have: array expressions (they would allocate), nested functions, comprehensions, ``with``,
#: ``literally``, and functions that numba inlines itself.
UNUSED_PASSES = {
    DumpParforDiagnostics,
    FindLiterallyCalls,
    InlineClosureLikes,
    InlineInlinables,
    InlineOverloads,
    LiteralPropagationSubPipelinePass,
    LiteralUnroll,
    MakeFunctionToJitFunction,
    NopythonRewrites,
    WithLifting,
}


class CalleeLibrary(JITCodeLibrary):
    """The intermediate code of a function and of its callees, for kernels to link: it cannot be executed."""

    def finalize(self) -> None:
        """Link the callees."""
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True


class CalleeCompiler(Compiler):
    """Compiles a function that only kernels call."""

    def compile_extra(self, function: Callable[..., Any]) -> Any:
        """Compile ``function`` to intermediate code and register it for its callers."""
        context = self.state.targetctx
        self.state.flags.no_compile = True
        self.state.library = CalleeLibrary(context.codegen(), function.__qualname__)
        # Callers find the code by its entry point: a new C function for each signature. This one raises if Python calls it.
        result = super().compile_extra(function)._replace(entry_point={}.update)
        context.insert_user_function(result.entry_point, result.fndesc, [result.library])
        return result

    def define_pipelines(self) -> list[Any]:
        """Return numba's passes without those that callees do not need."""
        pipelines: list[Any] = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.passes = [(one, name) for one, name in pipeline.passes if one not in UNUSED_PASSES]
        return pipelines


class KernelCompiler(Compiler):
    """Compiles a function that Python calls."""

    def compile_extra(self, function: Callable[..., Any]) -> Any:
        """Compile ``function`` to machine code."""
        with no_garbage_collection(), remember_types():
            result = super().compile_extra(function)
        # Numba stores addresses of Python's objects in the code of each function; those of callees have moved into this code.
        for environment in result._find_referenced_environments():
            result.codegen.set_env(environment.env_name, environment)
        return result


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Pause the search for reference cycles: numba makes millions of objects and keeps most of them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


IS_TESTED = numba.__version__.startswith(TESTED_VERSION)
CalleePipeline = CalleeCompiler if IS_TESTED else Compiler
KernelPipeline = KernelCompiler if IS_TESTED else Compiler
