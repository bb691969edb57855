"""Weighs every tile as the place of the enemy's general, by the map's rule and by where his land was and was not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import COMPETITION_VERSION, GENERAL, MOUNTAIN
from generals_env.engine.jit import kernel
from generals_env.engine.observations.tile_codes import FOG, SEEN_ENEMY, SEEN_NEUTRAL
from generals_env.engine.planner.plans import ground_of, steps_from
from generals_env.engine.planner.sight import Record, Sight
from generals_env.engine.rules.map_generator import min_distance

__all__ = ["HomeBelief"]

COMPETITION_DISTANCE = 17  # steps between the generals of the competition

#: Log-odds that a tile is the enemy's: constant, a step from his general, the square root of his land; fitted to games of two
#: hunters.
OWNED = (-3.07, -0.33, 0.8)

#: How much a tile in sight for the first time counts that is not the enemy's, and one that is. Neighbouring tiles tell nearly
#: the same, and enemy tiles mostly lie on the way of one attack, however far from home it came.
ABSENT, PRESENT = 0.35, 0.06
FAR = 200  # steps to where no way leads


@kernel
def all_steps(ground: npt.NDArray[np.bool_], width: int, rows: int, columns: int, distance: npt.NDArray[np.int32]) -> None:
    """Write the steps between all pairs of tiles over ``ground`` (T,) bool into ``distance`` (T, T), -1 for no way."""
    distance[:] = -1
    for origin in range(ground.shape[0]):
        if ground[origin]:
            steps_from(ground, origin, width, rows, columns, distance[origin])


class HomeBelief:
    """What a seat believes of where the enemy's general is.

    Attributes:
        weights: (T,) float64, the chance of each tile; their sum is 1.
        possible: (T,) bool, tiles that the rule of the map allows.
    """

    def __init__(self, sight: Sight, record: Record) -> None:
        """Begin with the rule of the map."""
        tiles = len(sight.codes)
        ground = ground_of(sight.codes, record.kind, MOUNTAIN)
        self._distance = np.empty((tiles, tiles), np.int32)
        all_steps(ground, sight.width, sight.rows, sight.columns, self._distance)
        self._distance[self._distance < 0] = FAR
        apart = COMPETITION_DISTANCE
        if sight.version != COMPETITION_VERSION:
            rule: Any = min_distance  # a subroutine, which only kernels call compiled
            apart = rule.py_func(sight.rows, sight.columns, 2)
        self.possible = (self._distance[sight.general] >= apart) & (self._distance[sight.general] < FAR)
        self._scores = np.zeros(tiles)
        self.weights = np.zeros(tiles)

    def see(self, sight: Sight, record: Record) -> None:
        """Take a sight into account; ``record`` does not hold it yet."""
        enemy = sight.codes >= SEEN_ENEMY
        new = np.flatnonzero((record.last < 0) & (enemy | (sight.codes == SEEN_NEUTRAL)))
        if len(new):
            constant, step, land = OWNED
            odds = constant + land * np.sqrt(sight.land[1]) + step * self._distance[:, new]
            surprise = np.logaddexp(0.0, -np.clip(np.where(enemy[new], odds, -odds), -12, 12))
            self._scores -= surprise @ np.where(enemy[new], PRESENT, ABSENT)
        self._weigh(sight, record)

    def _weigh(self, sight: Sight, record: Record) -> None:
        shown = np.flatnonzero(sight.codes == SEEN_ENEMY + 2)
        if len(shown):
            self.weights = np.zeros(len(sight.codes))
            self.weights[shown[0]] = 1.0
            return
        known = np.flatnonzero((record.kind == GENERAL) & (record.holder == 1 - sight.player))
        hidden = sight.codes == FOG
        if len(known) and hidden[known[0]]:
            self.weights = np.zeros(len(sight.codes))
            self.weights[known[0]] = 1.0
            return
        never = hidden & (record.last < 0)
        for possible in (never & self.possible, never, hidden):
            if possible.any():
                scores = np.where(possible, self._scores, -np.inf)
                weights = np.exp(scores - scores.max())
                self.weights = weights / weights.sum()
                return
