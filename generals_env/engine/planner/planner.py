"""Chooses actions by search: guesses of the board, plans, playouts with common random numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from generals_env.engine.planner.candidates import list_plans
from generals_env.engine.planner.halving import best_of
from generals_env.engine.planner.particles import Particles
from generals_env.engine.planner.playouts import Lines, Rows, copy_rows
from generals_env.engine.planner.sight import Sight
from generals_env.engine.policies.hunter.memory import ENEMY_HOME

__all__ = ["Planner", "Settings"]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Size of the search.

    Attributes:
        playouts: Lines that a move may play.
        turns: Turns of a line.
        particles: Guesses that are kept.
        opening: Turns without search while the enemy is not in sight.
        margin: Standard errors by which a plan must be better than the fast policy's move.
    """

    playouts: int = 100
    turns: int = 90
    particles: int = 32
    opening: int = 40
    margin: float = 1.0


class Planner:
    """Plays one seat of one game.

    Attributes:
        settings: Size of the search.
        played: Lines played so far.
        searches: Moves that were searched.
        changed: Moves that were not the fast policy's.
        chosen: How often each kind of plan was chosen.
        known_home: See ``Particles.known_home``.
    """

    def __init__(self, settings: Settings, seed: int) -> None:
        """Begin a game with the first call of ``choose``."""
        self.settings = settings
        self.seed = seed
        self.played = 0
        self.searches = 0
        self.changed = 0
        self.chosen: dict[str, int] = {}
        self.known_home = -1
        self._particles: Particles | None = None
        self._action = -1
        self._turn = -2
        self._plan: npt.NDArray[np.int64] | None = None

    def choose(self, lines: Lines, sight: Sight, base: int, own: Rows = ()) -> int:
        """Return the action for what the seat sees.

        Args:
            lines: Playouts on boards of this shape and of these rules.
            sight: What the seat sees.
            base: Action of the fast policy.
            own: One row, what the fast policy remembered before it chose ``base``.
        """
        if self._particles is None:
            self._particles = Particles(self.settings.particles, sight, self.seed, lines)
        elif sight.turn == self._turn + 1:
            self._particles.advance(lines, sight.player, self._action)
        self._turn = sight.turn
        self._particles.fit(lines, sight)
        self.known_home = self._particles.known_home
        if own and self.known_home >= 0:
            own = copy_rows(own, slice(None))
            own[0][:, ENEMY_HOME] = self.known_home
        self._action = self._search(lines, self._particles, sight, base, own) if self._wants_search(sight) else base
        return self._action

    def _wants_search(self, sight: Sight) -> bool:
        return sight.turn >= self.settings.opening or bool((sight.codes >= 10).any())

    def _search(self, lines: Lines, particles: Particles, sight: Sight, base: int, own: Rows) -> int:
        plans, names = list_plans(sight, particles.record, particles.boards, base, self._plan)
        settings = self.settings
        lived = plans.copy()
        if own:
            lived[0] = -1  # the policy itself makes its move: it remembers that it goes on with its own plan
        states = particles.rng ^ np.uint64((sight.turn * 0x9E3779B97F4A7C15) & (2**64 - 1))

        def evaluate(which: npt.NDArray[np.int64], guesses: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
            self.played += len(which)
            return lines.values(
                particles.boards, lived[which], guesses, sight.player, settings.turns, states, own, particles.theirs
            )

        self.searches += 1
        order = particles.draws.permutation(particles.distinct)
        best_plan = best_of(len(plans), order, settings.playouts, settings.margin, evaluate)
        name = names[best_plan]
        self.chosen[name] = self.chosen.get(name, 0) + 1
        plan = plans[best_plan]
        self._plan = np.append(plan[1:], -1) if best_plan != 0 and plan[1] >= 0 else None
        self.changed += int(plan[0]) != base
        return int(plan[0])
