"""Plays pairs of players on many maps, several blocks of maps at a time: ``play_arena``."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from generals_env.arena.game_kind import MAX_SEED, game_config, kind_name
from generals_env.arena.played_game import PlayedGame
from generals_env.arena.players import Player
from generals_env.arena.playing import BlockGame, play_block
from generals_env.arena.program_games import has_program, play_program_game
from generals_env.arena.replays import Candidates, write_replay
from generals_env.arena.store import Store
from generals_env.arguments import check_integer
from generals_env.bridge.match.limits import Limits
from generals_env.bridge.match.memory_watch import MemoryWatch
from generals_env.concurrency.thread_pool import available_cores
from generals_env.config import GameConfig
from generals_env.engine.policies.codes import PLANNER, policy_of
from generals_env.errors import ConfigError

if TYPE_CHECKING:
    from generals_env.arena.statistics.sprt import Sprt

__all__ = ["ArenaOptions", "Pair", "pairs_of", "play_arena"]

#: Games of a block at most, and bytes of their observations and masks.
MAX_GAMES = 256
MAX_BYTES = 2**26

#: Maps of a block while a sequential test may stop the play.
TEST_MAPS = 32

Pair = tuple[Player, Player]

#: Called with the games of a pair.
OnGames = Callable[[Pair, Sequence[PlayedGame]], None]

#: Plays one task of a pair.
Task = Callable[[], list[BlockGame]]


@dataclass(frozen=True)
class ArenaOptions:
    """Options of an arena.

    Attributes:
        config: Options of the games.
        games: Games of each pair, an even number: both seats on each map.
        seed: Seed of the maps.
        threads: Blocks of built-in players at once; None: the number of cores.
        limits: Limits of programs.
        replays: Games of each pair whose replays are kept.
        block: Maps in a block at most; results do not depend on it.
    """

    config: GameConfig = field(default_factory=game_config)
    games: int = 400
    seed: int = 0
    threads: int | None = None
    limits: Limits = field(default_factory=Limits)
    replays: int = 0
    block: int = MAX_GAMES // 2

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: If one is out of range.
        """
        check_integer("games", self.games, 2, 10**7)
        if self.games % 2:
            raise ConfigError(f"games: expected an even number, as each map is played from both seats, got {self.games}")
        check_integer("seed", self.seed, 0, MAX_SEED)
        check_integer("replays", self.replays, 0, 10**4)
        check_integer("block", self.block, 1, 10**6)
        if self.threads is not None:
            check_integer("threads", self.threads, 1, 1024)

    @property
    def kind(self) -> str:
        """Name of the kind of games."""
        return kind_name(self.config)


def pairs_of(players: Sequence[Player], against: Sequence[Player] = ()) -> list[Pair]:
    """Return the pairs to play: each player against each other one, or against each of ``against``.

    The player whose name comes first has seat 0 in the first game of a map: a pair has the same games in every arena.
    """
    pairs = [(one, two) for one in players for two in against] if against else list(combinations(players, 2))
    return [(one, two) if one.name < two.name else (two, one) for one, two in pairs]


def play_arena(
    pairs: Sequence[Pair],
    options: ArenaOptions,
    store: Store | None = None,
    on_games: OnGames | None = None,
    test: Sprt | None = None,
    tested: str = "",
    replays: Path | None = None,
    on_failure: Callable[[str], None] | None = None,
) -> list[PlayedGame]:
    """Play all pairs and return their games, in the order of pairs, maps and seats.

    A game depends on its seed, its map, its players and their seats: not on the other pairs, the block size or the threads. A
    network's values may differ by rounding with the number of games in a batch, and programs depend on time.

    Args:
        pairs: The pairs, see ``pairs_of``.
        options: The options.
        store: Gets the games as they come; games that it has are not played again. It must be open for writing.
        on_games: Called with the games of a pair as they come, also those that the store had.
        test: Stops the play of a pair when it is decided.
        tested: Name of the player that it tests.
        replays: Folder of replays; default: that of the store.
        on_failure: Called with the reason of each forfeit of a program.

    Raises:
        ConfigError: If a program is to play by other rules than those of the competition, a policy does not fit the games, or
            no fair map was found.
        StateError: If a policy fails.
        StorageError: If the store cannot be written.
    """
    for pair in pairs:
        if has_program(pair) and options.config.rules != "competition":
            name = next(player.given for player in pair if has_program([player]))
            raise ConfigError(f"rules: expected competition for a program, got {options.config.rules!r} with {name!r}")
    folder = replays if replays is not None else store.folder if store is not None else None
    if options.replays and folder is None:
        raise ConfigError("replays: expected a folder for them, got none: pass a store")
    if store is not None:
        store.add_players({player.name: player for pair in pairs for player in pair}.values())
    games: list[PlayedGame] = []
    stop = threading.Event()
    with ExitStack() as ending:
        runner = Runner(options, stop, ending, any(has_program(pair) for pair in pairs))
        ending.callback(stop.set)  # before the pools wait for their tasks
        for pair in pairs:
            games += play_pair(runner, pair, store, on_games or ignore, test, tested, folder, on_failure)
    return games


def ignore(pair: Pair, games: Sequence[PlayedGame]) -> None:
    """Do nothing with games."""


