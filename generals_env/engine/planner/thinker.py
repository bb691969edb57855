"""Lets the planner play seats of a batch."""

from __future__ import annotations

import copy
import dataclasses
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.planner.planner import Planner, Settings
from generals_env.engine.planner.playouts import FAST, Lines, Rows
from generals_env.engine.planner.sight import sight_of
from generals_env.engine.policies.codes import EXPANDER, GIVEN, PLANNER, budget_of, policy_of
from generals_env.engine.policies.hunter.memory import ENEMY_HOME
from generals_env.engine.simulation.thinker import PlayedBatch

__all__ = ["LINES", "PLAYOUTS_PER_MS", "PlannerThinker", "settings_of"]

#: Boards of the playouts that are played at once.
LINES = 64

#: Playouts in a millisecond; an idle core played 2.5 from turn 60 on, on 20x20. A budget of time is a number of playouts,
#: so that a busy machine does not change how the planner plays.
PLAYOUTS_PER_MS = 1.0

DEFAULT_MS = 100


def settings_of(code: int) -> Settings:
    """Return the size of the search for a code of the planner, see ``policies.codes``."""
    amount, milliseconds = budget_of(code) or (DEFAULT_MS, True)
    return dataclasses.replace(Settings(), playouts=max(int(amount * PLAYOUTS_PER_MS), 1) if milliseconds else amount)


class PlannerThinker:
    """A planner for each seat of a batch; see ``simulation.thinkers.Thinker``.

    Attributes:
        cost: See there.
    """

    cost = 20000

    def __init__(self, batch: PlayedBatch) -> None:
        """Begin without games."""
        from generals_env.engine.simulation.thinkers import MAKERS

        games, players = batch.outcome.actions.shape
        self._planners: dict[tuple[int, int], Planner] = {}
        self._begun = np.full((games, players), -1, np.int64)
        self._base: Any = MAKERS[FAST](batch) if FAST > EXPANDER else None
        self._lines = threading.local()

    def choose(self, batch: PlayedBatch, policies: npt.NDArray[np.int64], low: int, high: int) -> None:
        """Write the actions of the planner's seats; see ``simulation.thinkers.Thinker.choose``."""
        seats = [player for player, code in enumerate(policies.tolist()) if policy_of(code) == PLANNER]
        players = len(policies)
        rows: Rows = ()
        if self._base is not None:
            self._tell_homes(low, high, seats)
            rows = tuple(array[low * players : high * players].copy() for array in self._base.memory)
            codes = np.where([player in seats for player in range(players)], FAST, GIVEN)
            self._base.choose(batch, codes.astype(np.int64), low, high)
        if players != 2 or batch.boards.players["team"][0, 0] == batch.boards.players["team"][0, 1]:
            return  # the search is for two players; with more of them the fast policy plays
        for b in range(low, high):
            for player in seats:
                if batch.outcome.active[b, player]:
                    row = (b - low) * players + player
                    own = tuple(array[row : row + 1] for array in rows)
                    batch.outcome.actions[b, player] = self._choose(batch, int(policies[player]), b, player, own)

    def _tell_homes(self, low: int, high: int, seats: list[int]) -> None:
        """Let the fast policy of a seat know where the enemy's general is, if the planner knows it."""
        players = self._begun.shape[1]
        for b in range(low, high):
            for player in seats:
                planner = self._planners.get((b, player))
                if planner is not None and planner.known_home >= 0:
                    self._base.memory[0][b * players + player, ENEMY_HOME] = planner.known_home

    def continue_games(self, other: Any, index: npt.NDArray[np.int64]) -> None:
        """Take the memories of other games; see ``simulation.thinker.Thinker.continue_games``."""
        self._begun[:] = other._begun[index]
        self._planners = {
            (b, player): copy.deepcopy(other._planners[game, player])
            for b, game in enumerate(index.tolist())
            for player in range(self._begun.shape[1])
            if (game, player) in other._planners
        }
        if self._base is not None:
            self._base.continue_games(other._base, index)

    def _choose(self, batch: PlayedBatch, code: int, b: int, player: int, own: Rows) -> int:
        planner = self._planners.get((b, player))
        begun = int(batch.outcome.begun[b])
        settings = settings_of(code)
        if planner is None or self._begun[b, player] != begun or planner.settings != settings:
            planner = Planner(settings, int(batch.policy_rng[b, player]))
            self._planners[b, player] = planner
            self._begun[b, player] = begun
        sight = sight_of(batch.boards, batch.views.tile_codes[b, player], b, player)
        return planner.choose(self._lines_for(batch), sight, int(batch.outcome.actions[b, player]), own)

    def _lines_for(self, batch: PlayedBatch) -> Lines:
        lines: Lines | None = getattr(self._lines, "lines", None)
        if lines is None:
            lines = self._lines.lines = Lines(batch.boards, LINES)
        return lines

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the boards of playouts, for copy and pickle."""
        return {name: value for name, value in self.__dict__.items() if name != "_lines"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a copy."""
        self.__dict__.update(state)
        self._lines = threading.local()
