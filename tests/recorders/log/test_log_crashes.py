"""Tests ExperienceLog after kills, on full disks and in read-only folders: acknowledged batches stay, once and in order."""

from __future__ import annotations

import functools
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest
from support.helpers import let_others_through
from support.logs import PART, numbers, opened, segments

from generals_env.concurrency.interrupts import deferred
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.experience import ExperienceBatch

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork and no kill -9")

ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")

#: Kills its children while they write; they print the last number of every batch that was acknowledged.
KILLED = """
import os, pickle, random, signal, sys, time
from generals_env.recorders.log import ExperienceLog
folder, name, durability, rounds = *sys.argv[1:4], int(sys.argv[4])
with open(name, "rb") as file:
    parts = pickle.load(file)
rng = random.Random(durability)
for attempt in range(rounds):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        log = ExperienceLog(folder, durability, segment_bytes=40_000, min_free_bytes=0)
        os.write(writing, f"{log.last}\\n".encode())
        while True:
            k = (log.last + 1) // len(parts[0])
            os.write(writing, f"{log.write(parts[k % len(parts)])}\\n".encode())
    os.close(writing)
    told, wanted = b"", (5, 0, 1, 2, 10)[attempt % 5]
    while told.count(b"\\n") < wanted:
        told += os.read(reading, 65536)
    time.sleep(rng.random() * 0.02)  # it is anywhere in what it does
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while part := os.read(reading, 65536):
        told += part
    os.close(reading)
    os.write(1, told)
"""


