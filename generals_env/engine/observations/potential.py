"""Computes the potential of each player, a score of his position, for reward shaping."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, Boards
from generals_env.engine.jit import kernel

__all__ = ["FEATURES", "potentials"]

#: Features, in the order of the ``weights`` argument of ``potentials``. Generals do not count as cities.
FEATURES = ("land", "army", "cities")


@kernel
def potentials(boards: Boards, weights: npt.NDArray[np.float64], out: npt.NDArray[np.float32]) -> None:
    """Write every player's potential on every board.

    It is the sum over ``FEATURES`` of ``weight * (own - enemy) / (own + enemy)``, where own is the sum over the player's team
    and enemy the sum over all others; a feature that both lack adds 0. So it lies within plus and minus the sum of the
    absolute weights.

    Args:
        boards: The boards.
        weights: (3,) float64.
        out: (B, P) float32.
    """
    players = boards.players.shape[1]
    tally = np.zeros((players, 3), np.int64)
    for b in range(boards.owner.shape[0]):
        for player in range(players):
            for k in range(3):
                tally[player, k] = 0
        for tile in range(boards.owner.shape[1]):
            holder = boards.owner[b, tile]
            if holder >= 0:
                tally[holder, 0] += 1
                tally[holder, 1] += boards.army[b, tile]
                if boards.terrain[b, tile] == CITY:
                    tally[holder, 2] += 1
        for player in range(players):
            total = 0.0
            for k in range(3):
                own = np.int64(0)
                enemy = np.int64(0)
                for other in range(players):
                    if boards.players[b, other]["team"] == boards.players[b, player]["team"]:
                        own += tally[other, k]
                    else:
                        enemy += tally[other, k]
                if own + enemy > 0:
                    total += weights[k] * (own - enemy) / (own + enemy)
            out[b, player] = np.float32(total)
