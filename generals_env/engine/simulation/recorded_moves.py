"""Plays a recorded game from its moves and writes its turns to a recording, and lists the moves of a game from its boards."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.jit import kernel
from generals_env.engine.packed.recording import BOARDS, Recording, begin_game, record_board
from generals_env.engine.rules.move_order import order_moves
from generals_env.engine.rules.turn import kill, neutralise, winner
from generals_env.engine.rules.valid_moves import take_actions
from generals_env.engine.simulation.single_game import AFTER, BEFORE, replay_turn

__all__ = ["list_moves", "record_moves"]


@kernel
def record_moves(
    boards: Boards,
    moves: npt.NDArray[np.int32],
    queued_by: npt.NDArray[np.int32],
    events: npt.NDArray[np.int32],
    last: int,
    weights: npt.NDArray[np.float64],
    heads: npt.NDArray[np.int32],
    used: npt.NDArray[np.int64],
    active: npt.NDArray[np.bool_],
    recording: Recording,
    now: int,
) -> bool:
    """Play a recorded game and record its turns until it ends or the recording has no room for another turn.

    The turns equal those of ``Replay.collect``, which plays one at a time. To continue, call again with the same arrays and an
    empty recording: it begins with the board before the next turn.

    Args:
        boards: Two boards; row ``AFTER`` is played on.
        moves: (M, 5) int32, see ``select_queued``.
        queued_by: (M,) int32, the turn at which each move enters its queue, in ascending order.
        events: (E, 2) int32, player and turn of each surrender or time-out, in file order.
        last: Turn at which the game is cut off.
        weights: (11,) float64, see ``score_turn``.
        heads: (P,) int32, in and out, see ``select_queued``.
        used: (2,) int64, in and out: number of moves queued and of events applied.
        active: (P,) bool, in and out: True until the player's game ends.
        recording: Recording of one game to write to.
        now: Time of the turns, nanoseconds UTC.

    Returns:
        Whether the game has ended.
    """
    players = active.shape[0]
    actions = np.zeros(players, np.int64)
    rewards = np.zeros(players, np.float32)
    terminated = np.zeros(players, np.bool_)
    truncated = np.zeros(players, np.bool_)
    illegal = np.zeros(players, np.bool_)
    # A turn adds two boards if an event changed the board before it.
    while recording.counts[BOARDS] + 2 <= recording.packed.tiles.shape[0]:
        turn = boards.games[AFTER]["turn"]
        # With no player alive a game continues (rule 28), but no player has an experience of it.
        if not active.any() or winner(boards, AFTER) >= 0 or turn >= last:
            return True
        while used[1] < events.shape[0] and events[used[1], 1] <= turn:
            player = events[used[1], 0]
            if boards.players[AFTER, player]["alive"]:
                kill(boards, AFTER, player)
            else:
                neutralise(boards, AFTER, player)
            used[1] += 1
            recording.present[0] = -1  # the event changed the board since the last turn
        while used[0] < moves.shape[0] and queued_by[used[0]] <= turn:
            used[0] += 1
        replay_turn(boards, BEFORE, AFTER, moves, heads, used[0], active, weights, actions, terminated, rewards)
        over = winner(boards, AFTER) >= 0 or turn + 1 >= last
        for player in range(players):
            truncated[player] = over and active[player] and not terminated[player]
        if recording.present[0] < 0:
            begin_game(recording, boards, BEFORE, 0)
        record_board(recording, boards, AFTER, 0, actions, active, illegal, rewards, terminated, truncated, False, -1, now)
        for player in range(players):
            active[player] = active[player] and not terminated[player] and not truncated[player]
    return False


@kernel
def list_moves(boards: Boards, actions: npt.NDArray[np.int64], moves: npt.NDArray[np.int32]) -> int:
    """List the moves of a game as a replay does: turn by turn, in the order in which they are executed.

    Args:
        boards: T boards, each before a turn.
        actions: (T, P) int64, in and out: indices within the action space; those that are not legal become a pass.
        moves: (M, 5) int32, out: player, start, end, half, turn; M is at least T * P.

    Returns:
        Number of moves.
    """
    players = actions.shape[1]
    start = np.empty(players, np.int32)
    end = np.empty(players, np.int32)
    half = np.empty(players, np.int32)
    order = np.empty(players, np.int32)
    illegal = np.empty(players, np.bool_)
    count = 0
    for b in range(actions.shape[0]):
        take_actions(boards, b, actions[b], start, end, half, illegal)
        for k in range(order_moves(boards, b, start, end, order)):
            player = order[k]
            moves[count, 0] = player
            moves[count, 1] = start[player]
            moves[count, 2] = end[player]
            moves[count, 3] = half[player]
            moves[count, 4] = boards.games[b]["turn"]
            count += 1
    return count
