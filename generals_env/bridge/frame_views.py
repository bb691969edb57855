"""Makes the observation and the action mask of a policy from a frame of the line protocol, with numpy alone.

They equal those of the engine for the same board and player: a frame has all that the channels need. No kernel is compiled, so
a program answers its first frame at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.bridge.stdio_protocol import (
    FOG,
    FOG_OBSTACLE,
    SEEN_CASTLE,
    SEEN_GENERAL,
    SEEN_MOUNTAIN,
    Frame,
    Grid,
)

__all__ = ["frame_mask", "frame_observation", "neighbours"]

# As in engine.observations.reference.
ARMY_SCALE, TOTAL_SCALE, TURN_SCALE = np.float32(1000), np.float32(10000), np.float32(1000)
STANDARD, FULL = 9, 21

# As in engine.rules.castle_prices.
BASE_PRICE, SURCHARGE, SURCHARGE_STEP = 35, 14, 2

OWN, OTHER = 1, 2
STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))

OFF_BOARD = -1


def frame_observation(frame: Frame, channels: int = STANDARD) -> npt.NDArray[np.float32]:
    """Return the observation of a frame, (9, H, W) or (21, H, W) float32.

    Args:
        frame: The frame.
        channels: 9 for the layout standard, 21 for full.
    """
    kind, owner = frame.kind, frame.owner
    view = np.zeros((channels, *kind.shape), np.float32)
    fog = (kind == FOG) | (kind == FOG_OBSTACLE)
    mountain = kind == SEEN_MOUNTAIN
    castle, general = kind == SEEN_CASTLE, kind == SEEN_GENERAL
    own, other = owner == OWN, owner == OTHER
    neutral = ~(fog | mountain | own | other)
    army = np.clip(frame.armies.astype(np.float32) / ARMY_SCALE, 0, 1)
    view[0], view[1] = army * own, army * other
    view[2], view[3], view[4] = own, other, neutral
    view[5] = castle | general
    view[6], view[7], view[8] = mountain, ~fog, fog
    if channels == FULL:
        view[9] = army * neutral
        view[10], view[11], view[12] = castle, general & own, general & other
        view[13] = kind == FOG_OBSTACLE
        view[14:] = scoreboard(frame)[:, None, None]
    return view


def scoreboard(frame: Frame) -> npt.NDArray[np.float32]:
    """Return the seven channels of the full layout that are the same on every tile."""
    area, one = np.float32(frame.kind.size), np.float32(1)
    return np.array(
        [
            np.float32(frame.land[0]) / area,
            np.float32(frame.land[1]) / area,
            min(np.float32(frame.army[0]) / TOTAL_SCALE, one),
            min(np.float32(frame.army[1]) / TOTAL_SCALE, one),
            one,  # the other plays as long as there are frames
            np.float32(frame.time % 50) / np.float32(50),
            min(np.float32(frame.time) / TURN_SCALE, one),
        ],
        np.float32,
    )


def neighbours(plane: Grid) -> Grid:
    """Return the values of the tiles up, down, left and right of each tile, (H, W, 4), ``OFF_BOARD`` beyond the edge."""
    height, width = plane.shape
    padded = np.full((height + 2, width + 2), OFF_BOARD, np.int64)
    padded[1:-1, 1:-1] = plane
    return np.stack([padded[1 + down : 1 + down + height, 1 + right : 1 + right + width] for down, right in STEPS], axis=2)


def frame_mask(frame: Frame) -> npt.NDArray[np.int8]:
    """Return the actions that the rules of the competition accept, (9*H*W + 1,) int8."""
    around = neighbours(frame.kind)
    movable = (frame.owner == OWN) & (frame.armies > 1)
    moves = (movable[:, :, None] & (around != OFF_BOARD) & (around != SEEN_MOUNTAIN)).ravel()
    return np.concatenate([moves, moves, [True], may_build(frame).ravel()]).astype(np.int8)


def may_build(frame: Frame) -> npt.NDArray[np.bool_]:
    """Return on which tiles the player may build a castle, (H, W) bool (rules C7 and C8)."""
    own = frame.owner == OWN
    built = (frame.kind == SEEN_CASTLE) | (frame.kind == SEEN_GENERAL)
    allowed: npt.NDArray[np.bool_] = own & ~built & (frame.armies >= BASE_PRICE)
    if allowed.any():
        rows, columns = np.nonzero(own & built)
        tile_rows, tile_columns = np.nonzero(allowed)
        distance = np.abs(tile_rows[:, None] - rows) + np.abs(tile_columns[:, None] - columns)
        price = BASE_PRICE + np.maximum(0, SURCHARGE - SURCHARGE_STEP * distance).sum(axis=1)
        allowed[allowed] = frame.armies[allowed] >= price
    return allowed
