"""Tests what ``generals-env run`` logs when its settings are read again: bad files, failed callbacks, failed watches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.helpers import wait_until

from generals_env.cli.run import reloading
from generals_env.operations.run.supervisor import Supervisor
from generals_env.operations.settings import watcher as watcher_module
from generals_env.operations.settings.load import load_settings
from generals_env.operations.settings.models import Settings


class FailingSupervisor(Supervisor):
    """Fails when it is to take over settings."""

    def change(self, settings: Settings, keys: Any) -> None:
        raise ZeroDivisionError("in a worker")


def failed_watch(*folders: str, **options: Any) -> None:
    raise OSError("no watch left")


def test_reloading_names_what_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Only a bad file is said to leave the settings as they are."""
    path = tmp_path / "experience.yaml"
    path.write_text("streaming: {batch_size: 7}\n")
    monkeypatch.setattr(watcher_module.watchfiles, "watch", failed_watch)
    supervisor = FailingSupervisor(Settings.model_validate({"metrics": {"enabled": False}}))
    with reloading(path, lambda: load_settings(path, {}), supervisor):
        wait_until(lambda: "reloading the settings: ZeroDivisionError: in a worker" in caplog.text)
        assert "reloading the settings: ConfigError: " in caplog.text
        assert "no watch left: it is read once a second" in caplog.text
        assert "the settings stay as they are" not in caplog.text
        path.write_text("streaming: {batch_size: many}\n")
        wait_until(lambda: "the settings stay as they are: " in caplog.text)
    assert caplog.text.count("reloading the settings: ") == 2
