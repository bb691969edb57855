"""Chooses actions of the built-in opponents for many games at once, from sets of tiles as bits.

The actions equal those of ``policies.reference``. A player sees all tiles next to his land, and the policies consider no
others: board and observation give them the same facts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.bitboards import NOTHING, ONE, count_all, count_bits, has_bit, lowest_bit, tile_at
from generals_env.engine.boards import NEUTRAL, Boards
from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.observations.tile_sets import TileSets
from generals_env.engine.policies.codes import RANDOM
from generals_env.engine.policies.reference import ENEMY_BUILT, ENEMY_TILE, NEUTRAL_CITY, NO_CAPTURE, draw_tile
from generals_env.engine.rules.map_generator import CITY_ARMY
from generals_env.engine.rules.valid_moves import neighbour
from generals_env.engine.splitmix import RandomState, next_bits, random_below

__all__ = ["choose_action"]

MAX_SHOWN = 1000  # an observation shows no larger army
TILES = 4096  # of the largest board


@inlined
def choose_random(
    sets: TileSets, mask: npt.NDArray[np.int8], b: int, player: int, width: int, teams: bool, rng: RandomState
) -> int:
    """Return the choice of ``reference.random_action``."""
    movable = sets.movable[b, player]
    plane = 4 * sets.exits.shape[1]
    total = count_all(movable)
    if total == 0:
        return 2 * plane
    while True:
        bits = next_bits(rng, player)
        tile = tile_at(movable, draw_tile(bits, total), width)
        direction = np.int64(bits & np.uint64(3))
        # Without teams mask and exits agree, and the exits are nearer in memory.
        legal = mask[4 * tile + direction] != 0 if teams else (sets.exits[b, tile] >> direction) & 1 != 0
        if legal:
            return 4 * tile + direction + (plane if bits & np.uint64(4) != NOTHING else 0)


@inlined
def look_around(boards: Boards, b: int, sets: TileSets, player: int, teams: bool, lines: npt.NDArray[np.uint64]) -> None:
    """Write which tiles can send an army, which are empty land, and which are held by enemies or are neutral cities.

    Args:
        boards: The boards.
        b: Which of them.
        sets: TileSets of the boards.
        player: The player who acts.
        teams: Whether some players are friends.
        lines: (4, H + 2) uint64, out: sources, free targets, contested targets; the first and last entry are empty.
    """
    width = boards.games[b]["width"]
    for row in range(lines.shape[1] - 2):
        source = sets.movable[b, player, row]
        enemies = NOTHING
        taken = sets.land[b, player, row]
        for other in range(boards.players.shape[1]):
            if other != player:
                land = sets.land[b, other, row]
                taken |= land
                if not teams or boards.players[b, other]["team"] != boards.players[b, player]["team"]:
                    enemies |= land
        if teams:  # a tile with an army of 1 may have a move, but sends no army
            left = source
            while left != NOTHING:
                bit = left & (~left + ONE)
                if boards.army[b, row * width + lowest_bit(left)] < 2:
                    source ^= bit
                left ^= bit
        built = sets.built[b, row]
        lines[0, row + 1] = source
        lines[1, row + 1] = sets.passable[b, row] & ~(taken | built)
        lines[2, row + 1] = enemies | (built & ~taken)


@inlined
def contested_value(boards: Boards, b: int, sets: TileSets, army: int, target: int, row: int, column: int) -> int:
    """Return what capturing a contested target with ``army - 1`` is worth; ``NO_CAPTURE`` if it is too strong."""
    if boards.owner[b, target] == NEUTRAL:
        return NEUTRAL_CITY if army - 1 > CITY_ARMY[1] else NO_CAPTURE
    if army - 1 <= min(boards.army[b, target], MAX_SHOWN):
        return NO_CAPTURE
    return ENEMY_BUILT if has_bit(sets.built[b, row], column) else ENEMY_TILE


@inlined
def choose_contested(
    boards: Boards, b: int, sets: TileSets, lines: npt.NDArray[np.uint64], candidates: npt.NDArray[np.int32]
) -> int:
    """List the captures of the best kind among enemies and cities, in the order of actions; return their number."""
    width = boards.games[b]["width"]
    best = NEUTRAL_CITY  # empty land is not considered here
    ties = 0
    for row in range(lines.shape[1] - 2):
        source = lines[0, row + 1]
        if source == NOTHING:
            continue
        here = lines[2, row + 1]
        up = source & lines[2, row]
        down = source & lines[2, row + 2]
        left = source & (here << ONE)
        right = source & (here >> ONE)
        word = up | down | left | right
        while word != NOTHING:
            column = lowest_bit(word)
            word &= word - ONE
            tile = row * width + column
            army = min(boards.army[b, tile], MAX_SHOWN)
            directions = (
                (up >> np.uint64(column) & ONE)
                | (down >> np.uint64(column) & ONE) << np.uint64(1)
                | (left >> np.uint64(column) & ONE) << np.uint64(2)
                | (right >> np.uint64(column) & ONE) << np.uint64(3)
            )
            while directions != NOTHING:
                direction = lowest_bit(directions)
                directions &= directions - ONE
                end_row = row + (direction == 1) - (direction == 0)
                end_column = column + (direction == 3) - (direction == 2)
                target = end_row * width + end_column
                value = contested_value(boards, b, sets, army, target, end_row, end_column)
                if value > best:
                    best = value
                    ties = 0
                if value == best:
                    candidates[ties] = 4 * tile + direction
                    ties += 1
    return ties


@inlined
def choose_free(lines: npt.NDArray[np.uint64], width: int, rng: RandomState, i: int) -> int:
    """Return a capture of empty land, -1 if there is none."""
    total = 0
    for row in range(1, lines.shape[1] - 1):
        source = lines[0, row]
        here = lines[1, row]
        total += count_bits(source & (here << ONE)) + count_bits(source & (here >> ONE))
        total += count_bits(source & lines[1, row - 1]) + count_bits(source & lines[1, row + 1])
    if total == 0:
        return -1
    skip = random_below(rng, i, total)
    row = 0
    while True:
        row += 1
        source = lines[0, row]
        here = lines[1, row]
        up = source & lines[1, row - 1]
        down = source & lines[1, row + 1]
        left = source & (here << ONE)
        right = source & (here >> ONE)
        count = count_bits(up) + count_bits(down) + count_bits(left) + count_bits(right)
        if skip < count:
            break
        skip -= count
    word = up | down | left | right
    while True:
        column = lowest_bit(word)
        word &= word - ONE
        for direction in range(4):
            line = up if direction == 0 else (down if direction == 1 else (left if direction == 2 else right))
            if has_bit(line, column):
                if skip == 0:
                    return 4 * ((row - 1) * width + column) + direction
                skip -= 1


@subroutine
def steps_ahead(boards: Boards, b: int, sets: TileSets, player: int, row: int, column: int, direction: int) -> int:
    """Return the result of ``reference.steps_to_frontier``, from sets of tiles."""
    game = boards.games[b]
    width = game["width"]
    height = game["height"]
    team = boards.players[b, player]["team"]
    steps = 0
    while True:
        ahead = neighbour(row, column, direction, width, height, width, False)
        steps += 1
        if ahead < 0:
            return height * width
        row += (direction == 1) - (direction == 0)
        column += (direction == 3) - (direction == 2)
        holder = boards.owner[b, ahead]
        if holder < NEUTRAL:
            return height * width
        if holder == NEUTRAL:
            return height * width if has_bit(sets.built[b, row], column) else steps
        if boards.players[b, holder]["team"] != team:
            return steps // 2


@subroutine
def advance_stack(
    boards: Boards,
    b: int,
    sets: TileSets,
    mask: npt.NDArray[np.int8],
    player: int,
    teams: bool,
    rng: RandomState,
) -> int:
    """Return the move of the largest army towards the frontier, the pass if there is none."""
    game = boards.games[b]
    width = game["width"]
    height = game["height"]
    tiles = sets.exits.shape[1]
    choice = 2 * 4 * tiles
    # The army and then the tile, the first one highest: one comparison finds both, for several tiles at once.
    best = np.int32(0)
    for tile in range(tiles):
        army = min(boards.army[b, tile], np.int32(MAX_SHOWN))
        holds = (boards.owner[b, tile] == player) & (sets.exits[b, tile] != 0)
        best = max(best, np.int32((army * TILES + (TILES - 1 - tile)) if holds else 0))
    if best < 2 * TILES:
        return choice
    stack = TILES - 1 - np.int64(best) % TILES
    stack_row = stack // width
    stack_column = stack - stack_row * width
    nearest = height * width + 1
    ties = 0
    for direction in range(4):
        legal = mask[4 * stack + direction] != 0 if teams else (sets.exits[b, stack] >> direction) & 1 != 0
        if not legal:
            continue
        steps = steps_ahead(boards, b, sets, player, stack_row, stack_column, direction)
        if steps < nearest:
            nearest = steps
            ties = 0
        if steps == nearest:
            ties += 1
            if ties == 1 or random_below(rng, player, ties) == 0:
                choice = 4 * stack + direction
    return choice


@inlined
def choose_action(
    boards: Boards,
    b: int,
    sets: TileSets,
    mask: npt.NDArray[np.int8],
    player: int,
    policy: int,
    teams: bool,
    rng: RandomState,
    candidates: npt.NDArray[np.int32],
    lines: npt.NDArray[np.uint64],
) -> int:
    """Return the action of a built-in policy.

    Args:
        boards: The boards.
        b: Which of them.
        sets: TileSets of the boards.
        mask: (A,) int8, of the player; builds are not considered.
        player: The player who acts.
        policy: ``RANDOM`` or ``EXPANDER``.
        teams: Whether some players are friends.
        rng: (P,) uint64, a generator for each player.
        candidates: (4*H*W,) int32, scratch.
        lines: (4, H + 2) uint64, scratch; see ``look_around``.
    """
    if policy == RANDOM:
        return choose_random(sets, mask, b, player, boards.games[b]["width"], teams, rng)
    look_around(boards, b, sets, player, teams, lines)
    ties = choose_contested(boards, b, sets, lines, candidates)
    if ties > 0:
        return np.int64(candidates[random_below(rng, player, ties)])
    action = choose_free(lines, boards.games[b]["width"], rng, player)
    if action >= 0:
        return action
    return advance_stack(boards, b, sets, mask, player, teams, rng)
