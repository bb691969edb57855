"""Measures replay buffers: memory, writing and sampling, beside those of other libraries with the same transitions.

Each buffer is measured in a separate process, other libraries in virtual environments of their own, in turn; figures are
medians of rounds, with their spread. The buffers of this package are also measured with one and ten million experiences,
while playing, and with the measurements of the guide.
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
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pettingzoo.test import performance_benchmark
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import generals_env
from benchmarks.env import turns_per_second
from benchmarks.peers import PeerFailed, PeerMissing, measure, peer_python
from generals_env import replay
from generals_env.recorders import ExperienceBatch, ExperienceRecorder, ReplayBuffer
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.recording.single_game_collector import GameCollector
from generals_env.recorders.recording.turn_batcher import TurnBatcher

ROOT = Path(__file__).resolve().parent.parent
PACKS = ROOT.parent / "shared" / "conformance" / "packs_1v1"
WORKER = Path(__file__).parent / "workers" / "replay_buffers.py"

ROUNDS = 3
ITEMS = 20_000
SECONDS = 1.5
PEERS = {
    "stable-baselines3": ("torch==2.13.0", "stable-baselines3==2.9.2"),
    "cpprb": ("cpprb==11.0.0",),
    "torchrl": ("torch==2.13.0", "torchrl==0.14.1"),
    "numpy": ("numpy==2.4.6",),
}

Figures = dict[str, list[float]]

ROWS = {
    "bytes_per_item": "bytes an experience",
    "add_1": "added a second, one at a time",
    "add_256": "added a second, 256 at a time",
    "sample_256": "batches of 256 a second: float32 states, next states, both masks, one caller",
    "sample_256_given_arrays": "the same into given arrays",
    "sample_256_two_threads": "the same, two callers",
    "sample_256_default_malloc": "one caller, glibc's malloc as it is",
    "packed_256": "batches of 256 as packed boards",
    "packed_256_two_threads": "the same, two callers",
    "prioritized_256": "prioritized batches of 256 with updates (ours: packed boards)",
}


def write_transitions(folder: Path) -> None:
    """Write the same transitions as a saved buffer and as arrays: random moves, 20x20, two players, some hundred turns."""
    buffer = ReplayBuffer(ITEMS, seed=1)
    with ExperienceRecorder(generals_env.make_vec(50), buffer) as env:
        env.reset(seed=1)
        env.play(500, ("random", "random"))
    buffer.save(folder / "ours")
    tensors = buffer.snapshot().tensors()
    arrays = {
        "state": tensors.states,
        "next_state": tensors.next_states,
        "action_mask": tensors.action_masks,
        "next_action_mask": tensors.next_action_masks,
        "action": tensors.actions,
        "reward": tensors.rewards,
        "terminated": tensors.terminated,
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def ours(*arguments: object) -> dict[str, Any]:
    """Run the worker for the buffers of this package in a separate process and return its JSON object."""
    command = [sys.executable, "-m", "benchmarks.workers.board_buffer", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def beside_peers(console: Console) -> None:
    """Measure the buffers of this package and of other libraries in turn."""
    figures: dict[str, Figures] = {}
    pythons = {}
    for name, requirements in PEERS.items():
        try:
            pythons[name] = peer_python(requirements)
        except PeerMissing as error:
            console.print(f"{name} is left out: {error}", style="yellow")
    with tempfile.TemporaryDirectory() as path, Progress(console=console) as bar:
        folder = Path(path)
        write_transitions(folder)
        task = bar.add_task("beside other libraries", total=ROUNDS * (1 + len(pythons)))
        for _ in range(ROUNDS):
            keep(figures, "generals_env", ours("small", folder / "ours", SECONDS))
            bar.advance(task)
            for name, python in list(pythons.items()):
                try:
                    keep(figures, name, measure(python, WORKER, name, folder, SECONDS))
                except PeerFailed as error:
                    console.print(f"{name} is left out: {error}", style="yellow")
                    del pythons[name]
                bar.advance(task)
    table = Table("", *figures, title=f"{ITEMS:,} experiences, 20x20, two players, medians of {ROUNDS} rounds (min - max)")
    for row, title in ROWS.items():
        table.add_row(title, *(cell(values.get(row, [])) for values in figures.values()))
    console.print(table)
    mine = figures.pop("generals_env")
    fastest = max(statistics.median(values["sample_256"]) for values in figures.values())
    fastest_two = max(statistics.median(values["sample_256_two_threads"]) for values in figures.values())
    priorities = [statistics.median(values["prioritized_256"]) for values in figures.values() if "prioritized_256" in values]
    ratios = {
        "float32, one caller": statistics.median(mine["sample_256"]) / fastest,
        "float32, best of ours on two cores": max(
            statistics.median(mine[name]) for name in ("sample_256", "sample_256_two_threads", "sample_256_given_arrays")
        )
        / fastest_two,
        "packed, one caller": statistics.median(mine["packed_256"]) / fastest,
        "packed, two callers": statistics.median(mine["packed_256_two_threads"]) / fastest_two,
        "prioritized, packed": statistics.median(mine["prioritized_256"]) / max(priorities, default=float("nan")),
    }
    for name, ratio in ratios.items():
        console.print(f"{name}: {ratio:.2f} times the fastest other")


def keep(figures: dict[str, Figures], name: str, result: dict[str, Any]) -> None:
    """Append the numbers of a result to the figures."""
    kept = figures.setdefault(f"{name} {result['version']}" if name != "generals_env" else name, {})
    for row, value in result.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            kept.setdefault(row, []).append(float(value))


def cell(values: list[float]) -> str:
    """Return median, minimum and maximum as text."""
    if not values:
        return "-"
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} - {max(values):,.0f})"


def large_buffers(console: Console) -> None:
    """Measure large buffers that are filled by playing."""
    table = Table("store", "experiences", "bytes", "resident bytes", "filled a second", "packed 256", "float32 256", "cleared")
    with Progress(console=console) as bar:
        task = bar.add_task("large buffers", total=9)
        for store, count in (("boards", 1_000_000), ("zstd", 1_000_000), ("games", 10_000_000)):
            results = []
            for _ in range(3):
                results.append(ours("large", store, count, SECONDS))
                bar.advance(task)
            figures: Figures = {name: [float(result[name]) for result in results] for name in results[0] if name != "store"}
            left = f"{statistics.median(figures['resident_after_clear']) / 2**20:,.0f} MiB"
            names = ("bytes", "resident", "filled_per_second", "packed_256", "sample_256")
            table.add_row(store, f"{count:,}", *(cell(figures[name]) for name in names), left)
    console.print(table)


def while_playing(console: Console) -> None:
    """Measure the cost of recording."""
    rates: Figures = ours("recording", 20)
    table = Table("1,024 games of random legal moves, 20x20", "turns of games a second", "experiences a second")
    for name, title in (
        ("plain", "play, 512 turns a call"),
        ("recorded", "the same, recorded into a buffer of boards"),
        ("stepped", "step(copy=False)"),
        ("stepped_recorded", "the same, recorded"),
    ):
        table.add_row(title, cell(rates[name]), f"{2 * statistics.median(rates[name]):,.0f}")
    console.print(table)
    for one, other in (("recorded", "plain"), ("stepped_recorded", "stepped")):
        ratio = statistics.median(mine / theirs for mine, theirs in zip(rates[one], rates[other], strict=True))
        console.print(f"{one}: {ratio:.0%} of the speed of {other} (median of pairs)")


def one_by_one(console: Console) -> None:
    """Measure the cost of recording the AEC environment."""
    turns_per_second(generals_env.make())
    plain, recorded = [], []
    with Progress(console=console) as bar:
        for _ in bar.track(range(ROUNDS), description="AEC environment"):
            plain.append(turns_per_second(generals_env.make()))
            with ExperienceRecorder(generals_env.make(), ReplayBuffer(100_000)) as env:
                recorded.append(turns_per_second(env))
    table = Table(f"{performance_benchmark.__name__} of PettingZoo", "agents' turns a second")
    table.add_row("environment", cell(plain))
    table.add_row("recorded into a buffer of boards", cell(recorded))
    console.print(table)
    ratio = statistics.median(mine / theirs for mine, theirs in zip(recorded, plain, strict=True))
    console.print(f"recorded: {ratio:.0%} of the speed (median of pairs)")


def guide(console: Console) -> None:
    """Measure as the guide does: tensors a second, reused arrays, compression, memory, and a minute of recording."""
    table = Table("tensors of 256 views a call", "states a second", "masks a second")
    for size in (10, 20, 50):
        batch = some_batch(size)
        states, masks = batch.states(), batch.action_masks()
        views = rate(lambda b=batch, s=states: b.states(s)) * len(batch)  # type: ignore[misc]
        legal = rate(lambda b=batch, m=masks: b.action_masks(m)) * len(batch)  # type: ignore[misc]
        table.add_row(f"{size}x{size}", f"{views:,.0f}", f"{legal:,.0f}")
    console.print(table)
    batch = some_batch(20)
    room = batch.tensors()
    for name, work in (("given arrays", lambda: batch.tensors(room)), ("new arrays", batch.tensors)):
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        console.print(f"pooling, {name}: {rate(work) * len(batch):,.0f} experiences a second, {peak / 2**20:.2f} MiB a call")
    buffer = ReplayBuffer(100_000)
    with ExperienceRecorder(generals_env.make_vec(256), buffer) as env:
        env.reset(seed=1)
        while len(buffer) < 100_000:
            env.play(64, ("expander", "random"))
    console.print(f"100,000 experiences: {buffer.stats().nbytes / len(buffer):,.0f} bytes each (the guide asks for 35,000)")
    human_games(console)
    minute(console)


def some_batch(size: int) -> ExperienceBatch:
    """Return 256 experiences of games on square boards."""
    buffer = ReplayBuffer(20_000, seed=1)
    with ExperienceRecorder(generals_env.make_vec(16, height=size, width=size), buffer) as env:
        env.reset(seed=1)
        env.play(500, ("expander", "random"))
    return buffer.sample(256)


def rate(work: Callable[[], Any], seconds: float = 1.0) -> float:
    """Return the median of five counts of calls a second."""
    work()
    rates = []
    for _ in range(5):
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds / 5:
            work()
            count += 1
        rates.append(count / (time.perf_counter() - start))
    return statistics.median(rates)


class Batches(list[ExperienceBatch]):
    """A sink that is a list of the batches written."""

    def write(self, batch: ExperienceBatch) -> None:
        """Append a batch."""
        self.append(batch)

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def human_games(console: Console) -> None:
    """Compress recorded games of people."""
    batches = Batches()
    batcher = TurnBatcher(batches)
    collector = GameCollector(batcher)
    for path in sorted(PACKS.glob("*.json.gz"))[:1]:
        for case in json.loads(gzip.decompress(path.read_bytes())):
            replay.from_dict(case["replay"]).collect(collector)
    batcher.close()
    if not batches:
        console.print("no recorded games of people found: compression is not measured", style="yellow")
        return
    count = sum(map(len, batches))
    tensors = sum(len(batch) * (2 * 4 * 9 + 2 * 8) * batch.shape[0] * batch.shape[1] for batch in batches)
    start = time.perf_counter()
    packed = sum(len(encode_batch(batch)) for batch in batches)
    seconds = time.perf_counter() - start
    console.print(
        f"40 duels of people, {count:,} experiences: {packed / count:.1f} bytes each as zstd chunks, {tensors / count:,.0f} as "
        f"tensors, ratio {tensors / packed:,.0f}; {count / seconds:,.0f} compressed a second"
    )
    buffer = ReplayBuffer(10**6, store="games")
    for batch in batches:
        buffer.write(batch)
    console.print(f"the same as keyframes and actions: {buffer.stats().nbytes / len(buffer):.1f} bytes each")


def minute(console: Console) -> None:
    """Record for sixty seconds while the engine plays both players, with boards and masks before and after each turn."""
    buffer = ReplayBuffer(1_000_000)
    with ExperienceRecorder(generals_env.make_vec(1024), buffer) as env, Progress(console=console) as bar:
        task = bar.add_task("recording for a minute", total=60)
        env.reset(seed=1)
        env.play(16, ("expander", "random"))
        first, start = env.experiences, time.perf_counter()
        while (spent := time.perf_counter() - start) < 60:
            env.play(64, ("expander", "random"))
            bar.update(task, completed=spent)
        count = env.experiences - first
    console.print(f"60 seconds, 20x20, expander against random, into boards: {count / spent:,.0f} experiences a second")


def main() -> None:
    """Measure and print."""
    console = Console(width=200)
    beside_peers(console)
    large_buffers(console)
    while_playing(console)
    one_by_one(console)
    guide(console)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    console.print(
        f"{machine}, python {platform.python_version()}, generals_env {generals_env.__version__}, numpy {np.__version__}"
    )


if __name__ == "__main__":
    main()
