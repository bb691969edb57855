"""Tests that a folder has one use: each kind of writer refuses folders of the others before it writes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.command_line import runner
from support.paths import DATA
from support.recorded import games_of

from generals_env import make_vec
from generals_env.cli.app import app
from generals_env.errors import StorageError
from generals_env.recorders import (
    DatasetWriter,
    ExperienceBatch,
    ExperienceLog,
    ExperienceRecorder,
    MultiSink,
    ReplayBuffer,
    SpillBuffer,
    open_dataset,
    record_replays,
    repair_dataset,
    verify_dataset,
)
from generals_env.recorders.formats import FORMATS


@pytest.fixture(scope="module")
def batch() -> ExperienceBatch:
    """Return the experience of one game."""
    return games_of("two players")[0]


def listing(folder: Path) -> dict[str, bytes | None]:
    """Return all that is in a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))
    }


# --- Contents of folders ----------------------------------------------------------------------------------------------


def fill_files(folder: Path, batch: ExperienceBatch, **options: Any) -> None:
    with DatasetWriter(folder, **options) as writer:
        writer.write(batch)


def fill_log(folder: Path, batch: ExperienceBatch) -> None:
    with ExperienceLog(folder) as log:
        log.write(batch)


def fill_queue(folder: Path, batch: ExperienceBatch) -> None:
    queue = SpillBuffer(folder)
    queue.write(batch)
    queue.close()


def fill_saved(folder: Path, batch: ExperienceBatch) -> None:
    buffer = ReplayBuffer(1000)
    buffer.write(batch)
    buffer.save(folder)


def fill_flat(folder: Path, batch: ExperienceBatch) -> None:
    """Lay a file into a folder as versions before 0.2 did, without an index."""
    fill_files(folder / "now", batch)
    [path] = (folder / "now").rglob("*.npz")
    path.rename(folder / "experiences_000000.npz")
    shutil.rmtree(folder / "now")


def fill_index(folder: Path, batch: ExperienceBatch) -> None:
    """Leave only the index: its files are lost, which verify_dataset() reports."""
    fill_files(folder, batch)
    next(folder.rglob("*.npz")).unlink()


def fill_below(folder: Path, batch: ExperienceBatch) -> None:
    """Put a dataset into a folder below."""
    fill_files(folder / "run", batch)


FILES: dict[str, Callable[[Path, ExperienceBatch], None]] = {
    **{form: lambda folder, batch, form=form: fill_files(folder, batch, format=form) for form in FORMATS},  # type: ignore[misc]
    "games": lambda folder, batch: fill_files(folder, batch, naming="games"),
    "flat": fill_flat,
    "index": fill_index,
}

FILLED = {"files": fill_files, "log": fill_log, "queue": fill_queue, "saved": fill_saved}

WORDS = {"files": "files of experience", "log": "a log", "queue": "a queue of a SpillBuffer", "saved": "a saved buffer"}


# --- Writers ----------------------------------------------------------------------------------------------------------


def record(folder: Path) -> None:
    """Record into a folder."""
    ExperienceRecorder(make_vec(1, height=5, width=5), folder)


OPENED: dict[str, dict[str, Callable[[Path], Any]]] = {
    "files": {
        "DatasetWriter": DatasetWriter,
        "archive": lambda folder: DatasetWriter(folder.parent / "kept", archive=folder),
        "ExperienceRecorder": record,
        "record_replays": lambda folder: record_replays([DATA / "B5--zeFUe.json.gz"], folder),
        "MultiSink": lambda folder: MultiSink([folder]),
    },
    "log": {"ExperienceLog": ExperienceLog, "normal": lambda folder: ExperienceLog(folder, "normal", mode="a")},
    "queue": {"SpillBuffer": SpillBuffer},
}

PAIRS = [
    pytest.param(filled, use, name, id=f"{name} on {filled}")
    for filled in FILLED
    for use, writers in OPENED.items()
    for name in writers
    if use != filled
]


