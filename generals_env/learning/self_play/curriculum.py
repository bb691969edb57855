"""Leads a learner through stages of rising difficulty, by the share of games that it wins: ``Curriculum``."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.errors import StateError
from generals_env.learning.self_play.curriculum_stages import Stage
from generals_env.learning.self_play.rolling_results import RollingResults

__all__ = ["Curriculum", "StageChange"]

logger = logging.getLogger(__name__)

#: The window holds at least this many games for each one that is played at once, see ``Curriculum``.
WAVES = 2


@dataclass(frozen=True)
class StageChange:
    """A change of the stage.

    Attributes:
        before: Name of the stage that ended.
        after: Name of the one that begins.
        number: Its number, from 0 on.
        reason: ``"won"``, ``"lost"`` or ``"time"``.
        rate: Share of the games won in the window.
        games: Games in the window.
        turns: Turns that the stage lasted.
    """

    before: str
    after: str
    number: int
    reason: str
    rate: float
    games: int
    turns: int

    def line(self) -> str:
        """Return the change in words."""
        return (
            f"stage {self.number}, {self.after!r}, follows {self.before!r} after {self.turns:,} turns ({self.reason}): "
            f"{self.rate:.1%} of the last {self.games:,} games won"
        )


class Curriculum:
    """Stages, of which one is played at a time.

    The next stage begins when the share of the last games that were won reaches the stage's rate. The first games of a stage to
    end are the shortest ones, often quick victories, so their share is no measure: a stage lasts at least as many turns as its
    longest game, and the window holds two games at least for each one that is played at once.

    Attributes:
        stages: The stages.
        number: Number of the current one, from 0 on.
        changes: All changes, the first one first.
    """

    def __init__(self, stages: Sequence[Stage], opponents: Mapping[str, float], max_turns: int) -> None:
        """Begin with the first stage.

        Args:
            stages: The stages.
            opponents: Opponents of the training, for stages that name none.
            max_turns: Turn limit of the training, for stages that set none.

        Raises:
            ConfigError: If no opponent of a stage counts.
        """
        self.stages = tuple(stages)
        self._counted = [stage.counted_of(opponents) for stage in self.stages]
        self._opponents, self._max_turns = dict(opponents), max_turns
        self.number = self._turns = 0
        self.changes: list[StageChange] = []
        self._window = RollingResults(self.stage.games)

    @property
    def stage(self) -> Stage:
        """The current stage."""
        return self.stages[self.number]

    @property
    def opponents(self) -> dict[str, float]:
        """Opponents of the current stage with weights."""
        return self._opponents if self.stage.opponents is None else self.stage.opponents

    def observe(
        self, results: Mapping[str, npt.ArrayLike], at_once: Mapping[str, int], turns: int, progress: float = 0.0
    ) -> StageChange | None:
        """Count the games of a rollout; change the stage if it is time, and return the change.

        Args:
            results: Games won, lost, and drawn or cut off, (3,), by the name of the opponent.
            at_once: Games played at once by the name of the opponent.
            turns: Turns of the rollout.
            progress: Share of the training that has passed.
        """
        stage, counted = self.stage, self._counted[self.number]
        self._turns += turns
        self._window.window = max(stage.games, WAVES * sum(at_once.get(name, 0) for name in counted))
        found = [np.asarray(results[name], np.int64) for name in counted if name in results]
        self._window.add(sum(found, np.zeros(3, np.int64)))
        reason, step = "", 1
        settled = self._window.full and self._turns >= stage.game.get("max_turns", self._max_turns)
        if settled and self._window.win_rate >= stage.rate:
            reason = "won"
        elif stage.until is not None and progress >= stage.until:
            reason = "time"
        elif settled and stage.back is not None and self._window.win_rate < stage.back:
            reason, step = "lost", -1
        number = self.number + step
        if not reason or not 0 <= number < len(self.stages):
            return None
        change = StageChange(
            stage.name, self.stages[number].name, number, reason, self._window.win_rate, self._window.games, self._turns
        )
        self.number, self._turns = number, 0
        self._window = RollingResults(self.stage.games)
        self.changes.append(change)
        logger.info("%s", change.line())
        return change

    def figures(self) -> dict[str, float]:
        """Return the number of the stage, and the share of games won in its window, for the log."""
        return {"stage": self.number, "stage_wins": self._window.win_rate, "stage_games": self._window.games}

    def state(self) -> dict[str, Any]:
        """Return numbers and texts for a checkpoint."""
        changes = [dataclasses.asdict(change) for change in self.changes]
        names = [stage.name for stage in self.stages]
        return {"names": names, "number": self.number, "turns": self._turns, "window": self._window.state(), "changes": changes}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state`` of another curriculum of the same stages.

        Raises:
            StateError: If its stages have other names.
        """
        names = [stage.name for stage in self.stages]
        if state["names"] != names:
            raise StateError(
                f"curriculum: expected the stages of the checkpoint, {', '.join(state['names'])}, got {', '.join(names)}: "
                "continue with the same curriculum, or begin anew"
            )
        self.number, self._turns = state["number"], state["turns"]
        self._window = RollingResults(self.stage.games)
        self._window.restore(state["window"])
        self.changes = [StageChange(**change) for change in state["changes"]]
