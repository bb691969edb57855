"""Plays the built-in policies from frames, with numpy alone, move by move as ``engine.policies.reference`` does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.bridge.frame_views import OFF_BOARD, OTHER, OWN, STEPS, neighbours
from generals_env.bridge.stdio_protocol import FOG_OBSTACLE, SEEN_CASTLE, SEEN_GENERAL, SEEN_MOUNTAIN, Frame, Grid

__all__ = ["PLAYERS", "SplitMix", "expander_move", "random_move"]

BITS = 2**64 - 1
MAX_SHOWN = 1000  # an observation shows no larger army
CITY_ARMY = 50  # of a neutral city, at most

# Values of a capture to the expander.
ENEMY_BUILT, ENEMY_TILE, NEUTRAL_CITY, NEUTRAL_TILE, NO_CAPTURE = 4, 3, 2, 1, 0


class SplitMix:
    """The generator of ``engine.splitmix``."""

    def __init__(self, state: int) -> None:
        """Start at a state of 64 bits."""
        self.state = state

    def bits(self) -> int:
        """Return 64 random bits."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & BITS
        bits = self.state
        bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 & BITS
        bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB & BITS
        return bits ^ (bits >> 31)

    def below(self, limit: int) -> int:
        """Return a uniform integer below ``limit``."""
        return (self.bits() >> 32) * limit >> 32


def legal_moves(frame: Frame) -> npt.NDArray[np.bool_]:
    """Return which moves of all but one are legal, (H, W, 4) bool."""
    around = neighbours(frame.kind)
    movable = (frame.owner == OWN) & (frame.armies > 1)
    legal: npt.NDArray[np.bool_] = movable[:, :, None] & (around != OFF_BOARD) & (around != SEEN_MOUNTAIN)
    return legal


def random_move(frame: Frame, rng: SplitMix) -> int:
    """Return a uniform choice among the legal moves, whole and half; the pass only if there is none."""
    legal = legal_moves(frame).reshape(-1, 4)
    tiles = np.flatnonzero(legal.any(axis=1))
    plane = legal.size
    if not len(tiles):
        return 2 * plane
    while True:
        bits = rng.bits()
        tile = int(tiles[(bits >> 32) * len(tiles) >> 32])
        direction = bits & 3
        if legal[tile, direction]:
            return 4 * tile + direction + (plane if bits & 4 else 0)


def expander_move(frame: Frame, rng: SplitMix) -> int:
    """Return the best capture in reach, else the move of the largest army towards the frontier; it sends all but one."""
    legal = legal_moves(frame)
    army = np.minimum(frame.armies, MAX_SHOWN)
    values = capture_values(frame, legal, army).ravel()
    best = int(values.max())
    if best > NO_CAPTURE:
        captures = np.flatnonzero(values == best)
        return int(captures[rng.below(len(captures))])
    stacks = np.where(legal.any(axis=2), army, 0).ravel()
    stack = int(stacks.argmax())  # the first one of the largest
    if stacks[stack] < 2:
        return 2 * legal.size
    return advance(frame, legal.reshape(-1, 4)[stack], stack, rng)


def capture_values(frame: Frame, legal: npt.NDArray[np.bool_], army: Grid) -> Grid:
    """Return what each move is worth, (H, W, 4); ``NO_CAPTURE`` for illegal moves and those that take nothing."""
    owner = neighbours(frame.owner)
    built = np.isin(neighbours(frame.kind), (SEEN_CASTLE, SEEN_GENERAL))
    sent = (army - 1)[:, :, None]
    enemy = np.where(built, ENEMY_BUILT, ENEMY_TILE) * (sent > neighbours(army))
    neutral = np.where(built, NEUTRAL_CITY * (sent > CITY_ARMY), NEUTRAL_TILE)
    worth: Grid = np.where(legal, 1, NO_CAPTURE) * np.where(owner == OTHER, enemy, np.where(owner == 0, neutral, NO_CAPTURE))
    return worth


def advance(frame: Frame, legal: npt.NDArray[np.bool_], stack: int, rng: SplitMix) -> int:
    """Return the move of a tile towards the nearest end of own land straight ahead."""
    nearest, ties, choice = frame.kind.size + 1, 0, 8 * frame.kind.size
    for direction in range(4):
        if not legal[direction]:
            continue
        steps = steps_to_frontier(frame, stack, direction)
        if steps < nearest:
            nearest, ties = steps, 0
        if steps == nearest:
            ties += 1
            if ties == 1 or rng.below(ties) == 0:
                choice = 4 * stack + direction
    return choice


def steps_to_frontier(frame: Frame, tile: int, direction: int) -> int:
    """Return after how many steps straight ahead own land ends at a tile to capture; H*W if it does not."""
    height, width = frame.kind.shape
    row, column = divmod(tile, width)
    never: int = height * width
    steps = 0
    while True:
        row, column = row + STEPS[direction][0], column + STEPS[direction][1]
        steps += 1
        if not (0 <= row < height and 0 <= column < width):
            return never
        holder, kind = frame.owner[row, column], frame.kind[row, column]
        if holder == OTHER:
            return steps // 2  # prefer the direction of an enemy
        if holder != OWN:
            # A neutral city blocks the way until it can be taken.
            return never if kind in (SEEN_MOUNTAIN, SEEN_CASTLE, FOG_OBSTACLE) else steps


#: The built-in policies by name.
PLAYERS = {"random": random_move, "expander": expander_move}
