"""Measures storage: size and speed of each format beside those of other libraries, and of the log beside plain SQLite.

Figures are medians of rounds with their spread; each round measures all in turn. Writing and reading are those of one process,
on all cores unless the table says one core.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import generals_env
from benchmarks.buffers import PACKS, Batches, cell
from generals_env.recorders import (
    DatasetWriter,
    ExperienceBatch,
    ExperienceLog,
    ExperienceRecorder,
    Tensors,
    open_dataset,
    record_replays,
    to_minari,
)
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.formats import FORMATS, format_of

ROUNDS = 5

#: Experiences an hour at 1,000 games a second of 50 turns and two players: the guide promises 1 GB for them.
AN_HOUR = 3600 * 1000 * 50 * 2

TENSORS = 2 * 4 * 9 + 2 * 8  # bytes a tile of one experience: both states, float32, and both masks

TENSOR_BATCH = 2048  # experiences expanded at a time

#: Number of games of people to measure ``record_replays`` with.
REPLAYS = 5000

WORKER = Path(__file__).parent / "workers" / "replays.py"

#: Formats that hold tensors, which are slow: they are measured with fewer experiences.
OF_TENSORS = ("tfrecord", "tfrecord.gz")


def games_of_expanders() -> ExperienceBatch:
    """Return the experiences of 256 turns of 64 games: 20x20, expander against expander."""
    batches = Batches()
    with ExperienceRecorder(generals_env.make_vec(64), batches) as env:
        env.reset(seed=1)
        for _ in range(4):
            env.play(256, ("expander", "expander"))
    return ExperienceBatch.concat(batches[-len(batches) // 4 :])


def replays_of_people(folder: Path, count: int | None = None) -> list[Path]:
    """Write recorded duels of people to ``count`` files, repeating them; return no paths if no duels are found."""
    games = [
        case["replay"] for pack in sorted(PACKS.glob("*.json.gz")) for case in json.loads(gzip.decompress(pack.read_bytes()))
    ]
    paths = [folder / f"{number:05d}.json" for number in range((len(games) if count is None else count) if games else 0)]
    for number, path in enumerate(paths):
        game = games[number % len(games)]
        path.write_text(json.dumps(game | {"id": f"{game['id']}-{number}"}))
    return paths


def games_of_people() -> list[ExperienceBatch]:
    """Return the experiences of recorded duels of people, or an empty list if none are found."""
    batches = Batches()
    with tempfile.TemporaryDirectory() as folder:
        record_replays(replays_of_people(Path(folder)), batches)
    return list(batches)


def timed_by_turn(batches: list[ExperienceBatch]) -> list[ExperienceBatch]:
    """Return the batches with a time for each turn, as if recorded live: half a second apart, with 5 ms of noise."""
    rng = np.random.default_rng(1)
    live = []
    for batch in batches:
        rows = batch.rows.copy()
        turns = np.flatnonzero(np.diff(batch.state_index, prepend=-1))
        rows["collected_at"] = np.repeat(
            np.cumsum(500_000_000 + rng.normal(0, 5e6, len(turns)).astype(np.int64)), np.diff(turns, append=len(rows))
        )
        live.append(replace(batch, rows=rows))
    return live


def on_disk(batches: list[ExperienceBatch], form: str) -> int:
    """Return the bytes of a dataset of the batches."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        with DatasetWriter(folder, form) as writer:
            for batch in batches:
                writer.write(batch)
        return open_dataset(folder).nbytes


def one_core(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that ``work`` takes on one core, and its result."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if cores:
        os.sched_setaffinity(0, {min(cores)})
    try:
        return timed(work)
    finally:
        if cores:
            os.sched_setaffinity(0, cores)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that ``work`` takes, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def formats(console: Console, batch: ExperienceBatch, people: list[ExperienceBatch]) -> None:
    """Measure each format."""
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in [*FORMATS, "numpy float32, zlib", "parquet float32"]}
    sizes: dict[str, list[str]] = {}
    human = sum(map(len, people))
    room = batch.slice(0, TENSOR_BATCH).tensors()
    with Progress(console=console) as bar:
        task = bar.add_task("formats", total=(ROUNDS + 1) * len(figures))
        for round_number in range(ROUNDS + 1):  # the first one compiles
            for name, kept in figures.items():
                part = batch if name in FORMATS and name not in OF_TENSORS else batch.slice(0, 2048).compact()
                encode, decode = codec_of(name)
                written, content = one_core(lambda encode=encode, part=part: encode(part))
                read, _ = timed(lambda decode=decode, content=content: decode(content))
                if round_number:
                    kept.setdefault("written", []).append(len(part) / written)
                    kept.setdefault("read", []).append(len(part) / read)
                    if name in FORMATS and name not in OF_TENSORS:
                        expanded, _ = timed(lambda decode=decode, content=content: expand(decode(content), room))
                        kept.setdefault("tensors", []).append(len(part) / expanded)
                    elif name in FORMATS:
                        again, _ = timed(lambda decode=decode, content=content: expand(decode(content), room))
                        kept.setdefault("tensors", []).append(len(part) / again)
                else:
                    sizes[name] = [f"{len(content) / len(part):,.1f}"]
                    for games in (people, timed_by_turn(people)):
                        measured = human and name in FORMATS and name not in OF_TENSORS
                        sizes[name].append(f"{on_disk(games, name) / human:,.2f}" if measured else "-")
                    sizes[name].append(f"{AN_HOUR * len(content) / len(part) / 10**9:,.2f}")
                bar.advance(task)
    table = Table(
        "format",
        "bytes an experience",
        "games of people, as record_replays stamps them",
        "with a time a turn",
        "GB an hour, the guide has 1",
        "written a second, one core",
        "read a second, as boards",
        "read a second, as tensors",
        title=f"{len(batch):,} experiences, 20x20, two players; {human:,} of people; medians of {ROUNDS} (min - max)",
    )
    for name, kept in figures.items():
        table.add_row(name, *sizes[name], *(cell(kept.get(what, [])) for what in ("written", "read", "tensors")))
    console.print(table)
    console.print(
        f"the guide promises {10**9 / AN_HOUR:.1f} bytes an experience; as float32 tensors one takes {TENSORS * 400:,}"
    )


