"""Plays a match of two programs: both seats on each map, several games at once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from generals_env.bridge.match_game import PLAYERS, GameResult, play_game
from generals_env.bridge.match_limits import MatchLimits
from generals_env.bridge.program import Program
from generals_env.config import GameConfig
from generals_env.game import Game

__all__ = ["Contestant", "MatchResult", "PlayedGame", "default_jobs", "play_match"]


class Contestant(NamedTuple):
    """A program of a match.

    Attributes:
        name: Its name in results.
        words: Program and arguments.
        folder: Folder to run it in; None for the current one.
        env: Its environment variables; None for those of this process.
    """

    name: str
    words: Sequence[str]
    folder: str | None = None
    env: Mapping[str, str] | None = None


@dataclass
class PlayedGame:
    """A game of a match.

    Attributes:
        seed: Of the map.
        seats: For each seat, the index of the contestant who had it.
        result: By seat.
    """

    seed: int
    seats: tuple[int, int]
    result: GameResult

    @property
    def winner(self) -> int:
        """Index of the contestant who won, -1 for a draw."""
        return -1 if self.result.winner < 0 else self.seats[self.result.winner]


@dataclass
class MatchResult:
    """All games of a match, in the order of maps and seats.

    Attributes:
        games: The games.
        seconds: Duration of the match.
        cpu_seconds: Processor time of this process: the share of the runner, without the programs.
    """

    games: list[PlayedGame] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def moves(self) -> int:
        """Number of replies that programs were asked for."""
        return sum(PLAYERS * played.result.turns for played in self.games)


def default_jobs() -> int:
    """Return how many games to play at once: each has two programs, and each of them is meant to have a core."""
    return max((os.cpu_count() or 1) // PLAYERS, 1)


def play_match(
    contestants: Sequence[Contestant],
    config: GameConfig,
    maps: int,
    *,
    seed: int = 0,
    jobs: int | None = None,
    limits: MatchLimits | None = None,
    keeps: bool = False,
    on_game: Callable[[PlayedGame], None] | None = None,
) -> MatchResult:
    """Play two games on each map, with seats exchanged.

    Args:
        contestants: The two programs.
        config: Options of the games; ``rules="competition"``.
        maps: Number of maps.
        seed: Of the first map; the next ones follow.
        jobs: Games at once; None for ``default_jobs()``.
        limits: What programs may use; None for those of the competition.
        keeps: Whether to keep boards and actions of each game.
        on_game: Is called after each game, in the order in which games end; None for no call.

    Raises:
        ConfigError: If a program cannot be started.
    """

    async def play_all() -> MatchResult:
        result = MatchResult()
        begun, cpu = time.monotonic(), time.process_time()
        pairs = [(seed + number, seats) for number in range(maps) for seats in ((0, 1), (1, 0))]
        async for game in finished(pairs):
            if on_game is not None:
                on_game(game)
            result.games.append(game)
        result.games.sort(key=lambda game: (game.seed, game.seats))
        result.seconds, result.cpu_seconds = time.monotonic() - begun, time.process_time() - cpu
        return result

    async def finished(pairs: Sequence[tuple[int, tuple[int, int]]]) -> AsyncIterator[PlayedGame]:
        waiting = list(reversed(pairs))
        running: set[asyncio.Task[PlayedGame]] = set()
        try:
            while waiting or running:
                while waiting and len(running) < (jobs or default_jobs()):
                    running.add(asyncio.create_task(play_one(*waiting.pop())))
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def play_one(map_seed: int, seats: tuple[int, int]) -> PlayedGame:
        game = Game(config)
        game.reset(map_seed)
        seated = [contestants[index] for index in seats]
        programs = [Program(one.words, limits or MatchLimits(), one.folder, one.env) for one in seated]
        async with programs[0], programs[1]:
            result = await play_game(game, programs, [one.name for one in seated], keeps)
        result.stderr = [program.stderr for program in programs]
        return PlayedGame(map_seed, seats, result)

    return asyncio.run(play_all())
