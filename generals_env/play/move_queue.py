"""Holds the moves that a person has queued: each turn plays the first one that is legal (rules 6 to 8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from generals_env.errors import ConfigError

__all__ = ["MAX_QUEUED", "MoveQueue", "move_index"]

#: Moves in a queue: more than a person enters, so that a page cannot fill the memory.
MAX_QUEUED = 500


class MoveQueue:
    """Action indices in the order in which they were entered.

    A move may be illegal when it is entered, as the army may only get there by the moves before it. What is illegal when its
    turn comes is dropped at no cost, and the next one is played in the same turn.
    """

    def __init__(self) -> None:
        """Begin without moves."""
        self._actions: list[int] = []

    def __len__(self) -> int:
        return len(self._actions)

    def __iter__(self) -> Iterator[int]:
        return iter(self._actions)

    def extend(self, actions: Iterable[int]) -> None:
        """Add actions at the end.

        Raises:
            ConfigError: If the queue is full; it is as before.
        """
        longer = [*self._actions, *actions]
        if len(longer) > MAX_QUEUED:
            raise ConfigError(f"queue: expected at most {MAX_QUEUED} moves, got one more: wait, or clear the queue")
        self._actions = longer

    def undo(self) -> bool:
        """Take back the move entered last; return whether there was one."""
        if not self._actions:
            return False
        self._actions.pop()
        return True

    def clear(self) -> None:
        """Take back all moves."""
        self._actions = []

    def take(self, mask: npt.NDArray[np.int8]) -> int | None:
        """Remove the first legal move and those before it; return it, or None if no move is legal: all are dropped then.

        Args:
            mask: (A,) int8 of the board before the turn.
        """
        for position, action in enumerate(self._actions):
            if mask[action]:
                self._actions = self._actions[position + 1 :]
                return action
        self._actions = []
        return None


def move_index(start: int, end: int, half: bool, shape: tuple[int, int], extent: tuple[int, int], wraps: bool) -> int:
    """Return the action index of a move between neighbours.

    Args:
        start: Tile moved from.
        end: Tile moved to.
        half: Whether half of the army moves.
        shape: H and W.
        extent: Rows and columns of the board, without padding.
        wraps: Whether the board wraps, as with the Torus modifier.

    Raises:
        ConfigError: If the tiles are not on the board, or no neighbours.
    """
    (height, width), (rows, columns) = shape, extent
    row, column = divmod(start, width)
    if 0 <= start < height * width and row < rows and column < columns:
        for direction, (down, right) in enumerate(((-1, 0), (1, 0), (0, -1), (0, 1))):
            near_row, near_column = row + down, column + right
            if wraps:
                near_row, near_column = near_row % rows, near_column % columns
            if 0 <= near_row < rows and 0 <= near_column < columns and near_row * width + near_column == end:
                return 4 * start + direction + (4 * height * width if half else 0)
    raise ConfigError(f"move: expected two neighbours on a board of {rows}x{columns}, got tiles {start} and {end}")
