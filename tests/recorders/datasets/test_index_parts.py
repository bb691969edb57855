"""Tests indexes that many writers share: parts, their merging, crashes at any step, and publishing that is repeated."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.datasets import everything, key, recorded
from support.paths import TESTS
from support.s3 import s3, s3_process

from generals_env import ConfigError, StorageError
from generals_env.recorders import DatasetWriter, ExperienceBatch, open_dataset, repair_dataset, verify_dataset
from generals_env.recorders.datasets import index_parts
from generals_env.recorders.datasets.data_file import files_in, mend_index
from generals_env.recorders.datasets.index import FileEntry
from generals_env.recorders.datasets.index_parts import IndexParts
from generals_env.recorders.filesystem.file_stores import FileStore, LocalStore, open_store
from generals_env.recorders.formats.file_names import is_index

__all__ = ["s3", "s3_process"]

HOUR = "year=2026/month=11/day=29/hour=08"


@pytest.fixture(scope="module")
def batches() -> list[ExperienceBatch]:
    return recorded(3)


class Publisher:
    """A writer of one hour, whose files have few bytes: only indexes are tested."""

    def __init__(self, store: FileStore, name: str) -> None:
        self.store, self.name, self.count = store, name, 0
        self.parts = IndexParts(store, name, "npz")

    def publish(self) -> str:
        """Publish a file, and return its name."""
        file = f"part_{self.name}_{self.count:04d}.npz"
        self.count += 1
        self.store.create(f"{HOUR}/{file}", b"x" * self.count)
        self.parts.add(HOUR, {file: FileEntry(self.count, 0, self.count, 1, 0, 0, 0, 0)})
        return file


def indexed(store: FileStore) -> dict[str, int | None]:
    """Return the experiences of each file that has an index entry."""
    files, damages = files_in(store)
    assert not damages
    return {file.name.rpartition("/")[2]: file.experiences for file in files if file.entry is not None}


def parts_in(store: FileStore) -> list[str]:
    names = [file.name.rpartition("/")[2] for file in store.files(hidden=True)]
    return [name for name in names if is_index(name) and "-" in name]


class Broken(LocalStore):
    """A folder whose disk fails for good after some calls."""

    left = 10**9

    def __getattribute__(self, name: str) -> Any:
        if name in ("files", "read", "create", "change", "replace", "delete"):
            if self.left <= 0:
                raise StorageError("the disk is gone")
            self.left -= 1
        return super().__getattribute__(name)


# --- Merging ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("merging", ["writer", "repair"])
def test_merge_broken_off_at_any_step_loses_no_entry(merging: str, tmp_path: Path) -> None:
    for step in range(60):
        place = tmp_path / str(step)
        broken, store = Broken(place, create=True), LocalStore(place)
        publishers = [Publisher(broken, name) for name in "abc"]
        names = {publisher.publish() for publisher in publishers for _ in range(3)}
        publishers[2].parts.close()
        broken.left = step
        with suppress(StorageError):
            publishers[0].parts.close() if merging == "writer" else mend_index(broken, HOUR)
        finished = broken.left > 0
        assert set(indexed(store)) == names, step
        assert not [name for name in store.files() if name.name.endswith(".part")]
        mend_index(store, HOUR)
        assert (set(indexed(store)), parts_in(store)) == (names, [])
        if finished:
            break
    assert finished
    assert step > 3


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", "close a", "close b", "close c", "repair"]), max_size=12))
def test_merges_in_any_order_give_the_same_entries(tmp_path_factory: pytest.TempPathFactory, actions: list[str]) -> None:
    store = LocalStore(tmp_path_factory.mktemp("dataset"))
    publishers = {name: Publisher(store, name) for name in "abc"}
    names: dict[str, int] = {}
    for action in actions:
        if action == "repair":
            mend_index(store, HOUR)
        elif action.startswith("close"):
            publishers[action[-1]].parts.close()
        else:
            file = publishers[action].publish()
            names[file] = publishers[action].count
        assert indexed(store) == names
    for publisher in publishers.values():
        publisher.parts.close()
    assert (indexed(store), parts_in(store)) == (names, [])


def test_part_replaced_during_repair_stays(tmp_path: Path, s3: str) -> None:
    for place in (tmp_path, s3):
        store = open_store(place, create=True)
        publisher = Publisher(store, "a")
        names = {publisher.publish()}
        change = store.change
        late: list[str] = []

        def interrupted(
            name: str,
            function: Callable[[bytes | None], bytes | None],
            change: Callable[..., None] = change,
            late: list[str] = late,
            publisher: Publisher = publisher,
        ) -> None:
            if "index-" in name and not late:
                late.append("")
                late[0] = publisher.publish()  # after the repair has read the part, before it deletes it
            change(name, function)

        store.change = interrupted  # type: ignore[method-assign]
        mend_index(store, HOUR)
        assert late
        assert set(indexed(open_store(place))) == names | set(late)


def test_large_parts_are_merged_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_parts, "PART_ENTRIES", 5)
    store = LocalStore(tmp_path)
    publisher = Publisher(store, "a")
    sizes = []
    for _ in range(12):
        publisher.publish()
        sizes.append(len(parts_in(store)))
    assert sizes == [1, 1, 1, 1, 0] * 2 + [1, 1]
    assert len(indexed(store)) == 12
    Path(tmp_path, HOUR, "part_a_0011.npz").unlink()  # as retention of another writer does
    publisher.parts.close()
    assert len(json.loads(Path(tmp_path, HOUR, "_index.json").read_text())["files"]) == 11


def test_damaged_index_keeps_parts_until_repair(
    batches: list[ExperienceBatch], tmp_path: Path, s3: str, caplog: pytest.LogCaptureFixture
) -> None:
    with DatasetWriter(s3) as writer:
        writer.write(batches[0])
    store = open_store(s3)
    index = next(file.name for file in store.files() if file.name.endswith("_index.json"))
    store.replace(index, b"{")
    with caplog.at_level(logging.WARNING), DatasetWriter(s3) as writer:
        writer.write(batches[1])
    assert "not merged yet" in caplog.text
    assert len(parts_in(store)) == 1
    assert not repair_dataset(s3).ok
    assert verify_dataset(s3).ok
    assert parts_in(store) == []
    assert open_dataset(s3).experiences == 74


def test_store_without_conditional_writes_keeps_parts(batches: list[ExperienceBatch], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_parts, "PART_ENTRIES", 2)
    place = "memory://parts/experiences"
    with DatasetWriter(place, max_file_bytes=1) as one, DatasetWriter(place, max_file_bytes=1) as two:
        for number in range(3):
            for writer, batch in ((one, batches[number]), (two, batches[number + 3])):
                writer.write(batch)
                writer.flush()
    store = open_store(place)
    assert len(parts_in(store)) == 4  # a full one and the last one of each writer
    assert open_dataset(place).experiences == 6 * 37
    assert repair_dataset(place).ok
    assert parts_in(store) == []
    assert open_dataset(place).experiences == 6 * 37
    for file in list(store.files(hidden=True)):
        store.delete(file.name)


def test_other_programs_skip_parts_of_parquet_indexes(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    dataset, polars = pytest.importorskip("pyarrow.dataset"), pytest.importorskip("polars")
    with DatasetWriter(tmp_path, "parquet") as writer:
        writer.write(batches[0])
    file = files_in(LocalStore(tmp_path))[0][0]
    folder, _, name = file.name.rpartition("/")
    assert file.entry is not None
    IndexParts(LocalStore(tmp_path), "writer", "parquet").add(folder, {name: file.entry})
    assert parts_in(LocalStore(tmp_path)) == [".index-writer-0.parquet"]
    assert dataset.dataset(tmp_path, format="parquet", partitioning="hive").count_rows() == 37
    assert polars.scan_parquet(tmp_path, hive_partitioning=True).select(polars.len()).collect().item() == 37
    (tmp_path / folder / ".index.parquet").unlink()
    assert open_dataset(tmp_path).experiences == 37


# --- Many processes ---------------------------------------------------------------------------------------------------

PRODUCERS = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from support.datasets import recorded
from generals_env.recorders import DatasetWriter
batch = recorded(1)[0]
children = []
for number in range(9):
    child = os.fork()
    if child:
        children.append(child)
        continue
    one = batch.slice(0, len(batch))
    writer = DatasetWriter(sys.argv[1])
    for turn in range(25 if number < 8 else 3):
        if number == 8 and turn == 2:  # killed between a file and its entry
            writer._parts.add = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        one.rows["sequence"] = np.arange(turn * len(one), (turn + 1) * len(one)) + number * 10**6
        writer.write(one.compact())
        writer.flush()
    writer.close()
    os._exit(0)
print([os.waitpid(child, 0)[1] for child in children])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and kill -9")
def test_eight_processes_publish_without_losing_entries(s3: str) -> None:
    command = [sys.executable, "-c", PRODUCERS, s3, str(TESTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = 0
        while process.poll() is None:  # readers see whole files, and more of them each time
            files = files_in(open_store(s3))[0]
            assert len(files) >= seen
            seen = len(files)
            assert all(len(file.whole()) == 37 for file in files[-1:])
            time.sleep(0.5)
        assert process.stdout.read() == f"{[0] * 8 + [9]}\n"
    files = files_in(open_store(s3))[0]
    assert len(files) == 8 * 25 + 3
    assert sum(file.entry is None for file in files) == 1  # that of the killed writer
    store = open_store(s3)
    assert len(parts_in(store)) == 1
    mend_index(store, files[0].name.rpartition("/")[0])  # as repair_dataset() does
    assert parts_in(store) == []
    assert open_dataset(s3).experiences == (8 * 25 + 3) * 37


# --- Publishing that is repeated --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["npz", "parquet", "games"])
def test_repeated_task_publishes_the_same_files(
    form: str, batches: list[ExperienceBatch], tmp_path: Path, s3: str, caplog: pytest.LogCaptureFixture
) -> None:
    for place in (tmp_path, s3) if form == "npz" else (tmp_path,):
        for late in range(2):
            with DatasetWriter(place, form, max_file_bytes=1, writer_id="run-000001", clock=lambda: 1.7e9) as writer:
                for batch in batches[:2]:
                    again = batch.slice(0, len(batch)).compact()
                    again.rows["collected_at"] += late * 10**9  # played again, later
                    writer.write(again)
            stats = writer.stats()
            assert (stats.written, stats.pending, stats.files) == (74, 0, 2)
        assert [str(file.place).rpartition("/")[2].partition(".")[0] for file in open_dataset(place).files] == [
            "part_run-000001_0000",
            "part_run-000001_0001",
        ]
        assert verify_dataset(place).ok
        assert not caplog.records
        with DatasetWriter(place, form, writer_id="run-000001", clock=lambda: 1.7e9) as writer:
            writer.write(batches[2])
        assert "part_run-000001_0000" in caplog.text
        caplog.clear()
        assert key(everything(place))[-37:] == key(batches[2])
        assert len(open_dataset(place).files) == 3


def test_bad_ids_of_writers_are_refused(tmp_path: Path) -> None:
    for bad in ("", 7):
        with pytest.raises(ConfigError, match="writer_id: expected text"):
            DatasetWriter(tmp_path, writer_id=bad)  # type: ignore[arg-type]


def test_npz_files_of_equal_batches_are_equal_bytes(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    with DatasetWriter(tmp_path) as writer:
        writer.write(batches[0])
    content = open_store(tmp_path).read(open_dataset(tmp_path).files[0].name)  # type: ignore[attr-defined]
    with zipfile.ZipFile(BytesIO(content)) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_repeats_are_left_out_within_and_across_shards(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    for name in range(6):
        for run in range(4) if name < 2 else [name]:  # runs 0 to 3 are played twice or more, by other writers
            with DatasetWriter(tmp_path) as writer:
                for batch in batches[:3]:
                    ids = tuple(f"run{run}-{game}" for game in batch.game_ids)
                    writer.write(replace(batch, game_ids=ids, metadata={**batch.metadata, "run": f"run{run}"}))
    whole = open_dataset(tmp_path)
    assert whole.experiences == 12 * 111
    once = whole.without_repeats(1000)
    assert sum(map(len, once)) == sum(map(len, once.shuffled(50, seed=1))) == 6 * 111
    for count in (2, 3):
        shards = [list(once.shard(index, count)) for index in range(count)]
        found = [
            (batch.game_ids[game], player, turn)
            for shard in shards
            for batch in shard
            for game, player, turn in zip(batch.game, batch.player_id, batch.turn, strict=True)
        ]
        assert len(found) == len(set(found)) == 6 * 111
    assert sum(map(len, whole.without_repeats(1))) > 6 * 111
    with pytest.raises(ConfigError, match="capacity: expected"):
        whole.without_repeats(0)
    assert np.array_equal(next(iter(once)).sequence, next(iter(whole)).sequence)
