"""Makes numba optimise a kernel and generate its machine code once, together with all functions that it calls.

Numba (0.68) optimises each function and generates its machine code when it is compiled, links the optimised code into each caller,
and does all of it again there: a function at depth five of a kernel six times, although only the kernel is executed. Here callees
stay unoptimised intermediate code until they are part of a kernel. The first compilation of ``run_boards`` takes 0.6 of the time.

Numba's internals differ between versions: with one that this was not tested with, numba's own pipeline compiles the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

__all__ = ["CalleePipeline", "KernelPipeline"]

TESTED_VERSION = "0.68."


class CalleeLibrary(JITCodeLibrary):
    """The intermediate code of a function and of its callees, for kernels to link: neither optimised nor executable."""

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
        # Callers find the code by its entry point: a new C function for each signature. This one raises TypeError if Python calls it.
        result = super().compile_extra(function)._replace(entry_point={}.update)
        context.insert_user_function(result.entry_point, result.fndesc, [result.library])
        return result


class KernelCompiler(Compiler):
    """Compiles a function that Python calls."""

    def compile_extra(self, function: Callable[..., Any]) -> Any:
        """Compile ``function`` to machine code."""
        result = super().compile_extra(function)
        # Numba stores the addresses of Python's objects in the code of each function; those of callees have moved to here.
        for environment in result._find_referenced_environments():
            result.codegen.set_env(environment.env_name, environment)
        return result


IS_TESTED = numba.__version__.startswith(TESTED_VERSION)
CalleePipeline = CalleeCompiler if IS_TESTED else Compiler
KernelPipeline = KernelCompiler if IS_TESTED else Compiler
