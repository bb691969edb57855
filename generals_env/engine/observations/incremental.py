"""Tensors and masks kept up to date: after a turn only what it changed is written.

Beside each board lie sets of tiles as bits (``TileSets``) and, for each player and tile, a code of what his tensor shows
(``Observations.shown``). Code that changes a board marks the tiles it touched (``dirty`` rows); marking too many costs time,
never correctness. ``follow_board`` then brings sets, masks and tensors up to date. What results equals ``sight.observe`` and
``sight.action_mask`` bit for bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.bitboards import NOTHING, ONE, Rows, all_below, bit_at, has_bit, lowest_bit, spread
from generals_env.engine.boards import (
    CITY,
    GENERAL,
    LOOKOUT,
    MOUNTAIN,
    NEUTRAL,
    OBSERVATORY,
    OWNER_OBSERVATORY,
    SWAMP,
    TORUS,
    Boards,
)
from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.observations.reference import ARMY_SCALE, SCOREBOARD, write_scoreboard
from generals_env.engine.rules.moves import may_enter, neighbour
from generals_env.engine.rules.rewards import tally_capture

__all__ = [
    "Observations",
    "TileSets",
    "blank_view",
    "enter_board",
    "follow_board",
    "list_growing",
    "mark",
    "mark_all",
    "mark_row",
    "show_scores",
    "team_visibility",
]


class TileSets(NamedTuple):
    """What is known of B boards beside their state, so that a turn need not look for it.

    Attributes:
        land: (B, P, H) uint64, tiles of each player, one bit a column.
        movable: (B, P, H) uint64, tiles from which he has a legal move.
        seen: (B, P, H) uint64, tiles he sees.
        built: (B, H) uint64, cities and generals.
        ground: (B, H) uint64, tiles that can be entered.
        exits: (B, H*W) uint8, bit d is set if the neighbour in direction d can be entered at all.
        growing: (B, H*W + 1) int16, how many cities and swamps there are, then their tiles.
        scores: (B, P, 2) int64, land and army of each player, kept only where somebody asks for them.
    """

    land: npt.NDArray[np.uint64]
    movable: npt.NDArray[np.uint64]
    seen: npt.NDArray[np.uint64]
    built: npt.NDArray[np.uint64]
    ground: npt.NDArray[np.uint64]
    exits: npt.NDArray[np.uint8]
    growing: npt.NDArray[np.int16]
    scores: npt.NDArray[np.int64]


class Observations(NamedTuple):
    """What the players of B boards see and may do.

    Attributes:
        observations: (B, P, C, H*W) float32, C = 9 or 21.
        masks: (B, P, 8*H*W + 1) int8.
        shown: (B, P, H*W) uint8, which code each tile of a tensor stands at.
    """

    observations: npt.NDArray[np.float32]
    masks: npt.NDArray[np.int8]
    shown: npt.NDArray[np.uint8]


# Codes of a tile as a player sees it. To the last three, 1 is added for a city, 2 for a general.
BLANK, FOG, FOG_OBSTACLE, SEEN_MOUNTAIN, SEEN_NEUTRAL, SEEN_OWN, SEEN_ENEMY = 0, 1, 2, 3, 4, 7, 10

#: Channels that are 1 at each code, as bits; a row for the standard and one for the full layout.
CHANNELS_AT = np.array(
    [
        [sum(1 << c for c in channels if full or c < 9) for channels in (
            (), (8,), (8, 13), (6, 7),
            (4, 7), (4, 5, 7, 10), (4, 5, 7),
            (2, 7), (2, 5, 7, 10), (2, 5, 7, 11),
            (3, 7), (3, 5, 7, 10), (3, 5, 7, 12),
        )]
        for full in (False, True)
    ],
    np.uint64,
)  # fmt: skip

#: The channel that holds the army at each code, -1 for none.
ARMY_AT = np.array([[-1] * 4 + [neutral] * 3 + [0] * 3 + [1] * 3 for neutral in (-1, 9)], np.int64)


@inlined
def mark(dirty: Rows, tile: int, width: int, row_of: npt.NDArray[np.int16]) -> None:
    """Mark a tile as touched; ``row_of`` (H*W,) spares a division."""
    row = np.int64(row_of[tile])
    mark_row(dirty, row, bit_at(tile - row * width))


#: What is added to the code of a tile in sight, and the code of a tile in fog, by terrain.
BUILT_AT = np.array([{GENERAL: 2, CITY: 1}.get(kind, 0) for kind in range(8)], np.int64)
FOG_AT = np.array([FOG_OBSTACLE if kind in (CITY, MOUNTAIN, LOOKOUT, OBSERVATORY) else FOG for kind in range(8)], np.int64)


@subroutine
def team_visibility(boards: Boards, b: int, looks: npt.NDArray[np.int64]) -> None:
    """Write with which code a player sees a tile of each owner; teams do not change.

    Args:
        boards: The boards.
        b: Which of them.
        looks: (P, P + 6) int64, out: one row a player, one column an owner code, the lowest first.
    """
    players = looks.shape[0]
    for player in range(players):
        for column in range(looks.shape[1]):
            holder = column + OWNER_OBSERVATORY
            code = SEEN_MOUNTAIN
            if holder == NEUTRAL:
                code = SEEN_NEUTRAL
            elif holder >= 0:
                friend = boards.players[b, holder]["team"] == boards.players[b, player]["team"]
                code = SEEN_OWN if friend else SEEN_ENEMY
            looks[player, column] = code


@inlined
def mark_row(dirty: Rows, row: int, word: np.uint64) -> None:
    """Mark tiles of a row as touched."""
    if word != NOTHING:
        dirty[row] |= word
        dirty[dirty.shape[0] - 1] |= bit_at(row)


@inlined
def mark_all(dirty: Rows, width: int) -> None:
    """Mark every tile as touched."""
    height = dirty.shape[0] - 1
    for row in range(height):
        dirty[row] = all_below(width)
    dirty[height] = all_below(height)


@inlined
def legal_directions(boards: Boards, b: int, player: int, tile: int, row: int, column: int, exits: int) -> int:
    """Return in which directions ``player`` may move from his ``tile``, as bits 0-3, where there are teams."""
    game = boards.games[b]
    wraps = game["modifiers"] & TORUS != 0
    army = boards.army[b, tile]
    directions = 0
    for direction in range(4):
        if exits >> direction & 1:
            target = neighbour(row, column, direction, game["width"], game["rows"], game["columns"], wraps)
            if may_enter(army, player, boards.owner[b, target], boards.players[b]):
                directions |= 1 << direction
    return directions


@inlined
def write_mask(mask: npt.NDArray[np.int8], tile: int, directions: int) -> None:
    """Write the eight entries of a tile."""
    # Bit d moves to byte d; LLVM then writes four bytes at once.
    four = np.uint32(directions * 0x204081 & 0x01010101)
    first = 4 * tile
    second = first + (mask.shape[0] - 1) // 2
    mask[first] = np.int8(four & np.uint32(1))
    mask[first + 1] = np.int8(four >> np.uint32(8) & np.uint32(1))
    mask[first + 2] = np.int8(four >> np.uint32(16) & np.uint32(1))
    mask[first + 3] = np.int8(four >> np.uint32(24))
    mask[second] = np.int8(four & np.uint32(1))
    mask[second + 1] = np.int8(four >> np.uint32(8) & np.uint32(1))
    mask[second + 2] = np.int8(four >> np.uint32(16) & np.uint32(1))
    mask[second + 3] = np.int8(four >> np.uint32(24))


@inlined
def own_tile(
    boards: Boards, b: int, sets: TileSets, mask: npt.NDArray[np.int8], player: int, row: int, column: int, teams: bool
) -> None:
    """Bring the mask of a tile that ``player`` owns up to date."""
    tile = row * boards.games[b]["width"] + column
    directions = 0
    if boards.players[b, player]["alive"] and boards.army[b, tile] >= 1:
        directions = np.int64(sets.exits[b, tile])
        if teams:
            directions = legal_directions(boards, b, player, tile, row, column, directions)
        elif boards.army[b, tile] < 2:
            directions = 0
    bit = bit_at(column)
    was = sets.movable[b, player, row] & bit != NOTHING
    if teams or was != (directions != 0):  # without teams all of a tile's moves come and go together
        write_mask(mask, tile, directions)
    if was != (directions != 0):
        sets.movable[b, player, row] ^= bit


@inlined
def follow_land(
    boards: Boards,
    b: int,
    sets: TileSets,
    views: Observations,
    dirty: Rows,
    homes: npt.NDArray[np.int64],
    teams: bool,
    changed: Rows,
    tally: npt.NDArray[np.int64],
) -> bool:
    """Bring land, movable tiles and masks up to date with the dirty tiles.

    Args:
        boards: The boards.
        b: Which of them.
        sets: TileSets of the boards.
        views: Observations of the boards.
        dirty: (H + 1,) uint64, the tiles to look at.
        homes: (P,) int64, generals before the turn.
        teams: Whether some players are friends.
        changed: (P,) uint64, out: in which rows each player's land changed.
        tally: (P, 7) int64, in and out: captures of cities and generals are counted.

    Returns:
        Whether a city or a general changed hands.
    """
    players = boards.players.shape[1]
    width = boards.games[b]["width"]
    captured = False
    rows = dirty[dirty.shape[0] - 1]
    while rows != NOTHING:
        row = lowest_bit(rows)
        rows &= rows - ONE
        word = dirty[row]
        while word != NOTHING:
            column = lowest_bit(word)
            bit = word & (~word + ONE)
            word &= word - ONE
            tile = row * width + column
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
                        write_mask(views.masks[b, old], tile, 0)
                if new >= 0:
                    sets.land[b, new, row] |= bit
                    changed[new] |= bit_at(row)
                if sets.built[b, row] & bit != NOTHING:
                    captured = True
                    tally_capture(boards.players[b], old, new, old >= 0 and homes[old] == tile, tally)
            if new >= 0:
                own_tile(boards, b, sets, views.masks[b, new], new, row, column, teams)
    return captured


@inlined
def land_of_team(boards: Boards, b: int, sets: TileSets, player: int, row: int, teams: bool) -> np.uint64:
    """Return the tiles of a row that belong to ``player`` or his team-mates."""
    word = sets.land[b, player, row]
    if teams:
        for other in range(boards.players.shape[1]):
            if boards.players[b, other]["team"] == boards.players[b, player]["team"]:
                word |= sets.land[b, other, row]
    return word


@inlined
def follow_sight(boards: Boards, b: int, sets: TileSets, player: int, rows: np.uint64, teams: bool, changes: Rows) -> np.uint64:
    """Bring what ``player`` sees up to date; return in which rows it may have changed.

    Args:
        boards: The boards.
        b: Which of them.
        sets: TileSets of the boards.
        player: Whose sight.
        rows: In which rows land of his team changed.
        teams: Whether some players are friends.
        changes: (H,) uint64, out: tiles that came into sight or went out of it, only in the rows returned.
    """
    game = boards.games[b]
    if rows == NOTHING or not game["fog"]:
        return NOTHING
    wraps = game["modifiers"] & TORUS != 0
    height = np.int64(game["rows"] if wraps else game["height"])
    columns = np.int64(game["columns"] if wraps else game["width"])
    near = rows | spread(rows & all_below(height), height, wraps)
    left = near
    while left != NOTHING:
        row = lowest_bit(left)
        left &= left - ONE
        word = NOTHING
        if row < height:  # on a torus nobody sees the padding
            word = land_of_team(boards, b, sets, player, row, teams)
            if row > 0:
                word |= land_of_team(boards, b, sets, player, row - 1, teams)
            elif wraps:
                word |= land_of_team(boards, b, sets, player, height - 1, teams)
            if row < height - 1:
                word |= land_of_team(boards, b, sets, player, row + 1, teams)
            elif wraps:
                word |= land_of_team(boards, b, sets, player, 0, teams)
            word = spread(word, columns, wraps)
        changes[row] = word ^ sets.seen[b, player, row]
        sets.seen[b, player, row] = word
    return near


@inlined
def show_tile(
    boards: Boards,
    b: int,
    tile: int,
    seen: bool,
    looks: npt.NDArray[np.int64],
    shown: npt.NDArray[np.uint8],
    tensor: npt.NDArray[np.float32],
) -> None:
    """Write of one tile what differs from what the tensor shows.

    Args:
        boards: The boards.
        b: Which of them.
        tile: The tile.
        seen: Whether the player sees it.
        looks: (P + 6,) int64, the player's row of ``team_visibility``.
        shown: (H*W,) uint8, in and out: codes.
        tensor: (C, H*W) float32, in and out.
    """
    layout = 1 if tensor.shape[0] > SCOREBOARD else 0
    # Tables, not branches: what a tile is, no processor foresees.
    kind = np.int64(boards.terrain[b, tile])
    code = looks[boards.owner[b, tile] - OWNER_OBSERVATORY] + BUILT_AT[kind] if seen else FOG_AT[kind]
    old = np.int64(shown[tile])
    plane = ARMY_AT[layout, code]
    if old != code:
        shown[tile] = np.uint8(code)
        on = CHANNELS_AT[layout, code]
        change = on ^ CHANNELS_AT[layout, old]
        while change != NOTHING:
            channel = lowest_bit(change)
            change &= change - ONE
            tensor[channel, tile] = np.float32(1) if has_bit(on, channel) else np.float32(0)
        before = ARMY_AT[layout, old]
        if before >= 0 and before != plane:
            tensor[before, tile] = np.float32(0)
    if plane >= 0:
        army = np.float32(boards.army[b, tile]) / ARMY_SCALE
        tensor[plane, tile] = max(min(army, np.float32(1)), np.float32(0))


@subroutine
def show_scores(boards: Boards, b: int, sets: TileSets, views: Observations, active: npt.NDArray[np.bool_]) -> None:
    """Write the channels of the full layout that are the same on every tile."""
    for player in range(active.shape[0]):
        if active[player]:
            write_scoreboard(boards, b, player, sets.scores[b], views.observations[b, player])


@subroutine
def blank_view(sets: TileSets, views: Observations, b: int, player: int) -> None:
    """Show a player who is out of the game nothing, and let him only pass."""
    tensor = views.observations[b, player]
    for channel in range(tensor.shape[0]):
        for tile in range(tensor.shape[1]):
            tensor[channel, tile] = np.float32(0)
    mask = views.masks[b, player]
    for action in range(mask.shape[0] - 1):
        mask[action] = np.int8(0)
    mask[mask.shape[0] - 1] = np.int8(1)
    for tile in range(tensor.shape[1]):
        views.shown[b, player, tile] = np.uint8(BLANK)
    for row in range(sets.seen.shape[2]):
        sets.movable[b, player, row] = NOTHING


@inlined
def follow_board(
    boards: Boards,
    b: int,
    sets: TileSets,
    views: Observations,
    dirty: Rows,
    changes: Rows,
    changed: Rows,
    homes: npt.NDArray[np.int64],
    shows: npt.NDArray[np.bool_],
    teams: bool,
    sweeps: bool,
    looks: npt.NDArray[np.int64],
    tally: npt.NDArray[np.int64],
) -> bool:
    """Bring sets, masks and tensors of a board up to date with the dirty tiles, and forget these.

    Args:
        boards: The boards.
        b: Which of them.
        sets: TileSets of the boards.
        views: Observations of the boards.
        dirty: (H + 1,) uint64, in and out: the tiles touched since the last call; none afterwards.
        changes: (H,) uint64, scratch.
        changed: (P,) uint64, scratch.
        homes: (P,) int64, generals before the turn.
        shows: (P,) bool, whose tensors are kept.
        teams: Whether some players are friends.
        sweeps: Whether to find anew what everybody sees, not only around land that changed, and to look into the fog, where
            a city may have come to be.
        looks: (P, P + 6) int64, see ``team_visibility``.
        tally: (P, 7) int64, see ``follow_land``.

    Returns:
        Whether a city or a general changed hands.
    """
    players = shows.shape[0]
    height = dirty.shape[0] - 1
    width = boards.games[b]["width"]
    for player in range(players):
        changed[player] = all_below(height) if sweeps else NOTHING
    if teams:  # what a team-mate holds next to a tile decides on its moves
        widen(boards, b, dirty, changes)
    captured = follow_land(boards, b, sets, views, dirty, homes, teams, changed, tally)
    for player in range(players):
        if not shows[player]:
            continue
        rows = changed[player]
        if teams:
            for other in range(players):
                if boards.players[b, other]["team"] == boards.players[b, player]["team"]:
                    rows |= changed[other]
        near = follow_sight(boards, b, sets, player, rows, teams, changes)
        tensor = views.observations[b, player]
        shown = views.shown[b, player]
        rows = near | dirty[height]
        while rows != NOTHING:
            row = lowest_bit(rows)
            rows &= rows - ONE
            seen = sets.seen[b, player, row]
            word = dirty[row] if sweeps else dirty[row] & seen
            if has_bit(near, row):
                word |= changes[row]
            while word != NOTHING:
                column = lowest_bit(word)
                word &= word - ONE
                show_tile(boards, b, row * width + column, has_bit(seen, column), looks[player], shown, tensor)
    rows = dirty[height]
    while rows != NOTHING:
        dirty[lowest_bit(rows)] = NOTHING
        rows &= rows - ONE
    dirty[height] = NOTHING
    return captured


@subroutine
def widen(boards: Boards, b: int, dirty: Rows, scratch: Rows) -> None:
    """Mark the neighbours of dirty tiles, too."""
    game = boards.games[b]
    wraps = game["modifiers"] & TORUS != 0
    height = np.int64(game["rows"] if wraps else game["height"])
    columns = np.int64(game["columns"] if wraps else game["width"])
    for row in range(height):
        scratch[row] = dirty[row]
    for row in range(height):
        word = spread(scratch[row], columns, wraps)
        if row > 0:
            word |= scratch[row - 1]
        elif wraps:
            word |= scratch[height - 1]
        if row < height - 1:
            word |= scratch[row + 1]
        elif wraps:
            word |= scratch[0]
        mark_row(dirty, row, word)


@subroutine
def list_growing(boards: Boards, b: int, sets: TileSets) -> None:
    """List the cities and swamps, and mark what is built, as the terrain stands now."""
    width = boards.games[b]["width"]
    count = 0
    for row in range(boards.games[b]["height"]):
        word = NOTHING
        for column in range(width):
            kind = boards.terrain[b, row * width + column]
            if kind == CITY or kind == SWAMP:  # noqa: PLR1714, SIM109 - a membership test compiles slowly
                count += 1
                sets.growing[b, count] = row * width + column
            if kind == CITY or kind == GENERAL:  # noqa: PLR1714, SIM109
                word |= bit_at(column)
        sets.built[b, row] = word
    sets.growing[b, 0] = count


@subroutine
def enter_board(boards: Boards, b: int, sets: TileSets, views: Observations, dirty: Rows, homes: npt.NDArray[np.int64]) -> None:
    """Find what a board that was put there is made of, so that ``follow_board`` can show it, sweeping.

    What the views showed before may be anything that ``Observations.shown`` tells truly.

    Args:
        boards: The boards.
        b: Which of them.
        sets: TileSets of the boards.
        views: Observations of the boards.
        dirty: (H + 1,) uint64, out: everything.
        homes: (P,) int64, out: no general.
    """
    game = boards.games[b]
    width = game["width"]
    wraps = game["modifiers"] & TORUS != 0
    for row in range(game["height"]):
        sets.ground[b, row] = NOTHING
        for column in range(width):
            tile = row * width + column
            if boards.owner[b, tile] >= NEUTRAL:
                sets.ground[b, row] |= bit_at(column)
            exits = 0
            if row < game["rows"] and column < game["columns"]:
                for direction in range(4):
                    target = neighbour(row, column, direction, width, game["rows"], game["columns"], wraps)
                    if target >= 0 and boards.owner[b, target] >= NEUTRAL:
                        exits |= 1 << direction
            sets.exits[b, tile] = np.uint8(exits)
    list_growing(boards, b, sets)
    for player in range(homes.shape[0]):
        mask = views.masks[b, player]
        for row in range(game["height"]):
            word = sets.movable[b, player, row]
            while word != NOTHING:
                write_mask(mask, row * width + lowest_bit(word), 0)
                word &= word - ONE
            sets.movable[b, player, row] = NOTHING
            sets.land[b, player, row] = NOTHING
            sets.seen[b, player, row] = all_below(width)  # as it stays without fog
        mask[mask.shape[0] - 1] = np.int8(1)
        homes[player] = -1
    mark_all(dirty, width)
