"""Runs producers, a server, and a consumer with a buffer and a learner at once, and simulates the same."""

from __future__ import annotations

import os
import statistics
import time
from contextlib import ExitStack
from typing import Any

import psutil

from benchmarks.line_process import LineProcess
from benchmarks.scale.cores import speeds
from benchmarks.scale.measure import PIECES, play, producers, ready
from benchmarks.scale.simulation import Layout, Result, Samples, simulate
from benchmarks.scale.transports import SERVERS, WORKER, ask

__all__ = ["POLL", "WARM_UP", "layout_of", "real_run", "simulated"]

WARM_UP = 1.0  # seconds of a run that are not counted

#: Seconds between questions of a ``RedisSource`` that found nothing new.
POLL = {"grpc": 0.0, "redis": 0.02}

SIMULATED = 20.0  # seconds of a simulated run


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
        consumer = ready(stack.enter_context(LineProcess(WORKER, "consumer", server.address)))
        working = producers(stack, server.address, workers)
        pids = [server.pid, *(one.process.pid for one in (consumer, *working))]
        busy, own, begun = busy_cpu(), cpu_of(pids), time.monotonic()
        played = play(working, seconds)
        lasted = time.monotonic() - begun
        taken = max(busy_cpu() - busy - (cpu_of(pids) - own), 0.0) / lasted
        received = ask(consumer, f"take {sum(one['experiences'] for one in played)}")["notes"]
    low, high = begun + WARM_UP, begun + seconds
    counted = [note for note in received if low <= note[0] < high]
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
    return Layout(pieces_of_step=PIECES[kind], one_thread=kind == "redis", poll=POLL[kind], **options)


def simulated(kind: str, samples: Samples, workers: int, cores: int, together: float, taken: float) -> Result:
    """Simulate a real run: all processes on one machine, where other programs take ``taken`` cores."""
    layout = layout_of(kind, workers=workers, speed=speeds(cores, together, taken))
    return simulate(samples, layout, SIMULATED, WARM_UP, seed=workers)
