"""What a turn was worth to each player, and for whom it was the last."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, GENERAL, Boards
from generals_env.engine.jit import kernel, subroutine
from generals_env.engine.rules import is_over

__all__ = ["WEIGHTS", "judge_turn", "score_turn"]

#: Names of the weights, in the order of the ``weights`` argument of ``score_turn``. The first ten are the wire's RewardConfig.
WEIGHTS = (
    "territory_gained",
    "territory_lost",
    "army_gained",
    "army_lost",
    "enemy_general_captured",
    "own_general_lost",
    "win_game",
    "lose_game",
    "city_captured",
    "city_lost",
    "army_advantage",
)


@subroutine
def judge_turn(
    boards: Boards, b: int, active: npt.NDArray[np.bool_], ended: npt.NDArray[np.bool_], result: npt.NDArray[np.int8]
) -> None:
    """Write whose game ended with the turn just played, and how.

    A team wins and loses together: a player's game ends when no member of his team lives, or when the game is over.

    Args:
        boards: The boards, after the turn.
        b: Which of them.
        active: (P,) bool, whose game had not ended before the turn.
        ended: (P,) bool, out.
        result: (P,) int8, out: 1 win, -1 loss, 0 neither. Nobody wins or loses a game that ends with nobody alive.
    """
    players = active.shape[0]
    over = is_over(boards, b)
    anybody = False
    for player in range(players):
        anybody = anybody or boards.players[b, player]["alive"]
    for player in range(players):
        lives = False
        for other in range(players):
            if boards.players[b, other]["team"] == boards.players[b, player]["team"] and boards.players[b, other]["alive"]:
                lives = True
        ended[player] = active[player] and (over or not lives)
        result[player] = 0
        if ended[player] and anybody:
            result[player] = 1 if lives else -1


@kernel
def score_turn(
    boards: Boards,
    before: int,
    after: int,
    active: npt.NDArray[np.bool_],
    result: npt.NDArray[np.int8],
    weights: npt.NDArray[np.float64],
    rewards: npt.NDArray[np.float32],
) -> None:
    """Write each player's reward for the turn that led from board ``before`` to board ``after``.

    Winning or losing replaces all other terms. A captured general counts as a general, never as a city gained; what passes
    between team-mates counts as neither.

    Args:
        boards: The boards.
        before: Which one stood before the turn.
        after: Which one came of it.
        active: (P,) bool; others get 0.
        result: (P,) int8 from ``judge_turn``.
        weights: (11,) float64, see ``WEIGHTS``. Those of losses are negative where a loss is to hurt.
        rewards: (P,) float32, out.
    """
    players = active.shape[0]
    members = boards.players[after]
    land = np.zeros(players, np.int64)  # change of
    army = np.zeros(players, np.int64)  # change of
    standing = np.zeros(players, np.int64)
    cities_won = np.zeros(players, np.int64)
    cities_lost = np.zeros(players, np.int64)
    generals_won = np.zeros(players, np.int64)
    generals_lost = np.zeros(players, np.int64)
    for tile in range(boards.owner.shape[1]):
        old = boards.owner[before, tile]
        new = boards.owner[after, tile]
        if old >= 0:
            land[old] -= 1
            army[old] -= boards.army[before, tile]
        if new >= 0:
            land[new] += 1
            army[new] += boards.army[after, tile]
            standing[new] += boards.army[after, tile]
        if old == new or (old >= 0 and new >= 0 and members[old]["team"] == members[new]["team"]):
            continue
        if boards.terrain[before, tile] == CITY:
            if old >= 0:
                cities_lost[old] += 1
            if new >= 0:
                cities_won[new] += 1
        elif boards.terrain[before, tile] == GENERAL:
            if old >= 0:
                generals_lost[old] += 1
            if new >= 0:
                generals_won[new] += 1
    for player in range(players):
        rewards[player] = np.float32(0)
        if not active[player]:
            continue
        if result[player] != 0:
            rewards[player] = np.float32(weights[6] if result[player] > 0 else weights[7])
            continue
        total = weights[0] * land[player] if land[player] > 0 else weights[1] * -land[player]
        total += weights[2] * army[player] if army[player] > 0 else weights[3] * -army[player]
        total += weights[4] * generals_won[player] + weights[5] * generals_lost[player]
        total += weights[8] * cities_won[player] + weights[9] * cities_lost[player]
        own = standing[player]
        enemy = np.int64(0)
        for other in range(players):
            if members[other]["team"] != members[player]["team"]:
                enemy += standing[other]
        if own + enemy > 0:
            total += weights[10] * (own - enemy) / (own + enemy)
        rewards[player] = np.float32(total)
