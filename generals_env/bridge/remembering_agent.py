"""Plays the built-in policies with a memory from frames. They need numba and the rest of the package."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from generals_env.bridge.frame_views import OTHER, OWN
from generals_env.bridge.stdio_protocol import (
    FOG,
    FOG_OBSTACLE,
    SEEN_CASTLE,
    SEEN_GENERAL,
    SEEN_MOUNTAIN,
    SEEN_PLAIN,
    Frame,
)
from generals_env.config import TOUCH_TURN
from generals_env.engine.observations import tile_codes
from generals_env.engine.simulation.seat_player import SeatPlayer
from generals_env.engine.simulation.seen_board import SeenBoard, board_of_codes
from generals_env.opponents import policy_code
from generals_env.seeding import seed_state

__all__ = ["frame_player", "seen_in_frame"]

#: Code of a tile of each kind in a frame, without its owner.
CODE_OF = {FOG: tile_codes.FOG, FOG_OBSTACLE: tile_codes.FOG_OBSTACLE, SEEN_MOUNTAIN: tile_codes.SEEN_MOUNTAIN}

#: What is added to the code of a tile in sight.
BUILT_OF = {SEEN_PLAIN: 0, SEEN_CASTLE: 1, SEEN_GENERAL: 2}


def frame_player(name: str, seed: int) -> Callable[[Frame], int]:
    """Return a policy with a memory for the frames of one game; its kernels are compiled or loaded before it returns.

    Args:
        name: A built-in name for which ``opponents.remembers`` is True.
        seed: Seed of its generator.
    """
    code, state = policy_code(name), int(seed_state(seed)[0])
    player = SeatPlayer(code, state)
    for frame in first_frames():  # a search begins with the second one
        player.choose(seen_in_frame(frame))
    player = SeatPlayer(code, state)
    return lambda frame: player.choose(seen_in_frame(frame))


def first_frames() -> list[Frame]:
    """Return the first two frames of a small game: a general alone, then an enemy beside it."""
    kind, owner, armies = (np.zeros((4, 4), np.int64) for _ in range(3))
    kind[:2, :2] = SEEN_PLAIN
    kind[0, 0], owner[0, 0], armies[0, 0] = SEEN_GENERAL, OWN, 1
    met = owner.copy(), armies.copy()
    met[0][1, 1], met[1][1, 1], met[1][0, 0] = OTHER, 1, 2
    return [Frame(0, (1, 1), (1, 1), kind, owner, armies), Frame(1, (1, 2), (2, 3), kind, *met)]


def seen_in_frame(frame: Frame) -> SeenBoard:
    """Return a board that agrees with a frame; the player of the frame has the seat 0."""
    kind, holder, army = frame.kind.ravel(), frame.owner.ravel(), frame.armies.ravel().astype(np.int32)
    codes = np.zeros(len(kind), np.uint8)
    for which, code in CODE_OF.items():
        codes[kind == which] = code
    for which, built in BUILT_OF.items():
        for owner, code in ((0, tile_codes.SEEN_NEUTRAL), (OWN, tile_codes.SEEN_OWN), (OTHER, tile_codes.SEEN_ENEMY)):
            codes[(kind == which) & (holder == owner)] = code + built
    homes = np.flatnonzero((kind == SEEN_GENERAL) & (holder == OWN))
    enemy = holder == OTHER
    return board_of_codes(
        codes,
        army,
        (frame.kind.shape[0], frame.kind.shape[1]),
        frame.time,
        int(homes[0]) if len(homes) else -1,
        TOUCH_TURN,
        frame.land[1] - int(enemy.sum()),
        frame.army[1] - int(army[enemy].sum()),
    )
