"""The fields and columns of recorded experience."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from generals_env.engine.observations.potential import potentials
from generals_env.engine.packed.packing import PackedBoards, unpack
from generals_env.recorders.experience.dense import Dense
from generals_env.recorders.experience.recipe import Recipe

__all__ = ["Data", "ExperienceData"]

#: Operations return the class that they were given.
Data = TypeVar("Data", bound="ExperienceData")

Index = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class ExperienceData:
    """The columns of an ``ExperienceBatch``, without its operations: what the functions of this package take and return."""

    game_ids: tuple[str, ...]
    rows: npt.NDArray[np.void]
    boards: PackedBoards
    shape: tuple[int, int]
    recipe: Recipe = field(default_factory=Recipe)
    dense: Dense | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many experiences there are."""
        return len(self.rows)

    # --- Columns --------------------------------------------------------------------------------------------------

    @property
    def game(self) -> npt.NDArray[np.int32]:
        """(n,) int32, index into ``game_ids``."""
        return self.rows["game"]

    @property
    def game_id(self) -> npt.NDArray[np.str_]:
        """(n,) strings."""
        return np.array(self.game_ids, np.str_)[self.game]

    @property
    def player_id(self) -> npt.NDArray[np.int8]:
        """(n,) int8."""
        return self.rows["player_id"]

    @property
    def turn(self) -> npt.NDArray[np.int32]:
        """(n,) int32, the board's turn before the action."""
        turns: npt.NDArray[np.int32] = self.boards.entries["turn"][self.state_index]
        return turns

    @property
    def sequence(self) -> npt.NDArray[np.int64]:
        """(n,) int64, gapless for each recorder."""
        return self.rows["sequence"]

    @property
    def action(self) -> npt.NDArray[np.int32]:
        """(n,) int32, the index executed; a pass where the action was illegal."""
        return self.rows["action"]

    @property
    def illegal(self) -> npt.NDArray[np.bool_]:
        """(n,) bool, whether the action that was asked for was illegal."""
        return self.rows["illegal"]

    @property
    def reward(self) -> npt.NDArray[np.float32]:
        """(n,) float32, the engine's; see ``rewards``."""
        return self.rows["reward"]

    @property
    def terminated(self) -> npt.NDArray[np.bool_]:
        """(n,) bool, whether the game ended for the player with this turn."""
        return self.rows["terminated"]

    @property
    def truncated(self) -> npt.NDArray[np.bool_]:
        """(n,) bool, whether it was cut off after this turn."""
        return self.rows["truncated"]

    @property
    def collected_at(self) -> npt.NDArray[np.int64]:
        """(n,) int64, nanoseconds UTC."""
        return self.rows["collected_at"]

    @property
    def steps(self) -> npt.NDArray[np.int16]:
        """(n,) int16, how many turns lie between state and next state; 1 but after ``n_step``."""
        return self.rows["steps"]

    @property
    def state_index(self) -> Index:
        """(n,) int32, board before the turn."""
        return self.rows["state_index"]

    @property
    def next_state_index(self) -> Index:
        """(n,) int32, board after the turn."""
        return self.rows["next_state_index"]

    @property
    def players(self) -> int:
        """How many players a game has."""
        players: int = self.boards.players.shape[1]
        return players

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays; in a ``slice`` those of all boards of the batch it was cut from."""
        return self.rows.nbytes + sum(array.nbytes for array in self.boards) + (self.dense.nbytes if self.dense else 0)

    def rewards(self) -> npt.NDArray[np.float32]:
        """Return rewards as the learner was given them, (n,) float32: the engine's, with the shaping of the recipe."""
        rewards: npt.NDArray[np.float32] = self.reward.copy()
        if not self.recipe.shaping:
            return rewards
        needed, places = np.unique(np.concatenate([self.state_index, self.next_state_index]), return_inverse=True)
        before, after = places[: len(self)], places[len(self) :]
        boards = unpack(self.boards, needed)
        for terms in self.recipe.shaping:
            potential = np.empty(boards.players.shape, np.float32)
            potentials(boards, np.array([terms.land, terms.army, terms.cities]), potential)
            reached = potential[after, self.player_id]
            reached[self.terminated] = 0
            rewards += np.float32(terms.gamma) * reached - potential[before, self.player_id]
        return rewards

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Shape of one state as it was shown."""
        if self.dense is not None:
            return self.dense.observations.shape[1:]
        return self.recipe.frames * self.recipe.channels, *self.shape
