"""Measures the inputs of docs/scale.md, prints its tables, and writes both into the docs with ``--write``.

It takes about two minutes a round. Run it on a machine without other work.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.capacity_inputs import machine
from benchmarks.capacity_tables import filled
from benchmarks.scale.measure import quantiles, samples_of, service_times, together
from benchmarks.scale.runs import layout_of, real_run, simulated
from benchmarks.scale.simulation import Result, simulate
from benchmarks.scale.tables import CORES, pooled, tables
from benchmarks.scale.transports import SERVERS, missing
from benchmarks.scale.workload import PLAN
from generals_env.recorders import ExperienceBatch
from generals_env.recorders.distributed.task_player import TaskPlayer
from generals_env.recorders.encoding.batch_codec import encode_batch

__all__ = ["INPUTS", "PAGE", "curve_of", "main", "run_of"]

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
PAGE, INPUTS = DOCS / "scale.md", DOCS / "scale.json"

WORKERS = (1, 2, 4)  # of real runs

CURVE = (1, 2, 4, 8, 16, 32, 64)  # of simulated ones, each process on cores of its own

SECONDS = 6.0

DELAY = 0.0001  # seconds that a message travels between two machines of a data centre


class Sizes:
    """A sink that adds up the bytes of chunks."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.packed, self.memory, self.experiences = 0, 0, 0

    def write(self, batch: ExperienceBatch) -> None:
        """Add a chunk."""
        batch = batch.compact()
        self.packed += len(encode_batch(batch))
        self.memory += batch.nbytes
        self.experiences += len(batch)

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def sizes() -> dict[str, float]:
    """Return the bytes of an experience of the measured chunks, encoded and in memory."""
    sink = Sizes()
    TaskPlayer(PLAN).play(1, sink)
    return {"packed": sink.packed / sink.experiences, "memory": sink.memory / sink.experiences}


def from_capacity() -> dict[str, float]:
    """Return what docs/capacity.json says of games between expanders, and of files of the format "games"."""
    game = json.loads((DOCS / "capacity.json").read_text(encoding="utf-8"))["games"]["expanders"]
    return {
        "mean_turns": game["mean_turns"],
        "files": game["bytes"]["games"],
        "files_cpu_microseconds": game["whole_path"]["games"]["cpu_microseconds"]["storage"],
    }


def told(result: Result) -> dict[str, float]:
    """Return rates and latencies of a simulation, as they are recorded."""
    latencies = result.latencies if len(result.latencies) else np.zeros(1)
    return {
        "stored": round(result.stored, 1),
        "received": round(result.received, 1),
        "steps": round(result.steps, 3),
        "latency": round(float(np.median(latencies)), 6),
    }


def rounded(run: dict[str, Any]) -> dict[str, Any]:
    """Return figures of a real run with six significant digits."""
    return {name: value if name == "workers" else float(f"{value:.6g}") for name, value in run.items()}


def run_of(kind: str, inputs: dict[str, Any], one: dict[str, Any], run: dict[str, Any]) -> dict[str, float]:
    """Return what the simulation of a real run gives, with the service times of its round."""
    samples = samples_of([one["times"]], kind, inputs["bytes"]["packed"])
    cores = inputs["machine"]["cores"]
    result, others = simulated(kind, samples, run, inputs["seconds"], cores, one["together"]["speed"])
    return {**told(result), "others": round(others, 3)}


def curve_of(kind: str, inputs: dict[str, Any], workers: int) -> dict[str, float]:
    """Return what the simulation gives where machines of 16 cores play, and server and consumer have machines of their own."""
    busy = np.median([one["together"]["speed"] for one in inputs["rounds"][kind]])
    options = {"together": False, "workers_of_machine": CORES, "cores": CORES, "busy_speed": float(busy), "delay": DELAY}
    result = simulate(pooled(inputs, kind), layout_of(kind, workers=workers, **options), 12.0, 2.0, seed=workers)
    low, high = np.percentile(result.latencies, (50, 99))
    return {"workers": workers, **told(result), "p50": round(float(low), 6), "p99": round(float(high), 6)}


def measure(console: Console, seconds: float, rounds: int) -> dict[str, Any]:
    """Return all inputs: in each round, service times and real runs of each kind of server, in turn."""
    inputs: dict[str, Any] = {"machine": machine(), "seconds": seconds, "bytes": sizes(), "capacity": from_capacity()}
    inputs |= {"rounds": {}, "curves": {}}
    for number in range(rounds):
        for kind in SERVERS:
            if reason := missing(kind):
                console.print(f"{kind} is left out: {reason}", style="yellow")
                continue
            with console.status(f"round {number + 1} of {rounds}, {kind}"):
                one: dict[str, Any] = {"together": together(min(seconds, 3.0))}
                one["times"] = {name: quantiles(values) for name, values in service_times(kind, seconds).items()}
                order = WORKERS if number % 2 == 0 else WORKERS[::-1]
                one["runs"] = [rounded(real_run(kind, workers, seconds)) for workers in order]
                for run in one["runs"]:
                    run["simulated"] = run_of(kind, inputs, one, run)
                    console.print(
                        f"{kind}, {run['workers']} workers: {run['received']:,.0f} experiences a second, "
                        f"{run['simulated']['received']:,.0f} simulated; others took {run['taken']:.2f} cores"
                    )
                inputs["rounds"].setdefault(kind, []).append(one)
    for kind in inputs["rounds"]:
        inputs["curves"][kind] = [curve_of(kind, inputs, workers) for workers in CURVE]
    return inputs


def one_line(found: re.Match[str]) -> str:
    """Return a list of numbers in one line."""
    return " ".join(found[0].split())


@contextmanager
def folder_of_runs() -> Iterator[None]:
    """Work in a new folder on the disk of the checkout: /tmp may be memory."""
    folder, before = Path("runs/benchmark"), Path.cwd()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def main(seconds: float = SECONDS, write: bool = False, rounds: int = 5) -> None:
    """Measure and print.

    Args:
        seconds: How long each measurement and each real run plays.
        write: Whether to write the inputs and the tables into the docs.
        rounds: Rounds.
    """
    console = Console(width=200, soft_wrap=True)
    with folder_of_runs():
        inputs = measure(console, seconds, rounds)
    text = re.sub(r"\[[^\[\]{}]*\]", one_line, json.dumps(inputs, indent=1)) + "\n"
    found = tables(json.loads(text))
    for name, lines in found.items():
        console.print(f"{name}\n\n{lines}\n", markup=False, highlight=False)
    if write:
        INPUTS.write_text(text, encoding="utf-8")
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
        console.print(f"written: {INPUTS.name} and the tables of {PAGE.name}; draw the picture: python tools/draw_scale.py")
