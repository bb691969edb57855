"""Tests that each key of the sections ``log`` and ``compression`` changes what a run writes to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.logs import segments
from support.settings_effects import opened, settings_of, shows
from support.stream_calls import GAMES

from generals_env.errors import StorageError
from generals_env.operations.run.files import level_of
from generals_env.operations.run.pipeline import open_log
from generals_env.recorders import ExperienceLog

pytestmark = pytest.mark.checklist("K10")

SMALL_SEGMENTS = {"log.segment_bytes": 1000}


def filled(folder: Path, values: dict[str, Any], storage_reads: bool = False) -> ExperienceLog:
    """Write eight batches, and return the log."""
    log = open_log(settings_of(folder, values))
    if storage_reads:
        log.commit("storage", -1)
    for number in range(8):
        log.write(GAMES[number % 4])
    log.flush()
    return log


@shows("log.enabled")
def test_enabled_decides_whether_there_is_a_log(tmp_path: Path) -> None:
    for enabled in (False, True):
        with opened(settings_of(tmp_path, {"log.enabled": enabled})) as pipeline:
            pipeline.top.write(GAMES[0])
        assert (pipeline.log is not None) is enabled is (tmp_path / "log").exists()


@shows("log.directory")
def test_directory_is_the_folder_of_the_log(tmp_path: Path) -> None:
    filled(tmp_path, {"log.directory": str(tmp_path / "other")}).close()
    assert segments(tmp_path / "other")
    assert not (tmp_path / "log").exists()


@shows("log.durability")
def test_durability_decides_how_segments_are_synced(tmp_path: Path) -> None:
    found = []
    for durability in ("normal", "commit"):
        log = filled(tmp_path / durability, {"log.durability": durability})
        assert log._writer is not None
        assert log._writer._current is not None
        found.append(log._writer._current.connection.execute("PRAGMA synchronous").fetchone()[0])
        log.close()
    assert found == [1, 2]


@shows("log.segment_bytes")
def test_segment_bytes_is_the_size_of_a_segment(tmp_path: Path) -> None:
    for number, values in enumerate(({}, SMALL_SEGMENTS)):
        filled(tmp_path / str(number), values).close()
    assert len(segments(tmp_path / "0" / "log")) == 1
    assert len(segments(tmp_path / "1" / "log")) > 3


@shows("log.max_bytes", "log.max_age_seconds")
@pytest.mark.parametrize(("key", "value"), [("log.max_bytes", 30_000), ("log.max_age_seconds", 1e-9)])
def test_limits_of_the_log_delete_old_segments(tmp_path: Path, key: str, value: Any) -> None:
    for number, values in enumerate(({}, {key: value})):
        log = filled(tmp_path / str(number), SMALL_SEGMENTS | values)
        assert (log.first > 0) is bool(values)
        log.close()


@shows("log.drop_unread")
def test_drop_unread_deletes_what_storage_has_not_read(tmp_path: Path) -> None:
    for drop in (False, True):
        values = {**SMALL_SEGMENTS, "log.max_bytes": 30_000, "log.drop_unread": drop, "storage.enabled": True}
        log = filled(tmp_path / str(drop), values, storage_reads=True)
        assert (log.first > 0) is drop
        log.close()


@shows("log.min_free_bytes")
def test_min_free_bytes_of_the_log_stops_writing(tmp_path: Path) -> None:
    filled(tmp_path / "0", {}).close()
    log = open_log(settings_of(tmp_path / "1", {"log.min_free_bytes": 2**62}))
    with pytest.raises(StorageError):
        log.write(GAMES[0])
    log.close()


@shows("compression.level")
def test_level_makes_the_log_smaller_and_is_live(tmp_path: Path) -> None:
    """The same batches are written at level 1, at 19, and at 19 after a change."""
    low, high = settings_of(tmp_path / "0"), {"compression.level": 19, "compression.max_level": 19}
    sizes = []
    for number, settings in enumerate((low, settings_of(tmp_path / "1", high), settings_of(tmp_path / "2"))):
        with opened(settings) as pipeline:
            if number == 2:
                pipeline.change(settings_of(tmp_path / "2", high))
            pipeline.top.write(GAMES[0])
            pipeline.top.flush()
            sizes.append((pipeline.level.level, pipeline.level.stats().compressed_bytes))
    assert [level for level, _ in sizes] == [1, 19, 19]
    assert sizes[0][1] > sizes[1][1]


@shows("compression.adaptive", "compression.max_level", "compression.low_cpu", "compression.high_cpu")
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("base", "key", "value", "load", "expected"),
    [
        ({"compression.adaptive": False}, "compression.adaptive", True, 0.0, (1, 6)),
        ({}, "compression.max_level", 1, 0.0, (6, 1)),
        ({}, "compression.low_cpu", 0.8, 0.6, (1, 6)),
        ({"compression.level": 6}, "compression.high_cpu", 0.7, 0.75, (6, 1)),
    ],
)
def test_adaptive_keys_decide_the_level(
    tmp_path: Path, base: dict[str, Any], key: str, value: Any, load: float, expected: tuple[int, int], live: bool
) -> None:
    """Sending is slow, so the level rises when the load of the CPU allows it, and falls above ``high_cpu``."""
    base = {"compression.adaptive": True} | base
    before, after = settings_of(tmp_path, base), settings_of(tmp_path, base | {key: value})
    found = []
    for settings in (before, after):
        level = level_of(before if live else settings)
        if live:
            level.change(**settings.compression.model_dump())
        level._cpu_load, level._interval = (lambda: load), 0.0  # type: ignore[assignment]
        level.record(1000, 500, 0.001, 1.0)
        found.append(level.level)
    assert tuple(found) == expected
