"""Measures sizes and speeds of zstd levels on recorded batches: ``python -m benchmarks.workers.compression_levels``.

Speeds are experiences a second of CPU time: medians of rounds, and their spread. A round measures all levels.
"""

from __future__ import annotations

import time

import numpy as np
from rich.console import Console
from rich.table import Table

import generals_env
from benchmarks.pairs import cell
from generals_env.recorders import ExperienceBatch, ExperienceRecorder
from generals_env.recorders.encoding.batch_codec import decode_batch, encode_batch
from generals_env.recorders.encoding.byte_shuffle import raw_size

LEVELS = (*range(1, 10), 11, 15, 19)

ROUNDS = 5

SIZE, PARTS = 2048, 16  # experiences of a batch, and batches


class Batches(list[ExperienceBatch]):
    """A sink that keeps the batches."""

    write = list.append

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def recorded() -> list[ExperienceBatch]:
    """Return batches of 64 games at once, 20x20, expander against expander, from their beginnings on."""
    batches = Batches()
    with ExperienceRecorder(generals_env.make_vec(64), batches) as env:
        env.reset(seed=1)
        env.play(SIZE * PARTS // 128 + 256, ("expander", "expander"))
    whole = ExperienceBatch.concat(batches)
    every = range(0, len(whole) - SIZE, len(whole) // PARTS)
    return [whole.select(np.arange(low, low + SIZE)) for low in every][:PARTS]


def main() -> None:
    """Measure and print."""
    parts = recorded()
    count = sum(map(len, parts))
    written: dict[int, list[float]] = {level: [] for level in LEVELS}
    read: dict[int, list[float]] = {level: [] for level in LEVELS}
    encoded: dict[int, list[bytes]] = {}
    decode_batch(encode_batch(parts[0]))  # compiles
    for _ in range(ROUNDS):
        for level in LEVELS:
            start = time.process_time()
            encoded[level] = [encode_batch(part, level) for part in parts]
            middle = time.process_time()
            for data in encoded[level]:
                decode_batch(data)
            written[level].append(count / (middle - start))
            read[level].append(count / (time.process_time() - middle))
    raw = sum(map(raw_size, encoded[1]))
    table = Table("level", "bytes an experience", "ratio", "encoded a second of CPU", "decoded a second of CPU")
    for level in LEVELS:
        size = sum(map(len, encoded[level]))
        table.add_row(str(level), f"{size / count:.2f}", f"{raw / size:.1f}", cell(written[level]), cell(read[level]))
    console = Console(width=140)
    console.print(table)
    console.print(f"{count:,} experiences in batches of {SIZE:,}, {raw / count:.0f} bytes each before compression")


if __name__ == "__main__":
    main()
