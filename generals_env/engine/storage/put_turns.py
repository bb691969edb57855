"""Writes turns of games to segments, and keeps the recorded board where resimulating the actions does not lead to it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined, kernel
from generals_env.engine.packed.packing import PackedBoards, unpack_row
from generals_env.engine.storage.board_pool import NO_GAMES, NO_SEGMENTS
from generals_env.engine.storage.game_segments import (
    FREE_SEGMENTS,
    ILLEGAL,
    KEPT,
    TERMINATED,
    TRUNCATED,
    TURNS,
    Segments,
    drop_oldest,
    free_segment,
    release_frames,
)
from generals_env.engine.storage.game_table import FIRST, NEXT, add_game_board, claim_game
from generals_env.engine.storage.resimulate import (
    SimulationScratch,
    copy_board,
    empty_scratch,
    list_growing_tiles,
    resimulate_turn,
    same_board,
)

__all__ = ["put_turns"]


@inlined
def add_frames(segments: Segments, boards: PackedBoards, row: int, game: int, depth: int) -> int:
    """Copy board ``row`` and the ``depth - 1`` boards before it to the tables; returns as ``add_game_board``."""
    tables = segments.tables
    first = np.int64(-1)
    later = np.int64(-1)
    for _ in range(depth):
        place = add_game_board(segments, boards, row, game, np.int64(-1))
        if place < 0:
            release_frames(tables, first)
            return place
        if later < 0:
            first = place
        else:
            tables.packed.entries[later]["previous"] = place
        later = place
        row = np.int64(boards.entries[row]["previous"])
        if row < 0:
            break
    return first


@inlined
def open_segment(segments: Segments, boards: PackedBoards, row: int, game: int, goes_on: bool, depth: int) -> int:
    """Begin a segment with board ``row``; return 0 or the code of the table that is full, see ``TABLE_NAMES``.

    Unless it goes on from the game's current segment, the boards before it that its frames need are copied with it.
    """
    state = segments.state
    if state[FREE_SEGMENTS] == 0:
        return NO_SEGMENTS
    place = add_frames(segments, boards, row, game, 1 if goes_on else depth)
    if place < 0:
        return -place
    state[FREE_SEGMENTS] -= 1
    s = np.int64(segments.free_segments[state[FREE_SEGMENTS]])
    before = np.int64(segments.current[game])
    segments.keyframe[s] = place
    segments.ending[s] = -1
    segments.game[s] = game
    segments.turns[s] = 0
    segments.holders[s] = 0
    segments.previous[s] = -1
    segments.later[s] = -1
    segments.game_refs[game] += 1
    segments.current[game] = s
    if before >= 0 and goes_on:
        segments.previous[s] = before
        segments.later[before] = s
        if depth > 1:
            segments.holders[before] += 1
    if before >= 0 and segments.holders[before] == 0:  # none of its experiences was kept
        free_segment(segments, before, depth)
        segments.current[game] = s
    return 0


@inlined
def end_of_turn(rows: npt.NDArray[np.void], kept: npt.NDArray[np.bool_], i: int, slots: int) -> tuple[int, int]:
    """Return the end of the experiences from ``rows[i]`` on that are of one turn, and how many of them are kept.

    Keys and times are stored once a turn, so these have the same time, and players in ascending order.
    """
    end = i
    count = 0
    while (
        end < rows.shape[0]
        and rows[end]["game"] == rows[i]["game"]
        and rows[end]["state_index"] == rows[i]["state_index"]
        and rows[end]["next_state_index"] == rows[i]["next_state_index"]
        and rows[end]["collected_at"] == rows[i]["collected_at"]
        and (end == i or rows[end]["player_id"] > rows[end - 1]["player_id"])
        and not (count == slots and kept[end])
    ):
        count += 1 if kept[end] else 0
        end += 1
    return end, count


@inlined
def segment_for_turn(
    segments: Segments, boards: PackedBoards, before: int, game: int, depth: int, drops: bool, scratch: SimulationScratch
) -> int:
    """Make the game's current segment one that a turn from board ``before`` can be added to.

    Returns:
        0, or the code of the table that is full, see ``TABLE_NAMES``.
    """
    state, present, two = segments.state, segments.present, scratch.boards
    unpack_row(boards, before, two, 1)
    # A board that was recorded without a previous board must be read without one.
    begins = (depth > 1 or boards.memory.shape[0] > 0) and boards.entries[before]["previous"] < 0
    while True:
        s = np.int64(segments.current[game])
        goes_on = s >= 0 and not begins and same_board(present, game, two, 1)
        if goes_on and segments.ending[s] < 0 and segments.turns[s] < TURNS:
            return 0
        short = open_segment(segments, boards, before, game, goes_on, depth)
        if short == 0:
            copy_board(two, 1, present, game)
            return 0
        if not drops or state[NEXT] == state[FIRST]:
            return short
        drop_oldest(segments, depth)


@inlined
def play_turn_on_present(
    segments: Segments, rows: npt.NDArray[np.void], low: int, high: int, game: int, scratch: SimulationScratch
) -> None:
    """Add the actions of ``rows[low:high]`` to the game's current segment and execute them on its present board."""
    s = np.int64(segments.current[game])
    turn = np.int64(segments.turns[s])
    tiles, players = segments.tables.packed.tiles.shape[1], segments.actions.shape[2]
    for player in range(players):
        scratch.actions[player] = 8 * tiles
        segments.flags[s, turn, player] = np.uint8(0)
    for k in range(low, high):
        scratch.actions[rows[k]["player_id"]] = rows[k]["action"]
    for player in range(players):
        segments.actions[s, turn, player] = np.uint16(scratch.actions[player])
    list_growing_tiles(segments.present, game, scratch.growing)
    resimulate_turn(segments.present, game, scratch)


