"""Plays many games of two programs at once, on the same maps from both seats."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import numpy as np

from generals_env.bridge.match.limits import Limits
from generals_env.bridge.match.match_game import GameResult, play_game
from generals_env.bridge.match.memory_watch import MemoryWatch
from generals_env.bridge.match.program import REMEMBERING_PROGRAM, program_arguments
from generals_env.bridge.stdio_agent import load_frame_policy
from generals_env.config import GameConfig, check_integer
from generals_env.errors import ConfigError
from generals_env.game import Game

__all__ = ["SIZES", "MatchOptions", "compile_turn", "play_matches"]

#: Sides of the boards of the competition.
SIZES = (18, 21)

MAX_JOBS = 256


@dataclasses.dataclass(frozen=True)
class MatchOptions:
    """Options of the games of a match.

    Attributes:
        maps: Number of maps; each is played twice, with the seats changed.
        seed: Seed of the first map; each other map has the next one.
        jobs: Games at once; None: one for every two cores, as each program has a core.
        height: Rows; None draws 18 to 21 for each map.
        width: Columns, likewise.
        max_turns: Turns after which a game is a draw.
        limits: Limits of both programs.
        both_seats: Whether each map is played from both seats.
    """

    maps: int = 10
    seed: int = 0
    jobs: int | None = None
    height: int | None = None
    width: int | None = None
    max_turns: int = 1200
    limits: Limits = dataclasses.field(default_factory=Limits)
    both_seats: bool = True

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: If one is out of range.
        """
        check_integer("maps", self.maps, 1, 10**6)
        check_integer("seed", self.seed, 0, 2**62)
        if self.jobs is not None:
            check_integer("jobs", self.jobs, 1, MAX_JOBS)

    def game(self, seed: int) -> Game:
        """Return the game of a map; it begins with ``reset``."""
        drawn = np.random.default_rng([self.seed, seed]).integers(*SIZES, 2, endpoint=True)
        height, width = (
            int(size) if fixed is None else fixed for size, fixed in zip(drawn, (self.height, self.width), strict=True)
        )
        options = {"rules": "competition", "height": height, "width": width, "max_turns": self.max_turns}
        return Game(GameConfig.from_options(**options))


def compile_turn(options: MatchOptions, arguments: Iterable[Sequence[str]] = ()) -> None:
    """Compile the kernels of a game, or load them, before clocks run; also those of programs that are built-in policies."""
    for words in arguments:
        if list(words[:-1]) == REMEMBERING_PROGRAM:
            load_frame_policy(words[-1])
    game = options.game(options.seed)
    game.reset(seed=options.seed)
    game.actions[:] = 8 * game.config.shape[0] * game.config.shape[1]
    game.play()


def play_matches(
    commands: Sequence[str | Sequence[str]],
    options: MatchOptions,
    on_game: Callable[[GameResult], None] | None = None,
    names: Sequence[str] | None = None,
) -> list[GameResult]:
    """Play all games of a match and return their results in the order of maps and seats.

    No program stops the run: one that ends, floods its output or does not answer forfeits or passes by the rules. All processes
    have ended when the function returns or raises, also after an interruption.

    Args:
        commands: Two programs: words as in a shell, ``builtin:NAME``, or a list of arguments.
        options: The options.
        on_game: Called with each result as it comes, with its record; the results that are returned have no record.
        names: Names of the programs, to keep records; None keeps none.

    Raises:
        ConfigError: If there are not two commands, one cannot be started, or psutil is not installed.
    """
    if len(commands) != 2:
        raise ConfigError(f"commands: expected two programs, got {len(commands)}")
    arguments = [program_arguments(command) if isinstance(command, str) else list(command) for command in commands]
    watching = MemoryWatch(options.limits.memory)  # before kernels are compiled: it needs psutil
    compile_turn(options, arguments)
    games = [(options.seed + i, first) for i in range(options.maps) for first in ((0, 1) if options.both_seats else (i % 2,))]
    jobs = options.jobs or max(1, (os.cpu_count() or 1) // 2)
    results: dict[int, GameResult] = {}
    stop = threading.Event()

    def play(seed: int, first: int) -> GameResult:
        return play_game(arguments, options.game(seed), seed, first, options.limits, watch, stop, names)

    with watching as watch, ThreadPoolExecutor(jobs, "match") as pool:
        running: dict[Future[GameResult], int] = {}
        waiting = list(enumerate(games))[::-1]
        try:
            while running or waiting:
                while waiting and len(running) < jobs:
                    i, (seed, first) = waiting.pop()
                    running[pool.submit(play, seed, first)] = i
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    if on_game is not None:
                        on_game(result)
                    results[running.pop(future)] = dataclasses.replace(result, record=None)
        finally:
            stop.set()  # after an error or an interruption; leaving the pool waits for the games
    return [results[i] for i in range(len(games))]
