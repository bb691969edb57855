"""Measures a stream of Redis: adding and reading packed chunks beside plain pickles, and the memory of the server.

The server is a process of its own on this machine (``redis-server`` must be installed), without an append-only file unless the
row says so. Figures are medians of rounds with their spread; each round measures all in turn. Plain pickles are what is written
without this package: the tensors of experiences (both states, both masks, columns), one experience or 64 to an entry.
"""

from __future__ import annotations

import pickle
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import track
from rich.table import Table

import generals_env
from benchmarks.buffers import Batches
from benchmarks.pairs import Figures, cell, keep
from generals_env.recorders import ExperienceBatch, ExperienceRecorder
from generals_env.recorders.distributed import RedisSink, RedisSource

GAMES, TURNS = 1024, 256

SMALL_CHUNK = 32  # experiences: of a recorder of one game that is flushed often

PLAIN = {"pickles of one experience": (1, 1_000), "pickles of 64 experiences": (64, 4_096)}


class Server(NamedTuple):
    """A running server.

    Attributes:
        client: A client of redis-py.
        address: The address of a stream there.
    """

    client: Any
    address: str


@contextmanager
def server(appendonly: str = "no") -> Iterator[Server]:
    """Run a server for the block."""
    import redis

    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server: expected the program, got none: apt-get install redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        options = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": appendonly}
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        with (Path(folder) / "log.txt").open("wb") as log:
            process = subprocess.Popen([program, *arguments], stdout=log)
        try:
            client: Any = redis.Redis(port=port, protocol=2)
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.01)
            yield Server(client, f"redis://127.0.0.1:{port}/0?stream=bench")
            client.close()
        finally:
            process.kill()
            process.wait()


def memory(client: Any) -> int:
    """Return the bytes that a server uses, without buffers of its clients."""
    info = client.info("memory")
    return int(info["used_memory"] - info["mem_clients_normal"])


def measure_stream(running: Server, batches: list[ExperienceBatch], figures: Figures, name: str) -> None:
    """Add batches and read them back; keep the rates, and the bytes an experience."""
    client = running.client
    client.flushall()
    count, empty = sum(map(len, batches)), memory(client)
    with RedisSink(running.address) as sink:
        sink.check()
        begun = time.perf_counter()
        for batch in batches:
            sink.write(batch)
        keep(figures, name, "added", count / (time.perf_counter() - begun))
    with RedisSource(running.address) as source:
        begun = time.perf_counter()
        read = sum(len(batch) for batch in source.stream_experiences(batch_size=None, follow=False))
        keep(figures, name, "read", read / (time.perf_counter() - begun))
    if read != count:
        raise SystemExit(f"expected {count} experiences, got {read}")
    keep(figures, name, "bytes of the key", client.memory_usage("bench", samples=0) / count)
    keep(figures, name, "bytes of the server", (memory(client) - empty) / count)


def measure_plain(running: Server, batch: ExperienceBatch, size: int, figures: Figures, name: str) -> None:
    """Add pickles of the tensors of ``size`` experiences and read them back; keep the same figures."""
    client, count = running.client, len(batch)
    client.flushall()
    empty = memory(client)
    begun = time.perf_counter()
    for low in range(0, count, size):
        client.xadd("bench", {"d": pickle.dumps(tuple(batch.slice(low, low + size).tensors()))})
    keep(figures, name, "added", count / (time.perf_counter() - begun))
    begun, after, read = time.perf_counter(), "-", 0
    while found := client.xrange("bench", after, count=16):
        read += sum(len(pickle.loads(fields[b"d"])[0]) for _, fields in found)
        after = f"({found[-1][0].decode()}"
    keep(figures, name, "read", read / (time.perf_counter() - begun))
    keep(figures, name, "bytes of the key", client.memory_usage("bench", samples=0) / count)
    keep(figures, name, "bytes of the server", (memory(client) - empty) / count)


def recorded(games: int, turns: int, part: int) -> list[ExperienceBatch]:
    """Return the batches of a recorder that is flushed after every ``part`` turns."""
    batches = Batches()
    with ExperienceRecorder(generals_env.make_vec(games), batches, f"{games} games") as recorder:
        recorder.reset(seed=1)
        for _ in range(0, turns, part):
            recorder.play(part, ("expander", "random"))
            recorder.flush()
    return list(batches)


def main(rounds: int = 5) -> None:
    """Measure and print."""
    whole, small = recorded(GAMES, TURNS, TURNS), recorded(1, 8192, SMALL_CHUNK // 2)
    first = whole[len(whole) // 2]
    figures: Figures = {}
    with server() as running, server("yes") as durable:
        for _ in track(range(rounds + 1), "measuring"):
            measure_stream(running, whole, figures, "batches of a recorder")
            measure_stream(durable, whole, figures, "the same, append-only file")
            measure_stream(running, small, figures, f"batches of {SMALL_CHUNK}")
            for name, (size, count) in PLAIN.items():
                measure_plain(running, first.slice(0, count).compact(), size, figures, name)
    title = f"{sum(map(len, whole)):,} experiences, 20x20, two players, medians of {rounds} rounds (min - max)"
    table = Table("", "added a second", "read a second", "bytes, key", "bytes, server", title=title)
    for name, values in figures.items():
        table.add_row(name, *(cell(rates[1:]) for rates in values.values()))  # the first round warms up
    Console(width=200).print(table)
