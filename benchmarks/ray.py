"""Measures rollouts on actors of Ray: play alone, into a buffer actor, and plain Python objects in their place.

``python -m benchmarks ray``. All is measured in turn in each round, on the same cores; figures are medians with their spread.
"""

from __future__ import annotations

import platform
import sys
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from statistics import median
from typing import Any

import numpy as np
import ray
from rich.console import Console
from rich.progress import track
from rich.table import Table

import generals_env
from generals_env.concurrency.thread_pool import available_cores
from generals_env.recorders import ExperienceBatch, ReplayBuffer
from generals_env.recorders.distributed import RayBuffer, RolloutPlan, TaskPlayer
from generals_env.recorders.distributed.ray_actors.ray_session import RaySession
from generals_env.recorders.distributed.ray_actors.worker_pool import WorkerPool

WORKERS = 4
PLAN = RolloutPlan(num_envs=256, turns=256, policies=("expander", "random"), seed=1, run_id="benchmark")
TASKS = 12  # of a round
CAPACITY = 400_000
SAMPLE = 256
SAMPLES = 200
PLAIN_BATCHES, PLAIN_SIZE = 40, 64  # of each producer of plain objects


class Discarding:
    """Takes batches and keeps none."""

    def write(self, batch: ExperienceBatch) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class PlainBuffer:
    """An actor that keeps transitions as Python objects."""

    def __init__(self) -> None:
        self.held: deque[dict[str, Any]] = deque(maxlen=2000)

    def add(self, transitions: list[dict[str, Any]]) -> None:
        """Append transitions."""
        self.held.extend(transitions)


class PlainProducer:
    """An actor that sends transitions as dicts of float tensors."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer
        kept = ReplayBuffer(2000, seed=1)
        TaskPlayer(RolloutPlan(num_envs=4, turns=100, env={"threads": 1})).play(0, kept)
        tensors = kept.sample(PLAIN_SIZE).tensors()
        names = ("states", "next_states", "action_masks", "next_action_masks", "actions", "rewards", "terminated")
        columns = {name: getattr(tensors, name) for name in names}
        self.batch = [{name: np.array(array[k]) for name, array in columns.items()} for k in range(PLAIN_SIZE)]

    def send(self, count: int) -> int:
        """Send batches, two of them on their way at once; return the transitions."""
        waiting: deque[Any] = deque()
        for _ in range(count):
            waiting.append(self.buffer.add.remote(self.batch))
            if len(waiting) > 1:
                ray.get(waiting.popleft())
        ray.get(list(waiting))
        return count * PLAIN_SIZE


def rate(play: Callable[[], int]) -> float:
    """Return what a function returns, a second."""
    began = time.perf_counter()
    return play() / (time.perf_counter() - began)


def main(rounds: int = 5) -> None:
    """Measure and print."""
    console = Console(width=150)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with RaySession(object_store_bytes=2**30, log_to_driver=False), RayBuffer(CAPACITY, seed=1) as buffer:
        ways = prepared(buffer)
        figures: dict[str, list[float]] = {name: [] for name in ways}
        for number in track(range(-1, rounds), "rounds", console=console, transient=True):
            for name, play in ways.items():
                figure = rate(play)
                if number >= 0:
                    figures[name].append(figure)
        stats = buffer.stats()
    console.print(table_of(figures))
    console.print(
        f"generals_env {generals_env.__version__}, Ray {ray.__version__}, Python {platform.python_version()}, "
        f"{available_cores()} cores; {rounds} rounds in turn, {PLAN.num_envs} games and {PLAN.turns} turns a task; "
        f"{stats.buffer.nbytes / max(stats.buffer.size, 1):.0f} bytes an experience in the buffer, {stats.repeats} repeats"
    )


def prepared(buffer: RayBuffer) -> dict[str, Callable[[], int]]:
    """Start all actors, and return what is measured by name, as functions that return how many experiences they moved."""
    plan = RolloutPlan(PLAN.num_envs, PLAN.turns, PLAN.policies, PLAN.seed, PLAN.run_id, {"threads": 1})
    here, numbers = TaskPlayer(PLAN), iter(range(2**31))
    alone = WorkerPool(WORKERS, (plan, Discarding, None, 0.0), {})
    joined = WorkerPool(WORKERS, (plan, buffer, None, 0.0), {})
    plain = ray.remote(PlainBuffer).remote()
    producers = [ray.remote(PlainProducer).remote(plain) for _ in range(WORKERS)]
    samples = buffer.samples(SAMPLE)

    def play_here() -> int:
        return sum(here.play(number, Discarding()).experiences for number in islice(numbers, TASKS))

    def play_by(pool: WorkerPool) -> int:
        return sum(result.experiences for result in pool.results(list(islice(numbers, TASKS))))

    play_by(joined)  # samples need experiences
    return {
        "one process plays": play_here,
        f"{WORKERS} workers play": lambda: play_by(alone),
        f"{WORKERS} workers play into a buffer actor": lambda: play_by(joined),
        f"{WORKERS} actors send plain objects": lambda: sum(ray.get([one.send.remote(PLAIN_BATCHES) for one in producers])),
        f"one learner draws {SAMPLE} at a time": lambda: sum(len(next(samples)) for _ in range(SAMPLES)),
    }


def table_of(figures: dict[str, list[float]]) -> Table:
    """Return the table of medians, spreads and ratios to the first row."""
    table = Table("", "experiences a second", "spread", "of one process, median of rounds")
    first = next(iter(figures.values()))
    for name, found in figures.items():
        ratio = median(one / other for one, other in zip(found, first, strict=True))
        table.add_row(name, f"{median(found):,.0f}", f"{min(found):,.0f} - {max(found):,.0f}", f"{ratio:.1%}")
    return table


if __name__ == "__main__":
    main()
