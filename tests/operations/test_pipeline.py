"""Tests that the guide's settings of recording, stream and files reach the parts that a run is made of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.helpers import PATIENCE
from support.recorded import record_game
from support.s3 import s3, s3_process
from support.settings_effects import opened
from support.stream_calls import ask, called

from generals_env.operations.run.collector import Collector
from generals_env.operations.run.files import open_writer, storage_place
from generals_env.operations.run.supervisor import Supervisor
from generals_env.operations.settings.load import load_settings
from generals_env.operations.settings.models import Settings
from generals_env.recorders import ExperienceLog, open_dataset

__all__ = ["s3", "s3_process"]  # fixtures

GAME = record_game(3, 20, height=6, width=6)


def settings_of(folder: Path, **keys: Any) -> Settings:
    """Return settings of small games that write into a folder; two underscores of a name stand for a dot."""
    given = {
        "games.height": 6,
        "games.width": 6,
        "games.max_turns": 40,
        "games.parallel": 4,
        "games.seed": 1,
        "streaming.address": "127.0.0.1:0",
        "metrics.address": "127.0.0.1:0",
        "log.directory": str(folder / "log"),
        "storage.file.directory": str(folder / "files"),
        **{name.replace("__", "."): value for name, value in keys.items()},
    }
    return load_settings(environment={}, overrides=given)


@pytest.mark.checklist("K2")
@pytest.mark.parametrize("enabled", [True, False])
def test_collector_without_collection_plays_and_records_nothing(enabled: bool, tmp_path: Path) -> None:
    collector = Collector(settings_of(tmp_path, collection__enabled=enabled, collection__max_games=6))
    status = collector.run(lambda found: None)
    assert status["games"] >= 6
    recorded = ExperienceLog(tmp_path / "log", mode="r").last + 1
    assert recorded == status["experiences"] == status["buffer"]["added"]
    assert (recorded > 0) is enabled


@pytest.mark.checklist("K3", "G6", "G8")
def test_buffer_has_size_and_policy_of_the_settings(tmp_path: Path) -> None:
    with opened(settings_of(tmp_path / "guide")) as pipeline:
        assert (pipeline.buffered.capacity, pipeline.buffered.overflow) == (10_000, "block")
    other = settings_of(tmp_path / "other", collection__buffer_size=16, collection__overflow="drop_newest")
    with opened(other) as pipeline:
        for number in range(20):
            assert pipeline.buffered.stats().size <= 16
            pipeline.buffered.write(GAME.slice(number, number + 20))
        pipeline.buffered.flush()
        stats = pipeline.buffered.stats()
        assert stats.dropped_newest >= 20 * 4  # 16 of 20 fit at best
        assert stats.written + stats.dropped_newest == stats.added == 400


@pytest.mark.checklist("K4", "K5")
def test_server_has_limit_and_waiting_time_of_the_settings(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, streaming__max_connections=1, streaming__batch_timeout_ms=250)
    with opened(settings) as pipeline:
        assert pipeline.server is not None
        assert pipeline.server.defaults.batch_timeout_ms == 250
        with called(pipeline.server) as stub:
            pipeline.buffered.write(GAME)
            pipeline.buffered.flush()
            first = stub.StreamExperiences(ask(follow=True), timeout=PATIENCE)
            next(first)
            with pytest.raises(grpc.RpcError) as caught:
                next(stub.StreamExperiences(ask(follow=True), timeout=PATIENCE))
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            first.cancel()


@pytest.mark.checklist("K6", "K8")
@pytest.mark.parametrize("form", ["npz", "tfrecord", "parquet", "games"])
def test_files_have_folder_and_format_of_the_settings(form: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, storage__file__format=form)
    with open_writer(settings) as writer:
        writer.write(GAME)
    files = [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
    assert any(path.suffix == f".{form}" for path in files), files
    assert sum(map(len, open_dataset(tmp_path / "files"))) == len(GAME)


@pytest.mark.checklist("K6")
def test_run_without_storage_has_no_storage_worker(tmp_path: Path) -> None:
    for enabled, names in ((True, {"collector", "storage"}), (False, {"collector"})):
        settings = settings_of(tmp_path, storage__enabled=enabled, metrics__enabled=False)
        assert set(Supervisor(settings).workers) == names


@pytest.mark.checklist("K6", "K7")
def test_bucket_prefix_and_region_are_those_of_the_settings(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = s3.split("/")[2]
    keys = {"storage__type": "s3", "storage__s3__bucket": bucket, "storage__s3__prefix": "training/a/"}
    settings = settings_of(tmp_path, **keys, storage__s3__region="eu-west-3")
    with open_writer(settings) as writer:
        writer.write(GAME)
    assert sum(map(len, open_dataset(f"s3://{bucket}/training/a"))) == len(GAME)
    assert not (tmp_path / "files").exists()
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    storage_place(settings)
    assert os.environ["AWS_DEFAULT_REGION"] == "eu-west-3"
