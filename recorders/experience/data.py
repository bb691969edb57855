"""Defines the fields and columns of a batch of experiences, without operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from generals_env.engine.observations.potential import potentials
from generals_env.engine.packed.packing import PackedBoards, unpack
from generals_env.recorders.experience.dense_observations import Dense
from generals_env.recorders.experience.recipe import Recipe

__all__ = ["Data", "ExperienceData"]

#: Operations take a class of batches and return the same class.
Data = TypeVar("Data", bound="ExperienceData")

Index = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class ExperienceData:
    """The fields and columns of an ``ExperienceBatch``: the functions of this package take and return it."""

    game_ids: tuple[str, ...]
    rows: npt.NDArray[np.void]
    boards: PackedBoards
    shape: tuple[int, int]
    recipe: Recipe = field(default_factory=Recipe)
    dense: Dense | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of experiences."""
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
        """(n,) int32, the action that was executed; a pass where the requested action was illegal."""
        return self.rows["action"]

    @property
    def illegal(self) -> npt.NDArray[np.bool_]:
        """(n,) bool, whether the requested action was illegal."""
        return self.rows["illegal"]

    @property
    def reward(self) -> npt.NDArray[np.float32]:
        """(n,) float32, rewards of the engine; see ``rewards``."""
        return self.rows["reward"]

    @property
    def terminated(self) -> npt.NDArray[np.bool_]:
        """(n,) bool, whether the game ended for the player with this turn."""
        return self.rows["terminated"]

    @property
    def truncated(self) -> npt.NDArray[np.bool_]:
        """(n,) bool, whether the game was cut off after this turn."""
        return self.rows["truncated"]

    @property
    def collected_at(self) -> npt.NDArray[np.int64]:
        """(n,) int64, nanoseconds UTC."""
        return self.rows["collected_at"]

    @property
    def steps(self) -> npt.NDArray[np.int16]:
        """(n,) int16, turns between state and next state; 1 except after ``n_step``."""
        return self.rows["steps"]

    @property
    def state_index(self) -> Index:
        """(n,) int32, row of the board before the turn."""
        return self.rows["state_index"]

    @property
    def next_state_index(self) -> Index:
        """(n,) int32, row of the board after the turn."""
        return self.rows["next_state_index"]

    @property
    def players(self) -> int:
        """Players of a game."""
        players: int = self.boards.players.shape[1]
        return players

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays; a ``slice`` counts all boards of the batch that it is a slice of."""
        return self.rows.nbytes + sum(array.nbytes for array in self.boards) + (self.dense.nbytes if self.dense else 0)

    def rewards(self) -> npt.NDArray[np.float32]:
        """Return the rewards of the environment, (n,) float32: those of the engine plus the shaping of the recipe."""
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
        """Shape of one state."""
        if self.dense is not None:
            return self.dense.observations.shape[1:]
        return self.recipe.frames * self.recipe.channels, *self.shape
