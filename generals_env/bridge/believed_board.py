"""Makes the board that a player believes in from a frame, and the observation that an environment would give."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.bridge.stdio_protocol import CASTLE_TILE, FOGGED_STRUCTURE, GENERAL_TILE, MOUNTAIN_TILE, Frame, Seat
from generals_env.engine.boards import (
    CITY,
    COMPETITION_VERSION,
    GENERAL,
    MOUNTAIN,
    NEUTRAL,
    OWNER_MOUNTAIN,
    PLAIN,
    TOUCH_SHIFT,
    Boards,
    empty_boards,
)
from generals_env.engine.observations.reference import (
    FULL_CHANNELS,
    SCOREBOARD,
    TOTAL_SCALE,
    action_mask,
    observe,
    visible_to,
)
from generals_env.engine.rules.action_space import action_count

__all__ = ["believed_board", "observation_of"]

TOUCH_TURN = 800  # the protocol does not tell it


def believed_board(frame: Frame, seat: Seat) -> Boards:
    """Return one board: what is in sight as it is, plain land in fog, mountains where a mountain or castle is in fog."""
    boards = empty_boards(1, seat.height, seat.width, 2, COMPETITION_VERSION, TOUCH_TURN << TOUCH_SHIFT)
    types, owners = frame.types.ravel(), frame.owners.ravel()
    rock = (types == MOUNTAIN_TILE) | (types == FOGGED_STRUCTURE)
    boards.owner[0] = np.select([rock, owners == 1, owners == 2], [OWNER_MOUNTAIN, seat.player, 1 - seat.player], NEUTRAL)
    boards.army[0] = frame.armies.ravel()
    boards.terrain[0] = np.select([rock, types == CASTLE_TILE, types == GENERAL_TILE], [MOUNTAIN, CITY, GENERAL], PLAIN)
    # Before the end of the game a general belongs to its player.
    for tile in np.flatnonzero(types == GENERAL_TILE):
        holder = int(boards.owner[0, tile])
        if holder >= 0:
            boards.players[0, holder]["general"] = tile
    boards.games[0]["turn"] = boards.games[0]["last_move"] = frame.turn
    return boards


def observation_of(frame: Frame, seat: Seat) -> dict[str, npt.NDArray[np.generic]]:
    """Return the observation of the full layout that an environment of this board would give the player.

    Returns:
        ``"observation"`` (21, H, W) float32, its first nine channels the standard layout, and ``"action_mask"``
        (9*H*W + 1,) int8.
    """
    boards = believed_board(frame, seat)
    tiles = seat.height * seat.width
    visible = np.empty(tiles, np.uint32)
    tensor = np.empty((len(FULL_CHANNELS), tiles), np.float32)
    mask = np.zeros(action_count(COMPETITION_VERSION, tiles), np.int8)
    visible_to(boards, 0, visible)
    observe(boards, 0, seat.player, visible, tensor)
    action_mask(boards, 0, seat.player, mask)
    # The board lacks land in fog; the frame has the totals.
    tensor[SCOREBOARD + 1] = np.float32(frame.land[1]) / np.float32(tiles)
    tensor[SCOREBOARD + 3] = min(np.float32(frame.army[1]) / TOTAL_SCALE, np.float32(1))
    return {"observation": tensor.reshape(-1, seat.height, seat.width), "action_mask": mask}
