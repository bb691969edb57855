"""Runs producers, a consumer and a server as processes of their own, and kills them at random moments (SIGKILL)."""

from __future__ import annotations

import os
import random
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self

import numpy as np

from generals_env.recorders import ExperienceBatch, ExperienceLog, ReplayBuffer, Retry
from generals_env.recorders.distributed import RedisSink, RedisSource, RolloutPlan, TaskPlayer
from generals_env.recorders.experience.sink import Sink
from generals_env.recorders.sinks.deduplicating import DeduplicatingSink
from support.helpers import PATIENCE, Memory
from support.rollouts import contents_of_games
from support.stream_process import CONTEXT

__all__ = [
    "InPieces",
    "Killable",
    "Nursery",
    "Part",
    "acknowledged",
    "consume",
    "kill_at_random",
    "played_here",
    "produce",
    "repeated_in",
]

PATIENT = Retry(tries=1000, first_wait=0.01, max_wait=0.3)


class Part(Protocol):
    """A process of a run."""

    def kill(self) -> None:
        """Kill it (SIGKILL), and wait until it is gone."""

    def start(self) -> None:
        """Start it again."""


class Nursery:
    """A process that has played a task, from which others are forked: these begin at once, with all imports and kernels."""

    def __init__(self, plan: RolloutPlan) -> None:
        """Start it, and wait until it has played a task."""
        self._connection, other = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=raise_children, args=(other, plan))
        self._process.start()
        other.close()
        assert self._connection.recv() == "ready"

    def fork(self, target: Callable[..., None], arguments: tuple[Any, ...]) -> int:
        """Run a function in a new process, and return the id of it."""
        self._connection.send((target, arguments))
        return int(self._connection.recv())

    def await_end(self, process: int) -> int:
        """Wait until a process has ended, and return its exit code, negative for a signal."""
        self._connection.send((None, process))
        assert self._connection.poll(PATIENCE)
        return int(self._connection.recv())

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        """Kill all processes that still run."""
        self._connection.close()
        self._process.join(PATIENCE)


def raise_children(connection: Connection, plan: RolloutPlan) -> None:
    """Fork a process for each function that comes, until the end of the connection; then kill those that still run."""
    TaskPlayer(plan).play(0, Memory())
    connection.send("ready")
    running: set[int] = set()
    while True:
        try:
            target, argument = connection.recv()
        except EOFError:
            for process in running:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
            return
        if target is None:
            _, status = os.waitpid(argument, 0)
            running.discard(argument)
            connection.send(os.waitstatus_to_exitcode(status))
        elif process := os.fork():
            running.add(process)
            connection.send(process)
        else:
            connection.close()
            run_child(target, argument)


def run_child(target: Callable[..., None], arguments: tuple[Any, ...]) -> NoReturn:
    """Run a function and end the process, which was forked."""
    code = 1
    try:
        target(*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


class Killable:
    """A function that runs in a process of its own, and begins anew with each start."""

    def __init__(self, nursery: Nursery, target: Callable[..., None], *arguments: Any) -> None:
        """Start it; ``target`` gets the arguments, and how often it was started before."""
        self._nursery, self._target, self._arguments, self._starts = nursery, target, arguments, count()
        self.start()

    def start(self) -> None:
        """Start it again."""
        self._process = self._nursery.fork(self._target, (*self._arguments, next(self._starts)))

    def kill(self) -> None:
        """Kill it (SIGKILL), and wait until it is gone."""
        os.kill(self._process, signal.SIGKILL)
        code = self.ended()
        assert code == -signal.SIGKILL, f"it had ended before, with {code}"

    def ended(self) -> int:
        """Wait until it ends by itself, and return its exit code."""
        return self._nursery.await_end(self._process)


def kill_at_random(parts: Mapping[str, Part], rng: random.Random, kills: int = 20) -> Counter[str]:
    """Kill one of the parts and start it again, so many times; return how often each one was killed."""
    killed: Counter[str] = Counter()
    for _ in range(kills):
        time.sleep(rng.uniform(0.0, 0.3))
        name = rng.choice(sorted(parts))
        parts[name].kill()
        time.sleep(rng.choice((0.0, 0.05)))
        parts[name].start()
        killed[name] += 1
    return killed


class InPieces:
    """Writes batches to a sink in small pieces, so that a task takes many calls, in any of which its process may die."""

    def __init__(self, sink: Sink, size: int, pause: float = 0.002) -> None:
        self._sink, self._size, self._pause = sink, size, pause
        self.flush, self.close = sink.flush, sink.close

    def write(self, batch: ExperienceBatch) -> None:
        """Write the pieces."""
        for low in range(0, len(batch), self._size):
            self._sink.write(batch.select(np.arange(low, min(low + self._size, len(batch)))))
            time.sleep(self._pause)  # the others have their turn, and the run remains small


def play_tasks(sink: Sink, plan: RolloutPlan, numbers: Iterator[int], folder: Path, file: str) -> None:
    """Play tasks until the file ``stop`` appears; name each in a file as soon as ``play`` has returned: it is acknowledged.

    The first one is the first that the file does not name, which a process that was killed may have begun.
    """
    done = (folder / file).read_text().splitlines() if (folder / file).exists() else []
    player = TaskPlayer(plan)
    with (folder / file).open("ab", buffering=0) as acknowledgements:
        for number in numbers:
            if str(number) in done:
                continue
            player.play(number, sink)
            acknowledgements.write(b"%d\n" % number)
            if (folder / "stop").exists():
                return


def produce(address: str, plan: RolloutPlan, place: int, folder: Path, life: int) -> None:
    """Play the tasks ``place``, ``place + 2`` and so on into Redis, in each life in pieces of another size."""
    with RedisSink(address, retry=PATIENT) as sink:
        play_tasks(InPieces(sink, 20 + 3 * (life % 5)), plan, count(place, 2), folder, f"producer{place}")


def acknowledged(folder: Path) -> list[int]:
    """Return the numbers of the tasks that the producers have named."""
    return [int(line) for path in sorted(folder.glob("producer*")) for line in path.read_text().splitlines()]


def played_here(plan: RolloutPlan, numbers: list[int]) -> Counter[str]:
    """Return the contents of tasks that are played in this process."""
    buffer = ReplayBuffer(10_000_000)
    player = TaskPlayer(plan)
    for number in numbers:
        player.play(number, buffer)
    return contents_of_games([buffer.snapshot()])


def consume(address: str, folder: Path, life: int) -> None:
    """Store what a group gets in a log, then acknowledge it; end when the file ``all written`` is there and all is read."""
    with ExperienceLog(folder / "log", "normal", min_free_bytes=0) as log, RedisSource(address, retry=PATIENT) as source:
        before = DeduplicatingSink(Memory())
        for batch in log.read():
            before.write(batch)
        sink = DeduplicatingSink(log, known=before.remembered)
        last = False
        while not last:
            last = (folder / "all written").exists()  # asked before: what is written in between is read by the next round
            for batch in source.stream_experiences(batch_size=None, follow=False):
                sink.write(batch)
                source.acknowledge()
            time.sleep(0.005)


def repeated_in(folder: Path) -> int:
    """Return how many experiences of a log are there more often than once, by game, turn and player."""
    with ExperienceLog(folder, mode="r") as log:
        ids = [
            one
            for batch in log.read()
            for one in zip(batch.game_id.tolist(), batch.turn.tolist(), batch.player_id.tolist(), strict=True)
        ]
    return len(ids) - len(set(ids))
