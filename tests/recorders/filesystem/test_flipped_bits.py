"""Tests that a flipped bit in any kind of file is detected or changes nothing that is read."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.helpers import same
from support.recorded import facts, record_game

from generals_env.errors import StorageError
from generals_env.recorders import (
    DatasetWriter,
    ExperienceBatch,
    ExperienceLog,
    PrioritizedReplayBuffer,
    ReplayBuffer,
    SpillBuffer,
    open_dataset,
    verify_dataset,
)
from generals_env.recorders.formats import FORMATS
from generals_env.recorders.stream.client.position import Position
from generals_env.recorders.stream.server.log_source import identity_of

BATCHES = [record_game(seed, 30, height=6, width=7) for seed in range(2)]


class NoticedError(Exception):
    """Raised where damage was counted or reported."""


@dataclass
class Kind:
    """A kind of file.

    Attributes:
        write: Writes into a folder.
        read: Returns the contents of the folder, to be compared with ``same``.
        file: Which of the files there is damaged, as a pattern.
    """

    write: Callable[[Path], object]
    read: Callable[[Path], Any]
    file: str


def write_buffer(folder: Path, make: Any = ReplayBuffer, **options: Any) -> None:
    buffer = make(1000, seed=1, **options)
    for batch in BATCHES:
        buffer.write(batch)
    if make is PrioritizedReplayBuffer:
        drawn = buffer.sample(50)
        buffer.update_priorities(drawn.keys, np.arange(1.0, 51.0))
    buffer.save(folder / "saved")


def read_buffer(folder: Path, make: Any = ReplayBuffer, **options: Any) -> Any:
    buffer = make(1000, seed=1, **options)
    buffer.load(folder / "saved")
    if make is PrioritizedReplayBuffer:
        drawn = buffer.sample(200)
        return [facts(buffer.snapshot()), drawn.keys, drawn.weights]
    return facts(buffer.snapshot())


def write_log(folder: Path) -> None:
    with ExperienceLog(folder, min_free_bytes=0) as log:
        for batch in BATCHES:
            log.write(batch)
        log.commit("consumer", 40)
    identity_of(folder)


def read_log(folder: Path) -> Any:
    with ExperienceLog(folder, mode="r") as log:
        report = log.verify()
        if not report.ok:
            raise NoticedError(report)
        return [facts(ExperienceBatch.concat(list(log.read()))), log.position("consumer"), identity_of(folder)]


def write_spill(folder: Path) -> None:
    buffer = SpillBuffer(folder)
    for batch in BATCHES:
        buffer.write(batch)
    buffer.flush()
    buffer.close()


def read_spill(folder: Path) -> Any:
    copied = Path(shutil.copytree(folder, folder.with_name("copy"), dirs_exist_ok=True))  # experiences that are read are gone
    buffer, found = SpillBuffer(copied), []
    while (batch := buffer.read(1000)) is not None:
        found.append(batch)
    buffer.close()
    shutil.rmtree(copied)
    if buffer.stats().damaged:
        raise NoticedError(buffer.stats())
    return facts(ExperienceBatch.concat(found))


def dataset(form: str) -> Kind:
    def write(folder: Path) -> None:
        with DatasetWriter(folder, form, min_free_bytes=0) as writer:
            for batch in BATCHES:
                writer.write(batch)

    def read(folder: Path) -> Any:
        report = verify_dataset(folder)
        if not report.ok:
            raise NoticedError(report)
        return facts(ExperienceBatch.concat(list(open_dataset(folder))))

    return Kind(write, read, f"**/part_*{FORMATS[form]}")


KINDS = {
    **{f"dataset of {form}": dataset(form) for form in FORMATS},
    "index of a dataset": Kind(dataset("npz").write, dataset("npz").read, "**/*_index.json"),
    "experiences of a saved buffer": Kind(write_buffer, read_buffer, "saved/experiences_*"),
    "the rest of a saved buffer": Kind(write_buffer, read_buffer, "saved/buffer.npz"),
    "the rest of a prioritized buffer": Kind(
        lambda folder: write_buffer(folder, PrioritizedReplayBuffer),
        lambda folder: read_buffer(folder, PrioritizedReplayBuffer),
        "saved/buffer.npz",
    ),
    "segment of a log": Kind(write_log, read_log, "segment_*.db"),
    "seal of a segment": Kind(write_log, read_log, "segment_*.json"),
    "committed position in a log": Kind(write_log, read_log, "consumers/*.json"),
    "identity of a stream": Kind(write_log, read_log, "stream.json"),
    "segment of a spill": Kind(write_spill, read_spill, "*.spill"),
    "position of a consumer": Kind(
        lambda folder: Position("one", 2**40).save(folder / "position.json"),
        lambda folder: Position.load(folder / "position.json").__dict__,
        "position.json",
    ),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.filterwarnings("ignore")  # telling by a warning is noticing
@pytest.mark.checklist("P5")
def test_flipped_bit_is_detected_or_changes_nothing(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kind, rng = KINDS[name], random.Random(1)
    kind.write(tmp_path)
    told = kind.read(tmp_path)
    path = min(tmp_path.glob(kind.file))
    data = path.read_bytes()
    noticed = 0
    for bit in rng.sample(range(8 * len(data)), 60):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = kind.read(tmp_path)
        except (StorageError, NoticedError):
            noticed += 1
        else:
            assert same(found, told), bit
        path.write_bytes(data)
    assert noticed > 20
    assert same(kind.read(tmp_path), told)
