"""Built-in opponents as kernels: from an observation and its action mask to an action. Legal by construction."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import kernel, subroutine
from generals_env.engine.maps import CITY_ARMY
from generals_env.engine.moves import neighbour
from generals_env.engine.random import RandomState, random_below

__all__ = ["expander_action", "random_action"]

Mask = npt.NDArray[np.int8]
Observation = npt.NDArray[np.float32]

# Values of a capture to the expander.
ENEMY_BUILT = 4  # the nine channels do not tell generals from cities
ENEMY_TILE = 3
NEUTRAL_CITY = 2
NEUTRAL_TILE = 1
NO_CAPTURE = 0


@kernel
def random_action(mask: Mask, rng: RandomState, b: int) -> int:
    """Return a uniform choice among the legal moves, whole and half; the pass only where there is none.

    Args:
        mask: (8*H*W + 1,) int8.
        rng: (B,) uint64, generators.
        b: Which of them to use.
    """
    last = mask.shape[0] - 1
    legal = 0
    for action in range(last):
        legal += int(mask[action])  # uncompiled, sums of int8 would wrap
    if legal == 0:
        return last
    skip = random_below(rng, b, legal)
    for action in range(last):
        if mask[action]:
            if skip == 0:
                return action
            skip -= 1
    return last


@subroutine
def capture_value(observation: Observation, army: int, target: int) -> int:
    """Return what taking ``target`` with ``army`` men is worth, ``NO_CAPTURE`` if it is own or holds out."""
    if observation[2, target] > 0:
        return NO_CAPTURE
    built = observation[5, target] > 0
    if observation[3, target] > 0:
        if army <= int(observation[1, target] * np.float32(1000) + np.float32(0.5)):
            return NO_CAPTURE
        return ENEMY_BUILT if built else ENEMY_TILE
    if built:  # the army of a neutral city is not in the channels: it never had more than this
        return NEUTRAL_CITY if army > CITY_ARMY[1] else NO_CAPTURE
    return NEUTRAL_TILE


@subroutine
def steps_to_frontier(observation: Observation, height: int, width: int, tile: int, direction: int) -> int:
    """Return how many steps straight ahead the own land ends at a tile to take; a large number if it never does."""
    ahead = tile
    steps = 0
    while True:
        row = ahead // width
        ahead = neighbour(row, ahead - row * width, direction, width, height, width, False)
        steps += 1
        if ahead < 0:
            return height * width
        if observation[6, ahead] > 0:
            return height * width
        if observation[2, ahead] == 0:
            if observation[4, ahead] > 0 and observation[5, ahead] > 0:
                return height * width  # a neutral city blocks the way until it can be taken
            return steps if observation[3, ahead] == 0 else steps // 2  # rather towards an enemy


@kernel
def expander_action(observation: Observation, mask: Mask, height: int, width: int, rng: RandomState, b: int) -> int:
    """Return the expander's move: the best capture in reach, else its largest army towards the frontier.

    Captures rank: what an enemy built, an enemy's tile, a neutral city, empty land; among equals chance decides. It always
    sends all but one.

    Args:
        observation: (9, H*W) float32, the standard layout.
        mask: (8*H*W + 1,) int8.
        height: H.
        width: W.
        rng: (B,) uint64, generators.
        b: Which of them to use.
    """
    tiles = height * width
    passing = mask.shape[0] - 1
    best = NO_CAPTURE
    choice = passing
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
            action = 4 * tile + direction
            if not mask[action]:
                continue
            movable = True
            offset = -width
            if direction == 1:
                offset = width
            elif direction == 2:
                offset = -1
            elif direction == 3:
                offset = 1
            target = tile + offset
            if target < 0 or target >= tiles:  # a torus: the other side is not looked at
                continue
            value = capture_value(observation, army - 1, target)
            if value == NO_CAPTURE or value < best:
                continue
            if value > best:
                best = value
                ties = 0
            ties += 1
            if ties == 1 or random_below(rng, b, ties) == 0:
                choice = action
        if movable and army > largest:
            largest = army
            stack = tile
    if best > NO_CAPTURE or stack < 0:
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
