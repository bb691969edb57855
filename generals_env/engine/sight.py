"""What a player sees: fog, the nine channels, the action mask. This is the full rewrite, the oracle of faster paths."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, GENERAL, NEUTRAL, TORUS, Boards
from generals_env.engine.jit import kernel
from generals_env.engine.moves import may_enter, neighbour

__all__ = ["ARMY_SCALE", "CHANNELS", "action_mask", "masks_of", "observe", "views_of", "visible_to"]

#: Names of the channels, in order (the wire format's layout).
CHANNELS = (
    "own_army",
    "enemy_army",
    "own_tile",
    "enemy_tile",
    "neutral_tile",
    "city_or_general",
    "mountain",
    "visible",
    "fog",
)

#: Armies are divided by this and capped at 1.
ARMY_SCALE = np.float32(1000)


@kernel
def visible_to(boards: Boards, b: int, out: npt.NDArray[np.uint32]) -> None:
    """Write who sees each tile: bit p is set if player p does (rule 29).

    A tile is seen from its 3x3 neighbourhood by its owner and all of his team, dead or alive; with the Torus modifier
    neighbourhoods wrap. Without fog everybody sees everything.

    Args:
        boards: The boards.
        b: Which of them.
        out: (H*W,) uint32.
    """
    game = boards.games[b]
    height, width = game["height"], game["width"]
    rows, columns = game["rows"], game["columns"]
    wraps = game["modifiers"] & TORUS != 0
    owner = boards.owner[b]
    players = boards.players[b]
    friends = np.empty(players.shape[0], np.uint32)
    for player in range(players.shape[0]):
        friends[player] = 0
        for other in range(players.shape[0]):
            if players[other]["team"] == players[player]["team"]:
                friends[player] |= np.uint32(1) << np.uint32(other)
    out[:] = np.uint32(0) if game["fog"] else np.uint32(0xFFFFFFFF)
    if not game["fog"]:
        return
    for row in range(rows):
        for column in range(columns):
            holder = owner[row * width + column]
            if holder < 0:
                continue
            bits = friends[holder]
            for down in range(-1, 2):
                near_row = (row + down + rows) % rows if wraps else row + down
                if near_row < 0 or near_row >= height:
                    continue
                for right in range(-1, 2):
                    near_column = (column + right + columns) % columns if wraps else column + right
                    if 0 <= near_column < width:
                        out[near_row * width + near_column] |= bits


@kernel
def observe(boards: Boards, b: int, player: int, visible: npt.NDArray[np.uint32], out: npt.NDArray[np.float32]) -> None:
    """Write the nine channels that ``player`` observes.

    A tile out of sight is zero but in the fog channel; a visible mountain (lookouts and observatories count as such)
    sets only the mountain and visible channels. Team-mates' tiles count as own. Armies are ``min(army / 1000, 1)``.

    Args:
        boards: The boards.
        b: Which of them.
        player: Whose view.
        visible: (H*W,) uint32 from ``visible_to``.
        out: (9, H*W) float32.
    """
    owner = boards.owner[b]
    army = boards.army[b]
    terrain = boards.terrain[b]
    players = boards.players[b]
    team = players[player]["team"]
    bit = np.uint32(1) << np.uint32(player)
    one = np.float32(1)
    out[:] = np.float32(0)
    for tile in range(owner.shape[0]):
        if not visible[tile] & bit:
            out[8, tile] = one
            continue
        out[7, tile] = one
        holder = owner[tile]
        if holder < NEUTRAL:
            out[6, tile] = one
            continue
        if terrain[tile] == CITY or terrain[tile] == GENERAL:
            out[5, tile] = one
        if holder == NEUTRAL:
            out[4, tile] = one
            continue
        scaled = min(np.float32(army[tile]) / ARMY_SCALE, one)
        if players[holder]["team"] == team:
            out[0, tile] = scaled
            out[2, tile] = one
        else:
            out[1, tile] = scaled
            out[3, tile] = one


@kernel
def action_mask(boards: Boards, b: int, player: int, out: npt.NDArray[np.int8]) -> None:
    """Write which actions of ``player`` the engine accepts.

    Args:
        boards: The boards.
        b: Which of them.
        player: Whose actions.
        out: (8*H*W + 1,) int8: all-but-one moves, half moves, pass (always legal).
    """
    tiles = boards.owner.shape[1]
    plane = 4 * tiles
    out[:] = np.int8(0)
    out[2 * plane] = np.int8(1)
    if not boards.players[b, player]["alive"]:
        return
    owner = boards.owner[b]
    army = boards.army[b]
    players = boards.players[b]
    game = boards.games[b]
    width, rows, columns = game["width"], game["rows"], game["columns"]
    wraps = game["modifiers"] & TORUS != 0
    for row in range(rows):
        for column in range(columns):
            tile = row * width + column
            if owner[tile] != player or army[tile] < 1:
                continue
            for direction in range(4):
                target = neighbour(row, column, direction, width, rows, columns, wraps)
                if target >= 0 and may_enter(army[tile], player, owner[target], players):
                    out[4 * tile + direction] = np.int8(1)
                    out[plane + 4 * tile + direction] = np.int8(1)


@kernel
def views_of(boards: Boards, index: npt.NDArray[np.int32], player: npt.NDArray[np.int8], out: npt.NDArray[np.float32]) -> None:
    """Write what ``player[i]`` observes of board ``index[i]``, for every i.

    Args:
        boards: The boards.
        index: (n,) int32.
        player: (n,) int8.
        out: (n, 9, H*W) float32.
    """
    visible = np.empty(boards.owner.shape[1], np.uint32)
    for i in range(index.shape[0]):
        if i == 0 or index[i] != index[i - 1]:
            visible_to(boards, index[i], visible)
        observe(boards, index[i], player[i], visible, out[i])


@kernel
def masks_of(boards: Boards, index: npt.NDArray[np.int32], player: npt.NDArray[np.int8], out: npt.NDArray[np.int8]) -> None:
    """Write which actions of ``player[i]`` the engine accepts on board ``index[i]``, for every i.

    Args:
        boards: The boards.
        index: (n,) int32.
        player: (n,) int8.
        out: (n, 8*H*W + 1) int8.
    """
    for i in range(index.shape[0]):
        action_mask(boards, index[i], player[i], out[i])
