"""Logs of a training, and its line of progress."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from generals_env.errors import ConfigError, StorageError
from generals_env.learning.training.training_log import TrainingLog
from generals_env.learning.training.training_progress import TrainingProgress


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "progress.csv").read_text().splitlines()))


def test_columns_may_appear_and_miss_later(tmp_path: Path) -> None:
    with TrainingLog(tmp_path / "run", tensorboard=False) as log:
        log.write({"samples": 100, "loss": 0.1})
        log.write({"samples": 200, "loss": 0.25, "wins_hunter": 0.5})
        log.write({"samples": 300, "wins_hunter": 1.0})
        assert log.columns == ["samples", "loss", "wins_hunter"]
    assert rows_of(tmp_path / "run") == [
        {"samples": "100", "loss": "0.1", "wins_hunter": ""},
        {"samples": "200", "loss": "0.25", "wins_hunter": "0.5"},
        {"samples": "300", "loss": "", "wins_hunter": "1.0"},
    ]
    with pytest.raises(ConfigError, match="figures: expected 'samples' among them, got"):
        log.write({"loss": 1.0})


def test_log_goes_on_after_the_checkpoint(tmp_path: Path) -> None:
    with TrainingLog(tmp_path, tensorboard=False) as log:
        for samples in (100, 200, 300):
            log.write({"samples": samples, "loss": samples / 1000})
    with log.path.open("a") as file:
        file.write("400,0.")  # a process was killed while it wrote
    with TrainingLog(tmp_path, since=200, tensorboard=False) as log:
        log.write({"samples": 300, "loss": 7.0, "entropy": 2.0})
    assert [(row["samples"], row["loss"], row["entropy"]) for row in rows_of(tmp_path)] == [
        ("100", "0.1", ""),
        ("200", "0.2", ""),
        ("300", "7.0", "2.0"),
    ]
    with TrainingLog(tmp_path, tensorboard=False) as log:  # begun anew
        log.write({"samples": 1})
    assert rows_of(tmp_path) == [{"samples": "1"}]


def test_log_refuses_what_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "progress.csv").write_text("a,b\n1,2\n")
    with pytest.raises(StorageError, match=r"folder: expected a log of a training, got .*progress.csv"):
        TrainingLog(tmp_path, since=5, tensorboard=False)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="folder: expected a writable folder"):
        TrainingLog(tmp_path / "file" / "run", tensorboard=False)


def test_events_for_tensorboard_hold_all_figures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TrainingLog(tmp_path, tensorboard=True) as log:
        log.write({"samples": 100, "loss": 0.5})
        log.write({"samples": 200, "loss": 0.25, "wins_random": 1.0})
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"samples", "loss", "wins_random"}
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(100, 0.5), (200, 0.25)]


def test_progress_shows_minutes_samples_and_recent_wins() -> None:
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    with TrainingProgress(20, console) as progress:
        progress.report({"minutes": 1.0, "samples": 60_000, "games_random": 100, "wins_random": 0.5})
        assert progress.text == "19.0 minutes left, 60,000 samples, wins: 50% random"
        progress.report({"minutes": 2.0, "samples": 180_000, "games_random": 100, "wins_random": 1.0, "games_hunter": 0})
        # 50 of 100 games, of which half count still, and all of 100 new ones: 125 of 150.
        assert progress.text == "18.0 minutes left, 180,000 samples, 2,000/s, wins: 83% random"
        progress.report({"minutes": 21.0, "samples": 200_000})
        assert progress.text.startswith("0.0 minutes left")
    assert "minutes left" in console.file.getvalue()  # type: ignore[attr-defined]
