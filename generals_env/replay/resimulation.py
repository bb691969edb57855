"""Plays recorded actions again in the engine, and tells where a game's boards differ from what its actions lead to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards, copy_boards
from generals_env.engine.packed.packing import PackedBoards, empty_packed, pack, trimmed, unpack
from generals_env.engine.packed.recording import EXPERIENCE
from generals_env.engine.rules.turn import kill, neutralise
from generals_env.engine.storage.reproducible_boards import KEPT, PLAYED, play_boards
from generals_env.errors import ReplayError
from generals_env.replay.recorded_game import SURRENDERED, RecordedGame

__all__ = ["apply_events", "different_boards", "play_actions", "play_each", "play_segment"]

BOARD_FIELDS = ("turn", "last_move", "rows", "columns", "version", "modifiers", "fog")


def play_segment(start: Boards, actions: npt.NDArray[np.int64]) -> Boards:
    """Return the boards after each turn, T of them, without events.

    Args:
        start: One board.
        actions: (T, P) int64 within the action space; those that are not legal, and negative ones, are a pass.
    """
    turns, players = actions.shape
    rows = turn_rows(actions, start.owner.shape[1], step=1)
    origins = np.full(turns + 1, PLAYED, np.uint8)
    origins[0] = KEPT
    first_rows = np.maximum(np.arange(-1, turns + 1), 0) * players
    previous = np.arange(-1, turns, dtype=np.int32)
    return played(pack(start), rows, first_rows, origins, previous, np.arange(1, turns + 1))


def turn_rows(actions: npt.NDArray[np.int64], tiles: int, step: int) -> npt.NDArray[np.void]:
    """Return experiences with these actions, (T * P,): those of turn t lead from board ``step * t`` to the next one."""
    turns, players = actions.shape
    rows = np.zeros(turns * players, EXPERIENCE)
    rows["state_index"] = np.repeat(step * np.arange(turns), players)
    rows["next_state_index"] = rows["state_index"] + 1
    rows["player_id"] = np.tile(np.arange(players), turns)
    rows["action"] = np.where(actions < 0, 8 * tiles, actions).reshape(-1)
    rows["steps"] = 1
    return rows


def played(
    kept: PackedBoards,
    rows: npt.NDArray[np.void],
    first_rows: npt.NDArray[np.int64],
    origins: npt.NDArray[np.uint8],
    previous: npt.NDArray[np.int32],
    wanted: npt.NDArray[np.int64],
) -> Boards:
    """Play boards in one call of a kernel and return those numbered ``wanted``; other arguments as of ``play_boards``."""
    count, tiles, players = len(origins), kept.tiles.shape[1], kept.players.shape[1]
    out, counts = empty_packed(count, tiles, players, count + 1, count + 1), np.zeros(2, np.int64)
    play_boards(kept, rows, np.arange(len(rows)), first_rows, origins, previous, out, counts)
    return unpack(trimmed(out, count, *counts), wanted)


def apply_events(boards: Boards, b: int, events: npt.NDArray[np.int32]) -> None:
    """Apply the events of one turn to board ``b``, see ``RecordedGame``.

    Raises:
        ReplayError: If a player surrenders who is not in the game.
    """
    for player, turn, kind in events.tolist():
        alive = bool(boards.players["alive"][b, player])
        if kind == SURRENDERED:
            if not alive:
                raise ReplayError(f"events: expected a living player to surrender, got player {player} in turn {turn}")
            boards.players["surrendered"][b, player] = turn
        if alive:
            kill(boards, b, player)
        else:
            neutralise(boards, b, player)


def play_actions(start: Boards, actions: npt.NDArray[np.int64], events: npt.NDArray[np.int32]) -> Boards:
    """Return the T + 1 boards of a game from its first board (one board), its actions (T, P) and its events.

    Raises:
        ReplayError: If an event does not fit the board.
    """
    first, turns = int(start.games["turn"][0]), len(actions)
    at = events[:, 1] - first
    parts, low, board = [start], 0, copy_boards(start)
    for high in [*np.unique(at[(at >= 0) & (at < turns)]).tolist(), turns]:
        if high > low:
            parts.append(play_segment(board, actions[low:high]))
            board = copy_boards(parts[-1], slice(-1, None))
        if high < turns:
            apply_events(board, 0, events[at == high])
        low = high
    return Boards._make(np.concatenate(fields) for fields in zip(*parts, strict=True))


def different_boards(boards: Boards, others: Boards) -> npt.NDArray[np.bool_]:
    """Return which boards differ in what the engine plays on, (B,) bool."""
    differs: npt.NDArray[np.bool_] = (boards.owner != others.owner).any(axis=1)
    differs |= (boards.army != others.army).any(axis=1) | (boards.terrain != others.terrain).any(axis=1)
    for name in boards.players.dtype.names or ():
        differs |= (boards.players[name] != others.players[name]).any(axis=1)
    for name in BOARD_FIELDS:
        differs |= boards.games[name] != others.games[name]
    return differs


def play_each(game: RecordedGame) -> Boards:
    """Return the boards after each turn, T of them, each played from the recorded board before it.

    So one wrong board does not make all later ones wrong.

    Raises:
        ReplayError: If an event does not fit the board.
    """
    turns, players, tiles = game.turns, game.players, game.boards.owner.shape[1]
    before = copy_boards(game.boards, slice(0, turns))
    first = int(game.boards.games["turn"][0])
    for turn in np.unique(game.events[:, 1]).tolist():
        if 0 <= turn - first < turns:
            apply_events(before, turn - first, game.events[game.events[:, 1] == turn])
    # Boards alternate: one that is given, and the one that it is played to.
    rows = turn_rows(game.actions, tiles, step=2)
    origins = np.tile(np.array([KEPT, PLAYED], np.uint8), turns)
    first_rows = np.append(np.repeat(np.arange(turns), 2), turns) * players
    previous = np.where(origins == KEPT, -1, np.arange(-1, 2 * turns - 1)).astype(np.int32)
    return played(pack(before), rows, first_rows, origins, previous, 2 * np.arange(turns) + 1)
