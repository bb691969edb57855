"""Tests folders and S3 as stores of files: whole files, no overwriting, reports and retries of failures."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.helpers import PATIENCE, let_others_through
from support.s3 import FaultyProxy, faulty_s3, s3, s3_process

from generals_env import ConfigError, StorageError
from generals_env.recorders import Retry, RetryingSink
from generals_env.recorders.filesystem.file_stores import FileStore, LocalStore, RemoteStore, Stored, open_store
from generals_env.recorders.filesystem.retry import is_permanent

__all__ = ["faulty_s3", "s3", "s3_process"]

QUICK = Retry(first_wait=0.001)


@pytest.fixture(params=["folder", "s3", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return f"memory://{tmp_path.name}"
    return str(tmp_path / "place") if request.param == "folder" else request.getfixturevalue("s3")


@pytest.fixture
def store(place: str) -> FileStore:
    return open_store(place, create=True, retry=QUICK)


def test_files_are_written_once_and_read_back(store: FileStore) -> None:
    content = os.urandom(70_000)
    store.create("a/b=1/c.bin", content)
    with pytest.raises(FileExistsError):
        store.create("a/b=1/c.bin", b"other")
    assert store.read("a/b=1/c.bin") == content
    assert store.size("a/b=1/c.bin") == 70_000
    with pytest.raises(FileNotFoundError):
        store.size("a/b=1/none.bin")
    assert store.read("a/b=1/c.bin", 10, 25) == content[10:25]
    assert store.read("a/b=1/c.bin", 69_990) == content[69_990:]
    store.create("a/b=1/%2F a.bin", b"")
    store.create("a/b=10/d.bin", b"xy")
    store.create("z.bin", b"x")
    store.create(".hidden/e.bin", b"x")
    store.create("a/.hidden", b"x")
    assert list(store.files("a")) == [Stored("a/b=1/%2F a.bin", 0), Stored("a/b=1/c.bin", 70_000), Stored("a/b=10/d.bin", 2)]
    assert [name for name, _ in store.files("a/b=1")] == ["a/b=1/%2F a.bin", "a/b=1/c.bin"]
    assert sum(1 for _ in store.files()) == 4
    assert list(store.files("nowhere")) == []
    store.delete("a/b=1/c.bin")
    store.delete("a/b=1/c.bin")
    with pytest.raises(FileNotFoundError):
        store.read("a/b=1/c.bin")
    assert sum(1 for _ in store.files()) == 3


def test_file_is_replaced_and_deleted(store: FileStore) -> None:
    seen: list[bytes | None] = []

    def changed(to: bytes | None) -> Callable[[bytes | None], bytes | None]:
        return lambda content: (seen.append(content), to)[1]

    for to in (b"one", b"two", None, None, b"three"):
        store.change("f/index.json", changed(to))
    assert seen == [None, b"one", b"two", None, None]
    assert store.read("f/index.json") == b"three"


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_simultaneous_changes_are_all_kept(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    place = str(tmp_path) if kind == "folder" else request.getfixturevalue("s3")

    def extended(more: bytes, content: bytes | None) -> bytes:
        return (content or b"") + more

    def add(number: int) -> None:
        own = open_store(place, retry=QUICK)
        for part in range(4):
            own.change("index", partial(extended, bytes([10 * number + part])))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = open_store(place).read("index")
    assert sorted(content) == [10 * number + part for number in range(4) for part in range(4)]


def test_stores_are_pickled_without_their_connections(store: FileStore) -> None:
    store.create("a", b"content")
    copy = pickle.loads(pickle.dumps(store))
    if not store.url.startswith("memory"):
        assert copy.read("a") == b"content"
    assert copy.url == store.url


def test_local_urls_are_folders(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/a", create=True)
    assert isinstance(store, LocalStore)
    store.create("x", b"1")
    assert (tmp_path / "a" / "x").read_bytes() == b"1"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "x"]  # nothing else stays


def test_unusable_places_are_reported_at_once(tmp_path: Path, s3: str) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below", "a\0b"):
        with pytest.raises(StorageError, match="sink: expected a folder that can be written, got"):
            open_store(place, create=True)
    with pytest.raises(StorageError, match="s3://elsewhere: expected"):
        open_store("s3://elsewhere", create=True, retry=QUICK)
    with pytest.raises(ConfigError, match="expected a URL without a password"):
        open_store("s3://key:secret@bucket/a")
    with pytest.raises(StorageError, match="nothing://a: expected to be reached, got ValueError"):
        open_store("nothing://a")


def test_write_without_credentials_is_refused(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(StorageError, match="expected to be reached, got NoCredentialsError"):
        open_store(s3, create=True, retry=QUICK).create("a", b"x")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become a user without access to the files"
)
@pytest.mark.checklist("P9")
def test_unwritable_folder_is_reported_and_recovers(tmp_path: Path) -> None:
    """The writer runs as another user that loses permission midway; root has all permissions."""
    script = """
