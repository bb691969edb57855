"""Measures throughput, latency and memory of streaming over loopback, beside Reverb.

Server and consumers are separate processes on the same cores. Figures are medians of rounds with their spread.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

import generals_env
from benchmarks.buffers import ITEMS, cell, write_transitions
from benchmarks.line_process import LineProcess
from benchmarks.peers import PeerMissing, measure, peer_python
from generals_env.recorders import ExperienceBatch, ExperienceConsumer
from generals_env.recorders.experience.tensors import Tensors
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub

ROUNDS = 5
EXPERIENCES = 200_000
RECORDS = 8_000
BATCH = 256  # experiences expanded at a time, as for a step of a learner
SECONDS = 3.0  # of receiving beside Reverb
STALL = 60  # seconds that a consumer does not read

WORKER = Path(__file__).parent / "workers" / "reverb_stream.py"
ROWS = {"received": f"received as float32 tensors, {BATCH} at a time", "submitted": "submitted by one client"}
REVERB = ("dm-reverb==0.14.0", "tensorflow-cpu==2.15.1")

LARGE = (("grpc.max_receive_message_length", 10_000_000),)


class Server(LineProcess):
    """The process of a server."""

    def __init__(self, kind: str, folder: str) -> None:
        """Start the process."""
        super().__init__("stream_server", kind, folder)
        self.address = self.line()


@contextmanager
def serving(kind: str, count: int = 0) -> Iterator[Server]:
    """Start a server that has recorded ``count`` experiences."""
    with tempfile.TemporaryDirectory() as folder, Server(kind, folder) as server:
        if count:
            server.send(f"record {count}")
            server.line()
        yield server


def packed(address: str, size: int | None, expand: bool) -> float:
    """Return the experiences a second that one consumer receives, decoded, or expanded into reused arrays."""
    room: Any = None
    count, start = 0, time.perf_counter()
    with ExperienceConsumer(address) as consumer:
        for batch in consumer.stream_experiences(batch_size=size, follow=False):
            if expand:
                room = expanded(batch, room)
            count += len(batch)
            if expand and count > EXPERIENCES // 2:
                break
    return count / (time.perf_counter() - start)


def expanded(batch: ExperienceBatch, room: Tensors | None) -> Tensors:
    """Return the tensors of a batch, in the given arrays if their size is right."""
    return batch.tensors(room if room is not None and len(room.actions) == len(batch) else None)


def records(address: str, size: int) -> float:
    """Return the records a second that a client of the original protocol receives."""
    with grpc.insecure_channel(address, LARGE) as channel:
        stub: Any = ExperienceServiceStub(channel)  # type: ignore[no-untyped-call]
        request = pb.StreamExperiencesRequest(batch_size=size)
        start, count = time.perf_counter(), 0
        call = stub.StreamExperienceBatches(request) if size else stub.StreamExperiences(request)
        for message in call:
            count += len(message.experiences) if size else 1
            if count >= RECORDS:
                break
        call.cancel()
        return count / (time.perf_counter() - start)


def ten_thousand(address: str) -> int:
    """Receive ten thousand experiences in batches of 32, as the guide's load test does."""
    count = 0
    with ExperienceConsumer(address) as consumer:
        for batch in consumer.stream_experiences(batch_size=32):
            count += len(batch)
            if count >= 10_000:
                return 10_000
    return count


def rounds(work: Callable[[], float]) -> str:
    """Return median and spread after a warm-up round."""
    work()
    return cell([work() for _ in range(ROUNDS)])


def throughput(console: Console) -> None:
    """Measure the throughput of each encoding and batch size."""
    table = Table("experiences a second, 20x20", "from a log", "from a buffer", title=f"medians of {ROUNDS} (min - max)")
    rows: dict[str, list[str]] = {}
    sizes = (0, 1, 32, 256, 1000)
    forms: list[tuple[str, int | None, bool]] = [("packed, received and decoded", None, False)]
    forms += [(f"packed, batches of {size}", size, False) for size in (32, BATCH)]
    forms += [(f"packed, batches of {size}, as tensors", size, True) for size in (32, BATCH)]
    with Progress(console=console) as bar:
        task = bar.add_task("throughput", total=2 * (len(forms) + len(sizes)))
        for kind in ("log", "buffer"):
            with serving(kind, EXPERIENCES) as server:
                for name, size, expand in forms:
                    rows.setdefault(name, []).append(rounds(partial(packed, server.address, size, expand)))
                    bar.advance(task)
                for size in sizes:
                    name = f"records, batches of {size}" if size else "records, one a message"
                    rows.setdefault(name, []).append(rounds(partial(records, server.address, size)))
                    bar.advance(task)
    for name, cells in rows.items():
        table.add_row(name, *cells)
    console.print(table)


def crowd(console: Console) -> None:
    """Measure the load test of the guide: ten consumers, each in its own process."""
    with serving("log", 20_000) as server, ProcessPoolExecutor(10) as pool:
        list(pool.map(ten_thousand, [server.address] * 10))  # starts the processes
        walls = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            counts = list(pool.map(ten_thousand, [server.address] * 10))
            walls.append(time.perf_counter() - start)
            assert counts == [10_000] * 10
    console.print(f"ten consumers of 10,000 each: {statistics.median(walls):.2f} s ({min(walls):.2f} - {max(walls):.2f})")


