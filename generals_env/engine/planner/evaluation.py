"""Values boards for one of two players, between 0 (lost) and 1 (won)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, Boards

__all__ = ["WEIGHTS", "features", "value_boards"]

#: Of the logarithm of the armies' ratio, of the lands' ratio, and of the difference of cities.
WEIGHTS = np.array([2.0, 1.5, 0.3])


def features(boards: Boards, player: int) -> npt.NDArray[np.float64]:
    """Return (B, 3) float64, see ``WEIGHTS``."""
    mine, other = boards.owner == player, boards.owner == 1 - player
    city = boards.terrain == CITY
    return np.stack(
        [
            np.log((np.where(mine, boards.army, 0).sum(axis=1) + 5.0) / (np.where(other, boards.army, 0).sum(axis=1) + 5.0)),
            np.log((mine.sum(axis=1) + 3.0) / (other.sum(axis=1) + 3.0)),
            (mine & city).sum(axis=1) - (other & city).sum(axis=1).astype(np.float64),
        ],
        axis=1,
    )


def value_boards(boards: Boards, player: int) -> npt.NDArray[np.float64]:
    """Return (B,) float64, the value of each board for ``player``; a draw is half a win."""
    value: npt.NDArray[np.float64] = 1.0 / (1.0 + np.exp(-(features(boards, player) @ WEIGHTS)))
    alive = boards.players["alive"]
    ended = ~alive.all(axis=1)
    value[ended] = np.where(alive[ended, player], 1.0, np.where(alive[ended, 1 - player], 0.0, 0.5))
    return value
