"""Tests the watcher of the settings: edits of all kinds, bad edits, keys that need a restart, callbacks, and its end."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from support.helpers import PATIENCE

from generals_env.errors import ConfigError
from generals_env.operations.settings import watcher as watcher_module
from generals_env.operations.settings.load import load_settings
from generals_env.operations.settings.models import Settings
from generals_env.operations.settings.watcher import SettingsWatcher

pytestmark = pytest.mark.checklist("K10")


class Watched:
    """A file of settings, its watcher, and queues of what the watcher reports."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.changes: Queue[tuple[Settings, Settings, tuple[str, ...]]] = Queue()
        self.errors: Queue[Exception] = Queue()
        self.restarts: Queue[tuple[str, ...]] = Queue()
        self.watcher = SettingsWatcher(
            path,
            lambda: load_settings(path, {}),
            lambda *change: self.changes.put(change),
            self.errors.put,
            self.restarts.put,
            settings=Settings(),
        )

    def size(self) -> int:
        """Wait for a change, and return the new ``streaming.batch_size``."""
        old, new, keys = self.changes.get(timeout=PATIENCE)
        assert keys == ("streaming.batch_size",)
        assert old.streaming.batch_size != new.streaming.batch_size
        return new.streaming.batch_size

    def error(self) -> str:
        """Wait for an error, and return its text."""
        error = self.errors.get(timeout=PATIENCE)
        assert isinstance(error, ConfigError)
        return str(error)


def text(size: Any) -> str:
    """Return a file that sets ``streaming.batch_size``."""
    return f"streaming: {{batch_size: {size}}}\n"


def replace(path: Path, content: str) -> None:
    """Replace a file as editors do: write another one, and rename it."""
    other = path.with_name(f".{path.name}.swp")
    other.write_text(content)
    other.replace(path)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    path = tmp_path / "experience.yaml"
    path.write_text("")
    found = Watched(path)
    with found.watcher:
        yield found


def test_file_written_in_place_is_seen(watched: Watched) -> None:
    for size in (10, 11):
        watched.path.write_text(text(size))
        assert watched.size() == size
        assert watched.watcher.settings.streaming.batch_size == size


def test_file_replaced_by_rename_is_seen_repeatedly(watched: Watched) -> None:
    for size in (10, 11, 12):
        replace(watched.path, text(size))
        assert watched.size() == size


def test_deleted_file_keeps_settings_until_it_is_created_again(watched: Watched) -> None:
    replace(watched.path, text(10))
    assert watched.size() == 10
    watched.path.unlink()
    assert watched.error().endswith("experience.yaml: expected a file of settings, got none: write it again")
    assert watched.watcher.settings.streaming.batch_size == 10
    watched.path.write_text(text(11))
    assert watched.size() == 11


def test_emptied_file_keeps_settings(watched: Watched) -> None:
    replace(watched.path, text(10))
    assert watched.size() == 10
    watched.path.write_text("\n")
    assert watched.error().endswith("expected a file of settings, got an empty one: write it again")
    assert watched.watcher.settings.streaming.batch_size == 10


class ConfigMap:
    """A folder as Kubernetes mounts a ConfigMap: the file is a link through a linked folder, which the kubelet swaps."""

    def __init__(self, mount: Path) -> None:
        mount.mkdir()
        self.mount, self.number, self.path = mount, 10, mount / "experience.yaml"
        self.publish()
        self.path.symlink_to("..data/experience.yaml")

    def publish(self) -> int:
        """Publish the next version, and delete the one before; return the batch size that it sets."""
        self.number += 1
        folder, link = self.mount / f"..2026_{self.number}", self.mount / "..data_tmp"
        folder.mkdir()
        (folder / "experience.yaml").write_text(text(self.number))
        link.symlink_to(folder.name)
        link.replace(self.mount / "..data")
        shutil.rmtree(self.mount / f"..2026_{self.number - 1}", ignore_errors=True)
        return self.number


