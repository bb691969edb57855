"""Measures the speed of generals-bots 2.5: ``python generals_bots.py HEIGHT WIDTH SECONDS``, with an interpreter that has it.

Each game has two players and a new map from the library's generator with its default densities, and ends when it is won or
after ``TURNS`` turns. A turn advances one game by the moves of both players. The last line of the output is a JSON object, with
rates a second:

* ``pettingzoo``: turns of the PettingZoo environment with the observations, masks and random choices of both players;
* ``game``: turns of the bare game with both observations. The moves are recorded before, so masks and choices cost nothing:
  the upper limit of all environments of the library;
* ``gymnasium``: turns of the Gymnasium environment with the observations, masks and random choices of both players;
* ``maps``: maps of the generator.

The rate of an environment that fails is null, and ``notes`` has the reason.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import TypeAlias

import numpy as np
from generals import GridFactory, GymnasiumGenerals, PettingZooGenerals
from generals.core.action import compute_valid_move_mask
from generals.core.game import Game

TURNS = 1000
RECORDED = 2
WARM_UP_SECONDS = 0.5
PLAYERS = ["a", "b"]

# Pass, row, column, direction, half: the library accepts any five numbers, and Python integers are the fastest.
Move: TypeAlias = tuple[int, int, int, int, int]


class Chooser:
    """Chooses uniformly among full moves, half moves and passing, as a policy with a mask would."""

    def __init__(self) -> None:
        """Seed the generator; the library's own agents use a global generator and are slower."""
        self.random = random.Random(1)

    def __call__(self, mask: np.ndarray) -> Move:
        """Return a legal move from a mask of rows, columns and directions."""
        moves = np.flatnonzero(mask)
        chosen = self.random.randrange(2 * len(moves) + 1)
        if chosen == 2 * len(moves):
            return 1, 0, 0, 0, 0
        cell, direction = divmod(int(moves[chosen // 2]), 4)
        row, column = divmod(cell, mask.shape[1])
        return 0, row, column, direction, chosen % 2


def generator(height: int, width: int) -> GridFactory:
    """Return a generator of maps of one size."""
    if height != width:
        # The library draws the width from the limits of the height.
        raise ValueError(f"the library's generator makes square maps only, not {height}x{width}")
    return GridFactory(min_grid_dims=(height, width), max_grid_dims=(height, width), seed=1)


def maps(height: int, width: int) -> Iterator[None]:
    """Generate maps, and yield after each."""
    factory = generator(height, width)
    while True:
        factory.generate()
        yield


def pettingzoo(height: int, width: int) -> Iterator[None]:
    """Play in the PettingZoo environment, and yield after each turn."""
    choose = Chooser()
    env = PettingZooGenerals(agents=PLAYERS, grid_factory=generator(height, width), truncation=TURNS)
    for seed in itertools.count():
        observations, _ = env.reset(seed=seed)
        terminated = truncated = False
        while not (terminated or truncated):  # each is one value for both players
            actions = {player: choose(compute_valid_move_mask(observations[player])) for player in PLAYERS}
            observations, _, terminated, truncated, _ = env.step(actions)
            yield


def gymnasium(height: int, width: int) -> Iterator[None]:
    """Play in the Gymnasium environment, and yield after each turn."""
    choose = Chooser()
    # Padded to the size of the board, as the default of 24 would make the copies larger.
    env = GymnasiumGenerals(
        agents=PLAYERS, grid_factory=generator(height, width), pad_observations_to=max(height, width), truncation=TURNS
    )
    for seed in itertools.count():
        _, infos = env.reset(seed=seed)
        terminated = truncated = False
        while not (terminated or truncated):
            _, _, terminated, truncated, infos = env.step([choose(infos[player]["masks"]) for player in PLAYERS])
            yield


def game(height: int, width: int) -> Iterator[None]:
    """Play recorded moves in the bare game, and yield after each turn."""
    choose = Chooser()
    factory = generator(height, width)
    recorded = []
    for _ in range(RECORDED):
        grid = factory.generate()
        played = Game(grid, PLAYERS)
        observations = {player: played.agent_observation(player) for player in PLAYERS}
        turns = []
        while not played.is_done() and played.time < TURNS:
            turns.append({player: choose(compute_valid_move_mask(observations[player])) for player in PLAYERS})
            observations, _ = played.step(turns[-1])
        recorded.append((grid, turns, played.channels.armies))
    while True:
        for grid, turns, armies in recorded:
            played = Game(grid, PLAYERS)
            for actions in turns:
                played.step(actions)
                yield
            if not np.array_equal(played.channels.armies, armies):
                raise RuntimeError("the same moves led to another end")


def per_second(steps: Iterator[None], seconds: float) -> float:
    """Return the steps a second after a warm-up."""
    next(steps)
    count = 0
    for limit in (WARM_UP_SECONDS, seconds):
        count = 0
        start = now = time.perf_counter()
        while now - start < limit:
            next(steps)
            count += 1
            now = time.perf_counter()
    return count / (now - start)


def main() -> None:
    """Measure and print."""
    height, width, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    measured: tuple[Callable[[int, int], Iterator[None]], ...] = (pettingzoo, game, gymnasium, maps)
    result: dict[str, str | float | None] = {"version": version("generals-bots")}
    notes = {}
    for play in measured:
        try:
            result[play.__name__] = round(per_second(play(height, width), seconds), 1)
        except Exception as error:
            result[play.__name__] = None
            notes[play.__name__] = f"{type(error).__name__}: {error}"
    print(json.dumps({**result, "notes": notes}))


if __name__ == "__main__":
    main()
