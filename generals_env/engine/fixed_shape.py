"""Tells the compiler the number of players, so that it can unroll loops over them."""

from __future__ import annotations

from typing import Any

import numba
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

__all__ = ["with_players"]


@intrinsic
def with_players_compiled(typing_context: Any, array: Any, seats: Any) -> Any:  # noqa: ARG001 - numba passes the context
    """Return the array with the length of its second axis replaced by the number of ``seats``, a constant of their type."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        count = len(signature.args[1])
        if not count:
            return impl_ret_borrowed(context, builder, kind, arguments[0])
        values = make_array(kind)(context, builder, arguments[0])
        shape = cgutils.unpack_tuple(builder, values.shape)
        shape[1] = shape[1].type(count)
        values.shape = cgutils.pack_array(builder, shape)
        return impl_ret_borrowed(context, builder, kind, values._getvalue())

    return array(array, seats), generate


def with_players_interpreted(array: Any, seats: tuple[int, ...]) -> Any:  # noqa: ARG001
    """Return the array."""
    return array


DISABLED: bool = numba.config.DISABLE_JIT  # type: ignore[attr-defined]  # made at run time
with_players: Any = with_players_interpreted if DISABLED else with_players_compiled