def beside_reverb(console: Console) -> None:
    """Measure the same transitions with this package and with Reverb, in turn."""
    figures: dict[str, dict[str, list[float]]] = {"generals_env": {}, "reverb": {}}
    try:
        python = peer_python(REVERB)
    except PeerMissing as error:
        console.print(f"reverb is left out: {error}", style="yellow")
        return
    with tempfile.TemporaryDirectory() as path, Progress(console=console) as bar:
        folder = Path(path)
        write_transitions(folder)
        task = bar.add_task("beside reverb", total=2 * ROUNDS)
        ways = {"generals_env": partial(passed_on, folder), "reverb": partial(measure, python, WORKER, folder)}
        for library, way in list(ways.items()) * ROUNDS:
            result = way(SECONDS)
            for row in ROWS:
                figures[library].setdefault(row, []).append(result[row])
            bar.advance(task)
    table = Table("transitions a second", "generals_env", REVERB[0].replace("==", " "), "ratio", title="medians (min - max)")
    for row, title in ROWS.items():
        mine, other = figures["generals_env"][row], figures["reverb"][row]
        table.add_row(title, cell(mine), cell(other), f"{statistics.median(mine) / statistics.median(other):.1f}")
    console.print(table)


def passed_on(folder: Path, seconds: float) -> dict[str, float]:
    """Return the throughput of this package, with the transitions that Reverb is measured with."""
    with Server("loaded", str(folder / "ours")) as source, Server("buffer", "") as target:
        room: Any = None
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            with ExperienceConsumer(source.address) as consumer:
                for batch in consumer.stream_experiences(batch_size=BATCH, follow=False):
                    room = expanded(batch, room)
                    count += len(batch)
        received = count / (time.perf_counter() - start)
        with ExperienceConsumer(source.address) as consumer, ExperienceConsumer(target.address) as sender:
            batches = list(consumer.stream_experiences(batch_size=1000, follow=False))
            start = time.perf_counter()
            count = sum(sender.submit(batch).accepted for batch in batches)
            submitted = count / (time.perf_counter() - start)
    assert count == ITEMS
    return {"received": received, "submitted": submitted}


def latency(console: Console) -> None:
    """Measure the time from recording to receiving an experience, at light load with a wait of 5 ms."""
    for kind in ("log", "buffer"):
        waits: list[float] = []
        with serving(kind, 2000) as server, ExperienceConsumer(server.address) as consumer:
            threading.Timer(1.0, server.send, ("slow 300",)).start()
            for batch in consumer.stream_experiences(batch_size=None, start="now", max_batch_wait_ms=5):
                waits += ((time.time_ns() - batch.collected_at) / 1e6).tolist()
                if len(waits) >= 500:
                    break
        late = np.percentile(waits[50:], [50, 99])
        console.print(f"from recorded to received, {kind}: median {late[0]:.1f} ms, 99th percentile {late[1]:.1f} ms")


def stalled(console: Console) -> None:
    """Measure the memory of the server while it records at full speed and two consumers have stopped reading."""
    request = pb.StreamExperiencesRequest(follow=True, batch_size=256)
    for kind in ("log", "buffer"):
        with serving(kind, 1_000_000) as server, grpc.insecure_channel(server.address, LARGE) as channel:
            memory = Path(f"/proc/{server.process.pid}/statm")
            if not memory.exists():
                console.print("memory of the server: not available on this system")
                return
            stub: Any = ExperienceServiceStub(channel)  # type: ignore[no-untyped-call]
            server.send(f"full {STALL + 20}")
            time.sleep(15)
            sizes = []
            before = stub.GetExperienceStats(pb.GetExperienceStatsRequest(place_only=True)).next_sequence
            calls = [stub.StreamExperienceBatches(request)]
            request.encoding = pb.PACKED
            calls.append(stub.StreamExperienceBatches(request))
            for _ in track(range(STALL), f"stalled, {kind}", console=console):
                sizes.append(int(memory.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20)
                for call in calls[: len(sizes) == 1 and len(calls)]:
                    next(call)
                time.sleep(1)
            stats = stub.GetExperienceStats(pb.GetExperienceStatsRequest(place_only=True))
            lags = ", ".join(f"{stream.lag:,}" for stream in stats.streams)
        console.print(
            f"memory of the server, {kind}: {sizes[0]:,.0f} MiB, at most {max(sizes):,.0f} and at last {sizes[-1]:,.0f} MiB "
            f"with two consumers\nthat do not read for {STALL} s; {stats.next_sequence - before:,} experiences were recorded, "
            f"the two lag {lags} behind"
        )


def main() -> None:
    """Measure and print."""
    console = Console(width=200)
    throughput(console)
    beside_reverb(console)
    crowd(console)
    latency(console)
    stalled(console)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    console.print(
        f"{machine}, python {platform.python_version()}, generals_env {generals_env.__version__}, grpcio {grpc.__version__}"
    )


if __name__ == "__main__":
    main()
