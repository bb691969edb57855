"""Tests ExperienceLog: numbers without gaps, readers that follow it, locks and retention."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.helpers import let_others_through, same
from support.logs import PART, fill, numbered, numbers, opened, segments
from support.odd_batches import contents, odd_batch

from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.filesystem.disk_space import free_bytes, linux_mounts, mac_mounts, network_kind, network_kind_of
from generals_env.recorders.filesystem.file_lock import FileLock
from generals_env.recorders.log.chunk_rows import MAX_EXPERIENCES

# --- Writing and reading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["commit", "normal"])
def test_batches_are_read_back_in_order_with_numbers_of_the_log(tmp_path: Path, durability: str) -> None:
    written: list[ExperienceBatch] = []
    count = 0
    for opening in range(3):
        with opened(tmp_path, durability=durability, segment_bytes=20_000) as log:
            assert log.last == count - 1
            for seed in range(25):
                batch = odd_batch(np.random.default_rng(100 * opening + seed))
                before = contents(batch)
                assert log.write(batch) == count + len(batch) - 1
                assert same(contents(batch), before)
                if len(batch):
                    written.append(numbered(batch, count))
                count += len(batch)
            log.flush()
            assert [len(batch) for batch in log.read()] == [len(batch) for batch in written]
    assert len(segments(tmp_path)) > 5
    with opened(tmp_path, mode="r") as log:
        found = list(log.read())
        assert (log.first, log.last) == (0, count - 1)
        assert log.verify().ok
        assert log.verify().intact == ((0, count - 1),)
    assert len(found) == len(written) > 40
    for one, other in zip(found, written, strict=True):
        assert same(contents(one.compact()), contents(other.compact()))  # games without experiences may be gone


def test_large_batches_become_several_chunks_in_one_transaction(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    large = ExperienceBatch.concat(parts * (2 * MAX_EXPERIENCES // (PART * len(parts)) + 1))
    with opened(tmp_path) as log:
        assert log.write(large) == len(large) - 1
        found = list(log.read())
    assert [len(batch) for batch in found] == [MAX_EXPERIENCES] * (len(found) - 1) + [len(large) % MAX_EXPERIENCES]
    assert len(found) > 2
    by_hand = [
        large.select(np.arange(low, low + len(batch)))
        for low, batch in zip(range(0, len(large), MAX_EXPERIENCES), found, strict=True)
    ]
    for one, other in zip(found, by_hand, strict=True):
        assert same(contents(one), contents(numbered(other, int(one.sequence[0]))))
    assert numbers(found) == list(range(len(large)))


def test_slice_stores_only_its_own_boards(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    large = ExperienceBatch.concat(parts)
    with opened(tmp_path) as log:
        log.write(large.slice(5, 8))
        (found,) = log.read()
    assert len(found.boards.tiles) <= 6
    assert same(contents(found), contents(numbered(large.select(np.arange(5, 8)), 0)))


def test_filters_equal_selection_by_hand(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    rng = np.random.default_rng(1)
    with opened(tmp_path, segment_bytes=4000) as log:
        last = fill(log, parts, len(parts))
        everything = ExperienceBatch.concat(list(log.read()))
        assert len(everything) == last + 1
        for _ in range(40):
            after = int(rng.integers(-1, last + 2))
            names = None if rng.random() < 0.4 else {"game 1", "unknown"}
            players = None if rng.random() < 0.4 else [int(rng.integers(2))]
            turn = None if rng.random() < 0.4 else int(rng.integers(70))
            wanted = everything.sequence > after
            if names is not None:
                wanted &= everything.game_id == "game 1"
            if players is not None:
                wanted &= everything.player_id == players[0]
            if turn is not None:
                wanted &= everything.turn >= turn
            found = list(log.read(after, game_ids=names, player_ids=players, min_turn=turn))
            assert numbers(found) == everything.sequence[wanted].tolist()
            if found:
                assert same(contents(ExperienceBatch.concat(found)), contents(everything.select(wanted)))


def test_chunks_that_cannot_match_are_not_returned(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    with opened(tmp_path) as log:
        last = fill(log, parts, len(parts))
        with log.reader(game_ids=["game 2"]) as reader:
            first = reader.chunk()
            assert first is not None
            assert first.first >= last // 3
        with log.reader(game_ids=["unknown"]) as reader:
            assert reader.chunk() is None
            assert reader.position == last


def test_batches_that_could_not_be_read_back_are_refused(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    batch = parts[0]
    astray = batch.rows.copy()
    astray["state_index"] = 10_000
    with opened(tmp_path) as log:
        with pytest.raises(ConfigError, match=r"^batch: expected arrays that fit together, got state_index"):
            log.write(replace(batch, rows=astray))
        with pytest.raises(ConfigError, match=r"^metadata: expected what JSON takes"):
            log.write(replace(batch, metadata={"what": object()}))
        assert log.write(batch) == PART - 1
        assert numbers(log.read()) == list(range(PART))


def test_concurrent_writers_lose_nothing(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    answers: list[list[int]] = [[] for _ in range(4)]
    with opened(tmp_path, durability="commit", segment_bytes=30_000) as log:

        def write(own: list[int]) -> None:
            own += [log.write(part) for part in parts[:12]]

        threads = [threading.Thread(target=write, args=(own,)) for own in answers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(own == sorted(own) for own in answers)
        assert sorted(number for own in answers for number in own) == list(range(PART - 1, 48 * PART, PART))
        found = {int(batch.sequence[-1]): batch for batch in log.read()}
    for own in answers:
        for number, part in zip(own, parts, strict=False):
            assert same(contents(found[number]), contents(numbered(part, number - PART + 1)))


def test_bad_arguments_are_refused(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    wrong: list[dict[str, Any]] = [
        {"durability": "maybe"},
        {"mode": "w"},
        {"segment_bytes": 0},
        {"max_bytes": -1},
        {"max_age": 0},
        {"max_age": float("nan")},
        {"drop_unread": 1},
        {"min_free_bytes": "many"},
    ]
    for options in wrong:
        with pytest.raises(ConfigError, match=rf"^{next(iter(options))}: expected .*, got"):
            opened(tmp_path / "none", **options)
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "a\0b"):
        with pytest.raises(StorageError, match=r"^folder: expected"):
            opened(folder)
    with pytest.raises(StorageError, match=r"^folder: expected a log, got"):
        opened(tmp_path / "none", mode="r")
    log = opened(tmp_path / "log")
    for arguments in ({"after": -2}, {"on_damage": "ignore"}, {"game_ids": "one"}, {"player_ids": ["a"]}, {"min_turn": -1}):
        with pytest.raises(ConfigError, match=r"^\w+: expected .*, got"):
            log.read(**arguments)  # type: ignore[arg-type]
    log.close()
    log.close()
    with pytest.raises(StateError, match=r"^log: expected an open one, got one that is closed"):
        log.write(parts[0])
    with pytest.raises(StateError, match=r"^write: expected a log opened with mode='a', got one with mode='r'"):
        opened(tmp_path / "log", mode="r").write(parts[0])
    reader = log.reader()
    reader.close()
    with pytest.raises(StateError, match=r"^reader: expected an open one"):
        reader.poll()


# --- Several at once --------------------------------------------------------------------------------------------------


def test_second_writer_is_refused_until_the_first_closes(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    with opened(tmp_path) as log:
        fill(log, parts, 3)
        with pytest.raises(StorageError, match=r"^log: expected .* to have no other writer"):
            opened(tmp_path)
        code = f"from generals_env.recorders.log import ExperienceLog; ExperienceLog({str(tmp_path)!r})"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert other.returncode == 1
        assert "to have no other writer" in other.stderr
        with pytest.raises(StorageError, match="to have no other writer"):
            opened(tmp_path, mode="r").repair()
        assert log.write(parts[0]) == 4 * PART - 1
    with opened(tmp_path) as log:
        assert log.write(parts[0]) == 5 * PART - 1


def test_locks_are_waited_for_and_end_with_their_process(tmp_path: Path) -> None:
    path = tmp_path / "some.lock"
    code = (
        "import sys, time; from generals_env.recorders.filesystem.file_lock import FileLock;"
        f" lock = FileLock({str(path)!r}); print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match=r"^lock: expected .* to be free, got a lock that"):
            FileLock(path, timeout=0.05)
        threading.Timer(0.2, holder.kill).start()
        with FileLock(path, timeout=600), pytest.raises(StorageError, match="another process or object"):
            FileLock(path)
    FileLock(path).close()
    with pytest.raises(StorageError, match=r"^lock: expected a file that can be"):
        FileLock(tmp_path / "none" / "some.lock")


WRITER = """
import pickle, sys, time
from generals_env.recorders.log import ExperienceLog
folder, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(name, "rb") as file:
    parts = pickle.load(file)
