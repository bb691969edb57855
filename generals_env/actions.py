"""Actions as indices and as what they mean, and the one check of actions for all faces.

Index ``(row * W + column) * 4 + direction`` sends all but one, the same plus ``4 * H * W`` sends half, ``8 * H * W`` passes.
Directions are 0 up, 1 down, 2 left, 3 right everywhere in this package; ``CLOCKWISE`` is for programs that count up, right,
down, left.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.arguments import shown
from generals_env.errors import ActionError

__all__ = ["CLOCKWISE", "DIRECTIONS", "Move", "check_action", "check_actions", "decode_action", "encode_action"]

#: (rows down, columns right) of each direction.
DIRECTIONS = ((-1, 0), (1, 0), (0, -1), (0, 1))

#: Our direction for each direction of those who count up, right, down, left; it is ``CLOCKWISE.index`` the other way round.
CLOCKWISE = (0, 3, 1, 2)


class Move(NamedTuple):
    """A move.

    Attributes:
        row: Of the start tile.
        column: Of the start tile.
        direction: 0 up, 1 down, 2 left, 3 right.
        half: Whether half the army moves instead of all but one.
    """

    row: int
    column: int
    direction: int
    half: bool = False


def check_action(action: Any, count: int) -> int:
    """Return ``action`` as an integer of Python's.

    Integers of Python, numpy and torch are taken, also in arrays and tensors without axes. Bools, floats, and arrays with axes
    are not, not even those with one element: in the faces of many games the shape says which game and player each is of.

    Raises:
        ActionError: If it is no integer from 0 to ``count - 1``.
    """
    index = action if type(action) is int else as_index(action)
    if index is None:
        expected = f"integer from 0 to {count - 1}" if is_bool(action) else "integer"
        raise ActionError(f"action: expected an {expected}, got {shown(action)}")
    if not 0 <= index < count:
        raise ActionError(f"action: expected an integer from 0 to {count - 1}, got {shown(index)}")
    return index


def check_actions(actions: Any, shape: tuple[int, ...], count: int) -> npt.NDArray[np.integer[Any]]:
    """Return the actions of many games as an array; each is taken or refused as ``check_action`` does.

    Raises:
        ActionError: If the shape is another one, or they are no integers from 0 to ``count - 1``.
    """
    integers = as_integers(actions, shape, count)
    try:
        array = np.asarray(integers)
    except (TypeError, ValueError, RuntimeError):  # ragged lists; tensors that lie on a device or need gradients
        raise ActionError(f"actions: expected integers of shape {shape}, got {shown(actions)}") from None
    if array.shape != shape or array.dtype.kind not in "iu":
        raise ActionError(f"actions: expected integers of shape {shape}, got {array.dtype} of shape {array.shape}")
    low, high = array.min(), array.max()
    if low < 0 or high >= count:
        raise ActionError(f"actions: expected integers from 0 to {count - 1}, got {low if low < 0 else high}")
    return array


def as_integers(actions: Any, shape: tuple[int, ...], count: int) -> Any:
    """Return lists, and arrays of objects, with integers of Python's in them, which numpy cannot mistake; the rest as it is."""
    if isinstance(actions, np.ndarray) and actions.dtype.kind == "O" and actions.ndim:
        actions = actions.tolist()
    if isinstance(actions, (list, tuple)):
        return [as_integers(one, shape, count) for one in actions]
    if is_bool(actions):
        raise ActionError(f"actions: expected integers of shape {shape}, got bools; actions are from 0 to {count - 1}")
    index = as_index(actions)
    if index is not None and not 0 <= index < count:
        raise ActionError(f"actions: expected integers from 0 to {count - 1}, got {shown(actions)}")
    return actions if index is None else index


def as_index(action: Any) -> int | None:
    """Return an integer of any library as Python's own; None for everything else."""
    if is_bool(action) or getattr(action, "shape", ()) != ():
        return None
    try:
        return operator.index(action)
    except TypeError:
        return None


def is_bool(action: Any) -> bool:
    """Return whether ``action`` is a truth value of Python, numpy or torch, or an array of such."""
    return isinstance(action, bool) or str(getattr(action, "dtype", "")) in ("bool", "torch.bool")


def encode_action(move: Move | None, height: int, width: int) -> int:
    """Return the index of ``move`` on a board of ``height`` x ``width``; that of the pass for None.

    Raises:
        ActionError: If the move does not start on the board, or has no such direction.
    """
    plane = 4 * height * width
    if move is None:
        return 2 * plane
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


def decode_action(index: int, height: int, width: int) -> Move | None:
    """Return the move that ``index`` means on a board of ``height`` x ``width``; None for the pass.

    Raises:
        ActionError: If the index is no integer, or out of range.
    """
    plane = 4 * height * width
    index = check_action(index, 2 * plane + 1)
    if index == 2 * plane:
        return None
    half, rest = divmod(index, plane)
    tile, direction = divmod(rest, 4)
    return Move(*divmod(tile, width), direction, bool(half))
