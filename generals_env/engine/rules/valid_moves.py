"""Translates action indices and queued moves into valid moves: neighbours, validity, queues (rules 6 to 8)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import NEUTRAL, TORUS, Boards
from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.rules.castle_prices import may_build

__all__ = ["Actions", "Tiles", "may_enter", "move_action", "neighbour", "select_queued", "sent_army", "take_actions"]

#: (P,) tiles, players or flags of moves.
Tiles = npt.NDArray[np.int32]
#: (P,) action indices.
Actions = npt.NDArray[np.int64]


@inlined
def neighbour(row: int, column: int, direction: int, width: int, rows: int, columns: int, wraps: bool) -> int:
    """Return the tile next to row and column (directions 0-3: up, down, left, right), -1 if off the board.

    With the Torus modifier rows and columns wrap at the extent of the board, not at its padding.
    """
    if direction == 0:
        row -= 1
    elif direction == 1:
        row += 1
    elif direction == 2:
        column -= 1
    else:
        column += 1
    if row < 0 or row >= rows or column < 0 or column >= columns:
        if not wraps:
            return -1
        row = (row + rows) % rows
        column = (column + columns) % columns
    return int(row * width + column)


@inlined
def move_target(boards: Boards, b: int, tile: int, direction: int) -> int:
    """Return the tile next to ``tile`` on board ``b``, -1 if off the board."""
    game = boards.games[b]
    width = game["width"]
    wraps = game["modifiers"] & TORUS != 0
    row = tile // width
    column = tile - row * width
    return neighbour(row, column, direction, width, game["rows"], game["columns"], wraps)


@subroutine
def direction_of(boards: Boards, b: int, start: int, end: int) -> int:
    """Return the direction from ``start`` to its neighbour ``end``, -1 if it is no neighbour."""
    for direction in range(4):
        if move_target(boards, b, start, direction) == end:
            return direction
    return -1


@subroutine
def move_action(boards: Boards, b: int, start: int, end: int, half: int) -> int:
    """Return the action index of a move between neighbours; that of the pass if ``start`` is -1."""
    plane = 4 * boards.owner.shape[1]
    if start < 0:
        return 2 * plane
    return 4 * start + direction_of(boards, b, start, end) + (plane if half else 0)


@inlined
def may_enter(army: int, player: int, holder: int, players: npt.NDArray[np.void]) -> bool:
    """Return whether an ``army`` of ``player`` may move to a tile with owner code ``holder`` (rule 8)."""
    if holder < NEUTRAL:  # mountain, lookout, observatory
        return False
    if army > 1:
        return True
    # An army of 1 sends no army, but takes over a team-mate's tile.
    return bool(army == 1 and holder >= 0 and holder != player and players[holder]["team"] == players[player]["team"])


@inlined
def sent_army(army: int, half: int) -> int:
    """Return the part of ``army`` that leaves its tile (rule 10)."""
    if half:
        return army // 2
    return max(army - 1, 0)


@inlined
def can_move(boards: Boards, b: int, player: int, start: int, end: int) -> bool:
    """Return whether ``player`` may move from ``start`` to its neighbour ``end`` (rule 8, adjacency apart)."""
    if not boards.players[b, player]["alive"] or boards.owner[b, start] != player:
        return False
    return may_enter(boards.army[b, start], player, boards.owner[b, end], boards.players[b])


@inlined
def take_actions(
    boards: Boards,
    b: int,
    actions: Actions,
    start: Tiles,
    end: Tiles,
    half: Tiles,
    illegal: npt.NDArray[np.bool_],
    castles: bool | None = True,
) -> None:
    """Translate one action index for each player into moves; illegal actions become a pass and are flagged.

    Args:
        boards: The boards.
        b: Which of them.
        actions: (P,) int64, in and out: indices of the action space; illegal ones are replaced by the pass.
        start: (P,) int32, out: tile moved from, -1 for a pass and for a build.
        end: (P,) int32, out: tile moved to, or built on; -1 for a pass.
        half: (P,) int32, out: 1 for a half move.
        illegal: (P,) bool, out.
        castles: None if the rules are not those of the competition, see ``jit``; True if they may be.
    """
    plane = 4 * boards.owner.shape[1]
    for player in range(actions.shape[0]):
        action = actions[player]
        start[player] = -1
        end[player] = -1
        half[player] = 0
        illegal[player] = False
        if action >= 2 * plane:
            if castles is not None:
                if action > 2 * plane:
                    tile = action - 2 * plane - 1
                    illegal[player] = not may_build(boards, b, player, tile)
                    if illegal[player]:
                        actions[player] = 2 * plane
                    else:
                        end[player] = tile
            continue
        split = action >= plane
        if split:
            action -= plane
        tile = action // 4
        # Only owned tiles have their neighbours computed: padding lies outside the extent.
        target = move_target(boards, b, tile, action % 4) if boards.owner[b, tile] == player else -1
        if target >= 0 and can_move(boards, b, player, tile, target):
            start[player] = tile
            end[player] = target
            half[player] = 1 if split else 0
        else:
            illegal[player] = True
            actions[player] = 2 * plane


@subroutine
def select_queued(
    boards: Boards, b: int, moves: Tiles, heads: Tiles, buffered: int, start: Tiles, end: Tiles, half: Tiles
) -> None:
    """Pop each player's first valid move from his queue (rule 7); invalid ones are dropped at no cost.

    Args:
        boards: The boards.
        b: Which of them.
        moves: (M, 5) int32, player, start, end, half, turn: all queues in one, in file order.
        heads: (P,) int32, in and out: the first row that each player has not consumed.
        buffered: Number of rows that have been queued.
        start: (P,) int32, out: tile moved from, -1 without a move.
        end: (P,) int32, out.
        half: (P,) int32, out.
    """
    for player in range(heads.shape[0]):
        start[player] = -1
        row = heads[player]
        while row < buffered:
            move = moves[row]
            row += 1
            if (
                move[0] == player
                and can_move(boards, b, player, move[1], move[2])
                and direction_of(boards, b, move[1], move[2]) >= 0
            ):
                start[player] = move[1]
                end[player] = move[2]
                half[player] = move[3]
                break
        heads[player] = row
