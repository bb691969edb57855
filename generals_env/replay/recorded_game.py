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

__all__ = ["LEFT", "SURRENDERED", "UNKNOWN", "RecordedGame", "no_events"]

#: In place of an action index: the action is not known.
UNKNOWN = -1

#: Kinds of events.
LEFT, SURRENDERED = 0, 1


def no_events() -> npt.NDArray[np.int32]:
    """Return an empty list of events."""
    return np.empty((0, 3), np.int32)


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
        events: (E, 3) int32, player, turn and kind of each surrender or time-out, in the order in which they happened: before
            the actions of that turn, so ``boards`` show them one turn later. Kind ``LEFT`` as in a replay: a living player
            leaves the game, and the land of one who has left turns over. Kind ``SURRENDERED`` as in an environment: a living
            player leaves, and his land turns over by itself 50 turns later.
    """

    boards: Boards
    actions: npt.NDArray[np.int64]
    id: str = ""
    names: tuple[str, ...] = ()
    rewards: npt.NDArray[np.float32] | None = None
    values: npt.NDArray[np.float32] | None = None
    probabilities: npt.NDArray[np.floating] | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    events: npt.NDArray[np.int32] = field(default_factory=no_events)

    @property
    def turns(self) -> int:
        """Number of turns T."""
        return len(self.actions)

    @property
    def players(self) -> int:
        """Number of players P."""
        return int(self.actions.shape[1])
