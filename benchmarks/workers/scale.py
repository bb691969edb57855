"""Runs one process of ``python -m benchmarks scale``: ``server FOLDER``, ``producer SINK NUMBER`` or ``consumer SOURCE``.

Each prints a line when it is ready (the server its address), and then obeys a command on each line of its input with a line of
JSON. Times of events are those of the system's monotonic clock, which all processes share; seconds of CPU are those of the
whole process.

- ``clear``: the server forgets what it has noted; ``cpu``: it says how much CPU it has used;
- ``play SECONDS``: the producer plays tasks, from one at least up to the task that is played then;
- ``take N``: the consumer waits until it has N experiences more;
- ``tell``: server and consumer say what they noted since the last time.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: a learner has one thread
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from benchmarks.scale.workload import BATCH, BUFFER, CHUNK, PLAN, Learner
from generals_env.recorders import ExperienceBatch, ExperienceConsumer, ExperienceLog, ExperienceServer, ReplayBuffer, Sink
from generals_env.recorders.distributed import RedisSource
from generals_env.recorders.distributed.task_player import TaskPlayer
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.sinks.multi import open_sink


def tell(**figures: Any) -> None:
    """Print figures as a JSON object."""
    print(json.dumps(figures), flush=True)


class NotingLog(ExperienceLog):
    """A log that notes how much CPU the process has used when a batch is written."""

    notes: list[float] = []  # noqa: RUF012 - each process has one log

    def write(self, batch: ExperienceBatch) -> int:
        """Write a batch."""
        last = super().write(batch)
        if len(batch):
            self.notes.append(time.process_time())
        return last


def serve(folder: str) -> None:
    """Serve a log that producers write."""
    with NotingLog(folder, "normal") as log, ExperienceServer(log, "127.0.0.1:0") as server:
        print(f"grpc://{server.address}", flush=True)
        for line in sys.stdin:
            if line.strip() == "cpu":
                tell(cpu=time.process_time())
                continue
            notes, log.notes = log.notes, []
            tell(notes=notes if line.strip() == "tell" else [])


class Encoded:
    """A sink that encodes all batches, and discards them."""

    def write(self, batch: ExperienceBatch) -> None:
        """Encode a batch."""
        encode_batch(batch.compact())

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Noting:
    """A sink that notes how much CPU the process used between writes, and in each."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.notes: list[tuple[float, float]] = []
        self.left = time.process_time()

    def write(self, batch: ExperienceBatch) -> None:
        """Write a batch."""
        begun = time.process_time()
        self.sink.write(batch)
        ended = time.process_time()
        self.notes.append((begun - self.left, ended - begun))
        self.left = ended

    def flush(self) -> None:
        """Flush the sink."""
        self.sink.flush()

    def close(self) -> None:
        """Leave the sink open: it is that of the next task, too."""


def produce(address: str, number: str) -> None:
    """Play tasks into a sink, or encode them only."""
    player, task = TaskPlayer(PLAN), int(number) * 100_000
    player.play(task, Encoded())  # loads or compiles the kernels, and gets memory from the system
    sink = Noting(Encoded() if address == "none" else open_sink(address))
    print("ready", flush=True)
    for line in sys.stdin:
        end = time.monotonic() + float(line.split()[1])
        sink.notes, sink.left = [], time.process_time()
        count = 0
        while not count or time.monotonic() < end:
            task += 1
            count += player.play(task, sink).experiences
        tell(experiences=count, notes=sink.notes)


class Taker:
    """Reads a source into a buffer in a thread, and learns from it; it notes each batch.

    Attributes:
        notes: For each batch: when it was in the buffer, its experiences, seconds of CPU of receiving, adding and learning, and
            the time since its oldest turn was played.
    """

    def __init__(self, source: Any, buffer: ReplayBuffer, learner: Learner) -> None:
        self.source, self.buffer, self.learner = source, buffer, learner
        self.notes: list[tuple[float, ...]] = []
        self.experiences = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        due = 0
        cpu = [0.0, 0.0, 0.0, time.process_time()]
        for batch in self.source:
            cpu[0] = time.process_time()
            age = (time.time_ns() - int(batch.collected_at.min())) / 1e9
            self.buffer.write(batch)
            added = time.monotonic()
            cpu[1] = cpu[2] = time.process_time()
            due += len(batch)
            if due >= CHUNK:
                due -= CHUNK
                self.learner.step(self.buffer.sample(BATCH))
                cpu[2] = time.process_time()
            self.notes.append((added, len(batch), cpu[0] - cpu[3], cpu[1] - cpu[0], cpu[2] - cpu[1], age))
            cpu[3] = cpu[2]
            self.experiences += len(batch)


def consume(address: str) -> None:
    """Receive experience into a buffer, and learn from it."""
    buffer, learner = ReplayBuffer(BUFFER, seed=1), Learner()
    TaskPlayer(PLAN).play(99_999_999 // 100, buffer)  # fills the buffer, so that its memory is there
    for _ in range(8):
        learner.step(buffer.sample(BATCH))
    source = RedisSource(address) if address.startswith("redis://") else ExperienceConsumer(address)
    taker = Taker(source.stream_experiences(batch_size=None), buffer, learner)
    print("ready", flush=True)
    wanted = 0
    for line in sys.stdin:
        if line.startswith("take"):
            wanted += int(line.split()[1])
            while taker.experiences < wanted:
                time.sleep(0.01)
        notes, taker.notes = taker.notes, []
        tell(notes=notes)


if __name__ == "__main__":
    assert np.__version__
    {"server": serve, "producer": produce, "consumer": consume}[sys.argv[1]](*sys.argv[2:])
