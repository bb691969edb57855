"""Keeps guesses of the whole board that agree with what a seat has seen, and plays them along with the game."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import COMPETITION_VERSION, MOUNTAIN, Boards, copy_boards, empty_boards
from generals_env.engine.observations.tile_codes import FOG, FOG_OBSTACLE, SEEN_ENEMY, SEEN_MOUNTAIN
from generals_env.engine.planner.fit import clear_boards, fit_boards
from generals_env.engine.planner.plans import ground_of, steps_from
from generals_env.engine.planner.sight import UNKNOWN, Record, Sight, empty_record, remember
from generals_env.engine.rules.map_generator import min_distance

if TYPE_CHECKING:
    from generals_env.engine.planner.playouts import Lines

__all__ = ["Particles", "home_weights"]

COMPETITION_DISTANCE = 17  # steps between the generals of the competition
NEW_SHARE = 0.3  # of the guesses that failed, begun anew; the others follow one that has not failed
CITY_CHANCE = 0.08  # of an obstacle that was never in sight


def home_weights(sight: Sight, record: Record) -> npt.NDArray[np.float64]:
    """Return (T,) float64, the weight of each tile as the place of the enemy's general: not seen, far from the own general,
    and not far from known land of the enemy."""
    ground = ground_of(sight.codes, record.kind, MOUNTAIN)
    distance = np.empty(len(ground), np.int32)
    steps_from(ground, sight.general, sight.width, sight.rows, sight.columns, distance)
    apart = COMPETITION_DISTANCE
    if sight.version != COMPETITION_VERSION:
        apart = min_distance.py_func(sight.rows, sight.columns, 2)
    hidden = sight.codes == FOG
    never = hidden & (record.kind == UNKNOWN)
    weights = (never & ((distance < 0) | (distance >= apart))).astype(np.float64)
    if not weights.any():
        weights = never.astype(np.float64)
    if not weights.any():
        weights = hidden.astype(np.float64)
    known = np.flatnonzero(record.holder == 1 - sight.player)
    if len(known):
        tiles = np.arange(len(ground))
        rows, columns = tiles // sight.width, tiles % sight.width
        steps = np.abs(rows[:, None] - rows[known]) + np.abs(columns[:, None] - columns[known])
        weights *= np.exp(-np.maximum(steps.min(axis=1) - np.sqrt(max(sight.land[1], 1)), 0) / 3.0)
    return weights


class Particles:
    """Guesses of the board for one seat of a game.

    Attributes:
        boards: N boards that agree with all that the seat has seen.
        record: What it has seen.
        weights: (N,) float64, how well each guess foresaw what came into sight.
    """

    def __init__(self, count: int, sight: Sight, seed: int) -> None:
        """Begin with what the seat sees first."""
        self.boards = empty_boards(count, sight.height, sight.width, 2, sight.version, sight.modifiers)
        self.boards.games["rows"], self.boards.games["columns"] = sight.rows, sight.columns
        self.record = empty_record(len(sight.codes))
        self.rng = np.random.SeedSequence(seed).generate_state(count, np.uint64)
        self.draws = np.random.default_rng(seed)
        self.trust = np.zeros(count)
        self.totals: list[tuple[int, int]] = []
        self.began = False
        self.cities = -1
        self.copied = np.arange(count)

    def fit(self, sight: Sight) -> None:
        """Make the guesses agree with a new sight; those that cannot are replaced."""
        old_codes = np.where(self.boards.owner == 1 - sight.player, 1, 0)
        fresh_sight = (sight.codes >= SEEN_MOUNTAIN) & (self.record.last < sight.turn - 1)
        remember(sight.codes, sight.owner, sight.army, sight.player, sight.turn, self.record)
        self._count_cities(sight)
        count = len(self.trust)
        self.copied = np.arange(count)
        weights = home_weights(sight, self.record)
        homes = self.boards.players["general"][:, 1 - sight.player]
        if (sight.codes == SEEN_ENEMY + 2).any() and self.began:
            failed = np.zeros(count, np.bool_)
        elif self.began:
            failed = (homes < 0) | (weights[homes] <= 0)
        else:
            failed = np.ones(count, np.bool_)
        if self.began and fresh_sight.any():
            truth = sight.owner == 1 - sight.player
            truth &= sight.codes >= SEEN_ENEMY
            self.trust -= 0.3 * (old_codes[:, fresh_sight] != truth[fresh_sight]).sum(axis=1)
            self.trust -= self.trust.max()
            failed |= self.trust < np.log(self.draws.random(count) * 0.02)
        self.trust *= 0.98
        fresh = failed.copy()
        kept = np.flatnonzero(~failed)
        if len(kept):
            chances = np.exp(self.trust[kept] - self.trust[kept].max())
            for b in np.flatnonzero(failed):
                if self.draws.random() >= NEW_SHARE:
                    source = int(self.draws.choice(kept, p=chances / chances.sum()))
                    self._copy(source, int(b))
                    fresh[b] = False
        self.trust[fresh] = 0.0 if not len(kept) else float(np.median(self.trust[kept]))
        if fresh.any():
            unknown = (sight.codes == FOG_OBSTACLE) & (self.record.kind == UNKNOWN)
            chance = 0.0 if sight.version == COMPETITION_VERSION or not unknown.any() else CITY_CHANCE
            clear_boards(self.boards, fresh, sight.player, sight.codes, weights, chance, self.rng)
        fit_boards(
            self.boards,
            fresh,
            sight.player,
            sight.codes,
            sight.owner,
            sight.army,
            self.record,
            int(sight.land[1]),
            int(sight.armies[1]),
            self.cities,
            sight.general,
            sight.turn,
            self.rng,
        )
        self.fresh = fresh
        self.began = True

    def _copy(self, source: int, target: int) -> None:
        for field in self.boards:
            field[target] = field[source]
        self.trust[target] = self.trust[source]
        self.copied[target] = source

    def _count_cities(self, sight: Sight) -> None:
        """Estimate the enemy's cities from the growth of his army at even turns."""
        self.totals.append((sight.turn, int(sight.armies[1])))
        self.totals = self.totals[-24:]
        grown = [
            after - before
            for (turn, before), (later, after) in zip(self.totals, self.totals[1:], strict=False)
            if later == turn + 1 and later % 2 == 0 and later % 50
        ]
        self.cities = -1
        if sight.version != COMPETITION_VERSION and len(grown) >= 6:
            self.cities = max(int(np.median(grown)) - 1, 0)

    def advance(self, lines: Lines, player: int, action: int) -> None:
        """Play a turn of every guess: the seat's own action, and the enemy's by the fast policy."""
        self.boards = lines.one_turn(self.boards, player, action, self.rng)

    def boards_of(self, which: npt.NDArray[np.integer]) -> Boards:
        """Return copies of some guesses."""
        return copy_boards(self.boards, which)
