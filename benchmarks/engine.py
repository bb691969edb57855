"""Measures turns a second of many games at once, beside other environments in the same run.

A turn is one turn of one game, with the observations and masks of all players updated after it. Games are played to the end
(1,000 turns), as a turn costs more with more land. Each round measures this package and the peers in turn; the figures are
medians, with their spread.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import SyncVectorEnv
from rich.console import Console
from rich.table import Table

import generals_env
from benchmarks.peers import PeerFailed, PeerMissing, measure, peer_python
from generals_env import replay
from generals_env.collector import Transition
from generals_env.engine.boards import Boards, copy_boards, empty_boards
from generals_env.engine.rules.map_generator import generate_map
from generals_env.engine.simulation.batch import Batch
from generals_env.engine.simulation.single_game import BEFORE
from generals_env.single import GeneralsSingle, GeneralsSingleVector

ROUNDS = 5
PEER_ROUNDS = 3
PEER = ("generals-bots==2.5.0",)
PACKS = Path(__file__).resolve().parent.parent.parent / "shared" / "conformance" / "packs_1v1"

Rates = dict[str, list[float]]

START = """
import time
start = time.perf_counter()
import generals_env
venv = generals_env.make_vec(4)
venv.reset(seed=1)
venv.step(venv.act(("random", "expander")))
venv.play(1, ("random", "expander"))
print(time.perf_counter() - start)
"""


def played(
    size: int, games: int, players: int, policy: str, turns: int = 1000, threads: int | None = None
) -> Callable[[], float]:
    """Return a function that plays ``turns`` of each game in one call and returns turns a second."""
    venv = generals_env.make_vec(games, players=players, height=size, width=size, copy=False, threads=threads)
    venv.reset(seed=1)
    policies = [policy] * players
    venv.play(500, policies)

    def run() -> float:
        start = time.perf_counter()
        venv.play(turns, policies)
        return games * turns / (time.perf_counter() - start)

    return run


def turn_by_turn(games: int, turns: int = 1000) -> Callable[[], float]:
    """Return a function that does the same with one turn of all games a call."""
    venv = generals_env.make_vec(games, copy=False)
    venv.reset(seed=1)

    def run() -> float:
        start = time.perf_counter()
        for _ in range(turns):
            venv.play(1, ("random", "random"))
        return games * turns / (time.perf_counter() - start)

    return run


def stepped(games: int, copy: bool, turns: int) -> Callable[[], float]:
    """Return a function that steps with legal actions and returns turns a second, from the time of ``step`` alone."""
    venv = generals_env.make_vec(games, copy=copy)
    venv.reset(seed=1)

    def run() -> float:
        seconds = 0.0
        for _ in range(turns):
            actions = venv.act(("random", "random"))
            start = time.perf_counter()
            venv.step(actions)
            seconds += time.perf_counter() - start
        return games * turns / seconds

    return run


def copied(games: int) -> Callable[[], float]:
    """Return a function that copies the arrays of ``games`` games and returns games a second, the limit of copying."""
    venv = generals_env.make_vec(games)
    views = venv.reset(seed=1)[0]

    def run() -> float:
        start = time.perf_counter()
        for _ in range(10):
            for array in views.values():
                array.copy()
        return 10 * games / (time.perf_counter() - start)

    return run


def single_player(make: Callable[[int], Any], games: int, turns: int) -> Callable[[], float]:
    """Return a function like that of ``stepped`` for one player against a random opponent."""
    env = make(games)
    first = env.reset(seed=1) if hasattr(env, "single_action_space") else (env.seed(1), env.reset())[::-1]
    state = {"views": first[0]}
    rng = np.random.default_rng(1)

    def run() -> float:
        seconds = 0.0
        for _ in range(turns):
            masks = state["views"]["action_mask"]
            actions = (rng.random(masks.shape, np.float32) * masks).argmax(axis=1)
            start = time.perf_counter()
            state["views"] = env.step(actions)[0]
            seconds += time.perf_counter() - start
        return games * turns / seconds

    return run


def sb3_envs() -> dict[str, Callable[[int], Any]]:
    """Return makers of this package's and Stable-Baselines3's vector environment, if that is installed."""
    try:
        from stable_baselines3.common.vec_env import DummyVecEnv
    except ImportError:
        return {}
    from generals_env.wrappers import SB3VecEnv

    return {
        "SB3VecEnv": lambda games: SB3VecEnv(GeneralsSingleVector(games, opponent="random")),
        "DummyVecEnv (SB3) of our single environments": lambda games: DummyVecEnv(
            [lambda: GeneralsSingle(opponent="random")] * games
        ),
    }


class GameActions:
    """A collector that keeps the first board of a game and all actions."""

    def __init__(self) -> None:
        """Start without a board."""
        self.boards: Boards | None = None
        self.actions: list[np.ndarray] = []

    def on_state_transition(self, transition: Transition) -> None:
        """Keep the actions of a turn."""
        if self.boards is None:
            self.boards = copy_boards(transition.boards)
        self.actions.append(transition.actions.copy())

    def on_game_end(self) -> None:
        """Do nothing."""


def human_games(copies: int = 6) -> Callable[[], float] | None:
    """Return a function that plays recorded duels of people again in one batch; None if no duels are found."""
    games = []
    for path in sorted(PACKS.glob("*.json.gz")):
        for case in json.loads(gzip.decompress(path.read_bytes())):
            games.append(GameActions())
            replay.from_dict(case["replay"]).collect(games[-1])
    if not games:
        return None
    shapes = [game.boards.games[BEFORE] for game in games if game.boards is not None]
    height, width = max(int(shape["height"]) for shape in shapes), max(int(shape["width"]) for shape in shapes)
    boards = empty_boards(len(games), height, width, 2)
    lengths = np.array([len(game.actions) for game in games])
    actions = np.full((lengths.max(), len(games), 2), 8 * height * width, np.int64)
    for b, (game, shape) in enumerate(zip(games, shapes, strict=True)):
        embed(game, boards, b, width)
        for turn, chosen in enumerate(game.actions):
            actions[turn, b] = [moved(int(action), shape, height, width) for action in chosen]
    played_in = Boards._make(np.concatenate([field] * copies) for field in boards)
    none = np.zeros(6, np.int64), np.zeros(3, np.float64)
    weights = generals_env.RewardConfig().weights()
    batch = Batch(played_in, weights, 10**6, *none, threads=os.cpu_count() or 1)

    def run() -> float:
        batch.load(boards, np.arange(copies * len(games)) % len(games))
        start = time.perf_counter()
        for turn in range(len(actions)):
            batch.outcome.active[np.tile(lengths <= turn, copies)] = False  # ended, perhaps by a surrender
            batch.outcome.actions[:] = np.tile(actions[turn], (copies, 1))
            batch.step()
        return copies * int(lengths.sum()) / (time.perf_counter() - start)

    return run


def embed(recorded: GameActions, boards: Boards, b: int, width: int) -> None:
    """Put the first board of a game into the upper left corner of board ``b``."""
    first = recorded.boards
    assert first is not None
    game = first.games[BEFORE]
    rows, columns = int(game["height"]), int(game["width"])
    tiles = (np.arange(rows)[:, None] * width + np.arange(columns)).ravel()
    for name in ("owner", "army", "terrain"):
        getattr(boards, name)[b, tiles] = getattr(first, name)[BEFORE]
    height = int(boards.games["height"][b])
    boards.players[b] = first.players[BEFORE]
    boards.players["general"][b] = tiles[first.players["general"][BEFORE]]
    boards.games[b] = game
    boards.games["height"][b], boards.games["width"][b] = height, width
    boards.games["rows"][b], boards.games["columns"][b] = rows, columns


def moved(action: int, shape: Any, height: int, width: int) -> int:
    """Convert an action of a board to that of the padded board."""
    plane = 4 * int(shape["height"]) * int(shape["width"])
    if action == 2 * plane:
        return 8 * height * width
    half, rest = divmod(int(action), plane)
    tile, direction = divmod(rest, 4)
    row, column = divmod(tile, int(shape["width"]))
    return half * 4 * height * width + 4 * (row * width + column) + direction


def new_games(games: int = 256) -> Callable[[], float]:
    """Return a function that resets games on one thread and returns games a second."""
    venv = generals_env.make_vec(games, copy=False, threads=1)
    venv.reset(seed=1)
    everything = np.ones(games, np.bool_)

    def run() -> float:
        start = time.perf_counter()
        for _ in range(10):
            venv.batch.reset(everything)
        return 10 * games / (time.perf_counter() - start)

    return run


def new_maps(count: int = 5000) -> Callable[[], float]:
    """Return a function that generates maps, one a call, and returns maps a second."""
    config = generals_env.GameConfig()
    boards = config.empty_boards(1)
    sizes, densities = config.map_parameters()
    rng = np.ones(1, np.uint64)
    generate_map(boards, 0, rng, sizes, densities)

    def run() -> float:
        start = time.perf_counter()
        for _ in range(count):
            generate_map(boards, 0, rng, sizes, densities)
        return count / (time.perf_counter() - start)

    return run


def memory(size: int, players: int, games: int = 64) -> str:
    """Return a text with the bytes of a game, and those of the arrays that are returned to users."""
    batch = generals_env.make_vec(games, height=size, width=size, players=players).batch
    outcome = (batch.outcome.rewards, batch.outcome.terminated, batch.outcome.truncated)
    given = sum(array.nbytes for array in (batch.views.observations, batch.views.masks, *outcome)) / games
    held = (*batch.boards, *batch.sets, *batch.views, *batch.outcome, batch.rng, batch.policy_rng)
    total = sum(array.nbytes for array in held) / games
    limit = 1.15 * given + 4096
    return f"{size}x{size}, {players} players: {total:,.0f} bytes a game, {given:,.0f} of them returned, limit {limit:,.0f}"


def started(**environment: str) -> float:
    """Return the seconds of a first start in a separate process."""
    done = subprocess.run(
        [sys.executable, "-c", START], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def peer(size: int) -> Iterator[dict[str, Any]]:
    """Yield new measurements of the peer; end if it cannot be installed or fails."""
    console = Console()
    try:
        python = peer_python(PEER)
        while True:
            yield measure(python, Path(__file__).parent / "workers" / "generals_bots.py", size, size, 1)
    except (PeerMissing, PeerFailed) as error:
        console.print(f"{PEER[0]} is left out: {error}", style="yellow")


def add(rates: Rates, name: str, value: float | None) -> None:
    """Append a figure if there is one."""
    if value is not None:
        rates.setdefault(name, []).append(value)


def table_of(title: str, rates: Rates, base: str) -> Table:
    """Return a table of medians, spreads, and ratios to the median of ``base``."""
    table = Table("what", "turns a second", "spread", f"{base} is so many times faster", title=title)
    reference = statistics.median(rates[base])
    for name, values in rates.items():
        middle = statistics.median(values)
        table.add_row(name, f"{middle:,.0f}", f"{min(values):,.0f} - {max(values):,.0f}", f"{reference / middle:,.1f}")
    return table


def main() -> None:
    """Measure and print."""
    console = Console(width=160)
    with tempfile.TemporaryDirectory() as cache:
        console.print(f"first start, nothing compiled: {started(NUMBA_CACHE_DIR=cache):.1f} s")
        console.print(
            f"first start, compiled before: {statistics.median(started(NUMBA_CACHE_DIR=cache) for _ in range(3)):.2f} s"
        )
    boards: dict[str, Callable[[], float]] = {
        "10x10, 1,024 games, random": played(10, 1024, 2, "random"),
        "20x20, 1,024 games, random": played(20, 1024, 2, "random"),
        "20x20, 1,024 games, random, one thread": played(20, 1024, 2, "random", threads=1),
        "20x20, 1,024 games, random, a call a turn": turn_by_turn(1024, 200),
        "20x20, 64 games, random": played(20, 64, 2, "random", turns=8000),
        "23x23, 8 players, 256 games, random": played(23, 256, 8, "random"),
        "20x20, 1,024 games, expander": played(20, 1024, 2, "expander"),
        "20x20, 1,024 games, step(copy=False)": stepped(1024, False, 200),
        "20x20, 1,024 games, step(copy=True)": stepped(1024, True, 50),
        "20x20, 1,024 games, a copy of the arrays alone": copied(1024),
        "20x20, new games (map, views), one thread": new_games(),
        "20x20, new maps alone, a call each": new_maps(),
    }
    duels = human_games()
    if duels is not None:
        boards["human duels played again, 960 games"] = duels
    environments = {
        "GeneralsSingleVector": lambda games: GeneralsSingleVector(games, opponent="random"),
        "SyncVectorEnv (Gymnasium) of our single environments": lambda games: SyncVectorEnv(
            [lambda: GeneralsSingle(opponent="random")] * games
        ),
        **sb3_envs(),
    }
    singles = {name: single_player(make, 64, 100) for name, make in environments.items()}
    ours: Rates = {}
    single_rates: Rates = {}
    peers: dict[int, Rates] = {10: {}, 20: {}}
    sources = {size: peer(size) for size in peers}
    for number in range(ROUNDS):
        console.print(f"round {number + 1} of {ROUNDS}", style="dim")
        for name, run in boards.items():
            add(ours, name, run())
        for name, run in singles.items():
            add(single_rates, name, run())
        if number < PEER_ROUNDS:
            for size, rates in peers.items():
                figures = next(sources[size], {})
                add(rates, "ours, 1,024 games", ours[f"{size}x{size}, 1,024 games, random"][-1])
                for name in ("game", "pettingzoo", "gymnasium"):
                    add(rates, f"generals-bots {figures.get('version', '')}, {name}", figures.get(name))
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    console.print(table_of(f"The batch on {machine}", ours, "20x20, 1,024 games, random"))
    console.print(
        table_of("64 games of one player against a random opponent, time of step", single_rates, "GeneralsSingleVector")
    )
    for size, rates in peers.items():
        console.print(
            table_of(
                f"Beside generals-bots, {size}x{size}, random legal moves, observations and masks", rates, "ours, 1,024 games"
            )
        )
    for size, players in ((10, 2), (20, 2), (23, 8)):
        console.print(memory(size, players))
    console.print(f"python {platform.python_version()}, generals_env {generals_env.__version__}, numpy {np.__version__}")


if __name__ == "__main__":
    main()