import os, sys, tempfile
from pathlib import Path
from generals_env import StorageError
from generals_env.recorders.filesystem.file_stores import LocalStore
with tempfile.TemporaryDirectory() as other:  # loads all that is loaded when it is used first: another user may not read it
    store = LocalStore(Path(other), create=True)
    store.create("before", b"1")
    store.change("before", lambda content: b"2")
    assert len(list(store.files())) == 1
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.meta_path.clear()  # nothing more is loaded
folder = Path(sys.argv[1])
try:
    LocalStore(folder.parent / "locked", create=True)
except StorageError as error:
    assert "Permission denied" in str(error), error
store = LocalStore(folder, create=True)
store.create("before", b"1")
folder.chmod(0o500)
for verb in (lambda: store.create("during", b"2"), lambda: store.change("during", lambda content: b"2")):
    try:
        verb()
    except StorageError as error:
        assert "Permission denied" in str(error) or "can be made" in str(error), error
    else:
        raise AssertionError("the folder cannot be written")
assert [name for name, _ in store.files()] == ["before"]
folder.chmod(0o700)
store.create("after", b"3")
assert [name for name, _ in store.files()] == ["after", "before"]
assert len(list(folder.iterdir())) == 2
"""
    let_others_through(tmp_path)
    (tmp_path / "locked").mkdir(mode=0o755)
    own = tmp_path / "own"
    own.mkdir()
    os.chown(own, 65534, 65534)
    done = subprocess.run(
        [sys.executable, "-c", script, str(own)], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr


# --- Failures of the network ------------------------------------------------------------------------------------------


def remote(s3: str, **options: Any) -> RemoteStore:
    store = open_store(s3, retry=QUICK, **options)
    assert isinstance(store, RemoteStore)
    return store


@pytest.mark.parametrize("faults", [["503"], ["drop"], ["lost"], ["503", "drop", "lost", "503"], ["stall"]])
@pytest.mark.checklist("P9")
def test_transient_server_errors_are_retried(faults: list[str], s3: str, faulty_s3: FaultyProxy) -> None:
    store = remote(s3, timeout=1.0 if "stall" in faults else 30.0)
    content = os.urandom(300_000)
    faulty_s3.faults.extend(faults)
    store.create("a", content)
    assert not faulty_s3.faults
    assert len(faulty_s3.seen) > len(faults)
    assert remote(s3).read("a") == content
    for fault in ("503", "cut", "drop"):
        faulty_s3.faults.append(fault)
        assert store.read("a") == content
        assert not faulty_s3.faults
    faulty_s3.faults.append("503")
    assert [name for name, _ in store.files()] == ["a"]
    for fault in ("503", "lost"):
        faulty_s3.faults.extend(["pass", "pass", "pass", fault])
        store.change("index", lambda old: (old or b"") + b"x")
    assert remote(s3).read("index") in (b"xx", b"xxx")  # an answer was lost: the change was applied twice
    faulty_s3.faults.append("503")
    store.delete("a")
    assert [name for name, _ in store.files()] == ["index"]


def test_silent_server_is_reported_after_five_tries(s3: str, faulty_s3: FaultyProxy) -> None:
    store = remote(s3)
    faulty_s3.seen.clear()
    faulty_s3.faults.extend(["503"] * 5)
    with pytest.raises(StorageError, match="s3://games/experiences/a: expected to be reached, got"):
        store.create("a", b"x")
    assert faulty_s3.seen == ["PUT 503"] * 5
    store.create("a", b"x")  # by itself, once the server is back
    assert store.read("a") == b"x"


def test_foreign_file_is_not_taken_for_own(s3: str, faulty_s3: FaultyProxy) -> None:
    store = remote(s3)
    store.create("a", b"theirs")
    faulty_s3.faults.append("503")
    with pytest.raises(FileExistsError):
        store.create("a", b"ours!!")
    assert store.read("a") == b"theirs"


def test_large_files_are_uploaded_in_parts_and_leave_nothing_on_failure(
    s3: str, s3_process: str, faulty_s3: FaultyProxy
) -> None:
    store = remote(s3)
    content = bytes(101 * 2**20)
    faulty_s3.faults.extend(["pass", "pass", "503"])
    store.create("large", content)
    assert store.read("large") == content
    fs = store._fs
    assert fs.call_s3("list_multipart_uploads", Bucket="games").get("Uploads", []) == []


# --- Trying again -----------------------------------------------------------------------------------------------------


class Failing:
    """A sink that refuses so many writes."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error = failures, error
        self.taken: list[Any] = []
        self.calls = 0

    def write(self, batch: Any) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        self.taken.append(batch)

    def flush(self) -> None:
        self.write("flush")

    def close(self) -> None:
        self.write("close")


