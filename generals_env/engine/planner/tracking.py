"""Plays the game along once for each place of the enemy's general, as if the enemy were the fast policy.

The public totals and all that comes into sight tell, turn by turn, which of these boards the game can be. Against the fast
policy one of them is the game; against another player all of them soon differ from it, and the planner falls back on guesses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, GENERAL, MOUNTAIN, NEUTRAL, OWNER_MOUNTAIN, Boards, copy_boards, empty_boards
from generals_env.engine.observations.tile_codes import SEEN_ENEMY, SEEN_MOUNTAIN, SEEN_NEUTRAL, SEEN_OWN
from generals_env.engine.planner.fit import clear_boards
from generals_env.engine.planner.sight import Sight

if TYPE_CHECKING:
    from generals_env.engine.planner.playouts import Lines, Rows

__all__ = ["TrackedBoards"]

NEUTRAL_CITY = SEEN_NEUTRAL + 1


class TrackedBoards:
    """The boards that the game can still be, if the enemy plays the fast policy.

    Attributes:
        boards: N boards that agree with everything seen so far, after ``see``.
        theirs: N rows, what the enemy's fast policy remembers in each of them.
    """

    def __init__(self, sight: Sight, places: npt.NDArray[np.integer], lines: Lines) -> None:
        """Begin with the first sight of a game.

        Args:
            sight: What the seat sees in turn 0.
            places: (N,) tiles where the enemy's general may be.
            lines: Playouts.
        """
        count, enemy = len(places), 1 - sight.player
        self.boards = empty_boards(count, sight.height, sight.width, 2, sight.version, sight.modifiers)
        self.theirs: Rows = lines.fresh_memory(count)
        self._rng = np.zeros(count, np.uint64)
        boards, rows = self.boards, np.arange(count)
        boards.games["rows"], boards.games["columns"] = sight.rows, sight.columns
        clear_boards(boards, sight.codes, 0.0, self._rng)
        shown = sight.codes >= SEEN_NEUTRAL
        boards.owner[:, shown], boards.army[:, shown] = sight.owner[shown], sight.army[shown]
        boards.terrain[:, sight.general] = GENERAL
        boards.players["general"][:, sight.player] = sight.general
        boards.players["general"][:, enemy] = places
        boards.owner[rows, places], boards.terrain[rows, places] = enemy, GENERAL
        boards.army[rows, places] = sight.armies[1]

    def __len__(self) -> int:
        """Return the number of boards left."""
        return len(self._rng)

    def advance(self, lines: Lines, player: int, action: int) -> None:
        """Play a turn of every board: the seat's own action, and the enemy's by the fast policy."""
        if len(self):
            self.boards, self.theirs = lines.one_turn(self.boards, player, action, self._rng, self.theirs)

    def see(self, sight: Sight) -> None:
        """Drop the boards that do not agree with a sight."""
        if not len(self):
            return
        boards, codes, enemy = self.boards, sight.codes, 1 - sight.player
        for code, owner, terrain in ((SEEN_MOUNTAIN, OWNER_MOUNTAIN, MOUNTAIN), (NEUTRAL_CITY, NEUTRAL, CITY)):
            tiles = np.flatnonzero(codes == code)  # they stay what they are, and no board knows them before
            boards.owner[:, tiles] = owner
            boards.army[:, tiles] = sight.army[tiles]
            boards.terrain[:, tiles] = terrain
        tiles = np.flatnonzero((codes == SEEN_NEUTRAL) | (codes >= SEEN_OWN))
        fits = (boards.owner[:, tiles] == sight.owner[tiles]).all(axis=1)
        fits &= (boards.army[:, tiles] == sight.army[tiles]).all(axis=1)
        shown = codes[boards.players["general"][:, enemy]]
        fits &= (shown < SEEN_MOUNTAIN) | (shown == SEEN_ENEMY + 2)
        theirs = boards.owner == enemy
        fits &= (theirs.sum(axis=1) == sight.land[1]) & (np.where(theirs, boards.army, 0).sum(axis=1) == sight.armies[1])
        fits &= boards.players["alive"].all(axis=1) & (boards.games["turn"] == sight.turn)
        if fits.all():
            return
        left = np.flatnonzero(fits)
        self.boards = copy_boards(boards, left)
        self.theirs = tuple(rows[left] for rows in self.theirs)
        self._rng = self._rng[left]

    def spread(self, count: int) -> tuple[Boards, Rows]:
        """Return ``count`` boards and rows, each of those that are left as often as the others."""
        which = np.arange(count) * len(self) // count
        return copy_boards(self.boards, which), tuple(rows[which] for rows in self.theirs)
