"""Measures the throughput of Reverb between two processes: ``python reverb_stream.py TRANSITIONS_DIR SECONDS``.

TRANSITIONS_DIR holds ``state``, ``next_state``, ``action_mask``, ``next_action_mask``, ``action``, ``reward`` and
``terminated``, each an ``.npy`` file with a row a transition. A server in a separate process gets each as an item of one step,
through Reverb's client; then its ``TimestepDataset`` samples uniformly, in batches of 256 of NumPy arrays. The last line of the
output is a JSON object: ``library``, ``version``, ``items``; ``submitted`` and ``received``, transitions a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import reverb
import tensorflow as tf

BATCH = 256
WARM_UP = 8  # batches

#: The fastest of workers 1, 2, 4 and samples in flight 256, 512, 1024.
WORKERS, IN_FLIGHT = 4, 512

FIELDS = ("state", "next_state", "action_mask", "next_action_mask", "action", "reward", "terminated")


def transitions(folder: Path) -> dict[str, np.ndarray]:
    """Load the arrays of the transitions."""
    return {name: np.load(folder / f"{name}.npy") for name in FIELDS}


def serve(folder: Path) -> None:
    """Serve a table whose capacity is the number of transitions, until the standard input ends; print the port."""
    arrays = transitions(folder)
    table = reverb.Table(
        "transitions",
        sampler=reverb.selectors.Uniform(),
        remover=reverb.selectors.Fifo(),
        max_size=len(arrays["action"]),
        rate_limiter=reverb.rate_limiters.MinSize(1),
        signature={name: tf.TensorSpec(array.shape[1:], array.dtype) for name, array in arrays.items()},
    )
    server = reverb.Server(tables=[table])
    print(server.port, flush=True)
    sys.stdin.read()


def submitted(address: str, arrays: dict[str, np.ndarray]) -> float:
    """Write all transitions and return transitions a second."""
    count = len(arrays["action"])
    start = time.perf_counter()
    with reverb.Client(address).trajectory_writer(num_keep_alive_refs=1) as writer:
        for row in range(count):
            writer.append({name: array[row] for name, array in arrays.items()})
            writer.create_item("transitions", 1.0, {name: writer.history[name][-1] for name in FIELDS})
        writer.flush()
    return count / (time.perf_counter() - start)


def received(address: str, seconds: float) -> float:
    """Sample for ``seconds`` and return transitions a second."""
    dataset = reverb.TimestepDataset.from_table_signature(
        address, "transitions", max_in_flight_samples_per_worker=IN_FLIGHT, num_workers_per_iterator=WORKERS
    )
    batches = dataset.batch(BATCH).prefetch(2).as_numpy_iterator()
    for _ in range(WARM_UP):
        next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        count += len(next(batches).data["action"])
    return count / (time.perf_counter() - start)


def main(folder: Path, seconds: float) -> None:
    """Measure and print."""
    command = [sys.executable, "-P", __file__, "serve", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = f"localhost:{server.stdout.readline().strip()}"
            arrays = transitions(folder)
            result = {
                "library": "reverb",
                "version": version("dm-reverb"),
                "items": len(arrays["action"]),
                "submitted": submitted(address, arrays),
                "received": received(address, seconds),
            }
        finally:
            server.kill()
    print(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), float(sys.argv[2]))
