"""Measures how long one call of each serialisation takes: exact quantiles over all calls of a run.

A call that allocates, or that the system interrupts, is slow: the 95th and 99th percentiles show these calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import generals_env
from benchmarks.buffers import some_batch
from benchmarks.storage import games_of_expanders
from generals_env.recorders import ExperienceBatch
from generals_env.recorders.encoding.batch_codec import decode_batch, encode_batch
from generals_env.recorders.stream.protocol.record_encoder import encode_records

QUANTILES = (50, 95, 99)

#: Consecutive experiences that are encoded together, as a recorder writes them to a log.
CHUNK = 2048

#: Seconds to call each function.
SECONDS = 1.0


def quantiles(work: Callable[[], Any], seconds: float) -> dict[str, float]:
    """Return the number of calls, and quantiles of their duration in microseconds; the first call does not count."""
    work()
    times = []
    end = time.perf_counter_ns() + int(seconds * 1e9)
    while (start := time.perf_counter_ns()) < end or not times:
        work()
        times.append(time.perf_counter_ns() - start)
    found = np.percentile(times, QUANTILES) / 1000
    return {"calls": len(times), **{f"p{quantile}": float(value) for quantile, value in zip(QUANTILES, found, strict=True)}}


def serialisation(seconds: float = SECONDS) -> dict[str, dict[str, float]]:
    """Return the quantiles of each serialisation of 20x20 boards; ``experiences`` is how many a call handles."""
    batch = some_batch(20)
    one = batch.slice(0, 1).compact()
    states, tensors = one.states(), batch.tensors()
    consecutive = games_of_expanders().slice(0, CHUNK).compact()
    packed = encode_batch(consecutive)
    works: dict[str, tuple[ExperienceBatch, Callable[[], Any]]] = {
        "state to tensor, given array": (one, lambda: one.states(states)),
        "state to tensor, new array": (one, one.states),
        "both states and masks to tensors, given arrays": (batch, lambda: batch.tensors(tensors)),
        "encode_batch: boards and columns, zstd": (consecutive, lambda: encode_batch(consecutive)),
        "decode_batch": (consecutive, lambda: decode_batch(packed)),
        "records of the original protocol": (batch, lambda: list(encode_records(batch, full_actions=False))),
    }
    return {name: {"experiences": len(part), **quantiles(work, seconds)} for name, (part, work) in works.items()}


def rows_of(figures: dict[str, dict[str, float]]) -> list[tuple[str, ...]]:
    """Return the cells of each serialisation: name, experiences a call, calls, and quantiles in microseconds."""
    return [
        (name, f"{row['experiences']:,.0f}", f"{row['calls']:,.0f}", *(f"{row[f'p{quantile}']:,.1f}" for quantile in QUANTILES))
        for name, row in figures.items()
    ]


def main(seconds: float = SECONDS) -> None:
    """Measure and print.

    Args:
        seconds: How long each function is called.
    """
    console = Console(width=200)
    title = f"20x20, two players, {seconds:g} s of calls each, microseconds a call"
    table = Table("serialisation", "experiences a call", "calls", *(f"p{quantile}" for quantile in QUANTILES), title=title)
    for row in rows_of(serialisation(seconds)):
        table.add_row(*row)
    console.print(table)
    console.print(f"generals_env {generals_env.__version__}, numpy {np.__version__}")


if __name__ == "__main__":
    main()
