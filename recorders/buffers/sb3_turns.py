"""Records the turns of an SB3 environment, and writes those that were added to the buffer of boards."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.packed.recording import ALL_PLAYERS
from generals_env.engine.simulation.turn_outcome import Outcome
from generals_env.errors import ConfigError, StateError
from generals_env.recorders.buffers.sb3_store import TurnBuffer
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.recording.turn_batcher import TurnBatcher
from generals_env.single import GeneralsSingleVector

__all__ = ["Turns"]

Array = npt.NDArray[Any]


class Turns:
    """Listens to the turns of an environment, and writes those to a buffer for which ``take`` was called.

    Attributes:
        checked: Whether observations were compared with those made of the boards.
        finalizer: Calls ``detach`` when the buffer is garbage-collected.
    """

    finalizer: Any

    def __init__(self, boards: TurnBuffer, games: GeneralsSingleVector, recipe: Recipe, metadata: Mapping[str, Any]) -> None:
        """Listen to ``games`` and write to ``boards``."""
        self.boards = boards
        self.games = games
        self.checked = False
        # To resimulate a game takes the actions of all players.
        seat = ALL_PLAYERS if boards.plays_again else games.player
        self.batcher = TurnBatcher(self, games.num_envs, None, seat, recipe, metadata)
        self.batcher.owner = None  # a forked child may continue: buffer and games are copies in its own memory
        self._ended: npt.NDArray[np.bool_] | None = None  # by the last turn, if it was not added yet
        # For each turn in the batcher its rewards (B,) and, if they are to be stored, the requested actions (B,); None for a
        # turn that was not added.
        self._added: deque[tuple[Array, Array | None] | None] = deque()
        games.listeners.append(self)
        if games.started:
            self.batcher.begin(games.batch.boards, games.going)

    # --- Called by the environment --------------------------------------------------------------------------------

    def begin(self, boards: Boards, which: npt.NDArray[np.bool_]) -> None:
        """Record the boards of games that have begun."""
        self.batcher.begin(boards, which)

    def turn(self, boards: Boards, outcome: Outcome, active: npt.NDArray[np.bool_]) -> None:
        """Record one turn of all games."""
        self._discard_last()
        self.batcher.write()
        columns = (outcome.illegal, outcome.rewards, outcome.terminated, outcome.truncated)
        self.batcher.turn(boards, 0, outcome.actions, active, *columns)
        self._ended = (outcome.terminated | outcome.truncated)[:, self.games.player]

    def stepped(self) -> None:
        """Do nothing: the buffer has not been called yet."""

    # --- Called by the buffer -------------------------------------------------------------------------------------

    def take(self, rewards: npt.NDArray[np.float32], done: Array, requested: Array | None) -> None:
        """Add the last turn to the buffer; all arguments (B,)."""
        if self._ended is None:
            raise StateError("add: expected a turn of env before, got none: set_env(env) takes the environment that is stepped")
        if not np.array_equal(self._ended, done):
            ended = self._ended.tolist()
            raise ConfigError(f"done: expected {ended!r:.200}, as env says, got {np.asarray(done).tolist()!r:.200}")
        self._ended = None
        self._added.append((rewards.copy(), None if requested is None else requested.astype(np.int32)))

    def settle(self) -> None:
        """Write all turns that were added to the buffer, and discard a last one that was not."""
        self._discard_last()
        if self._added:
            self.batcher.flush()

    def _discard_last(self) -> None:
        if self._ended is not None:
            self._ended = None
            self._added.append(None)

    def detach(self) -> None:
        """Stop listening to the environment."""
        if self in self.games.listeners:
            self.games.listeners.remove(self)

    # --- Called by the batcher ------------------------------------------------------------------------------------

    def write(self, batch: ExperienceBatch) -> None:
        """Write whole turns of all games, each with one experience of the learning player for every game."""
        rows = batch.rows
        kept = np.zeros(len(rows), np.bool_)
        for turn in np.flatnonzero(batch.player_id == self.games.player).reshape(-1, self.games.num_envs):
            added = self._added.popleft()
            if added is not None:
                kept[turn] = True
                rows["reward"][turn], requested = added
                if requested is not None:
                    rows["action"][turn] = requested
        self.boards.write_kept(batch, kept)

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
