"""Defines ``RecordedGame``: the boards and actions of a game from its map to its end.

Replays of people, games of a dataset, games of our own replay files and matches are all read as such a game; films, pages and
replay files are written from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards

__all__ = ["UNKNOWN", "RecordedGame"]

#: In place of an action index: the action is not known.
UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class RecordedGame:
    """A game, turn by turn.

    Attributes:
        boards: T + 1 boards, from the map to the board after the last turn.
        actions: (T, P) int64, indices as executed: the pass where a player did nothing, ``UNKNOWN`` where nothing is known.
        id: Id of the game, may be empty.
        names: One name a player; text of other people, which must be escaped where it is shown.
        rewards: (T, P) float32, or None.
        values: (T, P) float32, what a player's policy expected, or None.
        probabilities: (T, P, A) float, of each action index by a player's policy, or None.
        details: Further facts by name, for example the source of the game.
    """

    boards: Boards
    actions: npt.NDArray[np.int64]
    id: str = ""
    names: tuple[str, ...] = ()
    rewards: npt.NDArray[np.float32] | None = None
    values: npt.NDArray[np.float32] | None = None
    probabilities: npt.NDArray[np.floating] | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def turns(self) -> int:
        """Number of turns T."""
        return len(self.actions)

    @property
    def players(self) -> int:
        """Number of players P."""
        return int(self.actions.shape[1])