def test_config_map_swaps_are_seen(tmp_path: Path) -> None:
    published = ConfigMap(tmp_path / "mount")
    watched = Watched(published.path)
    with watched.watcher:
        assert watched.size() == published.number
        for _ in range(3):
            number = published.publish()
            assert watched.size() == number
    assert watched.errors.empty()


@pytest.mark.parametrize("kind", ["config map", "rename", "in place"])
def test_events_are_enough_without_polling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(watcher_module, "POLL", PATIENCE)
    published = ConfigMap(tmp_path / "mount")
    if kind != "config map":
        published.path.unlink()
        published.path.write_text(text(10))
    watched = Watched(published.path)
    with watched.watcher:
        watched.size()
        end = time.monotonic() + PATIENCE
        while watched.changes.empty() and time.monotonic() < end:  # the first edits may come before the watch begins
            published.publish()
            if kind == "rename":
                replace(published.path, text(published.number))
            elif kind == "in place":
                published.path.write_text(text(published.number))
            time.sleep(0.5)
        assert watched.size() > 10


def test_target_of_a_link_in_another_folder_is_watched(tmp_path: Path) -> None:
    real, other, link = tmp_path / "real", tmp_path / "other", tmp_path / "config" / "experience.yaml"
    for folder, size in ((real, 10), (other, 20)):
        folder.mkdir()
        (folder / "settings.yaml").write_text(text(size))
    link.parent.mkdir()
    link.symlink_to("../real/settings.yaml")
    watched = Watched(link)
    assert set(watched.watcher.folders()) >= {str(link.parent), str(real)}
    with watched.watcher:
        assert watched.size() == 10
        replace(real / "settings.yaml", text(11))
        assert watched.size() == 11
        (link.parent / "new").symlink_to("../other/settings.yaml")
        (link.parent / "new").replace(link)
        assert watched.size() == 20
        assert str(other) in watched.watcher.folders()


def test_links_that_form_a_circle_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "experience.yaml"
    path.symlink_to("other.yaml")
    (tmp_path / "other.yaml").symlink_to(path.name)
    watched = Watched(path)
    with watched.watcher:
        path.unlink()
        path.write_text(text(10))
        assert watched.size() == 10


def test_several_edits_at_once_end_with_the_last(watched: Watched) -> None:
    for size in range(100, 140):
        if size % 2:
            watched.path.write_text(text(size))
        else:
            replace(watched.path, text(size))
    while watched.size() != 139:
        pass
    assert watched.watcher.settings.streaming.batch_size == 139
    assert watched.errors.empty()