@pytest.mark.parametrize(("filled", "use", "name"), PAIRS)
def test_folder_used_for_something_else_is_refused(
    filled: str, use: str, name: str, batch: ExperienceBatch, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    FILLED[filled](folder, batch)
    before = listing(folder)
    with pytest.raises(StorageError, match=rf"got '.*folder', which holds {WORDS[filled]} \(.*\): choose another folder"):
        OPENED[use][name](folder)
    assert listing(folder) == before


@pytest.mark.parametrize("kind", [*FILES, "below"])
def test_log_is_not_made_where_it_would_hide_files(kind: str, batch: ExperienceBatch, tmp_path: Path) -> None:
    {**FILES, "below": fill_below}[kind](tmp_path, batch)
    before = listing(tmp_path)
    with pytest.raises(StorageError, match=r"^folder: expected a folder for a log, got .* which holds files of experience"):
        ExperienceLog(tmp_path)
    assert listing(tmp_path) == before
    if kind != "index":
        assert sum(map(len, open_dataset(tmp_path))) == len(batch)


@pytest.mark.parametrize("filled", ["files", "queue", "saved"])
def test_missing_log_is_not_read(filled: str, batch: ExperienceBatch, tmp_path: Path) -> None:
    FILLED[filled](tmp_path / "folder", batch)
    with pytest.raises(StorageError, match=f"expected a folder for a log, got .* which holds {WORDS[filled]}"):
        ExperienceLog(tmp_path / "folder", mode="r")


@pytest.mark.parametrize("filled", FILLED)
def test_folder_is_reopened_for_its_former_use(filled: str, batch: ExperienceBatch, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    FILLED[filled](folder, batch)
    if filled == "saved":
        buffer = ReplayBuffer(1000)
        buffer.load(folder)
        assert len(buffer) == len(batch)
        return
    FILLED[filled](folder, batch)
    if filled == "queue":
        assert len(SpillBuffer(folder)) == 2 * len(batch)
    else:
        assert sum(map(len, open_dataset(folder))) == 2 * len(batch)


def test_log_may_have_other_folders_below_and_beside(batch: ExperienceBatch, tmp_path: Path) -> None:
    fill_log(tmp_path, batch)
    fill_files(tmp_path / "export", batch)
    fill_log(tmp_path, batch)
    assert sum(map(len, open_dataset(tmp_path))) == 2 * len(batch)
    fill_log(tmp_path / "set" / "log", batch)
    fill_files(tmp_path / "set", batch)
    assert sum(map(len, open_dataset(tmp_path / "set"))) == len(batch)


# --- At the same time -------------------------------------------------------------------------------------------------


def test_writers_without_data_refuse_one_another(batch: ExperienceBatch, tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set") as writer, DatasetWriter(tmp_path / "set") as other:
        for opened in (ExperienceLog, SpillBuffer):
            with pytest.raises(StorageError, match="which holds files of experience"):
                opened(tmp_path / "set")
        writer.write(batch)
        other.write(batch)
    assert sum(map(len, open_dataset(tmp_path / "set"))) == 2 * len(batch)
    with ExperienceLog(tmp_path / "log") as log:
        for opened in (DatasetWriter, SpillBuffer, lambda folder: ExperienceRecorder(make_vec(1), [folder, log])):
            with pytest.raises(StorageError, match="which holds a log"):
                opened(tmp_path / "log")
    queue = SpillBuffer(tmp_path / "queue")
    for opened in (DatasetWriter, ExperienceLog):
        with pytest.raises(StorageError, match="which holds a queue"):
            opened(tmp_path / "queue")
    queue.close()


@pytest.mark.parametrize("url", ["s3://games/log", "file:///tmp/log"])
def test_url_is_refused_where_a_folder_is_required(
    url: str, batch: ExperienceBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a path it would be a folder called ``s3:`` below the present one."""
    monkeypatch.chdir(tmp_path)
    buffer = ReplayBuffer(1000)
    buffer.write(batch)
    for use in (ExperienceLog, SpillBuffer, buffer.save, buffer.load):
        with pytest.raises(StorageError, match=f"expected a folder of this machine, got the URL '{url}'"):
            use(url)
    assert list(tmp_path.iterdir()) == []


def test_opened_folder_without_data_is_free(tmp_path: Path) -> None:
    DatasetWriter(tmp_path).close()
    ExperienceLog(tmp_path).close()
    DatasetWriter(tmp_path).close()


KILLED = """
import os, signal, sys
from generals_env.recorders import DatasetWriter, ExperienceLog
kept = [DatasetWriter(sys.argv[1]), ExperienceLog(sys.argv[2])]
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9")
def test_killed_process_uses_no_folder(tmp_path: Path) -> None:
    places = tmp_path / "one", tmp_path / "other"
    subprocess.run([sys.executable, "-c", KILLED, *map(str, places)], check=False, timeout=300)
    ExperienceLog(places[0]).close()
    DatasetWriter(places[1]).close()


# --- Folders that were mixed by an earlier version --------------------------------------------------------------------


@pytest.fixture(params=list(FILES))
def mixed(request: pytest.FixtureRequest, batch: ExperienceBatch, tmp_path: Path) -> Path:
    """Return a folder in which files lay before a log was opened in it."""
    folder = tmp_path / "mixed"
    FILES[request.param](folder, batch)
    fill_log(tmp_path / "log", batch)
    shutil.copytree(tmp_path / "log", folder, dirs_exist_ok=True)
    return folder


def test_folder_with_log_and_files_is_reported_and_can_be_split(mixed: Path, batch: ExperienceBatch, tmp_path: Path) -> None:
    before = listing(mixed)
    told = r"got '.*mixed', which holds both \(segment_\d+\.(db|json) and .+\): move segment_\*, writer\.lock"
    for read in (open_dataset, verify_dataset, repair_dataset):
        with pytest.raises(StorageError, match=told):
            read(mixed)
    for write in (DatasetWriter, ExperienceLog):
        with pytest.raises(StorageError, match="which holds"):
            write(mixed)
    assert listing(mixed) == before
    assert sum(map(len, ExperienceLog(mixed, mode="r").read())) == len(batch)  # which names the log
    apart = tmp_path / "apart"
    apart.mkdir()
    for path in [*mixed.glob("segment_*"), mixed / "writer.lock"]:
        path.rename(apart / path.name)
    assert sum(map(len, open_dataset(apart))) == len(batch)
    if list(mixed.rglob("*.*")) and not all("index" in path.name or path.is_dir() for path in mixed.rglob("*")):
        assert verify_dataset(mixed).experiences in (0, len(batch))


# --- On the command line ----------------------------------------------------------------------------------------------


def failed(*arguments: object) -> str:
    """Return the output of a command that fails."""
    command = [sys.executable, "-m", "generals_env.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def failed_here(*arguments: object) -> str:
    """Return the line in which a command would report its error, without a process of its own."""
    result = runner.invoke(app, [*map(str, arguments)])
    assert isinstance(result.exception, StorageError)
    assert (result.output, str(result.exception).count("\n")) == ("", 0)
    return f"error: {result.exception}"


def test_commands_report_folder_used_for_something_else_in_one_line(batch: ExperienceBatch, tmp_path: Path) -> None:
    files, log = tmp_path / ("a folder with a long name " * 4), tmp_path / "log"
    fill_files(files, batch)
    fill_log(log, batch)
    before = listing(tmp_path)
    for options, refused in (([], failed), (["--read-only"], failed_here)):
        text = refused("serve", "--log", files, "--address", "127.0.0.1:0", *options)
        assert text.startswith(f"error: log: expected a log, got '{files}', ")
        assert "dataset convert" in text
    for command in (
        ("record", log, "--games", 1),
        ("replay", DATA / "B5--zeFUe.json.gz", "--out", log),
        ("dataset", "convert", files, log),
    ):
        text = failed_here(*command)
        assert text.startswith(
            f"error: sink: expected a folder for files of experience, got '{log}', which holds a log (segment_"
        )
    assert listing(tmp_path) == before
