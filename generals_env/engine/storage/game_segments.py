"""Stores games as segments: a keyframe board and the actions of up to ``TURNS`` turns from there on.

A turn is stored as actions alone only if resimulating it from the board before leads, tile by tile, to the recorded board.
Where it does not (an event between two turns, a player whose actions are unknown), the recorded board is kept as the ending of
the segment, and the next segment begins with a keyframe. So what is read always equals what was written.

``put_turns.py`` writes turns, ``take_turns.py`` reads them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.jit import inlined, kernel
from generals_env.engine.storage.board_pool import BoardTables, release_row
from generals_env.engine.storage.game_table import FIRST, release_game

__all__ = [
    "FREE_SEGMENTS",
    "ILLEGAL",
    "KEPT",
    "TERMINATED",
    "TRUNCATED",
    "TURNS",
    "Segments",
    "drop_oldest",
    "drop_turns",
    "follow_turns",
    "free_segment",
    "locate",
    "release_frames",
]

#: Turns of a segment. At 20x20 with two players a keyframe takes 13 bytes an experience of a whole segment.
TURNS = 32

#: Column of ``Segments.state`` after those of ``GameTable.state``: number of entries of the stack of segments.
FREE_SEGMENTS = 4

# Bits of ``Segments.flags``.
KEPT, ILLEGAL, TERMINATED, TRUNCATED = 1, 2, 4, 8


class Segments(NamedTuple):
    """Room for N experiences in S segments of at most M games.

    Attributes:
        tables: Keyframes, and the boards that resimulation does not lead to.
        keyframe: (S,) int32, row of the first board. Unless the segment goes on from another one, the boards before it that
            stacked frames need are in the tables, too.
        ending: (S,) int32, row of the last board, -1 where resimulation leads to it.
        game: (S,) int32.
        turns: (S,) int16, number of turns.
        holders: (S,) int32, number of its experiences that are stored, and 1 if the frames of the next segment need its boards.
        previous: (S,) int32, the segment that this one goes on from, -1 for none.
        later: (S,) int32, the segment that goes on from this one, -1 for none.
        actions: (S, K, P) uint16.
        rewards: (S, K, P) float32.
        flags: (S, K, P) uint8.
        sequences: (S, K, P) int64.
        keys: (S, K) int64, key of the first experience kept of a turn; the others follow it.
        times: (S, K) int64.
        where: (N,) uint32, ``(segment * K + turn) * P + player`` of each key, in slot ``key % N``.
        present: The board of each game after its last turn, M of them.
        current: (M,) int32, the segment that a game's next turn may be added to, -1 for none.
        game_refs: (M,) int32, see ``GameTable``.
        game_ground: (M,) int32, likewise.
        free_games: (M,) int32, likewise.
        freed_games: (M,) int32, likewise.
        listed: (M,) bool, likewise.
        free_segments: (S,) int32, stack of free rows.
        state: (5,) int64, see ``GameTable`` and ``FREE_SEGMENTS``.
    """

    tables: BoardTables
    keyframe: npt.NDArray[np.int32]
    ending: npt.NDArray[np.int32]
    game: npt.NDArray[np.int32]
    turns: npt.NDArray[np.int16]
    holders: npt.NDArray[np.int32]
    previous: npt.NDArray[np.int32]
    later: npt.NDArray[np.int32]
    actions: npt.NDArray[np.uint16]
    rewards: npt.NDArray[np.float32]
    flags: npt.NDArray[np.uint8]
    sequences: npt.NDArray[np.int64]
    keys: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    where: npt.NDArray[np.uint32]
    present: Boards
    current: npt.NDArray[np.int32]
    game_refs: npt.NDArray[np.int32]
    game_ground: npt.NDArray[np.int32]
    free_games: npt.NDArray[np.int32]
    freed_games: npt.NDArray[np.int32]
    listed: npt.NDArray[np.bool_]
    free_segments: npt.NDArray[np.int32]
    state: npt.NDArray[np.int64]


@inlined
def locate(segments: Segments, key: int) -> tuple[int, int, int]:
    """Return segment, turn in the segment and player of an experience."""
    players = segments.actions.shape[2]
    where = np.int64(segments.where[key % segments.where.shape[0]])
    s = where // (TURNS * players)
    rest = where - s * TURNS * players
    turn = rest // players
    return s, turn, rest - turn * players


@inlined
def release_frames(tables: BoardTables, row: int) -> None:
    """Remove one reference to a keyframe and to all boards before it."""
    while row >= 0:
        previous = np.int64(tables.packed.entries[row]["previous"])
        release_row(tables, row)
        row = previous


@inlined
def free_segment(segments: Segments, s: int, depth: int) -> None:
    """Free a segment without holders, and the segments before it that only its frames needed."""
    state = segments.state
    while s >= 0:
        release_frames(segments.tables, np.int64(segments.keyframe[s]))
        if segments.ending[s] >= 0:
            release_row(segments.tables, np.int64(segments.ending[s]))
        game = np.int64(segments.game[s])
        if segments.current[game] == s:
            segments.current[game] = -1
        release_game(segments, game)
        segments.free_segments[state[FREE_SEGMENTS]] = s
        state[FREE_SEGMENTS] += 1
        later, before = np.int64(segments.later[s]), np.int64(segments.previous[s])
        if later >= 0:
            segments.previous[later] = -1
        s = -1
        if before >= 0:
            segments.later[before] = -1
            if depth > 1:
                segments.holders[before] -= 1
                if segments.holders[before] == 0:
                    s = before


@inlined
def drop_oldest(segments: Segments, depth: int) -> None:
    """Drop the oldest experience."""
    s, turn, player = locate(segments, segments.state[FIRST])
    segments.flags[s, turn, player] &= np.uint8(0xFF ^ KEPT)
    segments.holders[s] -= 1
    segments.state[FIRST] += 1
    if segments.holders[s] == 0:
        free_segment(segments, s, depth)


@kernel
def drop_turns(segments: Segments, count: int, depth: int) -> None:
    """Drop the ``count`` oldest experiences."""
    for _ in range(count):
        drop_oldest(segments, depth)


@kernel
def follow_turns(segments: Segments, keys: npt.NDArray[np.int64], out: npt.NDArray[np.int64]) -> None:
    """Write for each key (n,) the keys of the same player's next turns, itself first, to ``out`` (n, k); -1 after the last."""
    for i in range(keys.shape[0]):
        key = keys[i]
        s, turn, player = locate(segments, key)
        for k in range(out.shape[1]):
            out[i, k] = key
            if key < 0:
                continue
            ended = segments.flags[s, turn, player] & (TERMINATED | TRUNCATED)
            turn += 1
            if turn == segments.turns[s]:
                turn = 0
                s = np.int64(segments.later[s])
            key = -1
            if not ended and s >= 0 and segments.turns[s] > turn and segments.flags[s, turn, player] & KEPT:
                key = segments.keys[s, turn]
                for other in range(player):
                    key += 1 if segments.flags[s, turn, other] & KEPT else 0
