"""Lets the hunter play one seat from what it sees: for observations, frames and games that are no batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.policies.hunter import facts
from generals_env.engine.policies.hunter.kernels import choose_one
from generals_env.engine.policies.hunter.memory import Memory, new_memory
from generals_env.engine.policies.seat_view import SeatView

__all__ = ["HunterSeat"]


class HunterSeat:
    """The hunter with the memory of one game."""

    def __init__(self, level: int, rng: npt.NDArray[np.uint64]) -> None:
        """Begin without a memory.

        Args:
            level: See ``codes.level_of``.
            rng: (1,) uint64, the generator of its noise; it is used in place.
        """
        self._level = level
        self._rng = rng
        self._memory: Memory | None = None

    def begin(self) -> None:
        """Forget the last game."""
        self._memory = None

    def choose(self, view: SeatView) -> int:
        """Return the action index for what the seat sees."""
        if self._memory is None:
            self._memory = new_memory(1, len(view.codes))
        given = np.full(facts.FACTS, -1, np.int64)
        for entry, value in (
            (facts.TURN, view.turn),
            (facts.WIDTH, view.width),
            (facts.PLAYER_NUMBER, view.player),
            (facts.GENERAL_TILE, view.general),
            (facts.VERSION, view.version),
            (facts.TOUCH_TURN_FACT, view.touch_turn),
            (facts.OWN_LAND, view.land[0]),
            (facts.OWN_ARMY, view.armies[0]),
            (facts.ENEMY_LAND, view.land[1]),
            (facts.ENEMY_ARMY, view.armies[1]),
            (facts.RIVALS, view.rivals),
        ):
            given[entry] = value
        memory = [field[0] for field in self._memory]
        return int(choose_one(view.codes, view.owner, view.army, given, *memory, self._level, self._rng))
