"""Games kept as a board every few turns and the actions between, played again when a turn is asked for.

A segment is a keyframe and up to K turns from there on. A turn is taken as played only if playing it has led, tile by tile, to
the board that was recorded. Where it does not (an event between two turns, a player whose actions are not known), that board is
kept, too, and the next segment begins with a keyframe. So what is read is what was written, whatever that was.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import GAME, PLAYER, TORUS, Boards
from generals_env.engine.jit import inlined, kernel
from generals_env.engine.observations.reference import visible_to
from generals_env.engine.packed.expand import empty_lines
from generals_env.engine.packed.fog_memory import recall_board
from generals_env.engine.packed.packing import ENTRY, PackedBoards, pack_row, unpack_row
from generals_env.engine.storage.board_pool import (
    FIRST,
    FREE_GAMES,
    FREED_GAMES,
    NEXT,
    BoardTables,
    add_board,
    place_ground,
    release_row,
    shortage,
)
from generals_env.engine.storage.resimulate import copy_board, empty_table, list_growing, play_turn, same_board

__all__ = [
    "FREE_SEGMENTS",
    "TURNS",
    "Segments",
    "drop_turns",
    "follow_turns",
    "put_turns",
    "take_turns",
]

#: Turns of a segment. At 20x20 with two players a keyframe takes 13 bytes an experience of a whole segment.
TURNS = 32

#: Column of ``Segments.state`` after those that ``tables`` names.
FREE_SEGMENTS = 4

# Bits of ``Segments.flags``.
KEPT, ILLEGAL, TERMINATED, TRUNCATED = 1, 2, 4, 8


class Segments(NamedTuple):
    """Room for N experiences in S segments, of M games at once.

    Attributes:
        tables: Keyframes, and the boards that playing does not lead to.
        keyframe: (S,) int32, row of the first board; before it stand those that its frames need, if no segment does.
        ending: (S,) int32, row of the last board, -1 where playing leads to it.
        game: (S,) int32.
        turns: (S,) int16, how many there are.
        holders: (S,) int32, how many experiences are held, and 1 if the segment after it needs its boards for its frames.
        previous: (S,) int32, the segment that this one goes on from, -1 for none.
        later: (S,) int32, the segment that goes on from this one, -1 for none.
        actions: (S, K, P) uint16.
        rewards: (S, K, P) float32.
        flags: (S, K, P) uint8.
        sequences: (S, K, P) int64.
        keys: (S, K) int64, that of the first experience kept of a turn; the others follow.
        times: (S, K) int64.
        where: (N,) uint32, ``(segment * K + turn) * P + player`` of each key.
        present: The board of each game after its last turn, M of them.
        current: (M,) int32, segment in which a game is, -1 for none.
        game_refs: (M,) int32, how many segments refer to a game.
        game_ground: (M,) int32, ground that a game stood on last, -1 for none.
        free_games: (M,) int32, stack of free rows.
        freed_games: (M,) int32, games that nobody refers to any more, until they are forgotten by name, too.
        listed: (M,) bool, whether a game stands in ``freed_games``.
        free_segments: (S,) int32, stack of free rows.
        state: (5,) int64, first and next key, and how many entries the three stacks have.
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


# --- Writing ----------------------------------------------------------------------------------------------------------


@inlined
def release_frames(tables: BoardTables, row: int) -> None:
    """Let go of a keyframe and of the boards before it."""
    while row >= 0:
        previous = np.int64(tables.packed.entries[row]["previous"])
        release_row(tables, row)
        row = previous


@inlined
def free_segment(segments: Segments, s: int, depth: int) -> None:
    """Let go of a segment that nobody holds any more, and of those that only it held."""
    state = segments.state
    while s >= 0:
        release_frames(segments.tables, np.int64(segments.keyframe[s]))
        if segments.ending[s] >= 0:
            release_row(segments.tables, np.int64(segments.ending[s]))
        game = np.int64(segments.game[s])
        if segments.current[game] == s:
            segments.current[game] = -1
        segments.game_refs[game] -= 1
        if segments.game_refs[game] == 0 and not segments.listed[game]:
            segments.listed[game] = True
            segments.freed_games[state[FREED_GAMES]] = game
            state[FREED_GAMES] += 1
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
    key = segments.state[FIRST]
    place = np.int64(segments.where[key % segments.where.shape[0]])
    players = segments.actions.shape[2]
    s = place // (TURNS * players)
    rest = place - s * TURNS * players
    turn = rest // players
    segments.flags[s, turn, rest - turn * players] &= np.uint8(0xFF ^ KEPT)
    segments.holders[s] -= 1
    segments.state[FIRST] += 1
    if segments.holders[s] == 0:
        free_segment(segments, s, depth)


