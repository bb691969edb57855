"""Measures what metrics cost while games are recorded: the same games with and without them, in turn.

Recording goes to a replay buffer and to a log, as ``generals-env run`` does. A round plays the same number of turns with each
and compares the rates; every second round goes the other way round.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

import generals_env
from benchmarks.pairs import Figures, in_turn, keep, table_of_pairs
from generals_env.operations.metrics.metered_sink import MeteredSink, SinkMetrics
from generals_env.operations.metrics.recording_metrics import RecordingMetrics
from generals_env.operations.metrics.stage_metrics import StageMetrics
from generals_env.recorders import ExperienceLog, ExperienceRecorder, ReplayBuffer, Sink

GAMES = 1024

POLICIES = ("expander", "random")

SECONDS = 3.0  # of a measurement, about

CAPACITY = 1_000_000


@contextmanager
def opened(target: str) -> Iterator[Sink]:
    """Open a buffer or a log for the block."""
    with tempfile.TemporaryDirectory() as folder:
        sink = ReplayBuffer(CAPACITY) if target == "buffer" else ExperienceLog(Path(folder) / "log", "normal", max_bytes=2**30)
        yield sink
        sink.close()


class Cost(NamedTuple):
    """Cost of recording.

    Attributes:
        rate: Experiences per second.
        cpu: CPU time of all threads, in nanoseconds an experience. Other programs on the machine change it less than the rate.
    """

    rate: float
    cpu: float


def measured(target: str, metered: bool, turns: int) -> Cost:
    """Return the cost of recording some turns; a tenth as many before warm everything up."""
    stages = StageMetrics()
    with opened(target) as opened_sink:
        sink = MeteredSink(opened_sink, RecordingMetrics(), SinkMetrics(), target) if metered else opened_sink
        if metered:
            stages.start()
        try:
            env = ExperienceRecorder(generals_env.make_vec(GAMES), sink)
            env.reset(seed=1)
            env.play(max(turns // 10, 1), POLICIES)
            env.flush()
            before, begun, cpu = env.experiences, time.perf_counter(), time.process_time()
            env.play(turns, POLICIES)
            env.flush()
            seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
            count = env.experiences - before
            return Cost(count / seconds, cpu / count * 1e9)
        finally:
            stages.stop()


def main(rounds: int = 10) -> None:
    """Measure and print."""
    console = Console()
    rates: Figures = {}
    times: Figures = {}
    for target in ("buffer", "log"):
        turns = 32
        for _ in range(2):  # the first time compiles the kernels
            turns = max(int(measured(target, False, turns).rate * SECONDS / (2 * GAMES)), 32)
        for number in range(rounds):
            console.print(f"{target}: round {number + 1} of {rounds}, {turns} turns of {GAMES} games each", style="dim")
            for metered in in_turn([False, True], number):
                cost = measured(target, metered, turns)
                column = "with metrics" if metered else "without"
                keep(rates, target, column, cost.rate)
                keep(times, target, column, cost.cpu)
    columns = ["without", "with metrics"]
    console.print(table_of_pairs("experiences a second, recorded to", rates, columns))
    console.print(table_of_pairs("ns of CPU time an experience, recorded to", times, columns))
    for target, values in rates.items():
        plain = values["without"]
        console.print(f"{target}: without metrics, the rates of the rounds differ by {max(plain) / min(plain) - 1:.1%}")


if __name__ == "__main__":
    main()
