"""Plays one turn of one game and writes observations, masks and rewards, in one call from Python.

A kernel call costs some microseconds, mainly for the arrays of ``Boards``: so the board before the turn and the board after it
are rows 0 and 1 of the same ``Boards``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import COMPETITION_VERSION, Boards
from generals_env.engine.jit import kernel, subroutine
from generals_env.engine.observations.reference import action_mask, observe, visible_to
from generals_env.engine.rules.competition_turn import play_competition_turn
from generals_env.engine.rules.rewards import judge_turn, score_turn
from generals_env.engine.rules.turn import apply_moves, finish_turn, neutralise_due
from generals_env.engine.rules.valid_moves import move_action, select_queued, take_actions

__all__ = ["AFTER", "BEFORE", "play_turn", "replay_turn", "view_board"]

BEFORE, AFTER = 0, 1


@subroutine
def copy_board(boards: Boards, source: int, target: int) -> None:
    """Copy board ``source`` over board ``target``."""
    # Loops, not slices: an assignment of arrays compiles into a check of shapes and its error message.
    for tile in range(boards.owner.shape[1]):
        boards.owner[target, tile] = boards.owner[source, tile]
        boards.army[target, tile] = boards.army[source, tile]
        boards.terrain[target, tile] = boards.terrain[source, tile]
    for player in range(boards.players.shape[1]):
        boards.players[target, player] = boards.players[source, player]
    boards.games[target] = boards.games[source]


@kernel
def view_board(boards: Boards, b: int, observations: npt.NDArray[np.float32], masks: npt.NDArray[np.int8]) -> None:
    """Write observation and action mask of every player of board ``b``.

    Args:
        boards: The boards.
        b: Which of them.
        observations: (P, 9, H*W) or (P, 21, H*W) float32, out.
        masks: (P, A) int8, out, see ``action_space.action_count``.
    """
    visible = np.empty(boards.owner.shape[1], np.uint32)
    visible_to(boards, b, visible)
    for player in range(boards.players.shape[1]):
        observe(boards, b, player, visible, observations[player])
        action_mask(boards, b, player, masks[player])


@kernel
def play_turn(
    owner: npt.NDArray[np.int8],
    army: npt.NDArray[np.int32],
    terrain: npt.NDArray[np.int8],
    players: npt.NDArray[np.void],
    games: npt.NDArray[np.void],
    before: int,
    after: int,
    actions: npt.NDArray[np.int64],
    active: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float64],
    max_turns: int,
    illegal: npt.NDArray[np.bool_],
    terminated: npt.NDArray[np.bool_],
    truncated: npt.NDArray[np.bool_],
    rewards: npt.NDArray[np.float32],
    observations: npt.NDArray[np.float32],
    masks: npt.NDArray[np.int8],
    castles: bool | None = True,
) -> bool:
    """Copy the board, play one turn on it, and write the results for the players.

    The fields of the boards are passed one by one, as in ``play_turn(*boards, ...)``: numba takes twice as long to unpack a
    NamedTuple.

    Args:
        owner: See ``Boards``.
        army: See there.
        terrain: See there.
        players: See there.
        games: See there.
        before: Row of the copy.
        after: Row of the board to play on.
        actions: (P,) int64, in and out, see ``advance``.
        active: (P,) bool, True for players whose game has not ended.
        weights: (11,) float64, see ``score_turn``.
        max_turns: Turn at which the game is cut off.
        illegal: (P,) bool, out.
        terminated: (P,) bool, out: True if the player's game ended with this turn.
        truncated: (P,) bool, out: True if it is cut off after this turn.
        rewards: (P,) float32, out.
        observations: (P, 9, H*W) or (P, 21, H*W) float32, out.
        masks: (P, A) int8, out, see ``action_space.action_count``.
        castles: None if the rules are not those of the competition, see ``jit``; True if they may be.

    Returns:
        Whether any player has an illegal action, an end or a reward.
    """
    boards = Boards(owner, army, terrain, players, games)
    start = np.empty(active.shape[0], np.int32)
    end = np.empty(active.shape[0], np.int32)
    half = np.empty(active.shape[0], np.int32)
    order = np.empty(active.shape[0], np.int32)
    result = np.empty(active.shape[0], np.int8)
    copy_board(boards, after, before)
    # The steps of ``advance``, not a call of it: each level of calls compiles the functions below it again.
    take_actions(boards, after, actions, start, end, half, illegal, castles)
    competes = False
    if castles is not None:
        competes = boards.games[after]["version"] == COMPETITION_VERSION
        if competes:
            play_competition_turn(boards, after, start, end, half)
    if not competes:
        neutralise_due(boards, after)
        apply_moves(boards, after, start, end, half, order)
        finish_turn(boards, after)
    judge_turn(boards, after, active, terminated, result)
    score_turn(boards, before, after, active, result, weights, rewards)
    view_board(boards, after, observations, masks)
    over = boards.games[after]["turn"] >= max_turns
    news = False
    for player in range(active.shape[0]):
        truncated[player] = over and active[player] and not terminated[player]
        news = news or terminated[player] or truncated[player] or illegal[player] or rewards[player] != 0
    return news


@kernel
def replay_turn(
    boards: Boards,
    before: int,
    after: int,
    moves: npt.NDArray[np.int32],
    heads: npt.NDArray[np.int32],
    buffered: int,
    active: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float64],
    actions: npt.NDArray[np.int64],
    terminated: npt.NDArray[np.bool_],
    rewards: npt.NDArray[np.float32],
) -> None:
    """Copy the board and play one turn of queued moves on it.

    Args:
        boards: The boards.
        before: Row of the copy.
        after: Row of the board to play on.
        moves: (M, 5) int32, see ``select_queued``.
        heads: (P,) int32, in and out, see ``select_queued``.
        buffered: Number of rows of ``moves`` that have been queued.
        active: (P,) bool, True for players whose game has not ended.
        weights: (11,) float64, see ``score_turn``.
        actions: (P,) int64, out: the moves as action indices.
        terminated: (P,) bool, out.
        rewards: (P,) float32, out.
    """
    players = active.shape[0]
    start = np.empty(players, np.int32)
    end = np.empty(players, np.int32)
    half = np.empty(players, np.int32)
    order = np.empty(players, np.int32)
    result = np.empty(players, np.int8)
    copy_board(boards, after, before)
    select_queued(boards, after, moves, heads, buffered, start, end, half)
    for player in range(players):
        actions[player] = move_action(boards, after, start[player], end[player], half[player])
    apply_moves(boards, after, start, end, half, order)
    finish_turn(boards, after)
    judge_turn(boards, after, active, terminated, result)
    score_turn(boards, before, after, active, result, weights, rewards)
