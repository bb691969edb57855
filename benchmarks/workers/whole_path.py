"""Runs one process of the whole path: ``collector LOG MAX_TURNS``, ``storage LOG FORMAT FOLDER`` or ``consumer ADDRESS``.

The collector plays, records into a log and serves it; storage writes the log to files; the consumer receives and decodes the
stream. Each prints a line when it is ready (the collector its address), and obeys a command on each line of its input:

- ``play N``: the collector plays for N seconds, and prints its counts;
- ``until N``: storage and consumer wait until they have everything up to the sequence N, print their counts, and end;
- ``end``: the collector prints its CPU time since ``play``, and ends.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import generals_env
from generals_env.recorders import (
    BackgroundReader,
    DatasetWriter,
    ExperienceBatch,
    ExperienceConsumer,
    ExperienceLog,
    ExperienceRecorder,
    ExperienceServer,
    Sink,
)

GAMES = 64  # at once, the default of ``generals-env run``

TURNS = 64  # of each game in one call

POLICIES = ("expander", "expander")


class Nothing:
    """A sink that discards all batches."""

    def write(self, batch: ExperienceBatch) -> None:
        """Discard a batch."""

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def tell(**figures: Any) -> None:
    """Print figures as a JSON object."""
    print(json.dumps(figures), flush=True)


def collect(folder: str, max_turns: str) -> None:
    """Play, record into a log, and serve it."""
    with ExperienceLog(folder, "normal") as log, ExperienceServer(log, "127.0.0.1:0") as server:
        env = ExperienceRecorder(generals_env.make_vec(GAMES, max_turns=int(max_turns)), log)
        env.reset(seed=1)
        env.play(TURNS, POLICIES)  # loads or compiles the kernels
        env.flush()
        print(server.address, flush=True)
        seconds = float(sys.stdin.readline().split()[1])
        first, cpu, start = env.experiences, time.process_time(), time.perf_counter()
        while time.perf_counter() - start < seconds:
            env.play(TURNS, POLICIES)
        env.flush()
        spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
        tell(experiences=env.experiences - first, last=log.last, **spent)
        sys.stdin.readline()
        tell(cpu_seconds=time.process_time() - cpu)


def follow(reader: BackgroundReader, sink: Sink) -> None:
    """Let a thread read batches into a sink up to the sequence that the input names."""
    while not reader.experiences:
        reader.check()
        time.sleep(0.005)
    sink.flush()  # loads or compiles the kernels of the format
    print("ready", flush=True)
    first, cpu = reader.experiences, time.process_time()
    last = int(sys.stdin.readline().split()[1])
    while reader.experiences <= last:
        reader.check()
        time.sleep(0.005)
    sink.flush()
    tell(experiences=reader.experiences - first, cpu_seconds=time.process_time() - cpu)
    reader.stop()


def store(log_folder: str, form: str, folder: str) -> None:
    """Write the log to files."""
    stop = threading.Event()
    log = ExperienceLog(log_folder, mode="r")
    with DatasetWriter(folder, form) as writer:
        follow(BackgroundReader(log.read(follow=True, stop=stop), writer, interrupt=stop.set), writer)


def consume(address: str) -> None:
    """Receive and decode the stream, as a trainer does before it samples."""
    sink = Nothing()
    with ExperienceConsumer(address) as consumer:
        batches = consumer.stream_experiences(batch_size=None)
        follow(BackgroundReader(batches, sink, interrupt=consumer.close), sink)


if __name__ == "__main__":
    {"collector": collect, "storage": store, "consumer": consume}[sys.argv[1]](*sys.argv[2:])
