"""Measures the inputs of the capacity tables: turns of a game, bytes of an experience by form, and CPU time of each task."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import zstandard
from rich.console import Console

import generals_env
from benchmarks.buffers import Batches, ours
from benchmarks.latency import serialisation
from benchmarks.storage import on_disk, one_core, timed
from benchmarks.stream import BATCH, packed, records, serving
from benchmarks.whole_path import whole_path
from generals_env.recorders import ExperienceBatch, ExperienceLog, ExperienceRecorder
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.stream.protocol.record_encoder import encode_records

#: Turns after which games are cut off: the guide's mean number of turns, and the default of the environment.
GAMES = {"guide": 50, "expanders": 1000}

#: Paths by name: the format of the files, and whether a trainer receives the stream.
PATHS = {"recorded": (None, False), "games": ("games", True), "npz": ("npz", True)}

ROUNDS = 3  # of the whole path

POLICIES = ("expander", "expander")

#: Experiences of one write of a recorder, and so of one message of the packed stream.
CHUNK = 2048

#: Experiences of a batch of records, the guide's default.
RECORDS = 32

SAMPLE = 512  # experiences that are expanded to tensors and records

FORMATS = ("games", "parquet", "npz", "tfrecord.gz")


def mean_turns(games: int, max_turns: int) -> float:
    """Return the mean number of turns of the first game of each board: games that end early are not counted more often."""
    env = generals_env.make_vec(games, copy=False, max_turns=max_turns)
    env.reset(seed=1)
    turns = np.zeros(games, np.int64)
    while not turns.all():
        for _ in range(64):
            number = env.boards().games["turn"] + 1
            *_, terminated, truncated, _ = env.step(env.act(POLICIES))
            over = np.reshape(terminated, (games, -1)).all(axis=1) | np.reshape(truncated, (games, -1)).all(axis=1)
            turns[(turns == 0) & over] = number[(turns == 0) & over]
    env.close()
    return float(turns.mean())


def recorded(games: int, max_turns: int) -> ExperienceBatch:
    """Return the experiences of ``max_turns`` turns of some boards, with the games that begin after others ended."""
    batches = Batches()
    with ExperienceRecorder(generals_env.make_vec(games, max_turns=max_turns), batches) as env:
        env.reset(seed=1)
        env.play(max_turns, POLICIES)
    return ExperienceBatch.concat(batches)


def chunks_of(batch: ExperienceBatch) -> list[ExperienceBatch]:
    """Return a batch in parts as a recorder writes them."""
    return [batch.slice(low, low + CHUNK).compact() for low in range(0, len(batch), CHUNK)]


def bytes_of(batch: ExperienceBatch) -> dict[str, float]:
    """Return the bytes of an experience in each form: in memory, in messages, and in files."""
    count = len(batch)
    chunks = chunks_of(batch)
    some = batch.slice(count // 2, count // 2 + SAMPLE).compact()
    tensors = some.tensors()
    arrays = [tensors.states, tensors.next_states, tensors.action_masks, tensors.next_action_masks]
    raw = b"".join(array.tobytes() for array in arrays)
    wire = list(encode_records(some, full_actions=False))
    messages = [b"".join(wire[low : low + RECORDS]) for low in range(0, len(wire), RECORDS)]
    found = {
        "state": tensors.states.nbytes / SAMPLE,
        "tensors": len(raw) / SAMPLE,
        "tensors, zstd": len(zstandard.ZstdCompressor(level=1).compress(raw)) / SAMPLE,
        "records": sum(map(len, wire)) / SAMPLE,
        "records, gzip": sum(len(zlib.compress(message)) for message in messages) / SAMPLE,
        "packed": sum(len(encode_batch(chunk)) for chunk in chunks) / count,
        "log": log_bytes(chunks) / count,
    }
    for form in FORMATS:
        part = batch if form != "tfrecord.gz" else some
        found[form] = on_disk(chunks if part is batch else [part], form) / len(part)
    return found


def log_bytes(chunks: Iterable[ExperienceBatch]) -> int:
    """Return the bytes of a closed log of some batches."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        with ExperienceLog(folder, "normal") as log:
            for chunk in chunks:
                log.write(chunk)
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def zstd_rate(batch: ExperienceBatch) -> float:
    """Return the megabytes of float32 tensors that one core compresses in a second with zstd 1."""
    raw = batch.slice(0, SAMPLE).compact().states().tobytes()
    compressor = zstandard.ZstdCompressor(level=1)
    compressor.compress(raw)
    seconds, _ = one_core(lambda: [compressor.compress(raw) for _ in range(8)])
    return 8 * len(raw) / seconds / 1e6


