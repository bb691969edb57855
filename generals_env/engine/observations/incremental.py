"""Keeps the tensors and masks of B boards up to date: after a turn only what it changed is written.

Beside each board lie sets of tiles as bits (``TileSets``) and, for each player and tile, a code of what his tensor shows
(``Observations.tile_codes``). ``follow_board`` brings sets, masks and tensors up to date with the tiles that a turn touched.
They equal ``reference.observe`` and ``reference.action_mask`` bit for bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.bitboards import NOTHING, ONE, Rows, all_below, bit_at, has_bit, lowest_bit
from generals_env.engine.boards import NEUTRAL, TORUS, Boards
from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.observations.castle_masks import follow_builds, write_builds
from generals_env.engine.observations.dtypes import write_army, write_share
from generals_env.engine.observations.mask_updates import clear_mask, own_tile, rewrite_mask, write_mask
from generals_env.engine.observations.reference import SCOREBOARD, scoreboard
from generals_env.engine.observations.tile_codes import BLANK, write_tile
from generals_env.engine.observations.tile_sets import TileSets, follow_sight, index_growing_tiles, touch_all, touch_neighbours
from generals_env.engine.rules.rewards import tally_capture
from generals_env.engine.rules.valid_moves import Tiles, neighbour

__all__ = ["Observations", "blank_view", "enter_board", "follow_board", "show_scores"]


class Observations(NamedTuple):
    """Observations and action masks of the players of B boards.

    Attributes:
        observations: (B, P, H*W, C), C = 9 or 21, in a dtype of ``observations.dtypes``: a turn changes several channels of few
            tiles, which lie side by side.
        masks: (B, P, A) int8, see ``action_space.action_count``.
        tile_codes: (B, P, H*W) uint8, the code of each tile as the tensor shows it now.
    """

    observations: npt.NDArray[Any]
    masks: npt.NDArray[np.int8]
    tile_codes: npt.NDArray[np.uint8]


@inlined
def follow_land(
    boards: Boards,
    b: int,
    sets: TileSets,
    views: Observations,
    touched: Tiles,
    row_of: npt.NDArray[np.int32],
    homes: npt.NDArray[np.int64],
    teams: bool,
    changed: Rows,
    writes: bool,
    tally: npt.NDArray[np.int64],
) -> bool:
    """Bring land, movable tiles and masks up to date with the touched tiles.

    Args:
        boards: The boards.
        b: Which of them.
        sets: TileSets of the boards.
        views: Observations of the boards.
        touched: (n,) int32, the touched tiles, see ``tile_sets``.
        row_of: (H*W,) int32, row of each tile.
        homes: (P,) int64, generals before the turn.
        teams: Whether some players are friends.
        changed: (P,) uint64, in and out: bits of the rows in which each player's land changed.
        writes: Whether to write masks.
        tally: (P, 7) int64, in and out: captures of cities and generals are counted.

    Returns:
        Whether a city or a general changed hands.
    """
    players = boards.players.shape[1]
    width = boards.games[b]["width"]
    captured = False
    for k in range(1, touched[0] + 1):
        tile = np.int64(touched[k])
        row = np.int64(row_of[tile])
        column = tile - row * width
        bit = bit_at(column)
        new = np.int64(boards.owner[b, tile])
        old = np.int64(NEUTRAL)
        if new >= 0 and sets.land[b, new, row] & bit != NOTHING:
            old = new
        else:
            for player in range(players):
                if sets.land[b, player, row] & bit != NOTHING:
                    old = player
        if old != max(new, NEUTRAL):
            if old >= 0:
                sets.land[b, old, row] ^= bit
                changed[old] |= bit_at(row)
                if sets.movable[b, old, row] & bit != NOTHING:
                    sets.movable[b, old, row] ^= bit
                    if writes:
                        write_mask(views.masks[b, old], sets.exits.shape[1], tile, 0)
            if new >= 0:
                sets.land[b, new, row] |= bit
                changed[new] |= bit_at(row)
            if sets.built[b, row] & bit != NOTHING:
                captured = True
                tally_capture(boards.players[b], old, new, old >= 0 and homes[old] == tile, tally)
        if new >= 0:
            own_tile(boards, b, sets, views.masks[b, new], new, row, column, teams, writes)
    return captured


@subroutine
def show_scores(boards: Boards, b: int, sets: TileSets, views: Observations, active: npt.NDArray[np.int8]) -> None:
    """Write the channels of the full layout that are the same on every tile."""
    for player in range(active.shape[0]):
        if active[player]:
            shares = scoreboard(boards, b, player, sets.scores[b])
            tensor = views.observations[b, player]
            for tile in range(tensor.shape[0]):
                for k in range(len(shares)):
                    write_share(tensor, tile, SCOREBOARD + k, shares[k])


@subroutine
def blank_view(sets: TileSets, views: Observations, b: int, player: int) -> None:
    """Set the tensor of an eliminated player to zero, and allow him only the pass."""
    tensor = views.observations[b, player]
    clear_mask(views.masks[b, player], sets.exits.shape[1])
    for tile in range(tensor.shape[0]):
        for channel in range(tensor.shape[1]):
            tensor[tile, channel] = 0
        views.tile_codes[b, player, tile] = np.uint8(BLANK)
    for row in range(sets.seen.shape[2]):
        sets.movable[b, player, row] = NOTHING


@inlined
def find_movable(boards: Boards, b: int, sets: TileSets, views: Observations, writes: bool) -> None:
    """Find the tiles from which players can move after all land grew, and with ``writes`` show them in the masks.

    For games without teams.
    """
    width = boards.games[b]["width"]
    for player in range(sets.land.shape[1]):
        if not boards.players[b, player]["alive"]:
            continue
        for row in range(sets.land.shape[2]):
            word = sets.land[b, player, row]
            movable = NOTHING
            while word != NOTHING:
                column = lowest_bit(word)
                bit = word & (~word + ONE)
                word ^= bit
                tile = row * width + column
                if boards.army[b, tile] > 1 and sets.exits[b, tile] != 0:
                    movable |= bit
            change = movable ^ sets.movable[b, player, row]
            sets.movable[b, player, row] = movable
            while writes and change != NOTHING:
                column = lowest_bit(change)
                change &= change - ONE
                tile = row * width + column
                directions = np.int64(sets.exits[b, tile]) if has_bit(movable, column) else 0
                write_mask(views.masks[b, player], sets.exits.shape[1], tile, directions)


@inlined
def show_armies(boards: Boards, b: int, sets: TileSets, player: int, tensor: npt.NDArray[Any]) -> None:
    """Write the armies on all land that ``player`` sees; for games without teams."""
    width = boards.games[b]["width"]
    for other in range(sets.land.shape[1]):
        for row in range(sets.land.shape[2]):
            word = sets.land[b, other, row] & sets.seen[b, player, row]
            while word != NOTHING:
                tile = row * width + lowest_bit(word)
                word &= word - ONE
                write_army(tensor, tile, 0 if other == player else 1, np.int64(boards.army[b, tile]))


@inlined
def follow_view(
    boards: Boards,
    b: int,
    sets: TileSets,
    views: Observations,
    player: int,
    touched: Tiles,
    row_of: npt.NDArray[np.int32],
    changes: Rows,
    changed: Rows,
    teams: bool,
    sweeps: bool,
    grew: bool,
    owner_codes: npt.NDArray[np.int64],
) -> None:
    """Bring the sight and the tensor of one player up to date; arguments as in ``follow_board``, ``owner_codes`` is his row."""
    width = boards.games[b]["width"]
    rows = changed[player]
    if teams:
        for other in range(changed.shape[0]):
            if boards.players[b, other]["team"] == boards.players[b, player]["team"]:
                rows |= changed[other]
    rows = follow_sight(boards, b, sets, player, rows, teams, changes)
    tensor = views.observations[b, player]
    tile_codes = views.tile_codes[b, player]
    for k in range(1, touched[0] + 1):
        tile = np.int64(touched[k])
        row = np.int64(row_of[tile])
        seen = has_bit(sets.seen[b, player, row], tile - row * width)
        if seen or sweeps:
            write_tile(boards, b, tile, seen, owner_codes, tile_codes, tensor)
    if sweeps:
        return  # all tiles are written
    while rows != NOTHING:
        row = lowest_bit(rows)
        rows &= rows - ONE
        seen_row = sets.seen[b, player, row]
        word = changes[row]
        while word != NOTHING:
            column = lowest_bit(word)
            word &= word - ONE
            write_tile(boards, b, row * width + column, has_bit(seen_row, column), owner_codes, tile_codes, tensor)
    if grew:
        show_armies(boards, b, sets, player, tensor)


@inlined
def follow_board(
    boards: Boards,
    b: int,
    sets: TileSets,
    views: Observations,
    touched: Tiles,
    row_of: npt.NDArray[np.int32],
    changes: Rows,
    changed: Rows,
    homes: npt.NDArray[np.int64],
    start: Tiles,
    end: Tiles,
    shown: npt.NDArray[np.int8],
    teams: bool,
    sweeps: bool,
    shows: bool,
    late: bool,
    grew: bool,
    castles: bool | None,
    owner_codes: npt.NDArray[np.int64],
    tally: npt.NDArray[np.int64],
) -> bool:
    """Bring sets, masks and tensors of a board up to date with the touched tiles, and empty their list.

    Without ``shows`` only what rules and policies need is kept up to date: land and movable tiles, and with teams the masks.

    Args:
        boards: The boards.
        b: Which of them.
        sets: TileSets of the boards.
        views: Observations of the boards.
        touched: (n,) int32, in and out: the tiles touched since the last call, see ``tile_sets``; empty afterwards.
        row_of: (H*W,) int32, row of each tile.
        changes: (H,) uint64, scratch.
        changed: (P,) uint64, scratch.
        homes: (P,) int64, generals before the turn.
        start: (P,) int32, tiles moved from, see ``take_actions``.
        end: (P,) int32, tiles moved to or built on, see there.
        shown: (P,) int8, 1 for players whose tensors are kept up to date.
        teams: Whether some players are friends.
        sweeps: Whether to compute the sight of all players anew, not only around land that changed, and to update tiles in
            fog, where a city may be new. All tiles are listed then.
        shows: Whether to bring tensors and masks up to date.
        late: Whether earlier calls left tensors and masks as they were, so that any tile may differ.
        grew: Whether armies on all land grew without being listed.
        castles: None without the rules of the competition, True with them.
        owner_codes: (P, P + 6) int64, see ``team_visibility``.
        tally: (P, 7) int64, see ``follow_land``.

    Returns:
        Whether a city or a general changed hands.
    """
    players = shown.shape[0]
    height = changes.shape[0]
    width = boards.games[b]["width"]
    for player in range(players):
        changed[player] = all_below(height) if sweeps else NOTHING
    if teams and not sweeps:  # the moves of a tile depend on team-mates' tiles next to it
        touch_neighbours(boards, b, touched, row_of)
    captured = follow_land(boards, b, sets, views, touched, row_of, homes, teams, changed, teams or not late, tally)
    if grew:
        find_movable(boards, b, sets, views, not late)
    if castles is not None:
        if not late:
            follow_builds(boards, b, views.masks, touched, start, end, changed, sweeps or grew or captured)
    if shows and late:
        sweeps = True
        touch_all(touched, row_of.shape[0])
        for player in range(players):
            changed[player] = all_below(height)
            if shown[player] and not teams:
                rewrite_mask(sets, views.masks[b, player], b, player, width)
                if castles is not None:
                    write_builds(boards, b, player, views.masks[b, player])
    for player in range(players):
        if shows and shown[player]:
            follow_view(
                boards, b, sets, views, player, touched, row_of, changes, changed, teams, sweeps, grew, owner_codes[player]
            )
    if castles is not None:
        if shows and not sweeps:
            show_built(boards, b, sets, views, start, end, shown, owner_codes)
    touched[0] = 0
    return captured


@subroutine
def show_built(
    boards: Boards,
    b: int,
    sets: TileSets,
    views: Observations,
    start: Tiles,
    end: Tiles,
    shown: npt.NDArray[np.int8],
    owner_codes: npt.NDArray[np.int64],
) -> None:
    """Show the castles of the turn to all players: also out of sight a castle is an obstacle at once."""
    width = boards.games[b]["width"]
    for builder in range(shown.shape[0]):
        if start[builder] >= 0 or end[builder] < 0:
            continue
        tile = np.int64(end[builder])
        row = tile // width
        for player in range(shown.shape[0]):
            if shown[player]:
                seen = has_bit(sets.seen[b, player, row], tile - row * width)
                tile_codes, tensor = views.tile_codes[b, player], views.observations[b, player]
                write_tile(boards, b, tile, seen, owner_codes[player], tile_codes, tensor)


@subroutine
def enter_board(
    boards: Boards, b: int, sets: TileSets, views: Observations, touched: Tiles, homes: npt.NDArray[np.int64]
) -> None:
    """Compute the sets of a board that was replaced, so that ``follow_board`` with ``sweeps`` brings the rest up to date.

    The tensors may show any earlier board, as long as ``Observations.tile_codes`` agrees with them.

    Args:
        boards: The boards.
        b: Which of them.
        sets: TileSets of the boards.
        views: Observations of the boards.
        touched: (n,) int32, out: all tiles.
        homes: (P,) int64, out: -1, no general.
    """
    game = boards.games[b]
    width = game["width"]
    wraps = game["modifiers"] & TORUS != 0
    for row in range(game["height"]):
        sets.passable[b, row] = NOTHING
        for column in range(width):
            tile = row * width + column
            if boards.owner[b, tile] >= NEUTRAL:
                sets.passable[b, row] |= bit_at(column)
            exits = 0
            if row < game["rows"] and column < game["columns"]:
                for direction in range(4):
                    target = neighbour(row, column, direction, width, game["rows"], game["columns"], wraps)
                    if target >= 0 and boards.owner[b, target] >= NEUTRAL:
                        exits |= 1 << direction
            sets.exits[b, tile] = np.uint8(exits)
    index_growing_tiles(boards, b, sets)
    for player in range(homes.shape[0]):
        clear_mask(views.masks[b, player], sets.exits.shape[1])
        for row in range(game["height"]):
            sets.movable[b, player, row] = NOTHING
            sets.land[b, player, row] = NOTHING
            sets.seen[b, player, row] = all_below(width)  # as it stays without fog
        homes[player] = -1
    touch_all(touched, boards.owner.shape[1])
