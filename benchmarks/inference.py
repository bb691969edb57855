"""Measures policies in batches: layouts and dtypes, bytes to a device, one policy for many workers, cores for an accelerator.

``python -m benchmarks inference`` runs on the CPU, and on a GPU where torch finds one; it says where there is none.
"""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import generals_env
from benchmarks.pairs import Figures, cell, in_turn, keep, ratios
from benchmarks.shared_inference import shared_tables
from generals_env.observations.joined import joined
from generals_env.recorders import ExperienceBatch
from generals_env.recorders.distributed import RolloutPlan, TaskPlayer
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.training.pinned_room import PinnedRoom

BOARD = 20
PLAYERS = ("expander", "expander")

#: Features per tile and convolutions of the networks, by the devices that evaluate them: 0.05 M, 0.6 M and 4.7 M parameters.
NETWORKS = {"cpu": ((32, 6), (128, 5)), "cuda": ((32, 6), (128, 5), (256, 9))}

#: States at a time.
CHUNKS = {"cpu": (32, 512), "cuda": (512, 2048, 8192)}

SECONDS = 0.5  # of each measurement

#: Samples a second that one accelerator trains on: what, as published, read in November 2026 (docs/distributed.md).
ACCELERATORS = {
    "H100, transformer of 15 M parameters": 72_000,
    "H100, 9 M": 114_000,
    "H100, 5 M": 155_000,
    "A100, small convolutional network": 391_000,
}


class Tower(torch.nn.Module):
    """Convolutions of 3x3 and the scores of 8 moves a tile: what the layouts and dtypes of memory change."""

    def __init__(self, channels: int, depth: int) -> None:
        """Create the layers."""
        super().__init__()
        sizes = [9, *[channels] * (depth - 1)]
        layers = [torch.nn.Conv2d(size, channels, 3, padding=1) for size in sizes]
        self.layers = torch.nn.Sequential(*(part for layer in layers for part in (layer, torch.nn.ReLU())))
        self.moves = torch.nn.Conv2d(channels, 8, 1)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return scores (n, 8*H*W + 1)."""
        return torch.nn.functional.pad(self.moves(self.layers(states)).flatten(1), (0, 1))


def main(rounds: int = 5) -> None:
    """Measure and print.

    Args:
        rounds: Rounds in turn; tables show the median and the range.
    """
    console = Console(width=180)
    gpu = torch.cuda.is_available()
    torch.set_num_threads(1)  # rates of the CPU are those of one core, in CPU time: other work on the machine counts little
    console.print(
        f"torch {torch.__version__}, one thread; GPU: "
        + (torch.cuda.get_device_name() if gpu else "none that torch can use: the rows of one are missing, nothing stands in")
    )
    with Progress(console=console, transient=True) as bar:
        for device in ("cpu", "cuda") if gpu else ("cpu",):
            console.print(forward_table(device, rounds, bar))
            console.print(copies_table(device, rounds, bar))
        rates = core_rates(rounds, bar)
        for table in feed_tables(rates):
            console.print(table)
        for table in shared_tables(rounds, bar):
            console.print(table)


def rate(work: Callable[[], Any], states: int, device: str) -> float:
    """Return the states a second of a function that evaluates some states: of CPU time of one thread, or of a GPU's time."""
    finish, clock = (torch.cuda.synchronize, time.perf_counter) if device == "cuda" else (int, time.process_time)
    work()
    finish()
    start, calls = clock(), 0
    while (spent := clock() - start) < SECONDS or not calls:
        work()
        finish()
        calls += 1
    return states * calls / spent


def games(count: int) -> generals_env.GeneralsVector:
    """Return games after some turns."""
    env = generals_env.make_vec(count, height=BOARD, width=BOARD, copy=False)
    env.reset(seed=1)
    env.play(100, PLAYERS)
    return env


def parameters_of(network: torch.nn.Module) -> str:
    """Return the number of parameters in millions, as text."""
    return f"{sum(map(torch.numel, network.parameters())) / 1e6:.2g} M"