@POSIX
@pytest.mark.parametrize("durability", ["commit", "normal"])
@pytest.mark.checklist("P5")
def test_acknowledged_writes_survive_kill_9(durability: str, parts: list[ExperienceBatch], tmp_path: Path) -> None:
    (tmp_path / "parts").write_bytes(pickle.dumps(parts))
    expected = [encode_batch(part) for part in parts]
    folder = tmp_path / "log"
    folder.mkdir()
    arguments = [str(folder), str(tmp_path / "parts"), durability, "50"]
    followed: list[int] = []
    with subprocess.Popen([sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE) as parent:
        told: list[bytes] = []
        listener = threading.Thread(target=lambda: told.append(parent.communicate()[0]))
        listener.start()
        with opened(folder, mode="r").reader() as reader:
            goes_on, chunk = True, None
            while goes_on or chunk is not None:
                goes_on = listener.is_alive()  # before the read: later writes are seen the next time
                chunk = reader.chunk(0.1)
                if chunk is not None:
                    followed.append(chunk.first)
                    assert chunk.data == expected[chunk.first // PART % len(parts)]
            assert reader.missed == reader.damaged == 0
        listener.join()
        assert parent.returncode == 0
    acknowledged = [int(line) for line in told[0].split()]
    assert acknowledged == sorted(acknowledged)
    assert acknowledged[-1] > 100 * PART
    assert followed == list(range(0, len(followed) * PART, PART))
    assert len(followed) * PART > acknowledged[-1]
    with opened(folder) as log:
        # Killed after the write, before SQLite could tell other processes of it: no reader saw that chunk until now.
        unseen = log.last + 1 - len(followed) * PART
        assert unseen in (0, PART)
        assert acknowledged[-1] <= log.last
        assert log.verify().ok
        with log.reader() as reader:
            for first in range(0, log.last + 1, PART):
                found = reader.chunk()
                assert found is not None
                assert (found.first, found.count) == (first, PART)
                assert found.data == expected[first // PART % len(parts)]


FULL = """
import pickle, resource, sys
from generals_env import StorageError
from generals_env.recorders.log import ExperienceLog
folder, name = sys.argv[1:3]
with open(name, "rb") as file:
    parts = pickle.load(file)
log = ExperienceLog(folder, min_free_bytes=0)
for k in range(5):
    log.write(parts[k])
log.commit("consumer", 3)
for limit in (0, 20_000, 60_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    last, failed = log.last, 0
    for k in range(200):
        try:
            last = log.write(parts[k % len(parts)])
        except StorageError as error:
            failed += 1
        assert log.last == last
        if failed == 3:
            break
    assert failed == 3, limit
    try:
        log.commit("consumer", 4)
    except StorageError:
        pass
    assert log.position("consumer") in (3, 4)
    assert sum(map(len, log.read())) == last + 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert log.write(parts[0]) == last + len(parts[0])
assert log.verify().ok
log.close()
print(log.last, log.verify().ok)
"""


@POSIX
@pytest.mark.checklist("P9")
def test_full_disk_refuses_whole_batches_and_writing_continues_with_room(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    (tmp_path / "parts").write_bytes(pickle.dumps(parts))
    command = [sys.executable, "-c", FULL, str(tmp_path / "log"), str(tmp_path / "parts")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    last, ok = done.stdout.split()
    assert ok == "True"
    with opened(tmp_path / "log") as log:
        assert log.last == int(last)
        assert numbers(log.read()) == list(range(log.last + 1))


FORBIDDEN = """
import os, pickle, sys, tempfile
from generals_env import StorageError
from generals_env.recorders.log import ExperienceLog
folder, name = sys.argv[1:3]
with open(name, "rb") as file:
    parts = pickle.load(file)
with tempfile.TemporaryDirectory() as other, ExperienceLog(other, segment_bytes=4000, min_free_bytes=0) as log:
    for k in range(7):  # all that is loaded when it is used first: another user may not read it
        log.write(parts[k])
    assert len(list(log.read())) and log.verify().ok
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.meta_path.clear()  # nothing more is loaded
log = ExperienceLog(folder, segment_bytes=4000, min_free_bytes=0)
for k in range(7):
    log.write(parts[k])
os.chmod(folder, 0o500)
last, failed = log.last, 0
for k in range(40):
    try:
        last = log.write(parts[k % len(parts)])
    except StorageError as error:
        assert "expected to make" in str(error), error
        failed += 1
assert failed > 20
assert sum(map(len, log.read())) == last + 1 == log.last + 1
os.chmod(folder, 0o700)
assert log.write(parts[0]) == last + len(parts[0])
log.close()
print(log.last, log.verify().ok)
"""


@ROOT
@pytest.mark.checklist("P9")
def test_unwritable_folder_refuses_batches_until_it_is_writable(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    (tmp_path / "parts").write_bytes(pickle.dumps(parts))
    folder = tmp_path / "log"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    let_others_through(folder.parent)
    command = [sys.executable, "-c", FORBIDDEN, str(folder), str(tmp_path / "parts")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    last, ok = done.stdout.split()
    assert ok == "True"
    assert numbers(opened(folder, mode="r").read()) == list(range(int(last) + 1))
    assert len(segments(folder)) == 2


FORKED = """
import os, pickle, sys
from generals_env import StateError
from generals_env.recorders.log import ExperienceLog
folder, name = sys.argv[1:3]
with open(name, "rb") as file:
    parts = pickle.load(file)
log = ExperienceLog(folder, min_free_bytes=0)
log.write(parts[0])
child = os.fork()
if child == 0:
    try:
        log.write(parts[1])
    except StateError as error:
        sys.exit(7 if "which opened it" in str(error) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
log.write(parts[1])
log.close()
print(log.last, log.verify().ok)
"""


@POSIX
def test_forked_process_cannot_write_to_log_of_parent(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    (tmp_path / "parts").write_bytes(pickle.dumps(parts))
    command = [sys.executable, "-c", FORKED, str(tmp_path / "log"), str(tmp_path / "parts")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, [str(2 * PART - 1), "True"]), done.stderr


def test_signal_during_new_segment_leaves_a_writable_segment(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    """A deferred signal keeps the frame it came to, which once kept SQLite's connection and the new table in its WAL file."""

    def interrupt(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code is functools.update_wrapper.__code__ and event == "return":  # Python makes a cache of statements
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with opened(tmp_path) as log:
            sys.setprofile(interrupt)
            with pytest.raises(KeyboardInterrupt), deferred():
                assert log.write(parts[0]) == PART - 1
            assert sys.getprofile() is None, "expected a signal in the middle of making a segment"
            assert log.write(parts[1]) == 2 * PART - 1
    finally:
        sys.setprofile(None)
        signal.signal(signal.SIGINT, before)
    assert numbers(opened(tmp_path, mode="r").read()) == list(range(2 * PART))
