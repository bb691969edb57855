"""Chooses actions of the built-in opponents from an observation and its action mask.

``policies.bitboard`` has the same policies for many games at once, on sets of tiles; with the same generator they choose the
same actions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined, kernel, subroutine
from generals_env.engine.rules.map_generator import CITY_ARMY
from generals_env.engine.rules.valid_moves import neighbour
from generals_env.engine.splitmix import RandomState, next_bits, random_below

__all__ = [
    "ENEMY_BUILT",
    "ENEMY_TILE",
    "NEUTRAL_CITY",
    "NEUTRAL_TILE",
    "NO_CAPTURE",
    "draw_tile",
    "expander_action",
    "random_action",
]

Mask = npt.NDArray[np.int8]
Observation = npt.NDArray[np.float32]

# Values of a capture to the expander.
ENEMY_BUILT = 4  # the nine channels do not distinguish generals from cities
ENEMY_TILE = 3
NEUTRAL_CITY = 2
NEUTRAL_TILE = 1
NO_CAPTURE = 0


@inlined
def draw_tile(bits: np.uint64, tiles: int) -> int:
    """Return a uniform integer below ``tiles`` from random bits; their lowest eight stay free for other choices."""
    return np.int64((bits >> np.uint64(32)) * np.uint64(tiles) >> np.uint64(32))


@kernel
def random_action(mask: Mask, rng: RandomState, b: int) -> int:
    """Return a uniform choice among the legal moves, whole and half; the pass only if there is none.

    A tile with a move, a direction and a half are drawn until they are legal: all legal moves are equally likely.

    Args:
        mask: (8*H*W + 1,) int8, without builds.
        rng: (B,) uint64, generators.
        b: Index of the generator to use.
    """
    last = mask.shape[0] - 1
    plane = last // 2
    movable = 0
    for first in range(0, plane, 4):
        if mask[first] or mask[first + 1] or mask[first + 2] or mask[first + 3]:
            movable += 1
    if movable == 0:
        return last
    while True:
        bits = next_bits(rng, b)
        skip = draw_tile(bits, movable)
        first = -4
        while skip >= 0:
            first += 4
            if mask[first] or mask[first + 1] or mask[first + 2] or mask[first + 3]:
                skip -= 1
        action = first + np.int64(bits & np.uint64(3))
        if mask[action]:
            return action + (plane if bits & np.uint64(4) else 0)


@inlined
def capture_value(observation: Observation, army: int, target: int) -> int:
    """Return what taking ``target`` with ``army`` is worth; ``NO_CAPTURE`` if it is own, a mountain, or too strong."""
    built = observation[5, target] > 0
    if observation[3, target] > 0:
        if army <= int(observation[1, target] * np.float32(1000) + np.float32(0.5)):
            return NO_CAPTURE
        return ENEMY_BUILT if built else ENEMY_TILE
    if observation[4, target] == 0:
        return NO_CAPTURE
    if built:  # the channels lack the army of a neutral city: it never exceeds this
        return NEUTRAL_CITY if army > CITY_ARMY[1] else NO_CAPTURE
    return NEUTRAL_TILE


@subroutine
def steps_to_frontier(observation: Observation, height: int, width: int, tile: int, direction: int) -> int:
    """Return after how many steps straight ahead own land ends at a tile to capture; a large number if it does not."""
    ahead = tile
    steps = 0
    while True:
        row = ahead // width
        ahead = neighbour(row, ahead - row * width, direction, width, height, width, False)
        steps += 1
        if ahead < 0:
            return height * width
        if observation[3, ahead] > 0:
            return steps // 2  # prefer the direction of an enemy
        if observation[4, ahead] > 0:  # a neutral city blocks the way until it can be taken
            return height * width if observation[5, ahead] > 0 else steps
        if observation[2, ahead] == 0:
            return height * width


@inlined
def value_of(observation: Observation, mask: Mask, tile: int, direction: int, army: int, width: int) -> int:
    """Return what the move is worth, ``NO_CAPTURE`` if it is not legal or takes nothing."""
    if not mask[4 * tile + direction]:
        return NO_CAPTURE
    row = tile // width
    # On a torus moves across the edge are not considered.
    target = neighbour(row, tile - row * width, direction, width, observation.shape[1] // width, width, False)
    if target < 0:
        return NO_CAPTURE
    return capture_value(observation, army - 1, target)


@kernel
def expander_action(observation: Observation, mask: Mask, height: int, width: int, rng: RandomState, b: int) -> int:
    """Return the expander's move: the best capture in reach, else its largest army towards the frontier.

    Captures rank: an enemy's city or general, an enemy's tile, a neutral city, empty land; ties are broken at random. It
    always sends all but one.

    Args:
        observation: (9, H*W) or (21, H*W) float32.
        mask: (A,) int8, see ``action_space.action_count``; builds are not considered.
        height: H.
        width: W.
        rng: (B,) uint64, generators.
        b: Index of the generator to use.
    """
    tiles = height * width
    passing = 8 * tiles
    best = NO_CAPTURE
    ties = 0
    largest = 0
    stack = -1
    for tile in range(tiles):
        if observation[2, tile] == 0:
            continue
        army = int(observation[0, tile] * np.float32(1000) + np.float32(0.5))
        if army < 2:
            continue
        movable = False
        for direction in range(4):
            movable = movable or mask[4 * tile + direction] != 0
            value = value_of(observation, mask, tile, direction, army, width)
            if value > best:
                best = value
                ties = 0
            if value == best:
                ties += 1
        if movable and army > largest:
            largest = army
            stack = tile
    if best > NO_CAPTURE:
        skip = random_below(rng, b, ties)
        for tile in range(tiles):
            if observation[2, tile] == 0:
                continue
            army = int(observation[0, tile] * np.float32(1000) + np.float32(0.5))
            if army < 2:
                continue
            for direction in range(4):
                if value_of(observation, mask, tile, direction, army, width) == best:
                    if skip == 0:
                        return 4 * tile + direction
                    skip -= 1
    choice = passing
    if stack < 0:
        return choice
    nearest = tiles + 1
    ties = 0
    for direction in range(4):
        action = 4 * stack + direction
        if not mask[action]:
            continue
        steps = steps_to_frontier(observation, height, width, stack, direction)
        if steps < nearest:
            nearest = steps
            ties = 0
        if steps == nearest:
            ties += 1
            if ties == 1 or random_below(rng, b, ties) == 0:
                choice = action
    return choice
