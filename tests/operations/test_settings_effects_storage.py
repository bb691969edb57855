"""Tests that each key of the section ``storage`` changes the files that are written, in a folder or in a bucket."""

from __future__ import annotations

import os
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from support.s3 import BUCKET, s3, s3_process  # noqa: F401 - fixtures
from support.settings_effects import opened, settings_of, shows
from support.stream_calls import GAMES

from generals_env.errors import StorageError
from generals_env.operations.run.files import open_writer, storage_place
from generals_env.operations.run.supervisor import Supervisor
from generals_env.recorders import DatasetWriter

pytestmark = pytest.mark.checklist("K10")


def written(folder: Path, values: dict[str, Any]) -> list[str]:
    """Write two batches of a game each, and return the names of the files."""
    with open_writer(settings_of(folder, values)) as writer:
        for batch in GAMES[:2]:
            writer.write(batch)
    return files(folder / "files")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.name.startswith(("part_", "game_")))


@shows("storage.enabled")
def test_enabled_decides_whether_files_are_written(tmp_path: Path) -> None:
    for enabled in (False, True):
        folder = tmp_path / str(enabled)
        with opened(settings_of(folder, {"log.enabled": False, "storage.enabled": enabled})) as pipeline:
            pipeline.top.write(GAMES[0])
        assert bool(files(folder / "files")) is enabled
        workers = Supervisor(settings_of(folder, {"storage.enabled": enabled, "metrics.enabled": False})).workers
        assert ("storage" in workers) is enabled


@shows("storage.file.directory")
def test_directory_is_the_folder_of_the_files(tmp_path: Path) -> None:
    assert written(tmp_path, {"storage.file.directory": str(tmp_path / "other")}) == []
    assert files(tmp_path / "other")


@shows("storage.file.format")
def test_format_is_the_suffix_of_the_files(tmp_path: Path) -> None:
    suffixes = [Path(written(tmp_path / form, {"storage.file.format": form})[0]).suffix for form in ("npz", "games")]
    assert suffixes == [".npz", ".games"]


@shows("storage.naming")
def test_naming_decides_the_names_of_the_files(tmp_path: Path) -> None:
    packed, games = (written(tmp_path / naming, {"storage.naming": naming}) for naming in ("packed", "games"))
    assert [name[:5] for name in packed] == ["part_"]
    assert [name[:5] for name in games] == ["game_", "game_"]


@shows("storage.max_file_bytes", "storage.max_file_seconds")
@pytest.mark.parametrize(("key", "value"), [("storage.max_file_bytes", 1), ("storage.max_file_seconds", 1e-9)])
def test_limits_of_a_file_make_more_files(tmp_path: Path, key: str, value: Any) -> None:
    assert len(written(tmp_path / "0", {})) == 1
    assert len(written(tmp_path / "1", {key: value})) == 2


@shows("storage.keep_bytes")
def test_keep_bytes_deletes_the_oldest_files(tmp_path: Path) -> None:
    base = {"storage.max_file_bytes": 1}
    assert len(written(tmp_path / "0", base)) == 2
    assert len(written(tmp_path / "1", base | {"storage.keep_bytes": 1})) == 0


@shows("storage.keep_seconds")
def test_keep_seconds_deletes_old_files(tmp_path: Path) -> None:
    """A file was begun a day ago."""
    for number, values in enumerate(({}, {"storage.keep_seconds": 3600.0})):
        folder = tmp_path / str(number)
        with DatasetWriter(folder / "files", clock=lambda: time.time() - 86400, min_free_bytes=0) as writer:
            writer.write(GAMES[2])
        assert len(written(folder, values)) == 2 - number


@shows("storage.min_free_bytes", "storage.when_full")
def test_full_disk_is_an_error_or_what_when_full_says(tmp_path: Path) -> None:
    assert written(tmp_path / "0", {})
    full = {"storage.min_free_bytes": 2**62}
    with open_writer(settings_of(tmp_path / "1", full)) as writer, pytest.raises(StorageError):
        writer.write(GAMES[0])
    with open_writer(settings_of(tmp_path / "2", full | {"storage.when_full": "drop"})) as writer:
        writer.write(GAMES[0])
        assert writer.stats().dropped == len(GAMES[0])


@shows(
    "storage.type", "storage.s3.bucket", "storage.s3.prefix", "storage.s3.format", "storage.s3.region", "storage.s3.endpoint"
)
def test_keys_of_s3_decide_which_objects_are_written(
    tmp_path: Path,
    s3: str,  # noqa: F811
    s3_process: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Endpoint and region come from the settings alone; the objects lie in bucket and prefix, in their format."""
    for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    place = {"storage.s3.bucket": BUCKET, "storage.s3.prefix": "some/place", "storage.s3.format": "games"}
    server = {"storage.s3.endpoint": s3_process, "storage.s3.region": "eu-central-1"}
    assert written(tmp_path, {"storage.type": "s3", **place, **server}) == []
    with urllib.request.urlopen(f"{s3_process}/{BUCKET}?list-type=2&prefix=some/place/", timeout=60) as answer:
        listing = answer.read().decode()
    assert ".games</Key>" in listing
    assert os.environ.pop("AWS_DEFAULT_REGION") == "eu-central-1"
    assert os.environ.pop("AWS_ENDPOINT_URL") == s3_process
    assert storage_place(settings_of(tmp_path, {"storage.type": "s3"})) == "s3://generals-experiences/training"
    assert os.environ.pop("AWS_DEFAULT_REGION") == "us-east-1"
    assert "AWS_ENDPOINT_URL" not in os.environ
