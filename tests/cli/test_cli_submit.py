"""Tests the command ``submit``: repeats, rejected experiences, and one-line errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.command_line import run, runner
from support.recorded import record_game

from generals_env.cli.app import app
from generals_env.errors import ConfigError, GeneralsError, StorageError
from generals_env.recorders import DatasetWriter, ExperienceLog, ExperienceServer, ReplayBuffer

pytest.importorskip("grpc", reason='grpc is not installed: pip install "generals_env[stream]"')


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    with DatasetWriter(tmp_path / "set", max_file_bytes=10_000) as writer:
        for seed in range(3):
            writer.write(record_game(seed, 40, height=6, width=7))
    return tmp_path / "set"


def test_submit_again_doubles_nothing(dataset: Path, tmp_path: Path) -> None:
    with ExperienceLog(tmp_path / "log") as log, ExperienceServer(log, "127.0.0.1:0") as server:
        first = run("submit", dataset, server.address)
        assert "accepted │ 240 │ │ already there │ 0 │ │ rejected │ 0" in first
    with ExperienceLog(tmp_path / "log") as log, ExperienceServer(log, "127.0.0.1:0") as server:  # a later one
        assert "accepted │ 0 │ │ already there │ 240 │" in run("submit", dataset, f"grpc://{server.address}")
    assert ExperienceLog(tmp_path / "log", mode="r").last == 239


def test_interrupted_submission_is_continued(dataset: Path) -> None:
    buffer = ReplayBuffer(1000)
    buffer.write(record_game(0, 40, height=6, width=7))  # what arrived
    with ExperienceServer(buffer, "127.0.0.1:0") as server:
        assert "accepted │ 160 │ │ already there │ 80 │" in run("submit", dataset, server.address)
    assert len(buffer) == 240


def test_rejected_experiences_are_listed_by_reason(dataset: Path) -> None:
    game = record_game(7, 40, height=6, width=7)
    game.rows["action"][5] = np.flatnonzero(~game.action_masks()[5])[0]
    with DatasetWriter(dataset) as writer:
        writer.write(game)
    with ExperienceServer(ReplayBuffer(1000), "127.0.0.1:0") as server:
        result = runner.invoke(app, ["submit", str(dataset), server.address])
    assert result.exit_code == 1
    text = " ".join(result.output.split())
    assert "accepted │ 319 │ │ already there │ 0 │ │ rejected │ 1 │" in text
    assert "rejected 1: illegal_action" in text


def test_damaged_files_are_skipped_on_request(dataset: Path) -> None:
    (victim, *_) = sorted(dataset.rglob("*.npz"))
    victim.write_bytes(victim.read_bytes()[:-50])
    with ExperienceServer(ReplayBuffer(1000), "127.0.0.1:0") as server:
        result = runner.invoke(app, ["submit", str(dataset), server.address])
        assert isinstance(result.exception, StorageError)
        output = run("submit", dataset, server.address, "--skip-damaged")
    assert "rejected │ 0" in output


@pytest.mark.parametrize(
    ("source", "address", "kind", "text"),
    [
        ("set", "grpc://", ConfigError, "address: expected grpc://host:port"),
        ("none", "127.0.0.1:9", StorageError, "path: expected a folder with files of experience"),
    ],
)
def test_wrong_arguments_are_one_line(source: str, address: str, kind: type[GeneralsError], text: str, dataset: Path) -> None:
    result = runner.invoke(app, ["submit", str(dataset.parent / source), address])
    assert isinstance(result.exception, kind)
    assert text in str(result.exception)
