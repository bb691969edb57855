"""Runs producers, a server, and a consumer with a buffer and a learner at once, and simulates the same."""

from __future__ import annotations

import os
import statistics
import time
from contextlib import ExitStack
from typing import Any

import psutil

from benchmarks.line_process import LineProcess
from benchmarks.scale.measure import PIECES, producers, ready
from benchmarks.scale.simulation import Layout, Result, Samples, simulate
from benchmarks.scale.transports import SERVERS, WORKER, ask
from generals_env.recorders.distributed.redis_streams.readers import ENTRIES
from generals_env.recorders.distributed.redis_streams.source import POLL

__all__ = ["PULLED", "WARM_UP", "layout_of", "real_run", "simulated"]

WARM_UP = 1.0  # seconds of a run that are not counted

#: Pieces that a consumer asks for at once, of a server that does not send by itself.
PULLED = {"grpc": 0, "redis": ENTRIES}

STEPS = 8  # of the search for the number of other threads


def busy_cpu() -> float:
    """Return the seconds of CPU that all programs of this machine have used, and those that its host took away."""
    times = psutil.cpu_times()
    return float(sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal")))


def cpu_of(pids: list[int]) -> float:
    """Return the seconds of CPU that processes have used."""
    return float(sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids))


def real_run(kind: str, workers: int, seconds: float) -> dict[str, float]:
    """Return the rates and the latency of a real run, and the cores that other programs took meanwhile."""
    with ExitStack() as stack:
        server = stack.enter_context(SERVERS[kind]())
        consumer = stack.enter_context(LineProcess(WORKER, "consumer", server.address))
        working = producers(stack, server.address, workers)
        ready(consumer)
        pids = [server.pid, *(one.process.pid for one in (consumer, *working))]
        for one in working:
            one.send(f"play {10 * seconds + 600}")  # they are killed before
        ask(consumer, "take 1")  # all parts work
        busy, own, begun = busy_cpu(), cpu_of(pids), time.monotonic()
        time.sleep(seconds)
        lasted = time.monotonic() - begun
        taken = max(busy_cpu() - busy - (cpu_of(pids) - own), 0.0) / lasted
        received = ask(consumer, "tell")["notes"]
    low, high = begun + WARM_UP, begun + seconds
    counted = [note for note in received if low <= note[0] < high]
    if not counted:
        raise RuntimeError(f"scale: expected experiences within {seconds:g} s, got none: measure for longer (--seconds)")
    return {
        "workers": workers,
        "received": sum(note[1] for note in counted) / (high - low),
        "steps": sum(note[4] > 0 for note in counted) / (high - low),
        "latency": statistics.median(note[5] for note in counted),
        "taken": taken,
        "load": os.getloadavg()[0],
    }


def layout_of(kind: str, **options: Any) -> Layout:
    """Return a layout for a kind of server."""
    return Layout(pieces_of_step=PIECES[kind], pulled=PULLED[kind], poll=POLL, **options)


def simulated(
    kind: str, samples: Samples, run: dict[str, float], seconds: float, cores: int, busy_speed: float
) -> tuple[Result, float]:
    """Simulate a real run, with all processes on one machine.

    Returns:
        The result, and the number of threads of other programs with which these get as much of the cores as was measured.
    """

    def result(others: float) -> Result:
        options = {"workers": int(run["workers"]), "cores": cores, "busy_speed": busy_speed, "others": others}
        return simulate(samples, layout_of(kind, **options), seconds, WARM_UP, seed=int(run["workers"]))

    low, high = 0.0, 1.0  # of others / (1 + others)
    for _ in range(STEPS):
        middle = (low + high) / 2
        if result(middle / (1 - middle)).others < run["taken"]:
            low = middle
        else:
            high = middle
    others = low / (1 - low)
    return result(others), others