@inlined
def append_turn(
    segments: Segments, rows: npt.NDArray[np.void], kept: npt.NDArray[np.bool_], low: int, high: int, game: int
) -> None:
    """Add the experiences of ``rows[low:high]``, whose actions are there already, to the game's current segment."""
    state = segments.state
    slots, players = segments.where.shape[0], segments.actions.shape[2]
    s = np.int64(segments.current[game])
    turn = np.int64(segments.turns[s])
    segments.turns[s] += 1
    segments.times[s, turn] = rows[low]["collected_at"]
    segments.keys[s, turn] = state[NEXT]
    for k in range(low, high):
        if not kept[k]:
            continue
        player = np.int64(rows[k]["player_id"])
        flags = KEPT | (ILLEGAL if rows[k]["illegal"] else 0)
        flags |= (TERMINATED if rows[k]["terminated"] else 0) | (TRUNCATED if rows[k]["truncated"] else 0)
        segments.flags[s, turn, player] = np.uint8(flags)
        segments.rewards[s, turn, player] = rows[k]["reward"]
        segments.sequences[s, turn, player] = rows[k]["sequence"]
        segments.where[state[NEXT] % slots] = np.uint32((s * TURNS + turn) * players + player)
        segments.holders[s] += 1
        state[NEXT] += 1


@inlined
def free_empty_segments(segments: Segments, games: npt.NDArray[np.int32], depth: int) -> None:
    """Free the current segments of games that hold no experience: if a game does not go on, nothing else would free them."""
    for game in games:
        if game >= 0:
            s = np.int64(segments.current[game])
            if s >= 0 and segments.holders[s] == 0:
                free_segment(segments, s, depth)


@kernel
def put_turns(
    segments: Segments,
    rows: npt.NDArray[np.void],
    boards: PackedBoards,
    games: npt.NDArray[np.int32],
    kept: npt.NDArray[np.bool_],
    depth: int,
    drops: bool,
    low: int,
) -> tuple[int, int]:
    """Write experiences ``rows[low:]``; those of one turn are next to each other.

    Args:
        segments: Where to write.
        rows: (n,) records of ``EXPERIENCE``, each of one turn.
        boards: Their boards.
        games: (g,) int32, in and out: the row of each of their games; -1 for a game without one, which gets one here.
        kept: (n,) bool, which experiences to keep; the actions of the others are stored all the same.
        depth: Number of boards that an observation is made of: stacked frames.
        drops: Whether to drop the oldest experiences when a table is full.
        low: Where to begin.

    Returns:
        Where it stopped, n if all are written; and 0 or the code of the table that is full, see ``TABLE_NAMES``.
    """
    state, present = segments.state, segments.present
    slots = segments.where.shape[0]
    scratch = empty_scratch(boards.tiles.shape[1], boards.players.shape[1])
    i = low
    while i < rows.shape[0]:
        game = np.int64(games[rows[i]["game"]])
        if game < 0:
            game = claim_game(segments, games, np.int64(rows[i]["game"]))
            if game < 0:
                return i, NO_GAMES
            segments.current[game] = -1
        before = np.int64(rows[i]["state_index"])
        after = np.int64(rows[i]["next_state_index"])
        end, count = end_of_turn(rows, kept, i, slots)
        while state[NEXT] - state[FIRST] + count > slots:
            drop_oldest(segments, depth)
        short = segment_for_turn(segments, boards, before, game, depth, drops, scratch)
        if short:
            return i, short
        play_turn_on_present(segments, rows, i, end, game, scratch)
        unpack_row(boards, after, scratch.boards, 1)
        if not same_board(present, game, scratch.boards, 1):
            place = add_game_board(segments, boards, after, game, np.int64(-1))
            s = np.int64(segments.current[game])
            if place < 0:
                unpack_row(boards, before, present, game)
                if not drops:
                    return i, -place
                if state[NEXT] == state[FIRST]:
                    if segments.holders[s] == 0:
                        free_segment(segments, s, depth)
                    return i, -place
                drop_oldest(segments, depth)
                continue
            segments.ending[s] = place
            copy_board(scratch.boards, 1, present, game)
        append_turn(segments, rows, kept, i, end, game)
        i = end
    free_empty_segments(segments, games, depth)
    return rows.shape[0], 0
