"""Converts actions between the competition's five numbers and indices of the action space.

The competition writes an action as ``[pass, row, column, direction, split]``: pass is 0 for a move, 1 to skip, 2 for a build;
direction 0 up, 1 down, 2 left, 3 right; split 1 sends half, any other number all but one.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["from_index", "to_index"]

MOVE, SKIP, BUILD = range(3)


def to_index(action: Sequence[int], height: int, width: int) -> int:
    """Return the action index of an action of the competition.

    Args:
        action: Pass, row, column, direction, split.
        height: H.
        width: W.

    Returns:
        The index, from 0 to 9*H*W. It is the pass, 8*H*W, for an action without effect: a skip, a tile off the board, a first
        number or a direction that the competition does not define.
    """
    kind, row, column, direction, split = (int(number) for number in action)
    tiles = height * width
    if kind not in (MOVE, BUILD) or not (0 <= row < height and 0 <= column < width):
        return 8 * tiles
    tile = row * width + column
    if kind == BUILD:
        return 8 * tiles + 1 + tile
    if not 0 <= direction < 4:
        return 8 * tiles
    return 4 * tile + direction + (4 * tiles if split == 1 else 0)


def from_index(index: int, height: int, width: int) -> tuple[int, int, int, int, int]:
    """Return the action of the competition for an action index from 0 to 9*H*W: pass, row, column, direction, split."""
    tiles = height * width
    index = int(index)
    if index == 8 * tiles:
        return SKIP, 0, 0, 0, 0
    if index > 8 * tiles:
        row, column = divmod(index - 8 * tiles - 1, width)
        return BUILD, row, column, 0, 0
    split, rest = divmod(index, 4 * tiles)
    tile, direction = divmod(rest, 4)
    row, column = divmod(tile, width)
    return MOVE, row, column, direction, split
