"""Follows the turns of an SB3 environment, as it plays them, into the buffer of boards."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.packed.recording import ALL_PLAYERS
from generals_env.engine.simulation.batch_kernel import Outcome
from generals_env.errors import ConfigError, StateError
from generals_env.recorders.buffers.sb3_store import TurnBuffer
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.recording.turn_batcher import TurnBatcher
from generals_env.single import GeneralsSingleVector

__all__ = ["Turns"]

Array = npt.NDArray[Any]


class Turns:
    """Hears of the turns of an environment, and lets those into a buffer that were added to it.

    Attributes:
        checked: Whether observations were compared with what boards tell.
        finalizer: Calls ``detach`` when nobody has the buffer any more.
    """

    finalizer: Any

    def __init__(self, boards: TurnBuffer, games: GeneralsSingleVector, recipe: Recipe, metadata: Mapping[str, Any]) -> None:
        """Listen to ``games`` and write into ``boards``."""
        self.boards = boards
        self.games = games
        self.checked = False
        # To play a game again takes everybody's actions.
        seat = ALL_PLAYERS if boards.plays_again else games.player
        self.journal = TurnBatcher(self, games.num_envs, None, seat, recipe, metadata)
        self.journal.owner = None  # all is in memory: a forked child goes on with its copies of buffer and games
        self._ended: npt.NDArray[np.bool_] | None = None  # by the turn that was played and not added yet
        # Of each turn in the journal its rewards (B,) and, if they are to be kept, the actions asked for (B,); None for a turn
        # that was not added.
        self._told: deque[tuple[Array, Array | None] | None] = deque()
        games.listeners.append(self)
        if games.started:
            self.journal.begin(games.batch.boards, games.going)

    # What the environment calls.

    def begin(self, boards: Boards, which: npt.NDArray[np.bool_]) -> None:
        """Take note of games that have begun."""
        self.journal.begin(boards, which)

    def turn(self, boards: Boards, outcome: Outcome, active: npt.NDArray[np.bool_]) -> None:
        """Take one turn of all games."""
        self._leave_out()
        self.journal.write()
        columns = (outcome.illegal, outcome.rewards, outcome.terminated, outcome.truncated)
        self.journal.turn(boards, 0, outcome.actions, active, *columns)
        self._ended = (outcome.terminated | outcome.truncated)[:, self.games.player]

    def stepped(self) -> None:
        """Do nothing: whether the turn is added is not known yet."""

    # What the buffer calls.

    def take(self, rewards: npt.NDArray[np.float32], done: Array, asked: Array | None) -> None:
        """Let the turn that was played last into the buffer; all arguments (B,)."""
        if self._ended is None:
            raise StateError("add: expected a turn of env before, got none: set_env(env) takes the environment that is stepped")
        if not np.array_equal(self._ended, done):
            ended = self._ended.tolist()
            raise ConfigError(f"done: expected {ended!r:.200}, as env says, got {np.asarray(done).tolist()!r:.200}")
        self._ended = None
        self._told.append((rewards.copy(), None if asked is None else asked.astype(np.int32)))

    def settle(self) -> None:
        """Bring all turns that were added into the buffer; one that was not is left out."""
        self._leave_out()
        if self._told:
            self.journal.flush()

    def _leave_out(self) -> None:
        if self._ended is not None:
            self._ended = None
            self._told.append(None)

    def detach(self) -> None:
        """Listen no more."""
        if self in self.games.listeners:
            self.games.listeners.remove(self)

    # What the journal calls.

    def write(self, batch: ExperienceBatch) -> None:
        """Take whole turns of all games: of each, as many experiences of the learning player as there are games."""
        rows = batch.rows
        kept = np.zeros(len(rows), np.bool_)
        for turn in np.flatnonzero(batch.player_id == self.games.player).reshape(-1, self.games.num_envs):
            told = self._told.popleft()
            if told is not None:
                kept[turn] = True
                rows["reward"][turn], asked = told
                if asked is not None:
                    rows["action"][turn] = asked
        self.boards.write_kept(batch, kept)

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
