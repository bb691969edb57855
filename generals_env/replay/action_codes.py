"""Encodes the actions of a game in one byte each: a move usually goes on from the tile that the player's last move reached."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.replay.recorded_game import UNKNOWN

__all__ = ["coded_actions", "decoded_actions"]

# Codes of moves: clockwise quarter turns since the last move, plus HALF for half of the army, plus JUMPS if the move does not
# start where the last one ended. Other codes: PASS, NOT_KNOWN, and BUILD for a castle.
HALF, JUMPS, PASS, NOT_KNOWN, BUILD = 4, 8, 16, 17, 18

#: Clockwise quarter turns of the directions up, down, left and right, and the direction of each number of quarter turns.
QUARTERS = np.array([0, 2, 3, 1])
DIRECTIONS = np.array([0, 3, 1, 2])

Wholes = npt.NDArray[np.int64]


def steps(rows: int, width: int, columns: int, source: Wholes, direction: Wholes) -> Wholes:
    """Return the tiles next to ``source``, wrapped at the edges of the board: where it does not wrap no move crosses them."""
    row, column = np.divmod(source, width)
    row = (row + np.array([-1, 1, 0, 0])[direction]) % rows
    column = (column + np.array([0, 0, -1, 1])[direction]) % columns
    tiles: Wholes = row * width + column
    return tiles


def coded_actions(actions: Wholes, shape: tuple[int, int], extent: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], Wholes]:
    """Return a code for each action, player by player, and the tiles of moves that jump and of castles.

    Args:
        actions: (T, P) int64.
        shape: H and W.
        extent: Rows and columns of the board, without padding.
    """
    flat = actions.T.reshape(-1)
    plane = 4 * shape[0] * shape[1]
    codes = np.full(len(flat), PASS, np.uint8)
    codes[flat == UNKNOWN] = NOT_KNOWN
    codes[flat > 2 * plane] = BUILD
    at = np.flatnonzero((flat >= 0) & (flat < 2 * plane))
    half, rest = np.divmod(flat[at], plane)
    source, direction = np.divmod(rest, 4)
    target = steps(extent[0], shape[1], extent[1], source, direction)
    quarters = QUARTERS[direction]
    jumps = source != np.concatenate([[-1], target[:-1]])[: len(at)]
    turned = (quarters - np.concatenate([[0], quarters[:-1]])[: len(at)]) & 3
    codes[at] = turned + HALF * half + JUMPS * jumps
    tiles = np.where(codes == BUILD, flat - 2 * plane - 1, 0)
    tiles[at[jumps]] = source[jumps]
    return codes, tiles[(codes == BUILD) | ((codes < PASS) & (codes & JUMPS > 0))]


def decoded_actions(
    codes: npt.NDArray[np.uint8], tiles: Wholes, players: int, shape: tuple[int, int], extent: tuple[int, int]
) -> Wholes:
    """Return the actions that ``coded_actions`` encoded, (T, P) int64; ``ValueError`` for other codes or tiles."""
    count, plane = shape[0] * shape[1], 4 * shape[0] * shape[1]
    if len(codes) and codes.max() > BUILD:
        raise ValueError(f"codes: expected at most {BUILD}, got {int(codes.max())}")
    moves, builds = codes < PASS, codes == BUILD
    jumps = moves & (codes & JUMPS > 0)
    if np.count_nonzero(jumps | builds) != len(tiles) or (len(tiles) and not 0 <= tiles.min() <= tiles.max() < count):
        raise ValueError(f"tiles: expected one below {count} for each jump and castle")
    at = np.flatnonzero(moves)
    if len(at) and not jumps[at[0]]:
        raise ValueError("codes: expected a first move with its tile")
    given = np.zeros(len(codes), np.int64)
    given[jumps | builds] = tiles
    direction = DIRECTIONS[np.cumsum(codes[at] & 3) & 3]
    # Rows and columns that a chain of moves has gone since its first tile; they wrap at the edges.
    down, right = np.array([-1, 1, 0, 0])[direction], np.array([0, 0, -1, 1])[direction]
    begun = np.maximum.accumulate(np.where(jumps[at], np.arange(len(at)), 0))
    row, column = np.divmod(given[at][begun], shape[1])
    row = (row + gone(down, begun)) % extent[0]
    column = (column + gone(right, begun)) % extent[1]
    flat = np.full(len(codes), 2 * plane, np.int64)
    flat[at] = 4 * (row * shape[1] + column) + direction + plane * (codes[at] & HALF > 0)
    flat[codes == NOT_KNOWN] = UNKNOWN
    flat[builds] = 2 * plane + 1 + given[builds]
    actions: Wholes = flat.reshape(players, -1).T.copy()
    return actions


def gone(steps: Wholes, begun: Wholes) -> Wholes:
    """Return the sum of the steps before each move since the first move of its chain."""
    before: Wholes = np.cumsum(steps) - steps
    return before - before[begun]
