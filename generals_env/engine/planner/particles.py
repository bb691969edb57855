"""Keeps guesses of the whole board that agree with what a seat has seen, and plays them along with the game."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import COMPETITION_VERSION, empty_boards, put_boards
from generals_env.engine.observations.tile_codes import FOG, FOG_OBSTACLE
from generals_env.engine.planner.fit import clear_boards, fit_boards, move_generals
from generals_env.engine.planner.home_belief import HomeBelief
from generals_env.engine.planner.sight import Sight, empty_record, remember
from generals_env.engine.planner.tracking import TrackedBoards

if TYPE_CHECKING:
    from generals_env.engine.planner.playouts import Lines

__all__ = ["Particles"]

CITY_SHARE = 0.026  # of the tiles, see ``GameConfig.city_share``


class Particles:
    """Guesses of the board for one seat of a game.

    Attributes:
        boards: N boards that agree with all that the seat has seen.
        record: What it has seen.
        home: What it believes of where the enemy's general is.
        cities: Cities of the enemy, -1 if not known.
        theirs: What the fast policy of the enemy's seat remembers in each guess.
        tracked: The boards that the game can be if the enemy plays the fast policy; while there are any, they are the guesses.
    """

    def __init__(self, count: int, sight: Sight, seed: int, lines: Lines) -> None:
        """Begin with what the seat sees first."""
        self.boards = empty_boards(count, sight.height, sight.width, 2, sight.version, sight.modifiers)
        self.boards.games["rows"], self.boards.games["columns"] = sight.rows, sight.columns
        self.record = empty_record(len(sight.codes))
        self.player = sight.player
        self.rng = np.random.SeedSequence(seed).generate_state(count, np.uint64)
        self.draws = np.random.default_rng(seed)
        self.home = HomeBelief(sight, self.record)
        self.belief = np.zeros(len(sight.codes))
        self.moved = np.ones(count, np.bool_)
        self.totals: list[tuple[int, int]] = []
        self.cities = -1
        self.theirs = lines.fresh_memory(count)
        obstacles = int((sight.codes == FOG_OBSTACLE).sum())
        cities = 0.0 if sight.version == COMPETITION_VERSION else CITY_SHARE * sight.rows * sight.columns
        clear_boards(self.boards, sight.codes, min(cities / max(obstacles, 1), 1.0), self.rng)
        places = np.flatnonzero(self.home.possible & (sight.codes == FOG)) if sight.turn == 0 else np.zeros(0, np.int64)
        self.tracked = TrackedBoards(sight, places, lines)

    @property
    def distinct(self) -> npt.NDArray[np.int64]:
        """Numbers of guesses that differ from each other."""
        count = len(self.rng)
        left = min(len(self.tracked), count) or count
        return np.arange(left) * count // left

    @property
    def known_home(self) -> int:
        """Tile of the enemy's general if only one is left, as long as the enemy plays the fast policy; else -1."""
        homes = self.boards.players["general"][:, 1 - self.player]
        return int(homes[0]) if len(self.tracked) and (homes == homes[0]).all() else -1

    def fit(self, lines: Lines, sight: Sight) -> None:
        """Make the guesses agree with a new sight; those that cannot are replaced."""
        self.home.see(sight, self.record)
        remember(sight.codes, sight.owner, sight.army, sight.player, sight.turn, self.record)
        self._count_cities(sight)
        if len(self.tracked):
            self.boards, self.theirs = self.tracked.spread(len(self.rng))
            self.tracked.see(sight)
            if len(self.tracked):
                self.boards, self.theirs = self.tracked.spread(len(self.rng))
                return
        self._move_homes(lines, sight)
        fit_boards(
            self.boards,
            self.moved,
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

    def _move_homes(self, lines: Lines, sight: Sight) -> None:
        """Keep the generals of the guesses distributed by the belief: move those whose tile lost weight."""
        count = len(self.rng)
        weights = self.home.weights
        homes = self.boards.players["general"][:, 1 - sight.player]
        # The best coupling of two distributions: a guess goes only where its tile lost weight, to where tiles gained some.
        before = np.where(homes >= 0, self.belief[homes], 1.0)
        keeps = np.where(homes >= 0, weights[homes], 0.0) > self.draws.random(count) * before
        kept = np.flatnonzero(keeps)
        for b in np.flatnonzero(~keeps):
            if len(kept):
                source = int(self.draws.choice(kept))
                put_boards(self.boards, int(b), self.boards, source)
                for field in self.theirs:
                    field[b] = field[source]
        self.moved = ~keeps
        gains = np.maximum(weights - self.belief, 0)
        move_generals(self.boards, self.moved, sight.player, gains if gains.any() else weights, self.rng)
        self.belief = weights
        lines.forget(self.theirs, self.moved)  # plans made for another place

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
        if len(self.tracked):
            self.tracked.advance(lines, player, action)
        else:
            self.boards, self.theirs = lines.one_turn(self.boards, player, action, self.rng, self.theirs)
