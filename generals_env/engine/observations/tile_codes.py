"""Codes each tile as a player sees it in one byte, and writes into his tensor only tiles whose code or army changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, GENERAL, LOOKOUT, MOUNTAIN, NEUTRAL, OBSERVATORY, OWNER_OBSERVATORY, Boards
from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.observations.dtypes import write_army, write_channels
from generals_env.engine.observations.reference import SCOREBOARD

__all__ = ["BLANK", "team_visibility", "write_tile"]

# Codes of a tile as a player sees it. To the last three, 1 is added for a city, 2 for a general.
BLANK, FOG, FOG_OBSTACLE, SEEN_MOUNTAIN, SEEN_NEUTRAL, SEEN_OWN, SEEN_ENEMY = 0, 1, 2, 3, 4, 7, 10

#: The channel that holds the army at each code, -1 for none.
ARMY_AT = np.array([[-1] * 4 + [neutral] * 3 + [0] * 3 + [1] * 3 for neutral in (-1, 9)], np.int64)

#: What is added to the code of a tile in sight, and the code of a tile in fog, by terrain.
BUILT_AT = np.array([{GENERAL: 2, CITY: 1}.get(kind, 0) for kind in range(8)], np.int64)
FOG_AT = np.array([FOG_OBSTACLE if kind in (CITY, MOUNTAIN, LOOKOUT, OBSERVATORY) else FOG for kind in range(8)], np.int64)


@subroutine
def team_visibility(boards: Boards, b: int, owner_codes: npt.NDArray[np.int64]) -> None:
    """Write the code with which each player sees a tile of each owner; teams do not change.

    Args:
        boards: The boards.
        b: Which of them.
        owner_codes: (P, P + 6) int64, out: a row for each player, a column for each owner code, in ascending order.
    """
    players = owner_codes.shape[0]
    for player in range(players):
        for column in range(owner_codes.shape[1]):
            holder = column + OWNER_OBSERVATORY
            code = SEEN_MOUNTAIN
            if holder == NEUTRAL:
                code = SEEN_NEUTRAL
            elif holder >= 0:
                friend = boards.players[b, holder]["team"] == boards.players[b, player]["team"]
                code = SEEN_OWN if friend else SEEN_ENEMY
            owner_codes[player, column] = code


@inlined
def write_tile(
    boards: Boards,
    b: int,
    tile: int,
    seen: bool,
    owner_codes: npt.NDArray[np.int64],
    tile_codes: npt.NDArray[np.uint8],
    tensor: npt.NDArray[Any],
) -> None:
    """Write one tile to the tensor where it differs from the code stored for it.

    Args:
        boards: The boards.
        b: Which of them.
        tile: The tile.
        seen: Whether the player sees it.
        owner_codes: (P + 6,) int64, the player's row of ``team_visibility``.
        tile_codes: (H*W,) uint8, in and out: codes.
        tensor: (H*W, C), in and out.
    """
    full = tensor.shape[1] > SCOREBOARD
    # Tables instead of branches: a processor cannot predict the kind of a tile.
    kind = np.int64(boards.terrain[b, tile])
    code = owner_codes[boards.owner[b, tile] - OWNER_OBSERVATORY] + BUILT_AT[kind] if seen else FOG_AT[kind]
    if np.int64(tile_codes[tile]) != code:
        tile_codes[tile] = np.uint8(code)
        write_channels(tensor, tile, code)
    plane = ARMY_AT[np.int64(full), code]
    if plane >= 0:
        write_army(tensor, tile, plane, np.int64(boards.army[b, tile]))
