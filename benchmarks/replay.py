"""Measures replays: .gior files beside the package lzstring of PyPI, files of this package, and replays of people to datasets.

The games are the duels of people of the ground truth beside the checkout, or without it the duels of the tests.
"""

from __future__ import annotations

import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lzstring import LZString
from rich.console import Console
from rich.progress import track
from rich.table import Table

from generals_env import replay
from generals_env.concurrency.thread_pool import available_cores
from generals_env.engine.boards import Boards
from generals_env.recorders import DatasetWriter
from generals_env.recorders.people.human_replays import record_sources
from generals_env.recorders.people.replay_sources import replay_sources
from generals_env.replay import game_file, gior
from generals_env.replay.inference import infer_actions
from generals_env.replay.reader import from_bytes

ROOT = Path(__file__).resolve().parent.parent
PACKS = ROOT.parent / "shared" / "conformance" / "packs_1v1"
DATA = ROOT / "tests" / "data"

SLOW = 20  # games for what takes milliseconds a game
REPEATS = 5  # of the games, for what takes less
DATASET_GAMES = 2000
FORMATS = ("npz", "parquet", "games")

#: Items a second: by the clock, and of a core's time, which says more on a busy machine.
Rate = tuple[float, float]


def main(rounds: int = 5) -> None:
    """Measure and print medians, with their spread."""
    games = read_games()
    replays = [replay.from_dict(fields) for fields in games]
    recorded = [game.recorded() for game in replays]
    packed = [gior.encode(game) for game in replays]
    files = [game_file.encode(game) for game in recorded]
    texts = [json.dumps(fields, separators=(",", ":")) for fields in games[:SLOW]]
    some = [(Boards._make(array[:1] for array in game.boards), game.boards) for game in recorded[:SLOW]]
    many = replays * REPEATS
    threads = ThreadPoolExecutor(available_cores())
    measured: dict[str, tuple[Callable[[], Any], int]] = {
        ".gior written, one thread, games": (lambda: list(map(gior.encode, many)), len(many)),
        ".gior written, all cores": (lambda: list(threads.map(gior.encode, many)), len(many)),
        "the same text compressed by lzstring 1.0.4": (lambda: [LZString().compress(text) for text in texts], len(texts)),
        ".gior read": (lambda: list(map(from_bytes, packed)), len(packed)),
        "recorded games as .gior, with every board checked": (
            lambda: [gior.encode(gior.replay_of(game)) for game in recorded],
            len(recorded),
        ),
        "replays played to all boards": (lambda: [game.recorded() for game in replays], len(replays)),
        ".generals written": (lambda: list(map(game_file.encode, recorded)), len(recorded)),
        ".generals read": (lambda: list(map(game_file.decode, files)), len(files)),
        "actions inferred from boards": (
            lambda: [infer_actions(start, boards.owner, boards.army) for start, boards in some],
            len(some),
        ),
    }
    rates: dict[str, list[Rate]] = {name: [] for name in measured}
    for run, _ in measured.values():
        run()  # compile
    for _ in track(range(rounds), description="replays"):
        for name, (run, count) in measured.items():
            begun, used = time.perf_counter(), time.process_time()
            run()
            rates[name].append((count / (time.perf_counter() - begun), count / (time.process_time() - used)))
    datasets = {form: [to_dataset(games, form) for _ in range(rounds + 1)][1:] for form in FORMATS}
    print_tables(games, recorded, packed, files, rates, datasets)


def read_games() -> list[dict[str, Any]]:
    """Return the fields of games of two players."""
    packs = sorted(PACKS.glob("*.json.gz"))
    if packs:
        return [entry["replay"] for pack in packs for entry in json.loads(gzip.decompress(pack.read_bytes()))]
    found = [json.loads(gzip.decompress(file.read_bytes())) for file in sorted(DATA.glob("*.json.gz"))]
    return [game for game in found if "moves" in game and len(game["generals"]) == 2]


def to_dataset(games: Sequence[dict[str, Any]], form: str) -> Rate:
    """Return experiences a second from JSON lines of ``DATASET_GAMES`` games to files."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "games.jsonl"
        with path.open("w") as file:
            for number in range(DATASET_GAMES):
                file.write(json.dumps(games[number % len(games)]) + "\n")
        begun, used = time.perf_counter(), time.process_time()
        result = record_sources(replay_sources([path]), DatasetWriter(Path(folder) / "out", form))
        return result.experiences / (time.perf_counter() - begun), result.experiences / (time.process_time() - used)


def print_tables(
    games: Sequence[dict[str, Any]],
    recorded: Sequence[replay.RecordedGame],
    packed: Sequence[bytes],
    files: Sequence[bytes],
    rates: dict[str, list[Rate]],
    datasets: dict[str, list[Rate]],
) -> None:
    """Print what was measured."""
    turns = statistics.mean(game.turns for game in recorded)
    moves = statistics.mean(len(fields["moves"]) for fields in games)
    title = f"{len(games)} duels, {turns:.0f} turns and {moves:.0f} moves on average"
    table = Table("what", "a second", "spread", "a second of one core", "spread", title=title)
    for form, values in datasets.items():
        rates[f"{DATASET_GAMES:,} games as JSON lines to {form}, experiences"] = values
    for name, values in rates.items():
        columns = [sorted(value[which] for value in values) for which in (0, 1)]
        spread = [cell for one in columns for cell in (f"{statistics.median(one):,.0f}", f"{one[0]:,.0f} - {one[-1]:,.0f}")]
        table.add_row(name, *spread)
    Console(width=150).print(table)
    for name, sizes in ((".gior", packed), (".generals", files)):
        lengths = sorted(map(len, sizes))
        Console().print(f"{name}: {statistics.median(lengths):,.0f} bytes a game ({lengths[0]:,} - {lengths[-1]:,})")