def test_half_written_file_never_takes_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first part of the file is valid on its own, and the others come while the watcher waits for it to settle."""
    path = tmp_path / "experience.yaml"
    path.write_text("")
    watched = Watched(path)
    parts = iter(("2", "3", "\n"))

    def wait(seconds: float) -> bool:
        assert seconds == watcher_module.SETTLE
        with path.open("a") as file:
            file.write(next(parts, ""))
        return False

    monkeypatch.setattr(watched.watcher._stop, "wait", wait)
    path.write_text("streaming:\n  batch_size: 1")
    watched.watcher._check()
    assert watched.size() == 123
    assert watched.changes.empty()
    assert watched.errors.empty()


def test_bad_edit_keeps_settings_and_is_reported_once(watched: Watched) -> None:
    for content, message in (
        (text("many"), "experience.yaml:1: streaming.batch_size: expected an integer from 1 to 1000, got 'many'"),
        ("streaming: {batch_size: 1", "experience.yaml:1: expected YAML, got an error: "),
    ):
        watched.path.write_text(content)
        assert message in watched.error()
        watched.path.write_text(content)  # saved again without a change
        assert watched.watcher.settings == Settings()
    watched.path.write_text(text(10))
    assert watched.size() == 10
    assert watched.errors.empty()


def test_bad_file_saved_again_is_loaded_but_not_reported_again(tmp_path: Path) -> None:
    path = tmp_path / "experience.yaml"
    path.write_text(text("x"))
    watched = Watched(path)
    for second in range(3):
        os.utime(path, (second, second))
        watched.watcher._check()
    assert "got 'x'" in watched.error()
    assert watched.errors.empty()


def test_same_bad_edit_is_reported_again_after_a_good_one(watched: Watched) -> None:
    for size in (10, 11):
        watched.path.write_text(text("x"))
        assert "got 'x'" in watched.error()
        watched.path.write_text(text(size))
        assert watched.size() == size


def test_keys_that_need_a_restart_are_reported_and_kept_back(watched: Watched) -> None:
    content = "streaming: {batch_size: 10, max_connections: 5}\nstorage: {type: s3}\n"
    replace(watched.path, content)
    assert watched.size() == 10
    assert watched.restarts.get(timeout=PATIENCE) == ("streaming.max_connections", "storage.type")
    now = watched.watcher.settings
    assert (now.streaming.max_connections, now.storage.type) == (100, "file")
    assert watched.watcher.pending == ("streaming.max_connections", "storage.type")
    replace(watched.path, content.replace("10", "11"))
    assert watched.size() == 11
    replace(watched.path, text(12))
    assert watched.size() == 12
    assert watched.watcher.pending == ()
    assert watched.restarts.empty()


def test_callback_that_raises_is_reported_and_stops_nothing(watched: Watched) -> None:
    def fail(*change: object) -> None:
        raise ZeroDivisionError("in a callback")

    more: Queue[tuple[str, ...]] = Queue()
    watched.watcher.subscribe(fail)
    watched.watcher.subscribe(lambda old, new, keys: more.put(keys))
    for size in (10, 11):
        watched.path.write_text(text(size))
        assert watched.size() == size
        assert isinstance(watched.errors.get(timeout=PATIENCE), ZeroDivisionError)
        assert more.get(timeout=PATIENCE) == ("streaming.batch_size",)


def test_error_callback_that_raises_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "experience.yaml"
    path.write_text(text(10))
    sizes: Queue[int] = Queue()
    called = threading.Event()

    def fail(error: Exception) -> None:
        called.set()
        raise error

    with SettingsWatcher(
        path, lambda: load_settings(path, {}), lambda old, new, keys: sizes.put(new.streaming.batch_size), fail
    ) as watcher:
        assert watcher.settings.streaming.batch_size == 10
        path.write_text(text("x"))
        assert called.wait(PATIENCE)
        path.write_text(text(11))
        assert sizes.get(timeout=PATIENCE) == 11


def test_missing_folder_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "later" / "experience.yaml"
    watched = Watched(path)
    with watched.watcher:
        for size in (10, 11):
            path.parent.mkdir()
            path.write_text(text(size))
            assert watched.size() == size
            shutil.rmtree(path.parent)
            assert "got none" in watched.error()


def test_file_is_polled_where_folders_cannot_be_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*folders: object, **options: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(watcher_module.watchfiles, "watch", refuse)
    path = tmp_path / "experience.yaml"
    path.write_text("")
    watched = Watched(path)
    with watched.watcher:
        assert "expected to watch its folder, got [Errno 28] inotify watch limit reached: it is read once" in watched.error()
        for size in (10, 11):
            replace(path, text(size))
            assert watched.size() == size
    assert watched.errors.empty()


def test_stop_ends_the_thread_and_may_be_called_by_a_callback(watched: Watched) -> None:
    stopped = threading.Event()

    def stop(*change: object) -> None:
        watched.watcher.stop()
        watched.watcher.stop()
        stopped.set()

    watched.watcher.subscribe(stop)
    watched.path.write_text(text(10))
    assert stopped.wait(PATIENCE)
    watched.watcher.stop()
    assert "settings-watcher" not in [thread.name for thread in threading.enumerate()]


def test_watcher_needs_valid_settings_at_first(tmp_path: Path) -> None:
    path = tmp_path / "experience.yaml"
    path.write_text(text("x"))
    with pytest.raises(ConfigError, match="got 'x'"):
        SettingsWatcher(path, lambda: load_settings(path, {}))
