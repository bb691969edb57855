"""Asking the processor for memory before it is needed.

A thousand games do not fit into a cache. The lines that a turn writes lie far apart, and which ones it will be is known from
the actions: asked for two boards ahead, they are there when their turn comes.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from generals_env.engine.bits import has_bit
from generals_env.engine.boards import Boards
from generals_env.engine.incremental import Sets, Views
from generals_env.engine.jit import subroutine

__all__ = ["fetch", "prefetch_turn"]


@intrinsic
def fetch_compiled(typing_context: Any, array: Any, index: Any) -> Any:  # noqa: ARG001 - numba passes it
    """Ask for the cache line of an element; LLVM's prefetch, for writing, to stay."""

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
    """Do nothing: the interpreter has no use for cache lines."""


DISABLED: bool = numba.config.DISABLE_JIT  # type: ignore[attr-defined]  # it is made at run time
fetch: Any = fetch_nothing if DISABLED else fetch_compiled


@subroutine
def prefetch_turn(boards: Boards, b: int, sets: Sets, views: Views, actions: Any) -> None:
    """Ask for what the next turn of board ``b`` will write.

    Args:
        boards: The boards.
        b: Which of them.
        sets: Sets of the boards.
        views: Views of the boards.
        actions: (B, P) int64, the actions of the turn.
    """
    tiles = boards.owner.shape[1]
    width = boards.games[b]["width"]
    for player in range(boards.players.shape[1]):
        action = actions[b, player]
        if action >= 8 * tiles:
            continue
        start = action // 4 % tiles
        direction = action % 4
        end = start + (width if direction == 1 else -width)
        if direction >= 2:
            end = start + (1 if direction == 3 else -1)
        end = min(max(end, 0), tiles - 1)  # an illegal action may lead anywhere
        for tile in (start, end):
            fetch(boards.owner, (b, tile))
            fetch(boards.army, (b, tile))
            fetch(views.shown, (b, player, tile))
            fetch(views.observations, (b, player, 0, tile))
            for half in range(2):
                fetch(views.masks, (b, player, 4 * (half * tiles + tile)))
        row = end // width
        if not has_bit(sets.land[b, player, row], end - row * width):  # a capture, if anything
            for near in (max(end - width, 0), end, min(end + width, tiles - 1)):
                fetch(boards.terrain, (b, near))
                for channel in (2, 4, 7, 8):
                    fetch(views.observations, (b, player, channel, near))