def test_default_retry_is_five_tries_with_doubled_waits() -> None:
    waits: list[float] = []
    sink = Failing(4, OSError("busy"))
    RetryingSink(sink, Retry(sleep=waits.append)).write("batch")  # type: ignore[arg-type]
    assert sink.taken == ["batch"]
    assert all(low <= wait <= low + 0.1 for wait, low in zip(waits, (0.1, 0.2, 0.4, 0.8), strict=True))
    assert len({wait % 0.1 for wait in waits}) > 1  # with some chance in it
    sink = Failing(5, OSError("busy"))
    with pytest.raises(OSError, match="busy"):
        RetryingSink(sink, Retry(sleep=waits.append)).write("batch")  # type: ignore[arg-type]
    assert sink.taken == []
    waits.clear()
    Retry(tries=9, first_wait=1, max_wait=3, sleep=waits.append).call("it", lambda: Failing(0, OSError()).write(1))
    assert waits == []
    with pytest.raises(OSError, match="x"):
        Retry(tries=9, first_wait=1, max_wait=3, sleep=waits.append).call("it", Failing(99, OSError("x")).flush)
    assert len(waits) == 8
    assert all(wait <= 4 for wait in waits)
    assert all(early <= late + 1 for early, late in pairwise(waits))


def test_retry_takes_the_former_name_of_max_wait() -> None:
    with pytest.warns(DeprecationWarning, match="Retry: most_wait is now called max_wait: use max_wait") as caught:
        retry = Retry(most_wait=3.0)  # type: ignore[call-arg]
    assert caught[0].filename == __file__
    assert retry == Retry(max_wait=3.0)
    with pytest.warns(DeprecationWarning, match="most_wait") as caught:
        assert retry.most_wait == 3.0  # type: ignore[attr-defined]
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="most_wait"):
        assert RetryingSink(Failing(0, OSError()), {"most_wait": 2}).retry.max_wait == 2  # type: ignore[arg-type]
    with pytest.warns(DeprecationWarning, match="most_wait"):
        assert replace(retry, most_wait=4.0).max_wait == 4.0  # type: ignore[call-arg]
    former = Retry.__new__(Retry)
    former.__setstate__({"tries": 2, "first_wait": 0.1, "most_wait": 5.0, "sleep": time.sleep})  # an old pickle
    assert pickle.loads(pickle.dumps(former)) == Retry(2, 0.1, 5.0, time.sleep)


def test_permanent_errors_are_reported_at_once() -> None:
    for error in (PermissionError("no"), FileNotFoundError("no"), OSError(28, "no space"), ValueError("no")):
        assert is_permanent(error)
        sink = Failing(1, error)
        with pytest.raises(type(error)):
            RetryingSink(sink).close()
        assert sink.calls == 1
    assert not is_permanent(OSError(5, "input/output error"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tries": 0}, "tries: expected"),
        ({"first_wait": -1}, "first_wait: expected seconds, 0 or more, got -1"),
        ({"max_wait": "x"}, "max_wait"),
    ],
)
def test_invalid_retry_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Retry(**options)
