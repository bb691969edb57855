"""Checks the legality of single actions on packed boards, without writing action masks.

Equal to ``engine.observations.reference.action_mask`` at the index of the action.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import COMPETITION_VERSION, TORUS
from generals_env.engine.jit import kernel
from generals_env.engine.packed.build_masks import may_build_packed
from generals_env.engine.packed.packing import OWNER_OFFSET, PackedBoards, code_bits
from generals_env.engine.rules.valid_moves import may_enter, neighbour

__all__ = ["legal_actions"]


@kernel
def legal_actions(
    packed: PackedBoards,
    index: npt.NDArray[np.int32],
    player: npt.NDArray[np.int8],
    action: npt.NDArray[np.int32],
    height: int,
    out: npt.NDArray[np.bool_],
) -> None:
    """Write whether ``action[i]`` of ``player[i]`` is legal on board ``index[i]``.

    Args:
        packed: The boards.
        index: (n,) int32, in range.
        player: (n,) int8, in range.
        action: (n,) int32; a number outside the action space is not legal.
        height: H.
        out: (n,) bool.
    """
    tiles = packed.tiles.shape[1]
    width = tiles // height
    plane = 4 * tiles
    players = packed.players.shape[1]
    shift = code_bits(players)
    low = (1 << shift) - 1
    for i in range(index.shape[0]):
        move = np.int64(action[i])
        out[i] = move == 2 * plane
        if move < 0:
            continue
        if move > 2 * plane and move <= 2 * plane + tiles:
            board = np.int64(index[i])
            game = packed.games[np.int64(packed.entries[board]["ground"])]
            out[i] = game["version"] == COMPETITION_VERSION and may_build_packed(
                packed, board, np.int64(player[i]), move - 2 * plane - 1, height
            )
        if move >= 2 * plane:
            continue
        if move >= plane:
            move -= plane
        board = np.int64(index[i])
        who = np.int64(player[i])
        tile = move // 4
        value = np.int64(packed.tiles[board, tile])
        if (value & low) - OWNER_OFFSET != who:
            continue
        ground = np.int64(packed.entries[board]["ground"])
        if not packed.players[ground, who]["alive"]:
            continue
        game = packed.games[ground]
        rows, columns = game["rows"], game["columns"]
        row = tile // width
        column = tile - row * width
        if row >= rows or column >= columns:  # padding has no neighbours
            continue
        target = neighbour(row, column, move % 4, width, rows, columns, game["modifiers"] & TORUS != 0)
        if target < 0:
            continue
        holder = (np.int64(packed.tiles[board, target]) & low) - OWNER_OFFSET
        wide = np.int64(packed.entries[board]["wide"])
        army = np.int64(packed.armies[wide, tile]) if wide >= 0 else value >> shift
        out[i] = holder < players and may_enter(army, who, holder, packed.players[ground])
