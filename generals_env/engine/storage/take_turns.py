"""Reads experiences from segments: resimulates each from a keyframe on, with its stacked frames and what players remember."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import GAME, PLAYER, TORUS, Boards
from generals_env.engine.jit import inlined, kernel
from generals_env.engine.observations.reference import visible_to
from generals_env.engine.packed.expand import empty_lines
from generals_env.engine.packed.fog_memory import recall_board
from generals_env.engine.packed.packing import ENTRY, PackedBoards, pack_row, unpack_row
from generals_env.engine.storage.game_segments import ILLEGAL, TERMINATED, TRUNCATED, Segments, locate
from generals_env.engine.storage.resimulate import SimulationScratch, empty_scratch, list_growing_tiles, resimulate_turn

__all__ = ["take_turns"]


@kernel
def room_for_two(tiles: int, players: int, remembers: bool) -> PackedBoards:
    """Return room for two packed boards."""
    return PackedBoards(
        np.zeros((2, tiles), np.int16),
        np.zeros(2, ENTRY),
        np.zeros((2, tiles), np.int8),
        np.zeros((2, players), PLAYER),
        np.zeros(2, GAME),
        np.zeros((2, tiles), np.int32),
        np.zeros((2 if remembers else 0, players, tiles), np.uint16),
    )


@inlined
def copy_memory(packed: PackedBoards, row: int, out: PackedBoards, to: int) -> None:
    """Copy what the players remember on a board."""
    for player in range(packed.memory.shape[1]):
        known, copied = packed.memory[row, player], out.memory[to, player]
        for tile in range(copied.shape[0]):
            copied[tile] = known[tile]


@inlined
def write_experience(
    segments: Segments, s: int, turn: int, player: int, rows: npt.NDArray[np.void], i: int, first: int, depth: int
) -> None:
    """Write an experience to ``rows[i]``; its boards go to rows ``first`` and following."""
    flags = segments.flags[s, turn, player]
    rows[i]["sequence"] = segments.sequences[s, turn, player]
    rows[i]["collected_at"] = segments.times[s, turn]
    rows[i]["game"] = segments.game[s]
    rows[i]["state_index"] = first
    rows[i]["next_state_index"] = first + depth
    rows[i]["action"] = segments.actions[s, turn, player]
    rows[i]["reward"] = segments.rewards[s, turn, player]
    rows[i]["steps"] = 1
    rows[i]["player_id"] = player
    rows[i]["illegal"] = flags & ILLEGAL != 0
    rows[i]["terminated"] = flags & TERMINATED != 0
    rows[i]["truncated"] = flags & TRUNCATED != 0


@inlined
def first_segment(segments: Segments, s: int, goal: int, depth: int) -> tuple[int, int]:
    """Return the segment from which to resimulate turn ``goal`` of segment ``s``, and the turn's number from its keyframe on.

    It begins early enough for all frames of the turn's state.
    """
    while goal < depth - 1 and segments.previous[s] >= 0:
        s = np.int64(segments.previous[s])
        goal += np.int64(segments.turns[s])
    return s, goal


@inlined
def write_boards_before_keyframe(
    segments: Segments,
    s: int,
    goal: int,
    depth: int,
    boards: Boards,
    out: PackedBoards,
    first: int,
    counts: npt.NDArray[np.int64],
) -> int:
    """Write the frames of an experience that are older than the keyframe of segment ``s``; return the ground of the last one.

    Frame ``back`` of the state is the board ``back`` turns before it, which goes to row ``first + back``; those of the next
    state go ``depth`` rows further on.
    """
    packed = segments.tables.packed
    ground = -1
    earlier = np.int64(packed.entries[segments.keyframe[s]]["previous"])
    for back in range(goal + 1, depth + 1):
        if earlier < 0:
            break
        unpack_row(packed, earlier, boards, 1)
        follows = np.int64(packed.entries[earlier]["previous"])
        for k in range(2):
            if back + k < depth:
                to = first + k * depth + back + k
                ground = pack_row(boards, 1, out, to, ground, -1, counts)
                out.entries[to]["previous"] = to + 1 if follows >= 0 and back + k < depth - 1 else -1
                if packed.memory.shape[0] > 0:
                    copy_memory(packed, earlier, out, to)
        earlier = follows
    return ground


@inlined
def advance(segments: Segments, s: int, step: int, scratch: SimulationScratch) -> tuple[int, int]:
    """Bring the board in ``scratch``, which is that before turn ``step`` of segment ``s``, one turn further.

    Returns:
        Segment and turn that come next.
    """
    packed, boards = segments.tables.packed, scratch.boards
    # The keyframe of the next segment is the board that this one ends with.
    if step == segments.turns[s]:
        s = np.int64(segments.later[s])
        step = 0
    if step == segments.turns[s] - 1 and segments.ending[s] >= 0:
        unpack_row(packed, np.int64(segments.ending[s]), boards, 0)
        list_growing_tiles(boards, 0, scratch.growing)
    else:
        for player in range(scratch.actions.shape[0]):
            scratch.actions[player] = segments.actions[s, step, player]
        resimulate_turn(boards, 0, scratch)
    return s, step + 1


@kernel
def take_turns(
    segments: Segments,
    keys: npt.NDArray[np.int64],
    depth: int,
    height: int,
    rows: npt.NDArray[np.void],
    out: PackedBoards,
    counts: npt.NDArray[np.int64],
    low: int,
    high: int,
) -> None:
    """Write experiences ``low`` to ``high`` with their boards, resimulating each once from a keyframe on.

    Args:
        segments: The segments.
        keys: (n,) int64.
        depth: See ``put_turns``.
        height: H.
        rows: (n,) records of ``EXPERIENCE``, out; ``game`` is a row of the segments.
        out: Boards, out: 2 * depth for each experience, those of the state first.
        counts: (2,) int64, in and out: number of grounds and rows of wide armies in ``out``.
        low: First experience.
        high: End of the experiences.
    """
    packed = segments.tables.packed
    tiles, players = packed.tiles.shape[1], segments.actions.shape[2]
    width = tiles // height
    remembers = packed.memory.shape[0] > 0
    scratch = empty_scratch(tiles, players)
    boards = scratch.boards
    # Memory is carried from turn to turn on two packed boards, the present one in row ``now``.
    trail = room_for_two(tiles, players, remembers)
    trail_counts = np.zeros(2, np.int64)
    lines = empty_lines(tiles, width)
    visible = np.zeros(tiles, np.uint32)
    for i in range(low, high):
        s, turn, player = locate(segments, keys[i])
        first = 2 * depth * i
        write_experience(segments, s, turn, player, rows, i, first, depth)
        # The state is board ``goal`` from the keyframe on, the next state the board after it.
        s, goal = first_segment(segments, s, turn, depth)
        ground = write_boards_before_keyframe(segments, s, goal, depth, boards, out, first, counts)
        keyframe = np.int64(segments.keyframe[s])
        begins = packed.entries[keyframe]["previous"] < 0
        unpack_row(packed, keyframe, boards, 0)
        list_growing_tiles(boards, 0, scratch.growing)
        wraps = boards.games[0]["modifiers"] & TORUS != 0
        now = 0
        if remembers:
            copy_memory(packed, keyframe, trail, now)
        step = 0
        for number in range(goal + 2):
            if number > 0:
                s, step = advance(segments, s, step, scratch)
                if remembers:
                    now = 1 - now
                    trail_counts[:] = 0
                    pack_row(boards, 0, trail, now, -1, 1 - now, trail_counts)
                    if wraps:
                        visible_to(boards, 0, visible)
                    recall_board(trail, now, width, lines, visible)
            for k in range(2):
                back = goal + k - number
                if 0 <= back < depth:
                    to = first + k * depth + back
                    ground = pack_row(boards, 0, out, to, ground, -1, counts)
                    out.entries[to]["previous"] = to + 1 if (number > 0 or not begins) and back < depth - 1 else -1
                    if remembers:
                        copy_memory(trail, now, out, to)