with ExperienceLog(folder, "normal", segment_bytes=9000, min_free_bytes=0) as log:
    for k in range(count):
        print(log.write(parts[k % len(parts)]), flush=True)
        time.sleep(0.003)
"""


def test_readers_follow_writer_in_another_process_until_stopped(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    import pickle

    (tmp_path / "parts").write_bytes(pickle.dumps(parts))
    folder = tmp_path / "log"
    folder.mkdir()
    stop = threading.Event()
    found: list[ExperienceBatch] = []
    arguments = [str(folder), str(tmp_path / "parts"), "60"]
    with subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE) as writer:
        for batch in opened(folder, mode="r").read(follow=True, stop=stop):
            found.append(batch)
            if numbers([batch])[-1] == 60 * PART - 1:
                stop.set()
        assert writer.communicate()[0].split()[-1] == b"1199"
    assert numbers(found) == list(range(60 * PART))
    assert len(segments(folder)) > 3
    for k, batch in enumerate(found):
        assert same(contents(batch), contents(numbered(parts[k % len(parts)], k * PART)))


def test_reader_of_same_log_wakes_with_commit(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    with opened(tmp_path) as log, log.reader() as reader:
        assert reader.poll(0.01) is None
        threading.Timer(0.1, log.write, (parts[0],)).start()
        batch = reader.poll(60)
        assert batch is not None
        assert same(contents(batch), contents(numbered(parts[0], 0)))
        stop = threading.Event()
        threading.Timer(0.1, stop.set).start()
        assert numbers(log.read(follow=True, stop=stop)) == list(range(PART))


def test_stalled_reader_blocks_no_other(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    large = ExperienceBatch.concat(parts)
    with opened(tmp_path, segment_bytes=3_000_000, max_bytes=7_000_000) as log:
        log.write(large)
        other = opened(tmp_path, mode="r")
        stalled = [log.reader(), other.reader(), iter(log.read(follow=True)), iter(other.read(follow=True))]
        for one in stalled:
            assert (one.poll() if hasattr(one, "poll") else next(one)) is not None
        largest, written = 0, 0
        while log.first == 0:
            for _ in range(20):
                log.write(large)
                written += 1
            logs = [path.stat().st_size for path in tmp_path.glob("*-wal")]
            largest = max([largest, *logs])
            assert written < 5000
        assert largest < 6_000_000  # SQLite restarts its WAL after 4 MB
        assert len(list(tmp_path.glob("*-wal"))) <= 1
        oldest, last = log.first, log.last
        for reader in stalled[:2]:
            found = []
            while (batch := reader.poll()) is not None:
                found += numbers([batch])
            # An open reader still reads the rest of the removed segment; the gap after it is reported.
            assert found == [*range(len(large), len(large) + len(found) - (last - oldest + 1)), *range(oldest, last + 1)]
            assert reader.missed == last + 1 - len(large) - len(found)
            assert reader.damaged == 0


# --- Retention --------------------------------------------------------------------------------------------------------


def test_oldest_segments_are_removed_and_readers_get_count_of_missed(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    with opened(tmp_path, segment_bytes=4000, max_bytes=60_000) as log:
        last = fill(log, parts, 100)
        first = log.first
        assert 0 < first < last
        assert sum(path.stat().st_size for path in tmp_path.glob("segment_*.db")) < 75_000
        with log.reader() as reader:
            found = []
            while (batch := reader.poll()) is not None:
                found += numbers([batch])
            assert found == list(range(first, last + 1))
            assert reader.missed == first
        assert log.verify().ok
    with opened(tmp_path, max_bytes=1) as log:
        assert len(segments(tmp_path)) == 1  # which holds the next number
        assert log.write(parts[0]) == last + PART


def test_age_is_measured_by_given_clock(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    now = [1000.0]
    with opened(tmp_path, segment_bytes=1, max_age=60, clock=lambda: now[0]) as log:
        fill(log, parts, 3)
        now[0] += 50
        log.write(parts[0])
        assert log.first == 0
        now[0] += 20
        log.write(parts[0])
        assert log.first == 3 * PART
        assert numbers(log.read()) == list(range(3 * PART, 5 * PART))


def test_unread_experiences_of_consumer_are_kept(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    options: dict[str, Any] = {"segment_bytes": 1, "max_bytes": 20_000}
    with opened(tmp_path, **options) as log:
        log.write(parts[0])
        log.commit("slow", -1)
        fill(log, parts, 9)
        assert log.first == 0
        opened(tmp_path, mode="r").commit("slow", 3 * PART)
        log.commit("fast", 8 * PART)
        log.write(parts[0])
        assert log.first == 3 * PART  # the experience after that is in this segment
        assert log.consumers() == {"slow": 3 * PART, "fast": 8 * PART}
        log.forget("slow")
        assert log.position("slow") is None
        log.write(parts[0])
        assert log.first >= 7 * PART
        with pytest.raises(StorageError, match=r"^consumer: expected one that has committed, got 'slow'"):
            log.forget("slow")
        with pytest.raises(ConfigError, match=r"^sequence: expected an integer from -1 to 239, got 240"):
            log.commit("fast", 240)
    with opened(tmp_path, drop_unread=True, **options) as log:
        fill(log, parts, 9)
        assert log.first > 8 * PART + 1


def test_any_string_is_a_distinct_consumer_name(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    names = ["a", "A", "a.json", "../a", "", ".", "..", "a/b", "a\\b", "a_b", "nul\0", "ä" * 300, "\udc80", "con", "a ", "a:b"]
    with opened(tmp_path) as log:
        fill(log, parts, 2)
        for k, name in enumerate(names):
            log.commit(name, k)
        assert log.consumers() == {name: k for k, name in enumerate(names)}
        assert [log.position(name) for name in names] == list(range(len(names)))
        lowered = {path.name.lower() for path in (tmp_path / "consumers").iterdir()}
        assert len(lowered) == len(names)
        with pytest.raises(ConfigError, match=r"^name: expected a string, got 5"):
            log.commit(5, 0)  # type: ignore[arg-type]


# --- Disks ------------------------------------------------------------------------------------------------------------


@pytest.mark.checklist("P9")
def test_reserved_disk_space_is_left_free(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    with opened(tmp_path, min_free_bytes=2**60) as log:
        with pytest.raises(StorageError, match=r"^min_free_bytes: expected 1152921504606846976 free at .*, got \d+"):
            log.write(parts[0])
        assert log.last == -1
        assert list(log.read()) == []
    with pytest.raises(StorageError, match=r"^path: expected an existing folder or file"):
        free_bytes(tmp_path / "none")
    assert free_bytes(tmp_path) > 0


LINUX = rb"""22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:25 / /proc rw,nosuid shared:5 - proc proc rw
40 22 0:40 / /home rw,relatime shared:7 master:1 - nfs4 server:/home rw,vers=4.2
41 40 254:3 / /home/my\040disk rw - xfs /dev/vdc rw
42 22 0:43 / /mnt/far rw - fuse.sshfs me@there:/ rw
43 22 0:44 / /mnt/far rw - ext4 /dev/vdb rw
44 22 0:45 / /mnt/windows rw - 9p drvfs rw
"""

MAC = b"""/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
//me@server/share on /Volumes/my share (smbfs, nodev, nosuid, mounted by me)
server:/x on /Volumes/nfs (nfs)
"""


def test_network_filesystems_are_distinguished_from_disks() -> None:
    mounts = linux_mounts(LINUX)
    places = {"/home/a": "nfs4", "/home": "nfs4", "/home/my disk/a": None, "/homes": None, "/": None, "/mnt/far/a": None}
    places |= {"/mnt/windows": "9p", "/proc/1": None}
    for place, kind in places.items():
        assert network_kind_of(Path(place), mounts) == kind, place
    assert network_kind_of(Path("/mnt/far"), mounts[:5]) == "fuse.sshfs"
    mounts = mac_mounts(MAC)
    assert [network_kind_of(Path(place), mounts) for place in ("/Volumes/my share/a", "/Volumes/nfs", "/Volumes")] == [
        "smbfs",
        "nfs",
        None,
    ]


def test_temporary_folder_is_on_a_disk(tmp_path: Path) -> None:
    assert network_kind(tmp_path) is None


READ_ONLY = """
import os, sys
from pathlib import Path
from generals_env.recorders.log import ExperienceLog
folder = Path(sys.argv[1])
log = ExperienceLog(folder, mode="r")  # loads all that is loaded when it is used first: another user may not read it
assert len(list(log.read())) and log.verify().ok
log.close()
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.meta_path.clear()  # nothing more is loaded
assert not os.access(folder, os.W_OK)
log = ExperienceLog(folder, mode="r")
print(sum(map(len, log.read())), log.last, log.verify().ok)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
def test_unwritable_folders_can_be_read(tmp_path: Path, parts: list[ExperienceBatch]) -> None:
    folder = tmp_path / "log"
    let_others_through(folder)
    command = [sys.executable, "-c", READ_ONLY, str(folder)]
    with opened(folder, segment_bytes=3000) as log:
        fill(log, parts, 9)
        for _ in range(2):  # while it is written to, and after
            assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["180", "179", "True"]
            before = sorted(path.name for path in folder.iterdir())
            log.close()
    assert before == sorted(path.name for path in folder.iterdir())