def expand(batch: ExperienceBatch, room: Tensors) -> None:
    """Expand a batch into reused arrays, ``TENSOR_BATCH`` experiences at a time, as a learner does."""
    for low in range(0, len(batch), TENSOR_BATCH):
        batch.slice(low, low + TENSOR_BATCH).tensors(room)


def codec_of(name: str) -> tuple[Callable[[ExperienceBatch], bytes], Callable[[bytes], Any]]:
    """Return the functions that encode and decode a format of this package, or tensors with another library."""
    if name in FORMATS:
        form = format_of(name)
        return form.encode, form.decode
    return (numpy_written, numpy_read) if name.startswith("numpy") else (parquet_written, parquet_read)


def columns_of(batch: ExperienceBatch) -> dict[str, np.ndarray[Any, Any]]:
    """Return experiences as float tensors and masks, as other libraries store them."""
    tensors = batch.tensors()
    return {
        "state": tensors.states,
        "next_state": tensors.next_states,
        "action_mask": tensors.action_masks,
        "next_action_mask": tensors.next_action_masks,
        "action": tensors.actions,
        "reward": tensors.rewards,
        "terminated": tensors.terminated,
    }


def numpy_written(batch: ExperienceBatch) -> bytes:
    """Write tensors with ``numpy.savez_compressed``."""
    file = io.BytesIO()
    np.savez_compressed(file, **columns_of(batch))
    return file.getvalue()