class Runner:
    """Plays blocks of games in threads: built-in players on all cores, programs on half of them, others one by one."""

    def __init__(self, options: ArenaOptions, stop: threading.Event, ending: ExitStack, programs: bool) -> None:
        """Start the threads; ``ending`` ends them."""
        self.options = options
        self.stop = stop
        cores = options.threads or available_cores()
        self.window = 2 * cores
        self._builtin = ending.enter_context(ThreadPoolExecutor(cores, "arena"))
        self._others = ending.enter_context(ThreadPoolExecutor(1, "arena of policies"))  # torch has threads of its own
        self._watch: MemoryWatch | None = None
        if programs:
            self._watch = ending.enter_context(MemoryWatch(options.limits.memory))
            self._programs = ending.enter_context(ThreadPoolExecutor(max(1, cores // 2), "arena of programs"))

    def tasks(self, pair: Pair, missing: Sequence[int], tested: bool) -> Iterator[tuple[Executor, Task]]:
        """Return what to play for a pair on some maps, in their order."""
        options = self.options
        keeps = options.replays > 0
        if has_program(pair) and self._watch is not None:
            for number in missing:
                for swapped in (False, True):
                    yield self._programs, partial(self._program_game, pair, number, swapped, self._watch, keeps)
            return
        size = min(options.block, block_size(options.config, pair), *([TEST_MAPS] if tested else []))
        pool = self._others if any(player.policy is not None for player in pair) else self._builtin
        for begin in range(0, len(missing), size):
            maps = missing[begin : begin + size]
            yield pool, partial(play_block, options.config, pair, maps, options.seed, self.stop, keeps)

    def _program_game(self, pair: Pair, number: int, swapped: bool, watch: MemoryWatch, keeps: bool) -> list[BlockGame]:
        options = self.options
        return [play_program_game(options.config, pair, number, swapped, options.seed, self.stop, options.limits, watch, keeps)]

    def results(self, tasks: Iterator[tuple[Executor, Task]]) -> Iterator[list[BlockGame]]:
        """Run tasks, some ahead of those that are waited for, and return their results in order."""
        running: deque[Future[list[BlockGame]]] = deque()
        try:
            for pool, task in tasks:
                running.append(pool.submit(task))
                if len(running) >= self.window:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()


def play_pair(
    runner: Runner,
    pair: Pair,
    store: Store | None,
    on_games: OnGames,
    test: Sprt | None,
    tested: str,
    folder: Path | None,
    on_failure: Callable[[str], None] | None,
) -> list[PlayedGame]:
    """Play a pair; arguments as of ``play_arena``."""
    options = runner.options
    maps = range(options.games // 2)
    known = known_games(pair, options, store)
    missing = [number for number in maps if number not in known]
    played = [game for number in maps if number in known for game in known[number]]
    if played:
        on_games(pair, played)
    if test is not None and decided_after(test, played, tested) is not None:
        return played
    candidates = Candidates(options.replays)
    for block in runner.results(runner.tasks(pair, missing, test is not None)):
        games = [game.played for game in block]
        decided = False
        if test is not None:
            counted = decided_after(test, games, tested)
            decided = counted is not None
            games = games[:counted]
        for game in block[: len(games)]:
            candidates.add(game)
            if game.failure and on_failure is not None:
                on_failure(game.failure)
        if store is not None:
            store.add(games)
        played += games
        on_games(pair, games)
        if decided:
            break
    if options.replays and folder is not None:
        played = with_replays(played, candidates, options.config, folder, store)
    return played


def known_games(pair: Pair, options: ArenaOptions, store: Store | None) -> dict[int, list[PlayedGame]]:
    """Return the games of a pair that the store has, by map, of the maps that were played from both seats."""
    if store is None:
        return {}
    names = (pair[0].name, pair[1].name)
    found: dict[int, dict[tuple[str, ...], PlayedGame]] = {}
    for game in store.games(options.kind):
        if game.seed == options.seed and game.players in (names, names[::-1]) and game.map < options.games // 2:
            found.setdefault(game.map, {})[game.players] = game
    return {number: [games[names], games[names[::-1]]] for number, games in found.items() if len(games) == 2}


def decided_after(test: Sprt, games: Sequence[PlayedGame], tested: str) -> int | None:
    """Return after how many games a test is decided, looking at it after each map; None if it is not."""
    for end in range(2, len(games) + 2, 2):
        if test.update_games(games[end - 2 : end], tested).accepted is not None:
            return end
    return None


def with_replays(
    games: list[PlayedGame], candidates: Candidates, config: GameConfig, folder: Path, store: Store | None
) -> list[PlayedGame]:
    """Write the chosen replays, and return the games with their paths."""
    paths = {}
    for game in candidates.chosen():
        path = write_replay(folder, config, game)
        paths[game.played.players, game.played.map] = path
        if store is not None:
            store.add([replace(game.played, replay=path)])
    return [replace(game, replay=paths.get((game.players, game.map), game.replay)) for game in games]


def block_size(config: GameConfig, pair: Pair) -> int:
    """Return how many maps fit into a block; one for a player that searches, whose games take minutes."""
    if any(policy_of(player.code) == PLANNER for player in pair):
        return 1
    channels = max(player.channels for player in pair)
    game = 2 * (4 * channels * prod(config.shape) + config.actions)
    return max(1, min(MAX_GAMES, MAX_BYTES // game) // 2)
