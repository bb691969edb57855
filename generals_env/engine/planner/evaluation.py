"""Values boards for one of two players, between 0 (lost) and 1 (won)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, Boards

__all__ = ["HASTE", "WEIGHTS", "features", "value_boards"]

#: Of the logarithm of the armies' ratio, of the lands' ratio, and of the difference of cities.
WEIGHTS = np.array([3.5, 0.0, 0.3])

#: What a turn takes from the value of a win, and adds to that of a loss: when a game ends has less noise than who wins it.
HASTE = 0.003


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


def value_boards(boards: Boards, player: int, since: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return (B,) float64, the value of each board for ``player``: a win counts more the earlier it is, a draw is half a win.

    Args:
        boards: The boards.
        player: The player.
        since: (B,) int64, turn from which the lines were played.
    """
    value: npt.NDArray[np.float64] = 1.0 / (1.0 + np.exp(-(features(boards, player) @ WEIGHTS)))
    alive = boards.players["alive"]
    waits = HASTE * (boards.games["turn"] - since)
    ends = np.where(alive[:, player], 1.0 - waits, np.where(alive[:, 1 - player], waits, 0.5))
    return np.where(alive.all(axis=1), value, ends)
