"""Makes the built-in policies with a memory for one seat of one game."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from generals_env.engine.policies.codes import EXPANDER, HUNTER, level_of, policy_of
from generals_env.engine.policies.seat_view import SeatView
from generals_env.opponents import policy_code

__all__ = ["SeatPlayer", "make_seat_player", "remembers"]


class SeatPlayer(Protocol):
    """A policy with the memory of one game."""

    def begin(self) -> None:
        """Forget the last game."""

    def choose(self, view: SeatView) -> int:
        """Return the action index for what the seat sees; a call for each turn."""


def remembers(name: str) -> bool:
    """Return whether a built-in policy has a memory of its game."""
    return policy_code(name) > EXPANDER


def make_seat_player(name: str, rng: npt.NDArray[np.uint64]) -> SeatPlayer:
    """Return a policy with a memory.

    Args:
        name: A name for which ``remembers`` is True.
        rng: (1,) uint64, its generator, which it uses in place.
    """
    code = policy_code(name)
    if policy_of(code) == HUNTER:
        from generals_env.engine.simulation.hunter_seat import HunterSeat

        return HunterSeat(level_of(code), rng)
    from generals_env.engine.planner.seat import PlannerSeat

    return PlannerSeat(code, rng)
