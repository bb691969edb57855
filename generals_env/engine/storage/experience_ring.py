"""A ring of experiences over boards that they share: written, dropped and drawn in kernels.

An experience has a key, the count of those written before it; it lies in slot ``key % N``, and is there as long as
``first <= key < next``: a stale key is told by that alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined, kernel
from generals_env.engine.packed.gather import copy_armies, copy_ground, copy_row
from generals_env.engine.packed.packing import PackedBoards
from generals_env.engine.prefetch import fetch
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

__all__ = ["Ring", "drop", "follow", "put", "release", "take"]

AHEAD = 8  # experiences between asking for memory and using it


class Ring(NamedTuple):
    """Room for N experiences of M games at once.

    Attributes:
        experiences: (N,) records of ``EXPERIENCE``; ``game`` is a row of ``last``, the indices are rows of the tables.
        following: (N,) int64, key of the same player's next turn, -1 for none.
        tables: The boards.
        game_refs: (M,) int32, how many experiences refer to a game.
        game_ground: (M,) int32, ground that a game stood on last, -1 for none.
        last: (M, P) int64, key of each player's last turn, -1 for none.
        free_games: (M,) int32, stack of free rows.
        freed_games: (M,) int32, games that nobody refers to any more, until they are forgotten by name, too.
        listed: (M,) bool, whether a game stands in ``freed_games``.
        state: (4,) int64, first and next key, and how many entries the two stacks have.
    """

    experiences: npt.NDArray[np.void]
    following: npt.NDArray[np.int64]
    tables: BoardTables
    game_refs: npt.NDArray[np.int32]
    game_ground: npt.NDArray[np.int32]
    last: npt.NDArray[np.int64]
    free_games: npt.NDArray[np.int32]
    freed_games: npt.NDArray[np.int32]
    listed: npt.NDArray[np.bool_]
    state: npt.NDArray[np.int64]


@inlined
def release_board(tables: BoardTables, row: int, depth: int) -> None:
    """Let go of a board and of ``depth - 1`` boards before it."""
    for _ in range(depth):
        previous = np.int64(tables.packed.entries[row]["previous"])
        release_row(tables, row)
        if previous < 0:
            return
        row = previous


@inlined
def hold_board(tables: BoardTables, row: int, depth: int) -> None:
    """Refer to a board and to ``depth - 1`` boards before it."""
    for _ in range(depth):
        tables.board_refs[row] += 1
        row = np.int64(tables.packed.entries[row]["previous"])
        if row < 0:
            return


@inlined
def drop_first(ring: Ring, depth: int) -> None:
    """Drop the oldest experience."""
    state = ring.state
    key = state[FIRST]
    slot = key % ring.experiences.shape[0]
    game = np.int64(ring.experiences[slot]["game"])
    player = np.int64(ring.experiences[slot]["player_id"])
    release_board(ring.tables, np.int64(ring.experiences[slot]["state_index"]), depth)
    release_board(ring.tables, np.int64(ring.experiences[slot]["next_state_index"]), depth)
    if ring.last[game, player] == key:
        ring.last[game, player] = -1
    ring.game_refs[game] -= 1
    if ring.game_refs[game] == 0 and not ring.listed[game]:
        ring.listed[game] = True
        ring.freed_games[state[FREED_GAMES]] = game
        state[FREED_GAMES] += 1
    state[FIRST] += 1


@kernel
def drop(ring: Ring, count: int, depth: int) -> None:
    """Drop the ``count`` oldest experiences."""
    for _ in range(count):
        drop_first(ring, depth)


@inlined
def place_board(
    ring: Ring,
    boards: PackedBoards,
    row: int,
    game: int,
    depth: int,
    places: npt.NDArray[np.int32],
    ground_places: npt.NDArray[np.int32],
) -> int:
    """Bring board ``row`` and ``depth - 1`` boards before it into the tables, held once by the call.

    Returns:
        0, or what there is no room for, see ``SHORT_OF``.
    """
    tables = ring.tables
    later = np.int64(-1)  # the board after the one at hand
    for _ in range(depth):
        place = np.int64(places[row])
        if place < 0:
            short = shortage(tables, boards, row)
            if short:
                return short
            origin = np.int64(boards.entries[row]["ground"])
            ground = place_ground(tables, boards, origin, np.int64(ground_places[origin]), np.int64(ring.game_ground[game]))
            if ground < 0:
                return 2
            ground_places[origin] = ground
            ring.game_ground[game] = ground
            place = add_board(tables, boards, row, ground)
            places[row] = place
        if later >= 0:
            tables.packed.entries[later]["previous"] = place
        later = place
        row = np.int64(boards.entries[row]["previous"])
        if row < 0:
            break
    return 0


@kernel
def put(
    ring: Ring,
    rows: npt.NDArray[np.void],
    boards: PackedBoards,
    games: npt.NDArray[np.int32],
    depth: int,
    drops: bool,
    places: npt.NDArray[np.int32],
    ground_places: npt.NDArray[np.int32],
    low: int,
) -> tuple[int, int]:
    """Write experiences ``rows[low:]``.

    Args:
        ring: The ring.
        rows: (n,) records of ``EXPERIENCE``.
        boards: Their boards.
        games: (g,) int32, the ring's row of each of their games, -1 for one that has none: then a row is taken and written
            here.
        depth: How many boards an experience needs to be shown: frames that are stacked.
        drops: Whether the oldest experiences make room when a table is used up; those that this call has written do not: it
            holds their boards all the same.
        places: (b,) int32, in and out: where each board lies in the ring, -1 for nowhere. Boards that were placed are held
            until ``release`` is called.
        ground_places: (G',) int32, likewise of grounds.
        low: Where to begin.

    Returns:
        Where it stopped, n if all are written, and what there was no room for, see ``SHORT_OF``.
    """
    state = ring.state
    slots = ring.experiences.shape[0]
    start = np.int64(state[NEXT])
    for i in range(low, rows.shape[0]):
        full = state[NEXT] - state[FIRST] == slots
        game = np.int64(games[rows[i]["game"]])
        while game < 0:
            if state[FREE_GAMES] > 0:
                state[FREE_GAMES] -= 1
                game = np.int64(ring.free_games[state[FREE_GAMES]])
                games[rows[i]["game"]] = game
                ring.game_refs[game] = 0
                ring.game_ground[game] = -1
                for player in range(ring.last.shape[1]):
                    ring.last[game, player] = -1
            else:
                return i, 4
        before = np.int64(rows[i]["state_index"])
        after = np.int64(rows[i]["next_state_index"])
        placed = 0
        while placed < 2 or full:
            if full:
                drop_first(ring, depth)
                full = False
                continue
            short = place_board(ring, boards, before if placed == 0 else after, game, depth, places, ground_places)
            if short == 0:
                placed += 1
            elif not drops or state[FIRST] >= start:
                return i, short
            else:
                full = True
        key = state[NEXT]
        slot = key % slots
        ring.experiences[slot] = rows[i]
        ring.experiences[slot]["game"] = game
        ring.experiences[slot]["state_index"] = places[before]
        ring.experiences[slot]["next_state_index"] = places[after]
        ring.following[slot] = -1
        hold_board(ring.tables, np.int64(places[before]), depth)
        hold_board(ring.tables, np.int64(places[after]), depth)
        ring.game_refs[game] += 1
        player = np.int64(rows[i]["player_id"])
        last = ring.last[game, player]
        if last >= state[FIRST]:
            old = last % slots
            reached = np.int64(ring.experiences[old]["next_state_index"])
            ended = ring.experiences[old]["terminated"] or ring.experiences[old]["truncated"]
            if not ended and ring.tables.packed.entries[reached]["turn"] == ring.tables.packed.entries[places[before]]["turn"]:
                ring.following[old] = key
        ring.last[game, player] = key
        state[NEXT] += 1
    return rows.shape[0], 0


@kernel
def release(ring: Ring, places: npt.NDArray[np.int32]) -> None:
    """Let go of the boards that ``put`` has placed; those that no experience refers to are freed."""
    for row in range(places.shape[0]):
        if places[row] >= 0:
            release_row(ring.tables, np.int64(places[row]))


@kernel
def follow(ring: Ring, keys: npt.NDArray[np.int64], out: npt.NDArray[np.int64]) -> None:
    """Write for each key (n,) those of the same player's turns from there on, (n, k) int64; -1 where there are no more."""
    slots = ring.experiences.shape[0]
    for i in range(keys.shape[0]):
        key = keys[i]
        for k in range(out.shape[1]):
            out[i, k] = key
            if key >= 0:
                key = ring.following[key % slots]


@inlined
def ask_for_boards(ring: Ring, slot: int) -> None:
    """Ask for the memory of an experience's boards."""
    packed = ring.tables.packed
    for k in range(2):
        row = np.int64(ring.experiences[slot]["next_state_index"] if k else ring.experiences[slot]["state_index"])
        fetch(packed.entries, (row,))
        for tile in range(0, packed.tiles.shape[1], 32):
            fetch(packed.tiles, (row, tile))


@inlined
def ask_for_ground(ring: Ring, slot: int) -> None:
    """Ask for the memory of the ground on which an experience begins."""
    packed = ring.tables.packed
    ground = np.int64(packed.entries[np.int64(ring.experiences[slot]["state_index"])]["ground"])
    fetch(packed.games, (ground,))
    fetch(packed.players, (ground, 0))
    for tile in range(0, packed.terrain.shape[1], 64):
        fetch(packed.terrain, (ground, tile))


@inlined
def take_board(
    packed: PackedBoards, row: int, depth: int, out: PackedBoards, to: int, counts: npt.NDArray[np.int64], ground: int
) -> None:
    """Copy a board and ``depth - 1`` boards before it to rows ``to`` and on.

    The first stands on ground ``ground`` of ``out``, or on one brought there if that is negative.
    """
    known = np.int64(packed.entries[row]["ground"])
    for step in range(depth):
        copy_row(packed, row, out, to + step)
        here = np.int64(packed.entries[row]["ground"])
        if ground < 0 or here != known:
            ground = counts[0]
            known = here
            copy_ground(packed, here, out, ground)
            counts[0] += 1
        out.entries[to + step]["ground"] = ground
        wide = np.int64(packed.entries[row]["wide"])
        if wide >= 0:
            copy_armies(packed, wide, out, counts[1])
            out.entries[to + step]["wide"] = counts[1]
            counts[1] += 1
        row = np.int64(packed.entries[row]["previous"])
        out.entries[to + step]["previous"] = to + step + 1 if row >= 0 and step + 1 < depth else -1
        if row < 0:
            return


@kernel
def take(
    ring: Ring,
    keys: npt.NDArray[np.int64],
    depth: int,
    rows: npt.NDArray[np.void],
    out: PackedBoards,
    counts: npt.NDArray[np.int64],
) -> None:
    """Copy experiences with their boards.

    Args:
        ring: The ring.
        keys: (n,) int64.
        depth: As in ``put``.
        rows: (n,) records of ``EXPERIENCE``, out; ``game`` is still a row of the ring.
        out: Where boards go: 2 * depth for each experience, state first; it has room for as many grounds and wide rows.
        counts: (2,) int64, in and out: grounds and rows of wide armies in ``out``.
    """
    slots = ring.experiences.shape[0]
    count = keys.shape[0]
    # Experience, boards and ground lie far apart, and each says where the next one is: they are asked for in three steps.
    for k in range(3 * AHEAD + count):
        if k < count:
            fetch(ring.experiences, (keys[k] % slots,))
        if AHEAD <= k < AHEAD + count:
            ask_for_boards(ring, keys[k - AHEAD] % slots)
        if 2 * AHEAD <= k < 2 * AHEAD + count:
            ask_for_ground(ring, keys[k - 2 * AHEAD] % slots)
        i = k - 3 * AHEAD
        if i < 0:
            continue
        slot = keys[i] % slots
        rows[i] = ring.experiences[slot]
        before = np.int64(ring.experiences[slot]["state_index"])
        after = np.int64(ring.experiences[slot]["next_state_index"])
        first = 2 * depth * i
        rows[i]["state_index"] = first
        rows[i]["next_state_index"] = first + depth
        same = ring.tables.packed.entries[after]["ground"] == ring.tables.packed.entries[before]["ground"]
        for end in range(2):
            ground = np.int64(out.entries[first]["ground"]) if end and same else -1
            take_board(ring.tables.packed, after if end else before, depth, out, first + end * depth, counts, ground)
