"""Measures games while they are played: land, first contact, strength, cities, and why a game was lost.

Figures of a game have one value for each seat. Names and meaning:

- ``land_25``, ``land_50``, ``land_100``: tiles owned after so many turns; None if the game had ended.
- ``strength_100``, ``strength_200``: tiles owned plus army, likewise.
- ``contact``: turn after which the player first saw a tile of the enemy; None if never.
- ``cities``: maximum of the cities or castles held, looked at every 5 turns.
- ``faults``: for a program, replies that were late or no action, and lines without a question.
- ``loss``: for the player who lost, the index in ``LOSSES`` of the first class that fits; None for others.

Classes of losses, by the board at the last look before the end (looks are 5 turns apart):

- ``forfeit``: the program ended, hung, or made too many faults.
- ``rushed``: lost before turn 100.
- ``outgrown``: less than two thirds of the enemy's land.
- ``undefended``: less than a quarter of the own army stood within three steps of the own general.
- ``overpowered``: less than two thirds of the enemy's army.
- ``outplayed``: none of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY

if TYPE_CHECKING:
    from generals_env.engine.simulation.batch import Batch

__all__ = ["LAND_TURNS", "LOSSES", "STRENGTH_TURNS", "Figures"]

LAND_TURNS = (25, 50, 100)
STRENGTH_TURNS = (100, 200)

#: Classes of losses; ``loss`` of a figure is an index.
LOSSES = ("forfeit", "rushed", "outgrown", "undefended", "overpowered", "outplayed")

#: Turns between looks at armies and cities.
LOOK = 5

#: Turn before which a loss is a rush.
RUSH = 100

#: Lowest code of an enemy's tile in sight, see ``engine.observations.tile_codes``.
SEEN_ENEMY = 10

#: Steps around the general within which an army defends it.
GUARD = 3

FEW = 2 / 3  # of the enemy's land or army
AWAY = 1 / 4  # of the own army


class Figures:
    """Diagnostics of the games of a ``Batch`` of two players that all began together."""

    def __init__(self, batch: Batch) -> None:
        """Take the first look, before the first turn."""
        count = len(batch.boards.owner)
        self._batch = batch
        self._ever: npt.NDArray[np.bool_] = np.zeros((count, 2), np.bool_)
        self._values = {name: np.full((count, 2), np.nan) for name in names()}
        self._values["cities"][:] = 0
        self._land = np.zeros((count, 2), np.int64)
        self._army = np.zeros((count, 2), np.int64)
        self._guard = np.zeros((count, 2), np.int64)
        self._near = around_generals(batch)
        everything = np.ones(count, np.bool_)
        self.observe(0, everything, everything)

    def observe(self, turn: int, before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> None:
        """Look at the games after a turn.

        Args:
            turn: Turns played.
            before: (n,) bool, games that had not ended before the turn.
            after: (n,) bool, games that have not ended after it.
        """
        codes = self._batch.views.tile_codes
        for seat in range(2):
            unmet = np.flatnonzero(before & ~self._ever[:, seat])
            if len(unmet):
                met = unmet[(codes[unmet, seat] >= SEEN_ENEMY).any(axis=1)]
                self._values["contact"][met, seat] = turn
                self._ever[met, seat] = True
        if turn % LOOK == 0 and after.any():
            self._look(np.flatnonzero(after), turn)

    def _look(self, games: npt.NDArray[np.intp], turn: int) -> None:
        boards = self._batch.boards
        owner, army, cities = boards.owner[games], boards.army[games], boards.terrain[games] == CITY
        for seat in range(2):
            own = owner == seat
            self._land[games, seat] = own.sum(axis=1)
            armies = np.where(own, army, 0)
            self._army[games, seat] = armies.sum(axis=1)
            self._guard[games, seat] = (armies * self._near[games, seat]).sum(axis=1)
            held = self._values["cities"]
            held[games, seat] = np.maximum(held[games, seat], (own & cities).sum(axis=1))
        if turn in LAND_TURNS:
            self._values[f"land_{turn}"][games] = self._land[games]
        if turn in STRENGTH_TURNS:
            self._values[f"strength_{turn}"][games] = self._land[games] + self._army[games]

    def of(self, game: int, winner: int, turns: int) -> dict[str, tuple[float | None, ...]]:
        """Return the figures of a game that has ended."""
        figures: dict[str, tuple[float | None, ...]] = {
            name: tuple(None if np.isnan(value) else float(value) for value in values[game])
            for name, values in self._values.items()
        }
        losses: list[float | None] = [None, None]
        if winner >= 0:
            losses[1 - winner] = float(LOSSES.index(self._loss(game, 1 - winner, turns)))
        return {**figures, "loss": tuple(losses)}

    def _loss(self, game: int, seat: int, turns: int) -> str:
        land, army, guard = self._land[game], self._army[game], self._guard[game]
        if turns < RUSH:
            return "rushed"
        if land[seat] < FEW * land[1 - seat]:
            return "outgrown"
        if guard[seat] < AWAY * army[seat]:
            return "undefended"
        return "overpowered" if army[seat] < FEW * army[1 - seat] else "outplayed"


def names() -> list[str]:
    """Return the names of figures that are measured turn by turn."""
    return [
        *(f"land_{turn}" for turn in LAND_TURNS),
        *(f"strength_{turn}" for turn in STRENGTH_TURNS),
        "contact",
        "cities",
    ]


def around_generals(batch: Batch) -> npt.NDArray[np.bool_]:
    """Return the tiles within ``GUARD`` steps of each general, (n, 2, H*W) bool."""
    tiles = np.arange(batch.boards.owner.shape[1])
    width = batch.boards.games["width"][:, None, None]
    homes = batch.boards.players["general"][:, :, None]
    rows = np.abs(tiles // width - homes // width)
    columns = np.abs(tiles % width - homes % width)
    near: npt.NDArray[np.bool_] = rows + columns <= GUARD
    return near
