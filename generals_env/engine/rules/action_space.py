"""Counts the actions of a board: moves, the pass, and with the rules of the competition a build on each tile."""

from __future__ import annotations

from generals_env.engine.boards import COMPETITION_VERSION
from generals_env.engine.jit import inlined

__all__ = ["action_count", "count_actions"]


def action_count(version: int, tiles: int) -> int:
    """Return the number of action indices of a board.

    Args:
        version: Of the board, see ``boards.GAME``.
        tiles: H*W, padding included.

    Returns:
        ``8*H*W + 1``: moves of all but one, moves of half, the pass; with the rules of the competition ``9*H*W + 1``: index
        ``8*H*W + 1 + i`` builds a castle on tile i.
    """
    return (9 if version == COMPETITION_VERSION else 8) * tiles + 1


count_actions = inlined(action_count)  # for kernels
