"""Tests DatasetWriter: paths, times and contents of its files, retention, full disks and killed writers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.datasets import everything, key, recorded
from support.helpers import KINDS, PATIENCE, Memory, same
from support.paths import DATA, TESTS
from support.s3 import FaultyProxy, faulty_s3, s3, s3_process

import generals_env
from generals_env import ConfigError, StateError, StorageError
from generals_env.recorders import (
    DatasetWriter,
    ExperienceBatch,
    ExperienceRecorder,
    Retry,
    open_dataset,
    record_replays,
    repair_dataset,
    verify_dataset,
)
from generals_env.recorders.filesystem.file_stores import open_store
from generals_env.recorders.formats import FORMATS
from generals_env.recorders.formats.file_names import in_order, parsed_name, partition_end, partition_of, safe_id

__all__ = ["faulty_s3", "s3", "s3_process"]

NEW_YEAR = 1_798_761_599.0  # 2026-12-31 23:59:59 UTC


@pytest.fixture(scope="module")
def batches() -> list[ExperienceBatch]:
    return recorded()


class Clock:
    """A clock that returns the time that it is set to."""

    def __init__(self, now: float = NEW_YEAR) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")


# --- Reading of written experience ------------------------------------------------------------------------------------


@pytest.mark.parametrize("naming", ["packed", "games"])
@pytest.mark.parametrize("form", FORMATS)
def test_all_experiences_are_read_back_in_every_format(
    form: str, naming: str, batches: list[ExperienceBatch], tmp_path: Path
) -> None:
    with DatasetWriter(tmp_path, form, naming, max_file_bytes=10_000) as writer:
        for batch in batches:
            writer.write(batch)
    stats = writer.stats()
    assert (stats.taken, stats.pending, stats.dropped) == (sum(map(len, batches)), 0, 0)
    assert stats.written == stats.taken
    dataset = open_dataset(tmp_path)
    assert len(dataset.files) == stats.files > 3
    assert dataset.experiences == stats.taken
    assert dataset.nbytes == stats.bytes
    assert key(everything(tmp_path)) == key(ExperienceBatch.concat(batches))
    assert all(name.endswith((FORMATS[form], "_index.json")) for name in names(tmp_path))
    report = verify_dataset(tmp_path)
    assert report.ok
    assert (report.files, report.experiences, report.unindexed, report.gaps, report.repeats) == (
        stats.files,
        stats.taken,
        [],
        {},
        {},
    )


def test_game_files_hold_one_game_each_and_appear_at_its_end(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path, naming="games", clock=Clock())
    ended = set()
    for batch in batches:
        writer.write(batch)
        over = batch.terminated | batch.truncated
        ended |= {batch.game_ids[game] for game in set(batch.game[over])}
        files = [name for name in names(tmp_path) if name.endswith(".npz")]
        assert files == [f"year=2026/month=12/day=31/hour=23/game_{game}_0000.npz" for game in sorted(ended)]
    writer.close()
    assert len(ended) == 5
    for batch in open_dataset(tmp_path):
        assert len(set(batch.game.tolist())) == 1


def test_continued_game_gets_further_files(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, naming="games", clock=Clock(0)) as writer:
        for batch in batches[:2]:
            writer.write(batch)
            writer.flush()
    (game,) = {game for batch in batches[:2] for game in batch.game_ids}
    index = json.loads((tmp_path / "year=1970/month=01/day=01/hour=00/_index.json").read_text())
    assert list(index["files"]) == [f"game_{game}_0000.npz", f"game_{game}_0001.npz"]


def test_many_games_share_a_file(tmp_path: Path) -> None:
    with (
        DatasetWriter(tmp_path) as writer,
        ExperienceRecorder(generals_env.make_vec(64, height=6, width=6, max_turns=20), writer) as env,
    ):
        env.reset(seed=1)
        env.play(60, ("random", "random"))
        env.flush()
        assert len(open_dataset(tmp_path).files) == 1
        assert env.games >= 128


def test_batches_of_different_kinds_get_separate_files(tmp_path: Path) -> None:
    parts = [recorded(1, f"run{k}", **options)[0] for k, options in enumerate([*KINDS, {"observation": "full"}])]
    parts.append(replace(parts[0], metadata={**parts[0].metadata, "policies": ["a", "b"]}))
    parts.append(replace(parts[-1], metadata={**parts[-1].metadata, "seed": 12345}))  # may differ
    with DatasetWriter(tmp_path) as writer:
        for part in parts:
            writer.write(part)
    found = list(open_dataset(tmp_path))
    assert [len(batch) for batch in found] == [*map(len, parts[:-2]), 2 * len(parts[-1])]
    assert found[-1].metadata["policies"] == ["a", "b"]


def test_human_games_are_read_back_from_all_formats(tmp_path: Path) -> None:
    paths = sorted(DATA.glob("*.json.gz"))[:3]
    plain = Memory()
    record_replays(paths, plain)
    for form in FORMATS:
        with DatasetWriter(tmp_path / form, form) as writer:
            for batch in plain:
                writer.write(batch)
        found = list(open_dataset(tmp_path / form))
        assert [name for batch in found for name in batch.game_ids] == list(dict.fromkeys(plain.column("game_id")))
        for name in ("sequence", "action", "reward", "collected_at", "turn", "player_id"):
            assert same(np.concatenate([getattr(batch, name) for batch in found]), plain.column(name))


# --- Where and when ---------------------------------------------------------------------------------------------------


def test_hours_days_and_years_start_new_folders(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    clock = Clock()
    with DatasetWriter(tmp_path, clock=clock) as writer:
        for batch, seconds in zip(batches, (0, 1, 1, 3600, 86_400), strict=False):
            clock.now += seconds
            writer.write(batch)
    folders = sorted({name.rpartition("/")[0] for name in names(tmp_path)})
    assert folders == [
        "year=2026/month=12/day=31/hour=23",
        "year=2027/month=01/day=01/hour=00",
        "year=2027/month=01/day=01/hour=01",
        "year=2027/month=01/day=02/hour=01",
    ]
    found = list(open_dataset(tmp_path))
    assert [len(batch) for batch in found] == [37, 74, 37, 37]
    assert np.array_equal(np.concatenate([batch.sequence for batch in found]), np.arange(5 * 37))


def test_wrong_and_different_clocks_lose_nothing_and_keep_order(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    clocks = Clock(NEW_YEAR), Clock(NEW_YEAR - 3 * 3600)
    writers = [DatasetWriter(tmp_path, clock=clock) for clock in clocks]
    other = recorded(5, "other")
    for batch, theirs in zip(batches, other, strict=True):
        writers[0].write(batch)
        writers[1].write(theirs)
        clocks[0].now -= 1800  # set back, again and again
        clocks[1].now += 1200
    for writer in writers:
        writer.close()
    found = list(open_dataset(tmp_path))
    for run, expected in (("run", batches), ("other", other)):
        mine = [batch for batch in found if batch.metadata["run"] == run]
        assert np.array_equal(np.concatenate([batch.sequence for batch in mine]), np.arange(sum(map(len, expected))))
    assert verify_dataset(tmp_path).ok


def test_files_are_written_when_large_or_old_enough(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    clock = Clock(0)
    writer = DatasetWriter(tmp_path, max_file_bytes=3 * batches[0].nbytes, max_file_seconds=10, clock=clock)
    counts = []
    for batch, seconds in zip(batches[:8], (0, 0, 0, 0, 9.9, 0.1, 0, 10), strict=True):
        clock.now += seconds
        writer.write(batch)
        counts.append(writer.stats().files)
    assert counts == [0, 0, 1, 1, 1, 2, 2, 3]
    writer.close()
    assert len(everything(tmp_path)) == 8 * 37


@pytest.mark.parametrize("game_id", ["a/b\\c:d", "..", "", "ü 雪", "CON", "%2F", "x" * 300, "a_0001"])
def test_any_game_id_is_safe_in_a_file_name(game_id: str, batches: list[ExperienceBatch], tmp_path: Path) -> None:
    batch = replace(batches[0], game_ids=(game_id,))
    with DatasetWriter(tmp_path, naming="games") as writer:
        writer.write(batch)
    (name,) = [name for name in names(tmp_path) if name.endswith(".npz")]
    told = parsed_name(name)
    assert told is not None
    assert (told.kind, told.id, told.number) == ("game", safe_id(game_id), 0)
    assert everything(tmp_path).game_ids == (game_id,)
    assert len(everything(tmp_path)) == 37
    assert [len(part) for part in open_dataset(tmp_path).filter(game_ids=[game_id])] == [37]
    assert len({safe_id(other) for other in (game_id, game_id + "x", game_id.upper() + "/", game_id + "%")}) == 4


def test_names_are_read_in_order_of_writing() -> None:
    hour = "year=2026/month=01/day=02/hour={:02d}"
    ordered = [
        f"{hour.format(3)}/game_b_0000.npz",
        f"{hour.format(2)}/game_b_0001.npz",  # the clock was set back
        f"{hour.format(4)}/game_b_0010.npz",
        f"{hour.format(3)}/game_a_0000.parquet",
        f"{hour.format(3)}/part_a_9999.games",
        f"{hour.format(3)}/part_a_10000.games",
    ]
    others = ["_index.json", "other.npz", "readme.md", f"{hour.format(1)}/_index.json"]
    assert in_order([*reversed(ordered), *others]) == ordered
    assert in_order(["experiences_10.npz", "experiences_9.npz", "x.parquet"]) == [
        "x.parquet",
        "experiences_9.npz",
        "experiences_10.npz",
    ]
    assert partition_of(NEW_YEAR) == "year=2026/month=12/day=31/hour=23"
    assert partition_end(partition_of(NEW_YEAR)) == NEW_YEAR + 1
    assert partition_end("year=2026/month=13/day=01/hour=00") is None
    assert partition_end("elsewhere") is None


# --- The index --------------------------------------------------------------------------------------------------------


def test_index_describes_contents_of_files(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, clock=Clock(), max_file_bytes=1) as writer:
        for batch in batches[:3]:
            writer.write(batch)
    folder = tmp_path / partition_of(NEW_YEAR)
    index = json.loads((folder / "_index.json").read_text())
    assert (index["experiences"], index["version"]) == (3 * 37, 1)
    for number, (name, entry) in enumerate(sorted(index["files"].items())):
        content = (folder / name).read_bytes()
        assert (entry["bytes"], entry["crc32"]) == (len(content), zlib.crc32(content))
        assert (entry["first_sequence"], entry["last_sequence"]) == (37 * number, 37 * number + 36)
        assert (entry["experiences"], entry["games"], entry["runs"]) == (37, len(batches[number].game_ids), ["run"])
        assert (entry["first_turn"], entry["last_turn"]) == (batches[number].turn.min(), batches[number].turn.max())


def test_missing_outdated_or_damaged_index_is_rebuilt(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, clock=Clock(), max_file_bytes=1) as writer:
        for batch in batches[:4]:
            writer.write(batch)
    path = tmp_path / partition_of(NEW_YEAR) / "_index.json"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    spoilt = [None, b"", whole[:100], b"[]", b'{"checksum": 0}']
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        spoilt.append(bytes(damaged))
    for content in spoilt:
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        assert len(everything(tmp_path)) == 4 * 37  # readers do without
        report = verify_dataset(tmp_path)
        assert report.ok == (content is None)
        if content is not None:
            assert [damage.place for damage in report.damages] == [str(path)]
            assert len(open_dataset(tmp_path).index_damages) == 1
        with DatasetWriter(tmp_path, clock=Clock()) as writer:
            writer.write(batches[4])
        assert verify_dataset(tmp_path).ok
        (tmp_path / partition_of(NEW_YEAR) / name_of(writer)).unlink()
        repair_dataset(tmp_path)
        assert path.read_bytes() == whole


def name_of(writer: DatasetWriter) -> str:
    return f"part_{writer._id}_0000.npz"


@pytest.mark.parametrize("link", [False, True])
def test_file_in_place_of_hour_folder_is_refused(link: bool, batches: list[ExperienceBatch], tmp_path: Path) -> None:
    """It was taken for a file of experience, and the next number was tried without end."""
    hour = tmp_path / partition_of(NEW_YEAR)
    hour.parent.mkdir(parents=True)
    if link:
        hour.symlink_to(tmp_path / "nothing")
    else:
        hour.write_text("a file")
    writer = DatasetWriter(tmp_path, clock=Clock())
    writer.write(batches[0])
    with pytest.raises(StorageError, match=f"expected a folder, got .*{hour.name}"):
        writer.flush()
    hour.unlink()
    writer.close()
    assert len(everything(tmp_path)) == 37


def test_deleted_files_are_reported(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, max_file_bytes=1) as writer:
        for batch in batches[:3]:
            writer.write(batch)
    gone = open_dataset(tmp_path).files[1].place
    Path(gone).unlink()
    report = verify_dataset(tmp_path)
    assert [(damage.place, damage.what) for damage in report.damages] == [(gone, "it is in the index, but does not exist")]
    assert report.gaps == {"run": 37}
    repair_dataset(tmp_path)
    assert verify_dataset(tmp_path).ok
    copy = Path(open_dataset(tmp_path).files[0].place)
    copy.with_name(copy.name.replace("_0000", "_0007")).write_bytes(copy.read_bytes())
    report = verify_dataset(tmp_path)
    assert report.repeats == {"run": 37}
    assert len(report.unindexed) == 1


# --- Old files --------------------------------------------------------------------------------------------------------


def test_oldest_files_are_removed_to_make_room(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    clock = Clock()
    size = 0
    with DatasetWriter(tmp_path, max_file_bytes=1, keep_bytes=20_000, clock=clock) as writer:
        for batch in batches:
            writer.write(batch)
            clock.now += 1000
            size = open_dataset(tmp_path).nbytes
            assert size <= 20_000
    stats = writer.stats()
    assert stats.deleted > 3
    assert stats.files - stats.deleted == len(open_dataset(tmp_path).files)
    found = everything(tmp_path)
    assert np.array_equal(found.sequence, np.arange(sum(map(len, batches)))[-len(found) :])
    assert verify_dataset(tmp_path).ok


def test_expired_files_go_to_archive(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    clock = Clock(0)
    archive = tmp_path / "archive"
    with DatasetWriter(tmp_path / "new", max_file_bytes=1, keep_seconds=7200, archive=archive, clock=clock) as writer:
        for batch in batches[:8]:
            writer.write(batch)
            clock.now += 1800
    # In hours 0 to 3; that of 0 ended 2.5 hours ago at the last write.
    assert {file.name.split("/")[3] for file in open_dataset(archive).files} == {"hour=00"}  # type: ignore[attr-defined]
    assert writer.stats().archived == len(open_dataset(archive).files) == 2
    assert verify_dataset(archive).ok
    assert verify_dataset(tmp_path / "new").ok
    both = ExperienceBatch.concat([everything(archive), everything(tmp_path / "new")])
    assert np.array_equal(both.sequence, np.arange(8 * 37))


def test_move_broken_off_by_crash_is_completed(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "new", max_file_bytes=1, clock=Clock(0)) as writer:
        writer.write(batches[0])
    name = open_dataset(tmp_path / "new").files[0].name  # type: ignore[attr-defined]
    open_store(tmp_path / "archive", create=True).create(name, (tmp_path / "new" / name).read_bytes())
    with DatasetWriter(tmp_path / "new", max_file_bytes=1, keep_seconds=1, archive=tmp_path / "archive") as writer:
        writer.write(batches[1])
    assert [len(batch) for batch in open_dataset(tmp_path / "archive")] == [37]
    assert np.array_equal(everything(tmp_path / "new").sequence, batches[1].sequence)


# --- Invalid calls ----------------------------------------------------------------------------------------------------


def test_closed_writer_accepts_nothing(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path)
    writer.close()
    writer.close()
    with pytest.raises(StateError, match="write: expected an open writer"):
        writer.write(batches[0])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"format": "csv"}, "format: expected one of npz, parquet, tfrecord, tfrecord.gz, games, got 'csv'"),
        ({"naming": "both"}, "naming: expected one of packed, games, got 'both'"),
        ({"when_full": "cry"}, "when_full: expected one of raise, drop, delete_oldest, got 'cry'"),
        ({"max_file_bytes": 0}, "max_file_bytes: expected"),
        ({"max_file_seconds": 0}, "max_file_seconds: expected seconds above 0, got 0"),
        ({"keep_bytes": -1}, "keep_bytes: expected"),
        ({"keep_seconds": "1"}, "keep_seconds: expected seconds, 0 or more, got '1'"),
        ({"min_free_bytes": 1.5}, "min_free_bytes: expected"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=text):
        DatasetWriter(tmp_path, **options)


def test_unwritable_batch_is_refused_before_it_blocks_others(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    with DatasetWriter(tmp_path) as writer:
        writer.write(batches[0])
        with pytest.raises(ConfigError, match="metadata: expected what JSON takes"):
            writer.write(replace(batches[1], metadata={"policy": object()}))
        with pytest.raises(ConfigError, match="game_ids: expected text"):
            writer.write(replace(batches[1], game_ids=("\ud800",) * len(batches[1].game_ids)))
    assert len(everything(tmp_path)) == 37


@pytest.mark.checklist("P9")
def test_nearly_full_disk_is_not_filled(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    free = open_store(tmp_path).free_bytes()
    assert free is not None
    writer = DatasetWriter(tmp_path, min_free_bytes=2 * free)
    with pytest.raises(StorageError, match=r"min_free_bytes: expected .* bytes free in .*, got"):
        writer.write(batches[0])
    writer.close()
    with DatasetWriter(tmp_path, min_free_bytes=2 * free, when_full="drop") as writer:
        writer.write(batches[0])
    assert (writer.stats().dropped, writer.stats().taken) == (37, 0)
    assert names(tmp_path) == []
    with DatasetWriter(tmp_path, max_file_bytes=1) as writer:
        writer.write(batches[0])
        writer.write(batches[1])
    writer = DatasetWriter(tmp_path, min_free_bytes=2 * free, when_full="delete_oldest")
    with pytest.raises(StorageError, match="min_free_bytes"):
        writer.write(batches[2])
    assert writer.stats().deleted == 2


FULL = """
import os, resource, signal, sys
import numpy as np
sys.path.insert(0, sys.argv[2])
from support.datasets import everything, recorded
from generals_env import StorageError
from generals_env.recorders import DatasetWriter, verify_dataset
place, mode = sys.argv[1], sys.argv[3]
batches = recorded(3)
if mode == "limit":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = DatasetWriter(place, sys.argv[4], max_file_bytes=1, min_free_bytes=0)
writer.write(batches[0])
if mode == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))
else:
    filler = open(place + "/filler", "wb", buffering=0)
    try:
        while True:
            filler.write(bytes(4096))
    except OSError:
        pass
