"""Asks for the memory that the next turn of a board will write."""

from __future__ import annotations

from typing import Any

from generals_env.engine.bitboards import has_bit
from generals_env.engine.boards import Boards
from generals_env.engine.jit import inlined
from generals_env.engine.observations.incremental import Observations
from generals_env.engine.observations.tile_sets import TileSets
from generals_env.engine.prefetch import fetch

__all__ = ["prefetch_turn"]


@inlined
def prefetch_turn(boards: Boards, b: int, sets: TileSets, views: Observations, actions: Any, castles: bool | None) -> None:
    """Prefetch the memory that the next turn of board ``b`` will write.

    Args:
        boards: The boards.
        b: Which of them.
        sets: TileSets of the boards.
        views: Observations of the boards.
        actions: (B, P) int64, the actions of the turn.
        castles: None without the rules of the competition, True with them.
    """
    tiles = boards.owner.shape[1]
    width = boards.games[b]["width"]
    for player in range(boards.players.shape[1]):
        action = actions[b, player]
        if action >= 8 * tiles:
            continue
        start = action // 4 % tiles
        direction = action % 4
        end = start + (width if direction == 1 else -width)
        if direction >= 2:
            end = start + (1 if direction == 3 else -1)
        end = min(max(end, 0), tiles - 1)  # an illegal action may lead anywhere
        for tile in (start, end):
            fetch(boards.owner, (b, tile))
            fetch(boards.army, (b, tile))
            fetch(views.tile_codes, (b, player, tile))
            fetch(views.observations, (b, player, tile, 0))
            for half in range(2):
                fetch(views.masks, (b, player, 4 * (half * tiles + tile)))
            if castles is not None:
                fetch(views.masks, (b, player, 8 * tiles + 1 + tile))
        row = end // width
        if not has_bit(sets.land[b, player, row], end - row * width):  # a capture, if anything
            for near in (max(end - width, 0), end, min(end + width, tiles - 1)):
                fetch(boards.terrain, (b, near))
                fetch(views.observations, (b, player, max(near - 1, 0), 0))
                fetch(views.observations, (b, player, near, 0))
                fetch(views.observations, (b, player, min(near + 1, tiles - 1), 0))
