"""Encodes moves and builds as action indices, decodes them, and checks the actions that every environment is given.

Index ``(row * W + column) * 4 + direction`` sends all but one, the same plus ``4 * H * W`` sends half, ``8 * H * W`` passes.
With the rules of the competition, ``8 * H * W + 1 + row * W + column`` builds a castle.
Directions are 0 up, 1 down, 2 left, 3 right everywhere in this package; ``CLOCKWISE`` converts from programs that number them
up, right, down, left.
"""

from __future__ import annotations

import operator
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from generals_env.arguments import shown
from generals_env.errors import ActionError

__all__ = ["CLOCKWISE", "DIRECTIONS", "Build", "Move", "check_action", "check_actions", "decode_action", "encode_action"]

#: Offset of each direction: (rows down, columns right).
DIRECTIONS = ((-1, 0), (1, 0), (0, -1), (0, 1))

#: Direction of this package for each direction in the order up, right, down, left; ``CLOCKWISE.index`` is the inverse.
CLOCKWISE = (0, 3, 1, 2)


class Move(NamedTuple):
    """A move of an army to an adjacent tile.

    Attributes:
        row: Row of the start tile.
        column: Column of the start tile.
        direction: 0 up, 1 down, 2 left, 3 right.
        half: Whether half the army moves instead of all but one.
    """

    row: int
    column: int
    direction: int
    half: bool = False


class Build(NamedTuple):
    """A castle to build, with the rules of the competition.

    Attributes:
        row: Row of the tile.
        column: Column of the tile.
    """

    row: int
    column: int


def check_action(action: Any, count: int) -> int:
    """Return ``action`` as a Python integer.

    Integers of Python, numpy and torch are accepted, also as 0-d arrays and tensors. Bools, floats and arrays with axes are
    refused, even arrays of one element: in vector environments the shape says which game and player an action belongs to.

    Raises:
        ActionError: If it is not an integer from 0 to ``count - 1``.
    """
    index = action if type(action) is int else as_index(action)
    if index is None:
        expected = f"integer from 0 to {count - 1}" if is_bool(action) else "integer"
        raise ActionError(f"action: expected an {expected}, got {shown(action)}")
    if not 0 <= index < count:
        raise ActionError(f"action: expected an integer from 0 to {count - 1}, got {shown(index)}")
    return index


def check_actions(actions: Any, shape: tuple[int, ...], count: int) -> npt.NDArray[np.integer[Any]]:
    """Return the actions of many games as an integer array; elements are accepted as by ``check_action``.

    Raises:
        ActionError: If the shape is not ``shape``, or an element is not an integer from 0 to ``count - 1``.
    """
    if isinstance(actions, np.ndarray) and actions.dtype == np.int64 and actions.shape == shape:
        if actions.view(np.uint64).max() < count:  # as unsigned integers, negative ones are too large
            return actions
    integers = as_integers(actions, shape, count)
    try:
        array = np.asarray(integers)
    except (TypeError, ValueError, RuntimeError):  # ragged lists; tensors on a device or that require gradients
        raise ActionError(f"actions: expected integers of shape {shape}, got {shown(actions)}") from None
    if array.shape != shape or array.dtype.kind not in "iu":
        raise ActionError(f"actions: expected integers of shape {shape}, got {array.dtype} of shape {array.shape}")
    low, high = array.min(), array.max()
    if low < 0 or high >= count:
        raise ActionError(f"actions: expected integers from 0 to {count - 1}, got {low if low < 0 else high}")
    return array


def as_integers(actions: Any, shape: tuple[int, ...], count: int) -> Any:
    """Convert the elements of lists and object arrays to Python integers, as numpy would accept bools; return others as is."""
    if isinstance(actions, np.ndarray) and actions.dtype.kind == "O" and actions.ndim:
        actions = actions.tolist()
    if isinstance(actions, (list, tuple)):
        return [as_integers(one, shape, count) for one in actions]
    if is_bool(actions):
        raise ActionError(f"actions: expected integers of shape {shape}, got bools: pass indices from 0 to {count - 1}")
    index = as_index(actions)
    if index is not None and not 0 <= index < count:
        raise ActionError(f"actions: expected integers from 0 to {count - 1}, got {shown(actions)}")
    return actions if index is None else index


def as_index(action: Any) -> int | None:
    """Return an integer of any library as a Python integer, and None for anything else."""
    if is_bool(action) or getattr(action, "shape", ()) != ():
        return None
    try:
        return operator.index(action)
    except TypeError:
        return None


def is_bool(action: Any) -> bool:
    """Return whether ``action`` is a bool of Python, numpy or torch, or an array of bools."""
    return isinstance(action, bool) or str(getattr(action, "dtype", "")) in ("bool", "torch.bool")


def encode_action(move: Move | Build | None, height: int, width: int) -> int:
    """Return the action index of a move or a build on a board of ``height`` x ``width``; None encodes the pass.

    Raises:
        ActionError: If the tile is off the board, or the direction is not from 0 to 3.
    """
    plane = 4 * height * width
    if move is None:
        return 2 * plane
    if isinstance(move, Build):
        try:
            row, column = check_action(move.row, height), check_action(move.column, width)
        except ActionError:
            raise ActionError(f"build: expected row, column below {height}, {width}, got {shown(move)}") from None
        return 2 * plane + 1 + row * width + column
    try:
        row, column, direction, half = Move(*move)
    except TypeError:
        raise ActionError(f"move: expected None or (row, column, direction, half), got {shown(move)}") from None
    try:
        row, column, direction = (
            check_action(row, height),
            check_action(column, width),
            check_action(direction, len(DIRECTIONS)),
        )
    except ActionError:
        expected = f"expected row, column below {height}, {width} and direction below 4"
        raise ActionError(f"move: {expected}, got {shown(move)}") from None
    return int((row * width + column) * 4 + direction + (plane if half else 0))


@overload
def decode_action(index: int, height: int, width: int, builds: Literal[False] = False) -> Move | None: ...


@overload
def decode_action(index: int, height: int, width: int, builds: bool) -> Move | Build | None: ...


def decode_action(index: int, height: int, width: int, builds: bool = False) -> Move | Build | None:
    """Return the move or the build that ``index`` encodes on a board of ``height`` x ``width``; the pass decodes to None.

    Args:
        index: The index of the action.
        height: H.
        width: W.
        builds: Whether the action space has builds, as with the rules of the competition.

    Raises:
        ActionError: If the index is not an integer or is out of range.
    """
    plane = 4 * height * width
    index = check_action(index, (9 if builds else 8) * height * width + 1)
    if index == 2 * plane:
        return None
    if index > 2 * plane:
        return Build(*divmod(index - 2 * plane - 1, width))
    half, rest = divmod(index, plane)
    tile, direction = divmod(rest, 4)
    return Move(*divmod(tile, width), direction, bool(half))