@kernel
def drop_turns(segments: Segments, count: int, depth: int) -> None:
    """Drop the ``count`` oldest experiences."""
    for _ in range(count):
        drop_oldest(segments, depth)


@inlined
def add_row(segments: Segments, boards: PackedBoards, row: int, game: int) -> int:
    """Bring a board into the tables and return its row; minus what there is no room for, see ``SHORT_OF``."""
    short = shortage(segments.tables, boards, row)
    if short:
        return -short
    origin = np.int64(boards.entries[row]["ground"])
    ground = place_ground(segments.tables, boards, origin, np.int64(-1), np.int64(segments.game_ground[game]))
    if ground < 0:
        return -2
    segments.game_ground[game] = ground
    return add_board(segments.tables, boards, row, ground)


@inlined
def add_frames(segments: Segments, boards: PackedBoards, row: int, game: int, depth: int) -> int:
    """Bring a board and ``depth - 1`` boards before it into the tables; result as of ``add_row``."""
    tables = segments.tables
    first = np.int64(-1)
    later = np.int64(-1)
    for _ in range(depth):
        place = add_row(segments, boards, row, game)
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
    """Begin a segment with board ``row`` and return 0, or what there is no room for, see ``SHORT_OF``.

    Unless it goes on from the game's segment before it, it has the boards that its frames need for itself.
    """
    state = segments.state
    if state[FREE_SEGMENTS] == 0:
        return 5
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
    if before >= 0 and segments.holders[before] == 0:  # nothing of it was kept
        free_segment(segments, before, depth)
        segments.current[game] = s
    return 0


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
    """Write experiences ``rows[low:]``; those of one turn stand together.

    Args:
        segments: Where to.
        rows: (n,) records of ``EXPERIENCE``, each of one turn.
        boards: Their boards.
        games: (g,) int32, the row of each of their games, -1 for one that has none; then one is taken and written here.
        kept: (n,) bool, which to keep; the actions of the others are needed all the same.
        depth: How many boards an experience needs to be shown: frames that are stacked.
        drops: Whether the oldest experiences make room when a table is used up.
        low: Where to begin.

    Returns:
        Where it stopped, n if all are written, and what there was no room for: see ``SHORT_OF``, 5 for segments.
    """
    state = segments.state
    slots = segments.where.shape[0]
    tiles, players = boards.tiles.shape[1], boards.players.shape[1]
    table = empty_table(tiles, players)
    present, two = segments.present, table.boards
    links = depth > 1 or boards.memory.shape[0] > 0
    i = low
    while i < rows.shape[0]:
        game = np.int64(games[rows[i]["game"]])
        if game < 0:
            if state[FREE_GAMES] == 0:
                return i, 4
            state[FREE_GAMES] -= 1
            game = np.int64(segments.free_games[state[FREE_GAMES]])
            games[rows[i]["game"]] = game
            segments.game_refs[game] = 0
            segments.game_ground[game] = -1
            segments.current[game] = -1
        before = np.int64(rows[i]["state_index"])
        after = np.int64(rows[i]["next_state_index"])
        end = i
        count = 0
        while end < rows.shape[0] and rows[end]["game"] == rows[i]["game"] and rows[end]["state_index"] == before:
            if rows[end]["next_state_index"] != after or rows[end]["collected_at"] != rows[i]["collected_at"]:
                break
            # In the order of players, each once: so keys and times are kept once a turn.
            if end > i and rows[end]["player_id"] <= rows[end - 1]["player_id"]:
                break
            if count == slots and kept[end]:
                break
            count += 1 if kept[end] else 0
            end += 1
        full = state[NEXT] - state[FIRST] + count > slots
        opens = True
        short = 0
        while opens or full:
            if full:
                if state[NEXT] == state[FIRST]:
                    return i, short
                drop_oldest(segments, depth)
                full = state[NEXT] - state[FIRST] + count > slots
                continue
            s = np.int64(segments.current[game])
            unpack_row(boards, before, two, 1)
            # A board that was recorded without one before it is shown without one.
            goes_on = s >= 0 and not (links and boards.entries[before]["previous"] < 0) and same_board(present, game, two, 1)
            if goes_on and segments.ending[s] < 0 and segments.turns[s] < TURNS:
                break
            short = open_segment(segments, boards, before, game, goes_on, depth)
            if short == 0:
                copy_board(two, 1, present, game)
                opens = False
            elif not drops:
                return i, short
            else:
                full = True
        s = np.int64(segments.current[game])
        turn = np.int64(segments.turns[s])
        for player in range(players):
            table.actions[player] = 8 * tiles
            segments.flags[s, turn, player] = np.uint8(0)
        for k in range(i, end):
            table.actions[rows[k]["player_id"]] = rows[k]["action"]
        for player in range(players):
            segments.actions[s, turn, player] = np.uint16(table.actions[player])
        list_growing(present, game, table.growing)
        play_turn(present, game, table)
        unpack_row(boards, after, two, 1)
        if not same_board(present, game, two, 1):
            place = add_row(segments, boards, after, game)
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
            copy_board(two, 1, present, game)
        segments.turns[s] += 1
        segments.times[s, turn] = rows[i]["collected_at"]
        segments.keys[s, turn] = state[NEXT]
        for k in range(i, end):
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
        i = end
    for game in games:  # one that does not go on would stay for ever
        if game >= 0:
            s = np.int64(segments.current[game])
            if s >= 0 and segments.holders[s] == 0:
                free_segment(segments, s, depth)
    return rows.shape[0], 0