def forward_table(device: str, rounds: int, bar: Progress) -> Table:
    """Return states a second of networks by the layout and the dtype."""
    kinds = {
        "NCHW, float32": (False, torch.contiguous_format),
        "channels last, float32": (False, torch.channels_last),
        "NCHW, bfloat16": (True, torch.contiguous_format),
        "channels last, bfloat16": (True, torch.channels_last),
    }
    views = games(max(CHUNKS[device]) // 2).packed().to_torch(device)["observation"].flatten(0, 1)
    figures: Figures = {}
    task = bar.add_task(f"{device}: forward", total=rounds * len(NETWORKS[device]) * len(CHUNKS[device]))
    for number in range(rounds):
        for size, chunk in itertools.product(NETWORKS[device], CHUNKS[device]):
            network = Tower(*size).to(device).eval()
            for kind in in_turn(list(kinds), number):
                rounded, layout = kinds[kind]
                network.to(memory_format=layout)  # type: ignore[call-overload]
                work = functools.partial(network, views[:chunk].contiguous(memory_format=layout))
                with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=rounded):
                    keep(figures, f"{parameters_of(network)} parameters, {chunk} at a time", kind, rate(work, chunk, device))
            bar.advance(task)
    title = f"{device}: states a second" + (" of one core" if device == "cpu" else "")
    table = Table("network, 20x20", *kinds, "channels last over NCHW", "bfloat16 over float32", title=title)
    plain, last, _, both = kinds
    for name, found in figures.items():
        gains = ratios(found[last], found[plain]), ratios(found[both], found[last])
        table.add_row(name, *(cell(found[kind]) for kind in kinds), *gains)
    return table


def copies_table(device: str, rounds: int, bar: Progress) -> Table:
    """Return bytes and states a second of the ways of observations to the network's memory, without the network."""
    env = games(1024)
    states = 2 * env.num_envs
    room = PinnedRoom(pinned=device == "cuda")
    tensors, packed = env.to_torch(), env.packed()
    full = sum(part.nbytes for part in tensors.values())
    small = sum(array.nbytes for array in packed.boards)

    def staged() -> Any:
        room.clear()
        return joined([env.packed()], room.take).to_torch(device)

    ways: dict[str, tuple[int, Callable[[], Any]]] = {
        "tensors and masks, copied": (full, lambda: [part.to(device, copy=True) for part in tensors.values()]),
        "packed boards: pack, copy": (small, lambda: [torch.tensor(array.view(np.uint8)) for array in env.packed().boards]),
        "packed boards: pack, copy through the room, expand": (small, staged),
    }
    if device == "cuda":
        pinned = [part.pin_memory() for part in tensors.values()]
        ways["tensors and masks, from page-locked memory"] = (
            full,
            lambda: [part.to(device, non_blocking=True) for part in pinned],
        )
    figures: Figures = {}
    for number in bar.track(range(rounds), description=f"{device}: copies"):
        for way in in_turn(list(ways), number):
            keep(figures, way, "states", rate(ways[way][1], states, device))
    table = Table(
        "way", "bytes a state", "states a second", title=f"{device}: 1,024 games of two on {BOARD}x{BOARD}, without a network"
    )
    for way, (size, _) in ways.items():
        table.add_row(way, f"{size / states:,.0f}", cell(figures[way]["states"]))
    return table


class Encoded:
    """A sink that encodes batches as files and streams do, and drops them."""

    def write(self, batch: ExperienceBatch) -> None:
        """Encode a batch."""
        encode_batch(batch)

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def core_rates(rounds: int, bar: Progress) -> dict[str, list[float]]:
    """Return experiences, and states of a policy's games, a second of CPU time: what one core gives."""
    plan = RolloutPlan(num_envs=256, turns=200, policies=PLAYERS, env={"height": BOARD, "width": BOARD}, run_id="feed")
    player, env = TaskPlayer(plan), games(1024)
    found: dict[str, list[float]] = {}
    for number in bar.track(range(rounds + 1), description="rates of one core"):
        start = time.process_time()
        experiences = player.play(number, Encoded()).experiences
        recorded = experiences / (time.process_time() - start)
        start = time.process_time()
        for _ in range(20):
            actions = env.act(("random", "random"))
            env.step(actions)
            env.packed()
        stepped = 20 * actions.size / (time.process_time() - start)
        if number:  # the first round compiles
            found.setdefault("play, record and encode", []).append(recorded)
            found.setdefault("step, and pack the boards for a policy elsewhere", []).append(stepped)
    return found


def feed_tables(rates: dict[str, list[float]]) -> list[Table]:
    """Return the rates of one core, and how many cores feed one accelerator, computed from them."""
    measured = Table("one core", "a second of CPU time", title=f"{BOARD}x{BOARD}, two players")
    for name, found in rates.items():
        measured.add_row(name, cell(found))
    needed = Table(
        "accelerator that trains", "samples a second, published", *rates, title="cores that feed one accelerator, computed"
    )
    for name, wanted in ACCELERATORS.items():
        needed.add_row(name, f"{wanted:,}", *(cores(wanted, float(np.median(found))) for found in rates.values()))
    return [measured, needed]


def cores(wanted: float, each: float) -> str:
    """Return a number of cores as text: rounded up to a hundredth."""
    return f"{math.ceil(100 * wanted / each) / 100:.2f}"


if __name__ == "__main__":
    main()
