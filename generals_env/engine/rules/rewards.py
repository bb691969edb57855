"""Computes the rewards of a turn, and which players' games it ended."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, GENERAL, Boards
from generals_env.engine.jit import kernel, subroutine
from generals_env.engine.rules.turn import is_over

__all__ = ["WEIGHTS", "counts_armies", "judge_turn", "score_turn", "tally_capture", "weigh_tally"]

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
    """Write which players' games ended with the turn just played, and their results.

    A team wins and loses together: a player's game ends when no member of his team lives, or when the game is over.

    Args:
        boards: The boards, after the turn.
        b: Which of them.
        active: (P,) bool, True for players whose game had not ended before the turn.
        ended: (P,) bool, out.
        result: (P,) int8, out: 1 win, -1 loss, 0 neither. A game that ends with no player alive is a draw.
    """
    players = active.shape[0]
    over = is_over(boards, b)
    any_alive = False
    for player in range(players):
        any_alive = any_alive or boards.players[b, player]["alive"]
    for player in range(players):
        lives = False
        for other in range(players):
            if boards.players[b, other]["team"] == boards.players[b, player]["team"] and boards.players[b, other]["alive"]:
                lives = True
        ended[player] = active[player] and (over or not lives)
        result[player] = 0
        if ended[player] and any_alive:
            result[player] = 1 if lives else -1


@subroutine
def counts_armies(weights: npt.NDArray[np.float64]) -> bool:
    """Return whether rewards depend on land and armies, which is costly to count."""
    counts = weights[10] != 0
    for k in range(4):
        counts = counts or weights[k] != 0
    return bool(counts)


@subroutine
def tally_capture(members: npt.NDArray[np.void], old: int, new: int, general: bool, tally: npt.NDArray[np.int64]) -> None:
    """Count a city or general that passed from ``old`` to ``new``; transfers between team-mates do not count.

    Args:
        members: (P,) records of the players.
        old: Owner before the turn, negative for none.
        new: Owner after it.
        general: Whether it was a general before the turn.
        tally: (P, 7) int64, see ``weigh_tally``.
    """
    if old >= 0 and new >= 0 and members[old]["team"] == members[new]["team"]:
        return
    column = 5 if general else 3
    if new >= 0:
        tally[new, column] += 1
    if old >= 0:
        tally[old, column + 1] += 1


@subroutine
def weigh_tally(
    members: npt.NDArray[np.void],
    tally: npt.NDArray[np.int64],
    active: npt.NDArray[np.bool_],
    result: npt.NDArray[np.int8],
    weights: npt.NDArray[np.float64],
    rewards: npt.NDArray[np.float32],
) -> None:
    """Write each player's reward. Winning or losing replaces all other terms.

    Args:
        members: (P,) records of the players.
        tally: (P, 7) int64: change of land, change of army, army now, cities won and lost, generals won and lost.
        active: (P,) bool; others get 0.
        result: (P,) int8 from ``judge_turn``.
        weights: (11,) float64, see ``WEIGHTS``. Those of losses are negative to punish a loss.
        rewards: (P,) float32, out.
    """
    players = active.shape[0]
    for player in range(players):
        rewards[player] = np.float32(0)
        if not active[player]:
            continue
        if result[player] != 0:
            rewards[player] = np.float32(weights[6] if result[player] > 0 else weights[7])
            continue
        land = tally[player, 0]
        army = tally[player, 1]
        total = weights[0 if land > 0 else 1] * abs(land) + weights[2 if army > 0 else 3] * abs(army)
        total += weights[8] * tally[player, 3] + weights[9] * tally[player, 4]
        total += weights[4] * tally[player, 5] + weights[5] * tally[player, 6]
        own = tally[player, 2]
        enemy = np.int64(0)
        for other in range(players):
            if members[other]["team"] != members[player]["team"]:
                enemy += tally[other, 2]
        if own + enemy > 0:
            total += weights[10] * (own - enemy) / (own + enemy)
        rewards[player] = np.float32(total)


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

    A captured general counts as a general, never as a city gained.

    Args:
        boards: The boards.
        before: Row of the board before the turn.
        after: Row of the board after it.
        active: (P,) bool; others get 0.
        result: (P,) int8 from ``judge_turn``.
        weights: (11,) float64, see ``WEIGHTS``.
        rewards: (P,) float32, out.
    """
    members = boards.players[after]
    tally = np.zeros((active.shape[0], 7), np.int64)
    counts = counts_armies(weights)
    for tile in range(boards.owner.shape[1]):
        old = boards.owner[before, tile]
        new = boards.owner[after, tile]
        if not counts and old == new:
            continue  # the weights ignore land and armies
        if old >= 0:
            tally[old, 0] -= 1
            tally[old, 1] -= boards.army[before, tile]
        if new >= 0:
            tally[new, 0] += 1
            tally[new, 1] += boards.army[after, tile]
            tally[new, 2] += boards.army[after, tile]
        kind = boards.terrain[before, tile]
        if kind != GENERAL:
            kind = boards.terrain[after, tile]  # a castle may be built and captured in one turn
        if old != new and (kind == CITY or kind == GENERAL):  # noqa: PLR1714, SIM109 - a membership test compiles slowly
            tally_capture(members, old, new, kind == GENERAL, tally)
    weigh_tally(members, tally, active, result, weights, rewards)
