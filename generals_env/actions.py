"""Actions as indices and as what they mean.

Index ``(row * W + column) * 4 + direction`` sends all but one, the same plus ``4 * H * W`` sends half, ``8 * H * W`` passes.
Directions are 0 up, 1 down, 2 left, 3 right everywhere in this package; ``CLOCKWISE`` is for programs that count up, right,
down, left.
"""

from __future__ import annotations

from typing import NamedTuple

from generals_env.errors import ActionError

__all__ = ["CLOCKWISE", "DIRECTIONS", "Move", "decode_action", "encode_action"]

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


def encode_action(move: Move | None, height: int, width: int) -> int:
    """Return the index of ``move`` on a board of ``height`` x ``width``; that of the pass for None.

    Raises:
        ActionError: If the move does not start on the board, or has no such direction.
    """
    plane = 4 * height * width
    if move is None:
        return 2 * plane
    row, column, direction, half = move
    if not (0 <= row < height and 0 <= column < width and 0 <= direction < len(DIRECTIONS)):
        raise ActionError(f"move: expected row, column below {height}, {width} and direction below 4, got {move}")
    return int(row * width + column) * 4 + int(direction) + (plane if half else 0)


def decode_action(index: int, height: int, width: int) -> Move | None:
    """Return the move that ``index`` means on a board of ``height`` x ``width``; None for the pass.

    Raises:
        ActionError: If the index is out of range.
    """
    plane = 4 * height * width
    if not 0 <= index <= 2 * plane:
        raise ActionError(f"action: expected an integer from 0 to {2 * plane}, got {index}")
    if index == 2 * plane:
        return None
    half, rest = divmod(int(index), plane)
    tile, direction = divmod(rest, 4)
    return Move(*divmod(tile, width), direction, bool(half))
