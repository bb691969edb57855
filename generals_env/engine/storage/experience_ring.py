"""Stores experiences in a ring buffer over a pool of shared boards; kernels put, drop, follow and take them.

The key of an experience is the number of experiences put before it. It lies in slot ``key % N`` and is stored while
``first <= key < next``, so a stale key is recognised without looking it up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined, kernel
from generals_env.engine.packed.gather import copy_armies, copy_ground, copy_packed_row
from generals_env.engine.packed.packing import PackedBoards
from generals_env.engine.prefetch import fetch
from generals_env.engine.storage.board_pool import (
    NO_GAMES,
    NO_GROUNDS,
    BoardTables,
    add_board,
    place_ground,
    release_row,
    shortage,
)
from generals_env.engine.storage.game_table import FIRST, NEXT, claim_game, release_game

__all__ = [
    "Ring",
    "drop_experiences",
    "follow_experiences",
    "put_experiences",
    "release_placed_boards",
    "take_experiences",
]

AHEAD = 8  # experiences between prefetching memory and reading it


class Ring(NamedTuple):
    """Room for N experiences of at most M games.

    Attributes:
        experiences: (N,) records of ``EXPERIENCE``; ``game`` is a row of ``last``, the indices are rows of the tables.
        following: (N,) int64, key of the same player's next turn, -1 for none.
        tables: The boards.
        game_refs: (M,) int32, see ``GameTable``.
        game_ground: (M,) int32, likewise.
        last: (M, P) int64, key of each player's last turn, -1 for none.
        free_games: (M,) int32, see ``GameTable``.
        freed_games: (M,) int32, likewise.
        listed: (M,) bool, likewise.
        state: (4,) int64, likewise.
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
def release_boards(tables: BoardTables, row: int, depth: int) -> None:
    """Remove one reference to a board and to the ``depth - 1`` boards before it."""
    for _ in range(depth):
        previous = np.int64(tables.packed.entries[row]["previous"])
        release_row(tables, row)
        if previous < 0:
            return
        row = previous


@inlined
def hold_boards(tables: BoardTables, row: int, depth: int) -> None:
    """Add one reference to a board and to the ``depth - 1`` boards before it."""
    for _ in range(depth):
        tables.board_refs[row] += 1
        row = np.int64(tables.packed.entries[row]["previous"])
        if row < 0:
            return


# --- Dropping ---------------------------------------------------------------------------------------------------------


@inlined
def drop_first(ring: Ring, depth: int) -> None:
    """Drop the oldest experience."""
    state = ring.state
    key = state[FIRST]
    slot = key % ring.experiences.shape[0]
    game = np.int64(ring.experiences[slot]["game"])
    player = np.int64(ring.experiences[slot]["player_id"])
    release_boards(ring.tables, np.int64(ring.experiences[slot]["state_index"]), depth)
    release_boards(ring.tables, np.int64(ring.experiences[slot]["next_state_index"]), depth)
    if ring.last[game, player] == key:
        ring.last[game, player] = -1
    release_game(ring, game)
    state[FIRST] += 1


@kernel
def drop_experiences(ring: Ring, count: int, depth: int) -> None:
    """Drop the ``count`` oldest experiences."""
    for _ in range(count):
        drop_first(ring, depth)


# --- Writing ----------------------------------------------------------------------------------------------------------


@inlined
def place_boards(
    ring: Ring,
    boards: PackedBoards,
    row: int,
    game: int,
    depth: int,
    places: npt.NDArray[np.int32],
    ground_places: npt.NDArray[np.int32],
) -> int:
    """Copy board ``row`` and the ``depth - 1`` boards before it to the tables, each with one reference until the release.

    Returns:
        0, or the code of the table that is full, see ``TABLE_NAMES``.
    """
    tables = ring.tables
    later = np.int64(-1)  # row of the board one turn after
    for _ in range(depth):
        place = np.int64(places[row])
        if place < 0:
            # The steps of ``add_game_board``, whose call made ``put_experiences`` a tenth slower.
            short = shortage(tables, boards, row)
            if short:
                return short
            origin = np.int64(boards.entries[row]["ground"])
            ground = place_ground(tables, boards, origin, np.int64(ground_places[origin]), np.int64(ring.game_ground[game]))
            if ground < 0:
                return NO_GROUNDS
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


@inlined
def append_experience(ring: Ring, rows: npt.NDArray[np.void], i: int, game: int, before: int, after: int, depth: int) -> None:
    """Write experience ``rows[i]``, from board ``before`` to board ``after`` of the tables, to the next slot."""
    state = ring.state
    slots = ring.experiences.shape[0]
    key = state[NEXT]
    slot = key % slots
    ring.experiences[slot] = rows[i]
    ring.experiences[slot]["game"] = game
    ring.experiences[slot]["state_index"] = before
    ring.experiences[slot]["next_state_index"] = after
    ring.following[slot] = -1
    hold_boards(ring.tables, before, depth)
    hold_boards(ring.tables, after, depth)
    ring.game_refs[game] += 1
    player = np.int64(rows[i]["player_id"])
    last = ring.last[game, player]
    if last >= state[FIRST]:
        old = last % slots
        reached = np.int64(ring.experiences[old]["next_state_index"])
        ended = ring.experiences[old]["terminated"] or ring.experiences[old]["truncated"]
        if not ended and ring.tables.packed.entries[reached]["turn"] == ring.tables.packed.entries[before]["turn"]:
            ring.following[old] = key
    ring.last[game, player] = key
    state[NEXT] += 1


