"""Measures the replay buffers of this package in a separate process.

Arguments of ``python -m benchmarks.workers.board_buffer``:

- ``small FOLDER SECONDS`` measures a buffer of the transitions in FOLDER, a saved buffer, as ``replay_buffers.py`` does;
- ``large STORE EXPERIENCES SECONDS`` fills a buffer from games between expanders, and measures memory and sampling;
- ``recording SECONDS`` compares playing with and without a recorder.

The last line of the output is a JSON object.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import generals_env
from benchmarks.workers.replay_buffers import keep_memory, per_second, per_second_of_two
from generals_env.recorders import ExperienceBatch, ExperienceRecorder, PrioritizedReplayBuffer, ReplayBuffer

BATCH = 256
SINGLES = 2048


def small(folder: Path, seconds: float) -> dict[str, Any]:
    """Measure a buffer whose capacity is the size of a saved one."""
    source = ReplayBuffer(10**6)
    source.load(folder)
    whole = source.drain()
    count = len(whole)
    result: dict[str, Any] = {"library": "generals_env", "version": generals_env.__version__, "items": count}
    parts = [whole.select(np.arange(low, low + BATCH)) for low in range(0, SINGLES, BATCH)]
    singles = [whole.select(np.array([i])) for i in range(SINGLES)]
    buffer = ReplayBuffer(count, seed=1)
    buffer.write(whole)
    result["bytes_per_item"] = buffer.stats().nbytes / count
    result["bytes_how"] = "arrays"
    result["sample_256_default_malloc"] = per_second(lambda: buffer.sample(BATCH).tensors(), seconds)
    result["malloc_kept"] = keep_memory()
    result["sample_256"] = per_second(lambda: buffer.sample(BATCH).tensors(), seconds)
    result["sample_256_two_threads"] = per_second_of_two(lambda: lambda: buffer.sample(BATCH).tensors(), seconds)
    room = buffer.sample(BATCH).tensors()
    result["sample_256_given_arrays"] = per_second(lambda: buffer.sample(BATCH, room), seconds)
    result["packed_256"] = per_second(lambda: buffer.sample(BATCH), seconds)
    reused = buffer.sample(BATCH)
    result["packed_256_given_arrays"] = per_second(lambda: buffer.sample(BATCH, reused), seconds)
    result["packed_256_two_threads"] = per_second_of_two(lambda: lambda: buffer.sample(BATCH), seconds)
    result["add_1"] = per_second(rotation(buffer, singles), seconds)
    result["add_256"] = BATCH * per_second(rotation(buffer, parts), seconds)
    buffer.clear()
    prioritized = PrioritizedReplayBuffer(count, seed=1)
    prioritized.write(whole)
    rng = np.random.default_rng(1)
    values = [rng.random(BATCH) for _ in range(16)]
    turn = iter(range(10**12))

    def update() -> None:
        sample = prioritized.sample(BATCH)
        prioritized.update_priorities(sample.keys, values[next(turn) % 16])

    result["prioritized_256"] = per_second(update, seconds)
    result["prioritized_items"] = count
    return result


def rotation(buffer: ReplayBuffer, parts: list[ExperienceBatch]) -> Callable[[], None]:
    """Return a function that writes the next of ``parts`` at each call."""
    turn = iter(range(10**12))
    return lambda: buffer.write(parts[next(turn) % len(parts)])


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    with Path("/proc/self/statm").open(encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def large(store: str, experiences: int, seconds: float) -> dict[str, Any]:
    """Fill a buffer with games between expanders, and measure memory and sampling."""
    keep_memory()
    warm = ReplayBuffer(10_000, store=store, seed=1)  # compiles before memory is measured
    env = ExperienceRecorder(generals_env.make_vec(1024), warm)
    env.reset(seed=1)
    env.play(32, ("expander", "expander"))
    warm.sample(BATCH).tensors()
    env.env.close()
    del env, warm
    before = resident()
    buffer = ReplayBuffer(experiences, store=store, seed=1)
    env = ExperienceRecorder(generals_env.make_vec(1024), buffer)
    env.reset(seed=2)
    started = time.perf_counter()
    while len(buffer) < experiences:
        env.play(128, ("expander", "expander"))
    filled = time.perf_counter() - started
    env.close()
    del env
    result = {
        "store": store,
        "experiences": len(buffer),
        "bytes": buffer.stats().nbytes / len(buffer),
        "resident": (resident() - before) / len(buffer),
        "filled_per_second": len(buffer) / filled,
        "packed_256": per_second(lambda: buffer.sample(BATCH), seconds),
        "sample_256": per_second(lambda: buffer.sample(BATCH).tensors(), seconds),
    }
    result["resident_after_draws"] = (resident() - before) / len(buffer)
    buffer.clear()
    result["resident_after_clear"] = resident() - before
    return result


def recording(seconds: float) -> dict[str, Any]:
    """Measure playing with and without a recorder, alternately."""
    keep_memory()
    names = ("random", "random")
    plain = generals_env.make_vec(1024, copy=False)
    buffer = ReplayBuffer(500_000, seed=1)
    recorded = ExperienceRecorder(generals_env.make_vec(1024, copy=False), buffer)
    plain.reset(seed=1)
    recorded.reset(seed=1)
    turns = 512
    rates: dict[str, list[float]] = {"plain": [], "recorded": [], "stepped": [], "stepped_recorded": []}
    plain.play(turns, names)
    recorded.play(turns, names)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rates["stepped"]) < 3:
        for name, env in (("plain", plain), ("recorded", recorded)):
            start = time.perf_counter()
            env.play(turns, names)
            rates[name].append(1024 * turns / (time.perf_counter() - start))
        for name, env in (("stepped", plain), ("stepped_recorded", recorded)):
            spent = 0.0
            for _ in range(32):
                actions = env.act(names)
                start = time.perf_counter()
                env.step(actions)
                spent += time.perf_counter() - start
            rates[name].append(1024 * 32 / spent)
    return rates


def main() -> None:
    """Run the measurement that the command line names, and print it."""
    kind, *arguments = sys.argv[1:]
    if kind == "small":
        result = small(Path(arguments[0]), float(arguments[1]))
    elif kind == "large":
        result = large(arguments[0], int(arguments[1]), float(arguments[2]))
    else:
        result = recording(float(arguments[0]))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
