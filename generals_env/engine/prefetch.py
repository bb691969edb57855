"""Prefetches memory: asks the processor for cache lines before a kernel needs them.

A thousand games do not fit into a cache. The lines that a turn writes are far apart, and the actions determine which they are:
prefetched two boards ahead, they are in the cache when the turn is played.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

__all__ = ["fetch"]


@intrinsic
def fetch_compiled(typing_context: Any, array: Any, index: Any) -> Any:  # noqa: ARG001 - numba passes the context
    """Prefetch the cache line of an element with LLVM's intrinsic, for writing and with high locality."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        values = make_array(kind)(context, builder, arguments[0])
        pointer = cgutils.get_item_pointer(
            context, builder, kind, values, cgutils.unpack_tuple(builder, arguments[1]), wraparound=False
        )
        pointer = builder.bitcast(pointer, ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], shape)
        builder.call(prefetch, [pointer, number(1), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, index), generate


def fetch_nothing(array: Any, index: Any) -> None:
    """Do nothing: without the JIT a prefetch is useless."""


DISABLED: bool = numba.config.DISABLE_JIT  # type: ignore[attr-defined]  # made at run time
fetch: Any = fetch_nothing if DISABLED else fetch_compiled
