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
from generals_env.engine.boards import COMPETITION_VERSION, NEUTRAL, OWNER_MOUNTAIN
from generals_env.engine.observations import tile_codes
from generals_env.engine.policies.seat_view import SeatView
from generals_env.seeding import seed_state
from generals_env.wrappers.seat_players import make_seat_player

__all__ = ["frame_player", "view_of_frame"]

#: Code of a tile of each kind in a frame, without its owner.
CODE_OF = {FOG: tile_codes.FOG, FOG_OBSTACLE: tile_codes.FOG_OBSTACLE, SEEN_MOUNTAIN: tile_codes.SEEN_MOUNTAIN}

#: What is added to the code of a tile in sight.
BUILT_OF = {SEEN_PLAIN: 0, SEEN_CASTLE: 1, SEEN_GENERAL: 2}


def frame_player(name: str, seed: int) -> Callable[[Frame], int]:
    """Return a policy with a memory for the frames of one game; its kernels are compiled or loaded before it returns.

    Args:
        name: A built-in name for which ``seat_players.remembers`` is True.
        seed: Seed of its generator.
    """
    player = make_seat_player(name, seed_state(seed))
    player.choose(view_of_frame(first_frame()))
    player.begin()
    return lambda frame: player.choose(view_of_frame(frame))


def first_frame() -> Frame:
    """Return a frame of a board with nothing but a general."""
    kind, owner, armies = (np.zeros((4, 4), np.int64) for _ in range(3))
    kind[:2, :2] = SEEN_PLAIN
    kind[0, 0], owner[0, 0], armies[0, 0] = SEEN_GENERAL, OWN, 1
    return Frame(0, (1, 1), (1, 1), kind, owner, armies)


def view_of_frame(frame: Frame) -> SeatView:
    """Return what a frame shows, for the seat 0 against the seat 1."""
    kind, holder = frame.kind.ravel(), frame.owner.ravel()
    codes = np.zeros(len(kind), np.uint8)
    for which, code in CODE_OF.items():
        codes[kind == which] = code
    for which, built in BUILT_OF.items():
        for owner, code in ((0, tile_codes.SEEN_NEUTRAL), (OWN, tile_codes.SEEN_OWN), (OTHER, tile_codes.SEEN_ENEMY)):
            codes[(kind == which) & (holder == owner)] = code + built
    homes = np.flatnonzero((kind == SEEN_GENERAL) & (holder == OWN))
    return SeatView(
        codes=codes,
        owner=np.select([holder == OWN, holder == OTHER, kind == SEEN_MOUNTAIN], [0, 1, OWNER_MOUNTAIN], NEUTRAL).astype(
            np.int8
        ),
        army=frame.armies.ravel().astype(np.int32),
        player=0,
        general=int(homes[0]) if len(homes) else -1,
        turn=frame.time,
        width=frame.kind.shape[1],
        version=COMPETITION_VERSION,
        touch_turn=TOUCH_TURN,
        land=frame.land,
        armies=frame.army,
        rivals=1,
    )
