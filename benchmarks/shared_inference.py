"""Measures one policy that an actor evaluates for 1, 2 and 4 workers, beside workers that evaluate it themselves."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import Progress
from rich.table import Table

import generals_env
from benchmarks.pairs import Figures, cell, in_turn, keep, ratios
from generals_env.recorders import DevicePolicy, QNetwork
from generals_env.recorders.distributed import SharedPolicy
from generals_env.recorders.distributed.ray_actors.ray_session import RaySession
from generals_env.recorders.distributed.shared_policy import KEEP_MEMORY

__all__ = ["shared_tables"]

BOARD = 20
#: Games of a worker, and turns.
NETWORK, NO_NETWORK = (64, 10), (1024, 30)

WORKERS = (1, 2, 4)


class FirstLegal:
    """A policy that costs nothing: it shows what the way to the actor and back costs."""

    temperature, version = 0.0, 0

    def evaluate(self, parts: Any, numbers: Any) -> list[Any]:
        """Return the pass for each state."""
        return [np.full(part.board.shape, 8 * BOARD * BOARD) for part in parts]

    def set_weights(self, weights: Any, version: int | None = None) -> int:
        """Return the version."""
        return version or 0


def network_policy() -> DevicePolicy:
    """Return a policy of a small network, which uses one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    return DevicePolicy(QNetwork((9, BOARD, BOARD)), seed=1)


class Worker:
    """Plays games by a policy: one that it makes, or a shared one. An actor of Ray."""

    def begin(self, policy: Any, games: int, seed: int) -> None:
        """Begin games, and play two turns."""
        self._policy = policy if isinstance(policy, SharedPolicy) else policy()
        self._env = generals_env.make_vec(games, height=BOARD, width=BOARD, threads=1, copy=False)
        self._env.reset(seed=seed)
        self._env.play(100, ("expander", "expander"))
        self.play(2)

    def play(self, turns: int) -> float:
        """Play some turns; return the CPU time that they took here."""
        start = time.process_time()
        for _ in range(turns):
            self._env.step(self._policy.act_on_boards(self._env.packed()))
        return time.process_time() - start


class Measured(NamedTuple):
    """States a second of all workers together, states a second of CPU time of workers and actor, states of a batch."""

    rate: float
    of_cpu: float
    batch: float


def measured(actors: Sequence[Any], policy: Any, games: int, turns: int) -> Measured:
    """Let workers play some turns by a policy of their own, or by a shared one."""
    import ray

    shared = isinstance(policy, SharedPolicy)
    ray.get([actor.begin.remote(policy, games, seed) for seed, actor in enumerate(actors)])
    before = cpu_time_of(policy) if shared else 0.0
    start = time.perf_counter()
    spent = sum(ray.get([actor.play.remote(turns) for actor in actors]))
    wall = time.perf_counter() - start
    spent += cpu_time_of(policy) - before if shared else 0.0
    sizes = policy.batch_sizes()[-turns:] if shared else [2 * games]
    states = 2 * games * turns * len(actors)
    return Measured(states / wall, states / spent, float(np.mean(sizes)))


def cpu_time_of(policy: SharedPolicy) -> float:
    """Return the CPU time that the actor of a policy has used."""
    import ray

    found: float = ray.get(policy._actor.__ray_call__.remote(lambda _: time.process_time()))
    return found


def shared_tables(rounds: int, bar: Progress) -> list[Table]:
    """Return states a second of local and shared policies, by workers."""
    try:
        import ray
    except ModuleNotFoundError:
        return [Table(title='shared policy: Ray is not installed (pip install "generals_env[ray]")')]
    tables: dict[str, Figures] = {"rate": {}, "of_cpu": {}, "batch": {}}
    with (
        tempfile.TemporaryDirectory(prefix="ray") as folder,
        RaySession(2 + max(WORKERS), 2**28, folder=folder, log_to_driver=False),
    ):
        kinds = {
            "local": (network_policy, *NETWORK),
            "shared": (SharedPolicy(network_policy, num_cpus=0), *NETWORK),
            "shared, no network, 1,024 games": (SharedPolicy(FirstLegal, num_cpus=0), *NO_NETWORK),
        }
        alike = {"num_cpus": 0, "runtime_env": {"env_vars": KEEP_MEMORY}}
        actors = [ray.remote(Worker).options(**alike).remote() for _ in range(max(WORKERS))]
        task = bar.add_task("shared policy", total=rounds * len(WORKERS) * len(kinds))
        for number, workers in itertools.product(range(rounds), WORKERS):
            for kind in in_turn(list(kinds), number):
                for name, value in measured(actors[:workers], *kinds[kind])._asdict().items():
                    keep(tables[name], str(workers), kind, value)
                bar.advance(task)
    titles = {
        "rate": f"states a second of all workers, {NETWORK[0]} games each, on {os.cpu_count()} cores",
        "of_cpu": "states a second of CPU time of workers and actor",
    }
    found = []
    for name, title in titles.items():
        table = Table("workers", *kinds, "shared over local", "states of a batch", title=title)
        for workers, row in tables[name].items():
            gain, batch = ratios(row["shared"], row["local"]), tables["batch"][workers]["shared"]
            table.add_row(workers, *(cell(row[kind]) for kind in kinds), gain, cell(batch))
        found.append(table)
    return found