writer.write(batches[1])  # taken: it stays in memory
assert writer.stats().pending == len(batches[1]), writer.stats()
for verb in (lambda: writer.write(batches[2]), writer.flush):
    try:
        verb()
    except StorageError as error:
        assert any(text in str(error) for text in ("[Errno 27]", "[Errno 28]", "min_free_bytes: expected")), error
    else:
        raise AssertionError("there is no room")
if mode == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    filler.close()
    os.unlink(place + "/filler")
assert len(everything(place)) == len(batches[0])
writer.write(batches[2])
writer.close()
assert np.array_equal(everything(place).sequence, np.arange(111))
assert verify_dataset(place).ok
assert not [name for _, _, names in os.walk(place) for name in names if name.endswith(".part")]
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither limits of this kind nor tmpfs")
@pytest.mark.parametrize("form", ["npz", "parquet", "games"])
@pytest.mark.parametrize("mode", ["limit", "tmpfs"])
@pytest.mark.checklist("P9")
def test_full_disk_loses_nothing_and_recovers(mode: str, form: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    if mode == "tmpfs":
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
        if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("only root may mount a small disk")
    try:
        command = [sys.executable, "-c", FULL, str(place), str(TESTS), mode, form]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
    finally:
        if mode == "tmpfs":
            subprocess.run(["umount", str(place)], check=True)


@pytest.mark.checklist("P9")
def test_failing_server_loses_nothing(batches: list[ExperienceBatch], s3: str, faulty_s3: FaultyProxy) -> None:
    writer = DatasetWriter(s3, max_file_bytes=1, retry=Retry(tries=2, first_wait=0.001))
    writer.write(batches[0])
    faulty_s3.faults.extend(["503"] * 2)
    writer.write(batches[1])  # stays in memory
    faulty_s3.faults.extend(["503", "503"])
    with pytest.raises(StorageError, match="expected to be reached"):
        writer.write(batches[2])
    assert writer.stats().pending == 37
    faulty_s3.faults.extend(["lost"])
    writer.write(batches[2])
    writer.close()
    faulty_s3.faults.extend(["503", "pass", "cut"])
    found = ExperienceBatch.concat(list(open_dataset(s3, retry=Retry(first_wait=0.001))))
    assert key(found) == key(ExperienceBatch.concat(batches[:3]))
    assert verify_dataset(s3).ok


def test_many_writers_share_a_place(tmp_path: Path, s3: str) -> None:
    runs = [recorded(2, f"run{number}") for number in range(4)]
    for place in (str(tmp_path), s3):

        def write(parts: list[ExperienceBatch], place: str = place) -> None:
            with DatasetWriter(place, naming="games", max_file_bytes=2000) as writer:
                for part in parts:
                    writer.write(part)
                    writer.flush()

        threads = [threading.Thread(target=write, args=(parts,)) for parts in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        report = verify_dataset(place)
        assert report.ok
        assert (report.unindexed, report.gaps, report.repeats) == ([], {}, {})
        assert report.experiences == sum(len(part) for parts in runs for part in parts)


# --- Killed at any moment ---------------------------------------------------------------------------------------------

KILLED = """
import os, random, select, signal, sys, time
sys.path.insert(0, sys.argv[2])
import numpy as np
from support.datasets import recorded
from generals_env.recorders import DatasetWriter
from generals_env.recorders.formats import format_of
place, form, attempts = sys.argv[1], sys.argv[3], int(sys.argv[4])
batches = recorded(2)
format_of(form).encode(batches[0])  # once here, not in every child
for attempt in range(attempts):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        number = attempt * 10**6
        writer = DatasetWriter(place, form, max_file_bytes=3 * batches[0].nbytes)
        os.write(writing, b"begun\\n")
        while True:
            for batch in batches:
                batch.rows["sequence"] = np.arange(number, number + len(batch))
                number += len(batch)
                writer.write(batch.compact())
                if random.random() < 0.7:
                    writer.flush()
                    os.write(writing, b"%d\\n" % (number - 1))
    os.close(writing)
    told = b""
    while told.count(b"\\n") < 1 + attempt % 3:  # it has begun, and then acknowledged nothing, once, or twice
        told += os.read(reading, 65536)
    time.sleep(random.random() * 0.02)  # and is anywhere in what it does
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while part := os.read(reading, 65536):
        told += part
    os.close(reading)
    lines = told.split(b"\\n")
    print(attempt, int(lines[-2]) if len(lines) > 2 else -1, flush=True)
    if attempt == attempts // 2:
        sys.stdin.readline()  # until readers have seen something
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and kill -9")
@pytest.mark.parametrize("form", FORMATS)
def test_killed_writer_loses_only_unacknowledged_experiences(form: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    command = [sys.executable, "-c", KILLED, str(place), str(TESTS), form, "100"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        reads = 0
        while process.poll() is None:  # readers continue meanwhile
            if place.exists() and list(place.rglob("part_*")):
                reads += sum(len(batch) for batch in open_dataset(place).shard(0, 20))
            if reads:
                process.stdin.close()
            time.sleep(0.05)
        assert process.stdout is not None
        acknowledged = dict(map(int, line.split()) for line in process.stdout)  # type: ignore[misc]
    assert process.returncode == 0
    assert len(acknowledged) == 100
    assert sum(last >= 0 for last in acknowledged.values()) > 30
    assert reads > 0
    found: dict[int, list[np.ndarray]] = {}
    for batch in open_dataset(place):
        found.setdefault(int(batch.sequence[0]) // 10**6, []).append(batch.sequence % 10**6)
    for attempt, last in acknowledged.items():
        there = np.concatenate(found.get(attempt, [np.zeros(0, np.int64)]))
        assert np.array_equal(there, np.arange(len(there)))  # once, in order, without a hole
        assert last < 0 or len(there) > last - attempt * 10**6
    report = repair_dataset(place)  # files left by a killed writer are no damage
    assert report.ok
    assert report.experiences == sum(len(part) for parts in found.values() for part in parts)
    assert verify_dataset(place).unindexed == []


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    killed = (tmp_path / "place").exists()
    assert killed or not list(tmp_path.rglob("*.part"))
