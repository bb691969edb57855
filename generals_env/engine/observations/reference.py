"""Computes fog, observation channels and the action mask from a board.

It writes all tiles anew. Tests compare the faster ``observations.incremental`` with it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, COMPETITION_VERSION, GENERAL, NEUTRAL, TORUS, Boards
from generals_env.engine.jit import kernel, subroutine
from generals_env.engine.rules.castle_prices import may_build
from generals_env.engine.rules.valid_moves import may_enter, neighbour

__all__ = [
    "ARMY_SCALE",
    "CHANNELS",
    "FULL_CHANNELS",
    "LAYOUTS",
    "SCOREBOARD",
    "action_mask",
    "count_scores",
    "observe",
    "scoreboard",
    "visible_to",
]

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

#: Names of the channels of the ``"full"`` layout: the nine, and others that the live game shows a player.
#:
#: - neutral_army: of visible neutral tiles (cities), scaled as the others.
#: - city, own_general, enemy_general: the kinds that channel 5 combines; "own" includes team-mates.
#: - obstacle_in_fog: mountains, cities, lookouts and observatories out of sight, as the site draws them.
#: - own_land, enemy_land: share of the board's tiles; own_total, enemy_total: armies over ``TOTAL_SCALE``, capped at 1. All
#:   of the team's, and all enemies' together.
#: - enemies_alive: share of the enemies; round: turns into the 50 turns between two growths of land, over 50;
#:   turn: over ``TURN_SCALE``, capped at 1.
#:
#: The last seven are the same on every tile.
FULL_CHANNELS = (
    *CHANNELS,
    "neutral_army",
    "city",
    "own_general",
    "enemy_general",
    "obstacle_in_fog",
    "own_land",
    "enemy_land",
    "own_total",
    "enemy_total",
    "enemies_alive",
    "round",
    "turn",
)

#: The layouts of an observation, by name.
LAYOUTS = {"standard": CHANNELS, "full": FULL_CHANNELS}

#: The first channel that is the same on every tile.
SCOREBOARD = 14

#: Armies are divided by this and capped at 1.
ARMY_SCALE = np.float32(1000)
TOTAL_SCALE = np.float32(10000)
TURN_SCALE = np.float32(1000)


@kernel
def visible_to(boards: Boards, b: int, out: npt.NDArray[np.uint32]) -> None:
    """Write which players see each tile: bit p is set if player p does (rule 29).

    A tile is seen from its 3x3 neighbourhood by its owner and all of his team, dead or alive; with the Torus modifier
    neighbourhoods wrap. Without fog all players see all tiles.

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


@subroutine
def count_scores(boards: Boards, b: int, scores: npt.NDArray[np.int64]) -> None:
    """Count every player's tiles and armies.

    Args:
        boards: The boards.
        b: Which of them.
        scores: (P, 2) int64, out: land, army.
    """
    for player in range(scores.shape[0]):
        scores[player, 0] = 0
        scores[player, 1] = 0
    for tile in range(boards.owner.shape[1]):
        holder = boards.owner[b, tile]
        if holder >= 0:
            scores[holder, 0] += 1
            scores[holder, 1] += boards.army[b, tile]


@subroutine
def scoreboard(
    boards: Boards, b: int, player: int, scores: npt.NDArray[np.int64]
) -> tuple[np.float32, np.float32, np.float32, np.float32, np.float32, np.float32, np.float32]:
    """Return the channels of the full layout that are the same on every tile, from ``SCOREBOARD`` on.

    Args:
        boards: The boards.
        b: Which of them.
        player: The player who observes.
        scores: (P, 2) int64 from ``count_scores``.
    """
    game = boards.games[b]
    players = boards.players[b]
    team = players[player]["team"]
    own_land = np.int64(0)
    own_army = np.int64(0)
    land = np.int64(0)
    army = np.int64(0)
    enemies = 0
    living = 0
    for other in range(players.shape[0]):
        if players[other]["team"] == team:
            own_land += scores[other, 0]
            own_army += scores[other, 1]
        else:
            land += scores[other, 0]
            army += scores[other, 1]
            enemies += 1
            living += 1 if players[other]["alive"] else 0
    one = np.float32(1)
    area = np.float32(game["rows"] * game["columns"])
    return (
        np.float32(own_land) / area,
        np.float32(land) / area,
        min(np.float32(own_army) / TOTAL_SCALE, one),
        min(np.float32(army) / TOTAL_SCALE, one),
        np.float32(living) / np.float32(enemies),
        np.float32(game["turn"] % 50) / np.float32(50),
        min(np.float32(game["turn"]) / TURN_SCALE, one),
    )


@kernel
def observe(boards: Boards, b: int, player: int, visible: npt.NDArray[np.uint32], out: npt.NDArray[np.float32]) -> None:
    """Write the channels that ``player`` observes.

    A tile out of sight is zero but in the fog channel (and, in the full layout, that of obstacles); a visible mountain
    (lookouts and observatories count as such) sets only the mountain and visible channels. Team-mates' tiles count as own.
    Armies are ``min(army / 1000, 1)``.

    Args:
        boards: The boards.
        b: Which of them.
        player: The player who observes.
        visible: (H*W,) uint32 from ``visible_to``.
        out: (9, H*W) or (21, H*W) float32, the standard or the full layout.
    """
    owner = boards.owner[b]
    army = boards.army[b]
    terrain = boards.terrain[b]
    players = boards.players[b]
    full = out.shape[0] > SCOREBOARD
    team = players[player]["team"]
    bit = np.uint32(1) << np.uint32(player)
    one = np.float32(1)
    out[:] = np.float32(0)
    for tile in range(owner.shape[0]):
        holder = owner[tile]
        city = terrain[tile] == CITY
        if not visible[tile] & bit:
            out[8, tile] = one
            if full and (holder < NEUTRAL or city):
                out[13, tile] = one
            continue
        out[7, tile] = one
        if holder < NEUTRAL:
            out[6, tile] = one
            continue
        general = terrain[tile] == GENERAL
        if city or general:
            out[5, tile] = one
            if full and city:
                out[10, tile] = one
        scaled = max(min(np.float32(army[tile]) / ARMY_SCALE, one), np.float32(0))
        if holder == NEUTRAL:
            out[4, tile] = one
            if full:
                out[9, tile] = scaled
            continue
        friend = players[holder]["team"] == team
        if friend:
            out[0, tile] = scaled
            out[2, tile] = one
        else:
            out[1, tile] = scaled
            out[3, tile] = one
        if full and general:
            out[11 if friend else 12, tile] = one
    if full:
        scores = np.empty((players.shape[0], 2), np.int64)
        count_scores(boards, b, scores)
        shares = scoreboard(boards, b, player, scores)
        for k in range(len(shares)):
            out[SCOREBOARD + k] = shares[k]


@kernel
def action_mask(boards: Boards, b: int, player: int, out: npt.NDArray[np.int8]) -> None:
    """Write which actions of ``player`` the engine accepts.

    Args:
        boards: The boards.
        b: Which of them.
        player: The player who acts.
        out: (A,) int8, see ``action_space.action_count``: all-but-one moves, half moves, pass (always legal), builds.
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
    if game["version"] == COMPETITION_VERSION:
        for tile in range(tiles):
            if may_build(boards, b, player, tile):
                out[2 * plane + 1 + tile] = np.int8(1)