def stream_costs(experiences: int, seconds: float) -> dict[str, dict[str, float]]:
    """Return CPU microseconds an experience of the server and of one consumer, for each way to stream, over some seconds."""
    ways: dict[str, Any] = {
        "packed": lambda address: packed(address, None, False),
        "packed, as tensors": lambda address: packed(address, BATCH, True),
        "records": lambda address: records(address, RECORDS),
    }
    found = {}
    with serving("log", experiences) as server:
        process = psutil.Process(server.process.pid)
        for name, way in ways.items():
            way(server.address)  # loads or compiles the kernels, and fills the caches
            before, own, start = sum(process.cpu_times()[:2]), time.process_time(), time.perf_counter()
            count, rates = 0.0, []
            while time.perf_counter() - start < seconds or not rates:  # the system counts CPU time in hundredths of seconds
                spent, rate = timed(lambda way=way: way(server.address))
                count += rate * spent
                rates.append(rate)
            cost = {"server": sum(process.cpu_times()[:2]) - before, "consumer": time.process_time() - own}
            found[name] = {
                "per_second": statistics.median(rates),
                **{role: 1e6 * spent / count for role, spent in cost.items()},
            }
    return found


def whole_paths(seconds: float, rounds: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the rates and CPU times of each path, for each kind of game: medians of rounds that measure all in turn."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for name, max_turns in GAMES.items():
            for path, (form, trainer) in PATHS.items():
                runs.setdefault((name, path), []).append(whole_path(seconds, max_turns, form, trainer))
    found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in GAMES}
    for (name, path), results in runs.items():
        found[name][path] = {
            "per_second": statistics.median(result["per_second"] for result in results),
            "spread": [find(result["per_second"] for result in results) for find in (min, max)],
            "cpu_microseconds": {
                role: statistics.median(result["cpu_microseconds"][role] for result in results)
                for role in results[0]["cpu_microseconds"]
            },
        }
    return found


def machine() -> dict[str, Any]:
    """Return where and when the inputs were measured."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "generals_env": generals_env.__version__,
        "numpy": np.__version__,
    }


def measure(console: Console, seconds: float, buffer: int = 1_000_000) -> dict[str, Any]:
    """Return all inputs.

    Args:
        console: Where to print what is being measured.
        seconds: How long each run of the whole path plays; the other parts scale with it.
        buffer: Experiences of the measured buffers.
    """
    few = seconds < 1
    inputs: dict[str, Any] = {"machine": machine(), "board": [20, 20], "players": 2, "seconds": seconds, "games": {}}
    for name, max_turns in GAMES.items():
        with console.status(f"{name}: games of at most {max_turns} turns"):
            batch = recorded(8 if few else 64 if max_turns > 100 else 512, max_turns)
            inputs["games"][name] = {
                "max_turns": max_turns,
                "mean_turns": mean_turns(32 if few else 512, max_turns),
                "experiences": len(batch),
                "bytes": bytes_of(batch),
            }
    with console.status("the whole path"):
        for name, found in whole_paths(seconds, 1 if few else ROUNDS).items():
            inputs["games"][name]["whole_path"] = found
    inputs["zstd_megabytes_per_second"] = zstd_rate(batch)
    with console.status("buffers"):
        inputs["buffers"] = {
            store: {key: value for key, value in ours("large", store, buffer, 0.1).items() if key in ("bytes", "resident")}
            for store in ("boards", "games", "zstd")
        }
    with console.status("stream"):
        inputs["stream"] = stream_costs(20_000 if few else 200_000, seconds)
    with console.status("latency"):
        inputs["latency"] = serialisation(seconds / 4)
    return inputs