def numpy_read(content: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Read the tensors of ``numpy_written``."""
    with np.load(io.BytesIO(content)) as archive:
        return {name: archive[name] for name in archive.files}


def parquet_written(batch: ExperienceBatch) -> bytes:
    """Write tensors as fixed-size lists, zstd 1."""
    import pyarrow.parquet as pq

    arrays = {}
    for name, column in columns_of(batch).items():
        flat = pa.array(column.reshape(-1))
        arrays[name] = flat if column.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, column[0].size)
    file = io.BytesIO()
    pq.write_table(pa.table(arrays), file, compression="zstd", compression_level=1)
    return file.getvalue()


def parquet_read(content: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Read the tensors of ``parquet_written``."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content))
    return {
        name: np.asarray(table[name].combine_chunks().flatten())
        if pa.types.is_fixed_size_list(table[name].type)
        else table[name].to_numpy()
        for name in table.column_names
    }


def log(console: Console, batch: ExperienceBatch) -> None:
    """Measure the log beside plain SQLite with the same bytes on the same disk."""
    large = [batch.slice(low, low + 2048).compact() for low in range(0, len(batch) // 2048 * 2048, 2048)]
    small = [batch.slice(low, low + 1024).compact() for low in range(0, 60 * 1024, 1024)]
    blobs = [encode_batch(part) for part in small]
    figures: dict[str, list[float]] = {}
    with Progress(console=console) as bar:
        task = bar.add_task("log", total=ROUNDS + 1)
        for round_number in range(ROUNDS + 1):
            found = {
                'ExperienceLog, "normal", 2,048 an append': appended(large, "normal"),
                'ExperienceLog, "commit", 1,024 an append': appended(small, "commit"),
                "plain SQLite, FULL, the same bytes": bare(blobs, "FULL", sum(map(len, small))),
                "plain SQLite, FULL, encoded in the same loop": bare(small, "FULL", sum(map(len, small))),
                "plain SQLite, NORMAL, the same bytes": bare(blobs, "NORMAL", sum(map(len, small))),
                "read back as boards": read_back(large),
            }
            if round_number:
                for name, value in found.items():
                    figures.setdefault(name, []).append(value)
            bar.advance(task)
    table = Table("log", "experiences a second", title=f"medians of {ROUNDS} (min - max)")
    for name, values in figures.items():
        table.add_row(name, cell(values))
    console.print(table)
    ours = figures['ExperienceLog, "commit", 1,024 an append']
    for name in ("plain SQLite, FULL, the same bytes", "plain SQLite, FULL, encoded in the same loop"):
        ratio = statistics.median(mine / other for mine, other in zip(ours, figures[name], strict=True))
        console.print(f"with fsync: {ratio:.0%} of {name} (median of pairs)")


def appended(parts: list[ExperienceBatch], durability: str) -> float:
    """Return the experiences a second that are written to a log."""
    with tempfile.TemporaryDirectory(dir=".") as folder, ExperienceLog(folder, durability) as log:
        log.write(parts[0])

        def write() -> None:
            for part in parts:
                log.write(part)

        return sum(map(len, parts)) / timed(write)[0]


def bare(blobs: list[bytes] | list[ExperienceBatch], synchronous: str, experiences: int) -> float:
    """Return the experiences a second that are written to SQLite as blobs, with a commit for each blob."""
    with (
        tempfile.TemporaryDirectory(dir=".") as folder,
        closing(sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)) as db,
    ):
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={synchronous}")
        db.execute("CREATE TABLE chunks (first INTEGER PRIMARY KEY, data BLOB)")
        db.execute("INSERT INTO chunks VALUES (-1, ?)", (b"first",))

        def write() -> None:
            for number, blob in enumerate(blobs):
                data = blob if isinstance(blob, bytes) else encode_batch(blob)
                db.execute("INSERT INTO chunks VALUES (?, ?)", (number, data))

        return experiences / timed(write)[0]


def read_back(parts: list[ExperienceBatch]) -> float:
    """Return the experiences a second that are read from a log."""
    with tempfile.TemporaryDirectory(dir=".") as folder, ExperienceLog(folder, "normal") as log:
        for part in parts:
            log.write(part)
        return sum(map(len, parts)) / timed(lambda: sum(map(len, log.read())))[0]


def datasets(console: Console, batch: ExperienceBatch) -> None:
    """Measure datasets: written batch by batch, read in order, and shuffled."""
    parts = [batch.slice(low, low + 2048).compact() for low in range(0, len(batch), 2048)]
    table = Table("folder", "written a second", "read a second", "read shuffled, batches of 256, a second", "files")
    with Progress(console=console) as bar:
        for form in bar.track([name for name in FORMATS if name not in OF_TENSORS], description="folders"):
            figures: dict[str, list[float]] = {"written": [], "read": [], "mixed": []}
            for _ in range(ROUNDS):
                with tempfile.TemporaryDirectory(dir=".") as folder:

                    def write(folder: str = folder, form: str = form) -> None:
                        with DatasetWriter(folder, form) as writer:
                            for part in parts:
                                writer.write(part)

                    figures["written"].append(len(batch) / timed(write)[0])
                    dataset = open_dataset(folder)
                    files = len(dataset.files)
                    figures["read"].append(len(batch) / timed(lambda dataset=dataset: sum(map(len, dataset)))[0])
                    mixed = dataset.shuffled(20_000, seed=1).batches(256)
                    figures["mixed"].append(len(batch) / timed(lambda mixed=mixed: sum(map(len, mixed)))[0])
            table.add_row(form, *(cell(figures[name]) for name in figures), str(files))
    console.print(table)


def people(console: Console) -> None:
    """Measure ``record_replays`` with many games of people into no sink and into datasets, in separate processes."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        paths = replays_of_people(Path(folder), REPLAYS)
        if not paths:
            return
        table = Table("record_replays", "experiences", "a second", "a second of CPU", "resident, MB")
        for target in ("nothing", "npz", "games"):
            command = [sys.executable, str(WORKER), folder, target]
            figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            count = figures["experiences"]
            speeds = (f"{count / figures['seconds']:,.0f}", f"{count / figures['cpu_seconds']:,.0f}")
            table.add_row(f"{len(paths):,} games to {target}", f"{count:,}", *speeds, f"{figures['resident'] / 2**20:,.0f}")
    console.print(table)


def minari(console: Console) -> None:
    """Measure speed and size of the export to Minari."""
    batches = Batches()
    with ExperienceRecorder(generals_env.make_vec(4, max_turns=200), batches) as env:
        env.reset(seed=1)
        env.play(200, ("expander", "expander"))
    with tempfile.TemporaryDirectory(dir=".") as folder:
        os.environ["MINARI_DATASETS_PATH"] = str(Path(folder).resolve())
        seconds, _ = timed(lambda: to_minari(batches, "generals/benchmark-v0"))
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    count = sum(map(len, batches))
    console.print(f"Minari: {count:,} experiences, {count / seconds:,.0f} a second, {size / count:,.0f} bytes each")


def main() -> None:
    """Measure and print."""
    console = Console(width=200)
    folder = Path("runs/benchmark")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.chdir(folder)  # on the disk of the checkout: /tmp may be memory
    batch = games_of_expanders()
    formats(console, batch, games_of_people())
    log(console, batch)
    datasets(console, batch)
    people(console)
    minari(console)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    versions = f"numpy {np.__version__}, pyarrow {pa.__version__}, SQLite {sqlite3.sqlite_version}"
    console.print(f"{machine}, python {sys.version.split()[0]}, generals_env {generals_env.__version__}, {versions}")


if __name__ == "__main__":
    main()