# --- Reading ----------------------------------------------------------------------------------------------------------


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


@kernel
def follow_turns(segments: Segments, keys: npt.NDArray[np.int64], out: npt.NDArray[np.int64]) -> None:
    """Write for each key (n,) those of the same player's turns from there on, (n, k) int64; -1 where there are no more."""
    players = segments.actions.shape[2]
    for i in range(keys.shape[0]):
        place = np.int64(segments.where[keys[i] % segments.where.shape[0]])
        s = place // (TURNS * players)
        turn = place // players - s * TURNS
        player = place % players
        key = keys[i]
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
    """Write experiences ``low`` to ``high`` with their boards, playing once from the keyframe on for each.

    Args:
        segments: The segments.
        keys: (n,) int64.
        depth: As in ``put_turns``.
        height: H.
        rows: (n,) records of ``EXPERIENCE``, out; ``game`` is a row of the segments.
        out: Where boards go: 2 * depth for each experience, state first.
        counts: (2,) int64, in and out: where grounds and wide armies go.
        low: First experience.
        high: First experience not to be written.
    """
    slots = segments.where.shape[0]
    packed = segments.tables.packed
    tiles, players = packed.tiles.shape[1], segments.actions.shape[2]
    width = tiles // height
    remembers = packed.memory.shape[0] > 0
    table = empty_table(tiles, players)
    boards = table.boards
    # What was played last, packed, two boards in turn: memory grows from one to the other.
    trail = room_for_two(tiles, players, remembers)
    trail_counts = np.zeros(2, np.int64)
    lines = empty_lines(tiles, width)
    visible = np.zeros(tiles, np.uint32)
    for i in range(low, high):
        place = np.int64(segments.where[keys[i] % slots])
        s = place // (TURNS * players)
        turn = place // players - s * TURNS
        player = place % players
        flags = segments.flags[s, turn, player]
        first = 2 * depth * i
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
        # Boards are counted from the keyframe at which playing begins: far enough back for the frames of the state, which is
        # board ``goal``; the next state is the one after it.
        goal = turn
        while goal < depth - 1 and segments.previous[s] >= 0:
            s = np.int64(segments.previous[s])
            goal += np.int64(segments.turns[s])
        ground = -1
        earlier = np.int64(packed.entries[segments.keyframe[s]]["previous"])
        begins = earlier < 0
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
                    if remembers:
                        copy_memory(packed, earlier, out, to)
            earlier = follows
        unpack_row(packed, np.int64(segments.keyframe[s]), boards, 0)
        list_growing(boards, 0, table.growing)
        wraps = boards.games[0]["modifiers"] & TORUS != 0
        now = 0
        if remembers:
            copy_memory(packed, np.int64(segments.keyframe[s]), trail, now)
        step = 0
        for number in range(goal + 2):
            if number > 0:
                # The keyframe of the next segment is the board that this one ends with.
                if step == segments.turns[s]:
                    s = np.int64(segments.later[s])
                    step = 0
                if step == segments.turns[s] - 1 and segments.ending[s] >= 0:
                    unpack_row(packed, np.int64(segments.ending[s]), boards, 0)
                    list_growing(boards, 0, table.growing)
                else:
                    for other in range(players):
                        table.actions[other] = segments.actions[s, step, other]
                    play_turn(boards, 0, table)
                step += 1
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


@inlined
def copy_memory(packed: PackedBoards, row: int, out: PackedBoards, to: int) -> None:
    """Copy what the players remember on a board."""
    for player in range(packed.memory.shape[1]):
        known, copied = packed.memory[row, player], out.memory[to, player]
        for tile in range(copied.shape[0]):
            copied[tile] = known[tile]
