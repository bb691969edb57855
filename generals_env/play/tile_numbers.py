"""Translates between tiles of the page, numbered without the padding of a board, and those of the engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from generals_env.errors import ConfigError

__all__ = ["shown_action", "with_padding"]


def with_padding(tile: int, game: np.void) -> int:
    """Return the engine's number of a tile.

    Args:
        tile: Number without padding.
        game: Record of ``boards.GAME``.

    Raises:
        ConfigError: If the tile is not on the board.
    """
    rows, columns = int(game["rows"]), int(game["columns"])
    row, column = divmod(tile, columns)
    if not 0 <= row < rows:
        raise ConfigError(f"tile: expected one from 0 to {rows * columns - 1}, got {tile}")
    return row * int(game["width"]) + column


def shown_action(action: int, game: np.void) -> dict[str, Any]:
    """Return an action as the page draws it, with tiles without padding: ``from``, ``to`` and ``half``, or ``from``, ``build``.

    Args:
        action: Index of a move or of a build.
        game: Record of ``boards.GAME``.
    """
    rows, columns, width = int(game["rows"]), int(game["columns"]), int(game["width"])
    plane = 4 * int(game["height"]) * width
    if action > 2 * plane:
        row, column = divmod(action - 2 * plane - 1, width)
        return {"from": row * columns + column, "build": True}
    half = action >= plane
    tile, direction = divmod(action - plane if half else action, 4)
    row, column = divmod(tile, width)
    down, right = ((-1, 0), (1, 0), (0, -1), (0, 1))[direction]
    target = (row + down) % rows * columns + (column + right) % columns  # boards that wrap
    return {"from": row * columns + column, "to": target, "half": half}
