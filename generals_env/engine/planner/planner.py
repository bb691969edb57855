"""Chooses actions by search: guesses of the board, plans, playouts with common random numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from generals_env.engine.planner.candidates import list_plans
from generals_env.engine.planner.particles import Particles
from generals_env.engine.planner.playouts import Lines, Rows
from generals_env.engine.planner.sight import Sight

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

    playouts: int = 200
    turns: int = 50
    particles: int = 32
    opening: int = 50
    margin: float = 1.0


class Planner:
    """Plays one seat of one game.

    Attributes:
        settings: Size of the search.
        played: Lines played so far.
        searches: Moves that were searched.
        changed: Moves that were not the fast policy's.
        chosen: How often each kind of plan was chosen.
    """

    def __init__(self, settings: Settings, seed: int) -> None:
        """Begin a game with the first call of ``choose``."""
        self.settings = settings
        self.seed = seed
        self.played = 0
        self.searches = 0
        self.changed = 0
        self.chosen: dict[str, int] = {}
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
        self._action = self._search(lines, sight, base, own) if self._wants_search(sight) else base
        return self._action

    def _wants_search(self, sight: Sight) -> bool:
        return sight.turn >= self.settings.opening or bool((sight.codes >= 10).any())

    def _search(self, lines: Lines, sight: Sight, base: int, own: Rows) -> int:
        particles = self._particles
        assert particles is not None
        plans, names = list_plans(sight, particles.record, particles.boards, base, self._plan)
        settings = self.settings
        count = len(particles.rng)
        order = particles.draws.permutation(count)
        states = particles.rng ^ np.uint64((sight.turn * 0x9E3779B97F4A7C15) & (2**64 - 1))
        self.searches += 1
        left = settings.playouts
        alive = np.arange(len(plans))
        values = np.full((len(plans), count), np.nan)
        done = 0
        while True:
            rounds = max(int(np.ceil(np.log2(max(len(alive), 2)))), 1)
            samples = min(max(left // (rounds * len(alive)), 1), count - done)
            if samples * len(alive) > left or samples < 1:
                break
            chosen = order[done : done + samples]
            done += samples
            pick = np.repeat(alive, samples)
            which = np.tile(chosen, len(alive))
            result = lines.values(
                particles.boards, plans[pick], which, sight.player, settings.turns, states, own, particles.theirs
            )
            self.played += len(pick)
            left -= len(pick)
            values[pick, which] = result
            means = np.nanmean(values[alive][:, order[:done]], axis=1)
            if len(alive) <= 2:
                break
            keep = max((len(alive) + 1) // 2, 2)
            best = alive[np.argsort(-means, kind="stable")[:keep]]
            if 0 not in best:
                best = np.append(best[:-1], 0)
            alive = np.sort(best)
        seen = order[:done]
        means = values[alive][:, seen].mean(axis=1)
        best_plan = int(alive[np.argmax(means)])
        difference = values[best_plan, seen] - values[0, seen]
        error = difference.std() / np.sqrt(max(len(seen) - 1, 1))
        if best_plan != 0 and difference.mean() <= settings.margin * error + 0.002:
            best_plan = 0
        name = names[best_plan]
        self.chosen[name] = self.chosen.get(name, 0) + 1
        plan = plans[best_plan]
        self._plan = np.append(plan[1:], -1) if best_plan != 0 and plan[1] >= 0 else None
        self.changed += int(plan[0]) != base
        return int(plan[0])
