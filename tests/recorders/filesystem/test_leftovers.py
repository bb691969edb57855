"""Tests leftovers of killed processes: they are reported and removed, and files being written stay."""

from __future__ import annotations

import datetime as dt
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from support.paths import TESTS
from support.recorded import games_of
from support.s3 import s3, s3_process

from generals_env.recorders import (
    DatasetWriter,
    ExperienceBatch,
    ExperienceLog,
    ReplayBuffer,
    SpillBuffer,
    open_dataset,
    repair_dataset,
    to_hugging_face,
    verify_dataset,
)
from generals_env.recorders.filesystem import atomic_files, file_stores, leftovers
from generals_env.recorders.training.checkpoints import load_checkpoint, save_checkpoint

__all__ = ["s3", "s3_process"]  # fixtures

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9, and locks of open files")

NAME = f".{'0123456789abcdef' * 2}.part"


@pytest.fixture(scope="module")
def batch() -> ExperienceBatch:
    """Return the experience of one game."""
    return games_of("two players")[0]


@pytest.fixture(params=["nameless", "hidden"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let files be written without a name, where the system can do that, and with a hidden one, as elsewhere."""
    if request.param == "hidden":
        monkeypatch.setattr(atomic_files, "nameless_file", lambda folder: None)
    elif sys.platform != "linux":
        pytest.skip("needs Linux")
    return str(request.param)


def parts(folder: Path) -> list[Path]:
    """Return all unfinished files and folders."""
    return sorted(folder.rglob("*.part*"))


def leave(folder: Path, name: str = NAME) -> Path:
    """Leave something unfinished."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"half a file")
    return path


def leave_folder(folder: Path, name: str) -> Path:
    """Leave an unfinished folder."""
    leave(folder / name, "experiences_000000.npz")
    return folder / name


# --- Whole files ------------------------------------------------------------------------------------------------------


def test_file_is_whole_or_absent(way: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_files.unfinished_file(tmp_path, lambda file: file.write(b"one")) as unfinished:
        assert (unfinished.path is None) == (way == "nameless")
        assert not path.exists()
        unfinished.create(path)
    with atomic_files.unfinished_file(tmp_path, lambda file: file.write(b"two")) as unfinished:
        with pytest.raises(FileExistsError):
            unfinished.create(path)
        assert path.read_bytes() == b"one"
    atomic_files.replace_file(path, lambda file: file.write(b"three"))
    assert path.read_bytes() == b"three"

    def fails(file: BinaryIO) -> None:
        file.write(b"four")
        raise KeyError("no more")

    with pytest.raises(KeyError):
        atomic_files.replace_file(path, fails)
    assert path.read_bytes() == b"three"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    """Return the file mode bits that new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


# --- Owners -----------------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from generals_env.recorders.filesystem import atomic_files
atomic_files.nameless_file = lambda folder: None  # as where the system cannot do that
with atomic_files.unfinished_file(Path(sys.argv[1]), lambda file: file.write(b"half")) as one:
    with atomic_files.unfinished_folder(Path(sys.argv[1]) / "saved") as other:
        print(one.path.name, other.name, flush=True)
        sys.stdin.read()
"""


@contextmanager
def writer_of(folder: Path) -> Iterator[tuple[subprocess.Popen[str], set[Path]]]:
    """Lend a process that is writing a file and a folder, and their hidden names."""
    command = [sys.executable, "-c", WRITER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, {folder / name for name in process.stdout.readline().split()}
        finally:
            process.kill()


def test_file_being_written_is_left_to_its_process(batch: ExperienceBatch, tmp_path: Path) -> None:
    with DatasetWriter(tmp_path) as writer:
        writer.write(batch)
    with writer_of(tmp_path) as (process, names):
        assert len(names) == 2
        assert all(path.exists() for path in names)
        assert verify_dataset(tmp_path).leftovers == []
        repair_dataset(tmp_path)
        DatasetWriter(tmp_path).close()
        assert set(parts(tmp_path)) == names
        process.kill()
        process.wait()
        report = verify_dataset(tmp_path)
        assert (report.ok, set(report.leftovers)) == (True, set(map(str, names)))
        assert set(parts(tmp_path)) == names
    assert set(repair_dataset(tmp_path).leftovers) == set(map(str, names))
    assert parts(tmp_path) == []
    assert sum(map(len, open_dataset(tmp_path))) == len(batch)


def test_network_folder_treats_only_old_files_as_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "network_kind", lambda place: "nfs4")
    path = leave(tmp_path)
    assert leftovers.leftovers_in(tmp_path) == []
    long_ago = time.time() - leftovers.AGE - 60
    os.utime(path, (long_ago, long_ago))
    assert leftovers.leftovers_in(tmp_path) == [path]


def test_folder_without_locks_treats_only_old_files_as_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(atomic_files.fcntl, "flock", no_locks)
    monkeypatch.setattr(atomic_files, "nameless_file", lambda folder: None)
    atomic_files.replace_file(tmp_path / "file", lambda file: file.write(b"one"))
    path = leave(tmp_path)
    assert leftovers.leftovers_in(tmp_path) == []
    long_ago = time.time() - leftovers.AGE - 60
    os.utime(path, (long_ago, long_ago))
    assert leftovers.leftovers_in(tmp_path) == [path]


# --- Removal by the next process --------------------------------------------------------------------------------------


def test_dataset_leftovers_are_removed_by_next_writer_and_repair(batch: ExperienceBatch, tmp_path: Path) -> None:
    with DatasetWriter(tmp_path) as writer:
        writer.write(batch)
    [folder] = {path.parent for path in tmp_path.rglob("part_*")}
    for remove in (lambda: DatasetWriter(tmp_path).close(), lambda: repair_dataset(tmp_path)):
        left = {leave(tmp_path), leave(folder), leave(folder, ".0123.part"), leave(tmp_path / "year=1999")}
        assert set(verify_dataset(tmp_path).leftovers) == set(map(str, left))
        remove()
        assert parts(tmp_path) == []
        assert sum(map(len, open_dataset(tmp_path))) == len(batch)


def test_log_leftovers_are_removed_by_next_writer_and_repair(batch: ExperienceBatch, tmp_path: Path) -> None:
    with ExperienceLog(tmp_path) as log:
        log.write(batch)
        log.commit("trainer", 3)
    segment = "segment_00000000000000000999.db.part"
    places = [(tmp_path, NAME), (tmp_path / "consumers", NAME), (tmp_path / "damaged", NAME)]
    places += [(tmp_path, segment), (tmp_path, f"{segment}-wal"), (tmp_path / "damaged", segment)]
    for remove in (lambda: ExperienceLog(tmp_path).close(), lambda: repair_dataset(tmp_path)):
        left = {leave(*place) for place in places}
        report = verify_dataset(tmp_path)
        assert (report.ok, set(report.leftovers)) == (True, set(map(str, left)))
        remove()
        assert parts(tmp_path) == []
    assert ExperienceLog(tmp_path, mode="r").position("trainer") == 3
    assert sum(map(len, open_dataset(tmp_path))) == len(batch)


def test_segment_being_made_is_not_a_leftover(batch: ExperienceBatch, tmp_path: Path) -> None:
    with ExperienceLog(tmp_path) as log:
        log.write(batch)
        making = leave(tmp_path, "segment_00000000000000000999.db.part")  # as this writer does for a moment
        assert verify_dataset(tmp_path).leftovers == []
        making.unlink()


def test_queues_buffers_exports_and_checkpoints_remove_their_leftovers(batch: ExperienceBatch, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    leave(tmp_path / "queue")
    SpillBuffer(tmp_path / "queue").close()
    assert parts(tmp_path) == []
    buffer = ReplayBuffer(1000)
    buffer.write(batch)
    strangers = {leave(tmp_path, "film.mkv.part"), leave(tmp_path, ".mine.part")}  # other programs' files lie beside ours
    for number, write in enumerate(
        (
            buffer.save,
            lambda place: to_hugging_face([batch], place),
            lambda place: save_checkpoint(place, {"weights": torch.zeros(3)}),
        )
    ):
        leave(tmp_path)
        leave_folder(tmp_path, f".other-{'0123456789abcdef' * 2}.part")
        write(tmp_path / f"place{number}")
        assert set(parts(tmp_path)) == strangers
    assert load_checkpoint(tmp_path / "place2") is not None


def test_command_line_reports_and_removes_leftovers(batch: ExperienceBatch, tmp_path: Path) -> None:
    with DatasetWriter(tmp_path) as writer:
        writer.write(batch)
    left = leave(tmp_path)
    for options in ([], ["--repair"]):
        command = [sys.executable, "-m", "generals_env.cli", "dataset", "verify", str(tmp_path), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        assert f"left over: {left}\n" in done.stdout
    assert parts(tmp_path) == []


# --- Kills ------------------------------------------------------------------------------------------------------------

KILLED = """
import sys, threading
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from support.recorded import games_of
from generals_env.recorders import DatasetWriter, ReplayBuffer
from generals_env.recorders.filesystem import atomic_files
if sys.argv[3] == "hidden":
    atomic_files.nameless_file = lambda folder: None
batch = games_of("two players")[0]
place = Path(sys.argv[1])
writer = DatasetWriter(place / "set", max_file_bytes=1)
buffer = ReplayBuffer(10_000)
buffer.write(batch)
writer.write(batch)
print("begun", flush=True)
for number in range(10**9):
    writer.write(batch)
    writer.flush()
    buffer.save(place / f"saved{number}")
"""


def test_next_writer_removes_all_leftovers_of_kills(way: str, batch: ExperienceBatch, tmp_path: Path) -> None:
    rng = random.Random(1)
    left = attempt = 0
    while attempt < 3 or (way == "hidden" and not left):
        attempt += 1
        assert attempt < 100
        command = [sys.executable, "-c", KILLED, str(tmp_path), str(TESTS), way]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            time.sleep(rng.random() * 0.2)
            process.send_signal(signal.SIGKILL)
        left += len(parts(tmp_path))
        for saved in tmp_path.glob("saved*"):
            saved.rename(tmp_path / f"of{attempt}{saved.name}")
        DatasetWriter(tmp_path / "set").close()
        buffer = ReplayBuffer(100)
        buffer.write(batch)
        buffer.save(tmp_path / f"last{attempt}")
        assert parts(tmp_path) == []
    assert repair_dataset(tmp_path / "set").ok


# --- S3 ---------------------------------------------------------------------------------------------------------------


def test_unfinished_uploads_are_reported_and_aborted(s3: str, batch: ExperienceBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    with DatasetWriter(s3) as writer:
        writer.write(batch)
    store = file_stores.open_store(s3)
    assert isinstance(store, file_stores.RemoteStore)
    bucket, _, prefix = store.root.partition("/")
    for key in (f"{prefix}/year=2026/part_a_0000.npz", "elsewhere/part_b_0000.npz"):
        store._fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
    with monkeypatch.context() as context:
        context.setattr(file_stores, "UPLOAD_AGE", dt.timedelta(days=36_500))  # moto has them begin in 2010
        assert verify_dataset(s3).leftovers == []  # a process may be sending them
    report = verify_dataset(s3)
    assert report.ok
    [upload] = report.leftovers
    assert upload.startswith(f"{store.root}/year=2026/part_a_0000.npz?uploadId=")
    assert repair_dataset(s3).leftovers == [upload]
    assert verify_dataset(s3).leftovers == []
    uploads = store._fs.call_s3("list_multipart_uploads", Bucket=bucket)["Uploads"]
    assert [one["Key"] for one in uploads] == ["elsewhere/part_b_0000.npz"]
    assert sum(map(len, open_dataset(s3))) == len(batch)
