"""Measures service times: what a chunk costs each process in seconds of CPU, with one producer.

Seconds of CPU depend little on what else runs on the machine, apart from two effects: busy cores slow each other down
(``together``), and other programs take a part of the cores, which ``real_run`` measures while it runs.
"""

from __future__ import annotations

import json
import os
import statistics
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.line_process import LineProcess
from benchmarks.scale.simulation import Samples
from benchmarks.scale.transports import SERVERS, WORKER, ask
from benchmarks.scale.workload import CHUNK
from generals_env.recorders.stream.protocol.message_limits import MAX_EXPERIENCES

__all__ = ["PIECES", "play", "producers", "ready", "samples_of", "service_times", "together"]

#: Pieces in which a chunk is sent: a gRPC request holds 1,000 experiences, an entry of Redis a whole chunk.
PIECES = {"grpc": -(-CHUNK // MAX_EXPERIENCES), "redis": 1}

QUANTILES = 40  # of each distribution that are kept

BUSY = 3  # producers that send at once, so that the server always has pieces to take

SLICES = 4  # measurements of a server that notes no single pieces

#: Seconds of each: all that is sent must fit into the bound of a stream in Redis, 10 million experiences.
SLICE = 0.3


def ready(process: LineProcess) -> LineProcess:
    """Wait until a process is ready."""
    line = process.line()
    assert line == "ready", line
    return process


def producers(stack: ExitStack, address: str, count: int) -> list[LineProcess]:
    """Start producers, and wait until all are ready."""
    started = [stack.enter_context(LineProcess(WORKER, "producer", address, str(number))) for number in range(count)]
    return [ready(process) for process in started]


def play(processes: list[LineProcess], seconds: float) -> list[dict[str, Any]]:
    """Let producers play at once, and return what they noted."""
    for process in processes:
        process.send(f"play {seconds}")
    return [json.loads(process.line()) for process in processes]


def together(seconds: float) -> dict[str, Any]:
    """Return the speed of a core while all are busy, against that of one while the others are idle.

    Producers that only play and encode whole chunks are alone and all at once, in turn; the speed is that of a second of CPU.
    ``play`` and ``encode`` are medians of the producer that was alone.
    """

    def middle(noted: list[dict[str, Any]]) -> list[float]:
        return [statistics.median(note[column] for one in noted for note in one["notes"]) for column in range(2)]

    with ExitStack() as stack:
        processes = producers(stack, "none", os.cpu_count() or 1)
        alone, ratios = [], []
        for _ in range(3):
            alone.append(middle(play(processes[:1], seconds / 3)))
            ratios.append(sum(alone[-1]) / sum(middle(play(processes, seconds / 3))))
    played, encoded = (statistics.median(costs) for costs in zip(*alone, strict=True))
    return {"speed": min(statistics.median(ratios), 1.0), "play": played, "encode": encoded}


def service_times(kind: str, seconds: float) -> dict[str, list[float]]:
    """Return the seconds of CPU of a chunk or piece in each process, as ``Samples`` has them.

    One producer sends to the server; then several at once, so that pieces wait; then a consumer receives all of it; then one
    producer sends while the consumer waits for each piece. What the server needs more for a piece then is the cost of sending.
    """
    piece = CHUNK / PIECES[kind]
    with ExitStack() as stack:
        server = stack.enter_context(SERVERS[kind]())
        working = producers(stack, server.address, BUSY)
        everything = 0
        notes: list[tuple[float, float]] = []

        def cost(count: int, seconds: float) -> float:
            """Let producers play, and return the seconds of CPU that the server needed for a piece."""
            nonlocal everything
            before = server.cpu()
            played = play(working[:count], seconds)
            total = sum(one["experiences"] for one in played)
            everything += total
            if count == 1:
                notes.extend(played[0]["notes"])
            return float((server.cpu() - before) / total * piece)

        cost(BUSY, 0.0)  # compiles and loads what is needed
        server.clear()
        alone = [cost(1, SLICE) for _ in range(SLICES)]
        store = server.costs() or alone
        busy = [cost(BUSY, SLICE) for _ in range(SLICES)]
        store_busy = server.costs() or busy
        before = server.cpu()
        consumer = ready(stack.enter_context(LineProcess(WORKER, "consumer", server.address)))
        behind = ask(consumer, f"take {everything}")["notes"]
        send_busy = (server.cpu() - before) / everything * piece
        everything = 0
        send = max(cost(1, seconds) - statistics.mean(alone), 0.0)
        received = ask(consumer, f"take {everything}")["notes"]

    def per_piece(notes: list[list[float]], column: int) -> list[float]:
        return [note[column] * piece / note[1] for note in notes[1:]]  # the first one includes the time before

    return {
        "play": [note[0] for note in notes],
        "encode": [note[1] / PIECES[kind] for note in notes],
        "store": store,
        "send": [send],
        "receive": per_piece(received, 2),
        "add": per_piece(received, 3),
        "learn": [note[4] for note in received if note[4]],
        "store_busy": store_busy,
        "send_busy": [send_busy],
        "receive_busy": per_piece(behind, 2),
        "add_busy": per_piece(behind, 3),
    }


def quantiles(values: list[float]) -> list[float]:
    """Return values of equal probability that stand for measured ones, in microseconds, and with their mean."""
    if len(values) <= QUANTILES:
        return [round(1e6 * value, 1) for value in values]
    parts = np.array_split(np.sort(values), QUANTILES)
    return [round(1e6 * float(part.mean()), 1) for part in parts]


def samples_of(found: list[dict[str, list[float]]], kind: str, nbytes: float) -> Samples:
    """Return samples of measurements in microseconds; ``nbytes`` are those of an encoded experience."""
    costs = {name: np.concatenate([np.array(one[name]) for one in found]) / 1e6 for name in found[0]}
    return Samples(experiences=CHUNK, pieces=PIECES[kind], nbytes=nbytes * CHUNK / PIECES[kind], **costs)
