"""Remembers the types of calls of numba's own functions while kernels are compiled.

For each ``a[i]`` and ``a + b`` numba (0.68) tries all implementations of the operator, also those for strings, lists and sets,
until one fits: in ``run_boards`` 6,000 times, for some 800 different combinations of operator and types.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from numba.core import types
from numba.core.targetconfig import ConfigStack

__all__ = ["remember_types"]

#: Signature and implementation of a call, for each set of compiler flags. A type of a function names all its implementations:
#: it is another one after somebody registers one more.
KNOWN: dict[Any, dict[Any, tuple[Any, Any]]] = {}


@contextlib.contextmanager
def remember_types(context: Any) -> Iterator[None]:
    """Use what is known instead of asking ``context``, numba's typing context; call it under numba's compiler lock."""
    if "resolve_function_type" in vars(context):  # a kernel that calls a kernel
        yield
        return
    context.resolve_function_type = KnownTypes(context)
    try:
        yield
    finally:
        del context.resolve_function_type


class KnownTypes:
    """Stands in for ``resolve_function_type`` of a typing context."""

    def __init__(self, context: Any) -> None:
        """Ask ``context`` for what is not known."""
        self.resolve = context.resolve_function_type
        self.function_type = context._lookup_global
        self.flags: Any = None
        self.known: dict[Any, tuple[Any, Any]] = {}

    def __call__(self, function: Any, positional: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Return the signature of a call of ``function``; None if there is none."""
        kind = function if isinstance(function, types.Type) else self.function_type(function)
        if not isinstance(kind, types.Function):
            return self.resolve(function, positional, keywords)
        known = self.with_flags()
        call = (kind, tuple(positional), tuple(keywords.items()))
        if call in known:
            signature, kind._impl_keys[signature.args] = known[call]
            return signature
        signature = self.resolve(function, positional, keywords)
        if signature is not None:
            known[call] = (signature, kind._impl_keys[signature.args])
        return signature

    def with_flags(self) -> dict[Any, tuple[Any, Any]]:
        """Return what is known for the flags of the function that is compiled; comparing flags takes long."""
        flags = ConfigStack.top_or_none()
        if flags is not self.flags:
            self.flags = flags
            self.known = KNOWN.setdefault(flags, {})
        return self.known
