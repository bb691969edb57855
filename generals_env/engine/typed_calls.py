"""Remembers the types of calls of numba's own functions while kernels are compiled.

For each ``a[i]`` and ``a + b`` numba (0.68) tries the implementations of the operator, also those for strings, lists and sets,
until one fits: in ``run_boards`` 7,000 times, for 800 different combinations of operator and types.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from numba.core.targetconfig import ConfigStack
from numba.core.types import Function

__all__ = ["remember_types"]

#: Signature and implementation of a call, for each set of compiler flags. They cannot become stale: the type of a function holds
#: all its implementations, and is another one as soon as one more is registered.
KNOWN: dict[Any, dict[Any, tuple[Any, Any]]] = {}


@contextlib.contextmanager
def remember_types() -> Iterator[None]:
    """Resolve calls with what is known; call it under numba's compiler lock."""
    if "get_call_type" in vars(Function):  # a kernel that calls a kernel
        yield
        return
    Function.get_call_type = remembering(Function.get_call_type)
    try:
        yield
    finally:
        del Function.get_call_type  # it was inherited


def remembering(resolve: Any) -> Any:
    """Return ``resolve``, numba's method that tries all implementations, with a memory."""
    last: Any = None
    known: dict[Any, tuple[Any, Any]] = {}

    def resolve_once(function: Any, context: Any, positional: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        nonlocal last, known
        flags = ConfigStack.top_or_none()
        if flags is not last:  # comparing their values takes long
            last, known = flags, KNOWN.setdefault(flags, {})
        here = known  # numba may compile the implementation with other flags meanwhile
        call = (function, context, tuple(positional), tuple(keywords.items()))
        if call not in here:
            signature = resolve(function, context, positional, keywords)
            here[call] = (signature, function._impl_keys[signature.args])
        # The implementation for another set of flags may have been entered since.
        signature, function._impl_keys[signature.args] = here[call]
        return signature

    return resolve_once