@kernel
def put_experiences(
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
        games: (g,) int32, in and out: the ring's row of each of their games; -1 for a game without one, which gets one here.
        depth: Number of boards that an observation is made of: stacked frames.
        drops: Whether to drop the oldest experiences when a table is full. Those of this call are never dropped for that:
            their boards have a reference of this call anyway.
        places: (b,) int32, in and out: the row of each board in the ring, -1 for none. Boards placed here keep one
            reference until ``release_placed_boards`` is called.
        ground_places: (G',) int32, likewise for grounds.
        low: Where to begin.

    Returns:
        Where it stopped, n if all are written; and 0 or the code of the table that is full, see ``TABLE_NAMES``.
    """
    state = ring.state
    slots = ring.experiences.shape[0]
    start = np.int64(state[NEXT])
    for i in range(low, rows.shape[0]):
        full = state[NEXT] - state[FIRST] == slots
        game = np.int64(games[rows[i]["game"]])
        if game < 0:
            game = claim_game(ring, games, np.int64(rows[i]["game"]))
            if game < 0:
                return i, NO_GAMES
            for player in range(ring.last.shape[1]):
                ring.last[game, player] = -1
        before = np.int64(rows[i]["state_index"])
        after = np.int64(rows[i]["next_state_index"])
        placed = 0
        while placed < 2 or full:
            if full:
                drop_first(ring, depth)
                full = False
                continue
            short = place_boards(ring, boards, before if placed == 0 else after, game, depth, places, ground_places)
            if short == 0:
                placed += 1
            elif not drops or state[FIRST] >= start:
                return i, short
            else:
                full = True
        append_experience(ring, rows, i, game, np.int64(places[before]), np.int64(places[after]), depth)
    return rows.shape[0], 0


@kernel
def release_placed_boards(ring: Ring, places: npt.NDArray[np.int32]) -> None:
    """Remove the references that ``put_experiences`` has added to the boards it placed."""
    for row in range(places.shape[0]):
        if places[row] >= 0:
            release_row(ring.tables, np.int64(places[row]))


# --- Reading ----------------------------------------------------------------------------------------------------------


@kernel
def follow_experiences(ring: Ring, keys: npt.NDArray[np.int64], out: npt.NDArray[np.int64]) -> None:
    """Write for each key (n,) the keys of the same player's next turns, itself first, to ``out`` (n, k); -1 after the last."""
    slots = ring.experiences.shape[0]
    for i in range(keys.shape[0]):
        key = keys[i]
        for k in range(out.shape[1]):
            out[i, k] = key
            if key >= 0:
                key = ring.following[key % slots]


@inlined
def prefetch_boards(ring: Ring, slot: int) -> None:
    """Prefetch the boards of an experience."""
    packed = ring.tables.packed
    for k in range(2):
        row = np.int64(ring.experiences[slot]["next_state_index"] if k else ring.experiences[slot]["state_index"])
        fetch(packed.entries, (row,))
        for tile in range(0, packed.tiles.shape[1], 32):
            fetch(packed.tiles, (row, tile))


@inlined
def prefetch_ground(ring: Ring, slot: int) -> None:
    """Prefetch the ground of an experience's first board."""
    packed = ring.tables.packed
    ground = np.int64(packed.entries[np.int64(ring.experiences[slot]["state_index"])]["ground"])
    fetch(packed.games, (ground,))
    fetch(packed.players, (ground, 0))
    for tile in range(0, packed.terrain.shape[1], 64):
        fetch(packed.terrain, (ground, tile))


@inlined
def take_boards(
    packed: PackedBoards, row: int, depth: int, out: PackedBoards, to: int, counts: npt.NDArray[np.int64], ground: int
) -> None:
    """Copy a board and the ``depth - 1`` boards before it to rows ``to`` and following.

    The first one gets ground ``ground`` of ``out``; if that is negative, its ground is copied to ``out``.
    """
    known = np.int64(packed.entries[row]["ground"])
    for step in range(depth):
        copy_packed_row(packed, row, out, to + step)
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
def take_experiences(
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
        depth: See ``put_experiences``.
        rows: (n,) records of ``EXPERIENCE``, out; ``game`` is a row of the ring.
        out: Boards, out: 2 * depth for each experience, those of the state first; with room for as many grounds and wide rows.
        counts: (2,) int64, in and out: number of grounds and rows of wide armies in ``out``.
    """
    slots = ring.experiences.shape[0]
    count = keys.shape[0]
    # Experience, boards and ground lie far apart, and each holds the index of the next: they are prefetched in three steps.
    for k in range(3 * AHEAD + count):
        if k < count:
            fetch(ring.experiences, (keys[k] % slots,))
        if AHEAD <= k < AHEAD + count:
            prefetch_boards(ring, keys[k - AHEAD] % slots)
        if 2 * AHEAD <= k < 2 * AHEAD + count:
            prefetch_ground(ring, keys[k - 2 * AHEAD] % slots)
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
            take_boards(ring.tables.packed, after if end else before, depth, out, first + end * depth, counts, ground)
