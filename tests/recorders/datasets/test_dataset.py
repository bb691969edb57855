"""Tests reading of datasets: whole, in parts, shuffled, sharded, and with damaged files."""

from __future__ import annotations

import pickle
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.datasets import everything, key, recorded
from support.s3 import s3, s3_process

from generals_env import ConfigError, StorageError
from generals_env.recorders import (
    Dataset,
    DatasetWriter,
    ExperienceBatch,
    ExperienceLog,
    StreamDataset,
    open_dataset,
    repair_dataset,
    verify_dataset,
)
from generals_env.recorders.formats import FORMATS
from generals_env.recorders.log import log_as_dataset

__all__ = ["s3", "s3_process"]

GAMES = 6


@pytest.fixture(scope="module")
def batches() -> list[ExperienceBatch]:
    return recorded(GAMES)


@pytest.fixture(params=["npz", "parquet", "tfrecord", "tfrecord.gz", "games", "npz by game", "mixed", "log", "s3"])
def place(
    request: pytest.FixtureRequest, batches: list[ExperienceBatch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Return a place with all batches, in several files."""
    kind = request.param
    if kind == "log":
        monkeypatch.setattr(log_as_dataset, "EXPERIENCES", 50)
        with ExperienceLog(tmp_path, "normal") as log:
            for batch in batches:
                log.write(batch)
        return str(tmp_path)
    out = request.getfixturevalue("s3") if kind == "s3" else str(tmp_path)
    form, naming = ("npz", "games") if kind == "npz by game" else (kind if kind in FORMATS else "npz", "packed")
    writer = DatasetWriter(out, form, naming, max_file_bytes=8_000)
    for number, batch in enumerate(batches):
        if kind == "mixed" and number % 3 == 0:
            writer.close()
            writer = DatasetWriter(out, sorted(FORMATS)[number // 3 % 5])
        writer.write(batch)
    writer.close()
    return out


def numbers(source: Any) -> list[int]:
    return [number for batch in source for number in batch.sequence.tolist()]


def test_dataset_is_read_whole_in_parts_and_by_number(place: str, batches: list[ExperienceBatch]) -> None:
    whole = ExperienceBatch.concat(batches)
    dataset = open_dataset(place)
    assert dataset.experiences == len(whole)
    assert len(dataset.files) > 3
    assert repr(dataset) == f"Dataset({len(dataset.files)} files, {dataset.nbytes:,} bytes)"
    assert numbers(dataset) == numbers(dataset)  # again and again
    assert sorted(numbers(dataset)) == list(range(len(whole)))
    assert key(ExperienceBatch.concat(list(dataset))) == key(whole)
    # Of one size, across files.
    sizes = [len(batch) for batch in dataset.batches(41)]
    assert sizes == [41] * (len(whole) // 41) + [len(whole) % 41] * (len(whole) % 41 > 0)
    assert numbers(dataset.batches(41)) == numbers(dataset)
    # Filters.
    game = whole.game_ids[2]
    for wanted, mine in (
        ({"game_ids": [game]}, whole.game_id == game),
        ({"player_ids": [1]}, whole.player_id == 1),
        ({"min_turn": 30}, whole.turn >= 30),
        (
            {"game_ids": [game, "no such"], "player_ids": {0}, "min_turn": 7},
            (whole.game_id == game) & (whole.player_id == 0) & (whole.turn >= 7),
        ),
        ({"game_ids": []}, np.zeros(len(whole), np.bool_)),
    ):
        found = list(dataset.filter(**wanted))  # type: ignore[arg-type]
        assert sorted(numbers(found)) == np.flatnonzero(mine).tolist()
        if found:
            assert key(ExperienceBatch.concat(found)) == key(whole.select(mine))
    twice = dataset.filter(game_ids=whole.game_ids[:3], min_turn=5).filter(game_ids=whole.game_ids[2:], min_turn=3)
    assert sorted(numbers(twice)) == np.flatnonzero((whole.game_id == game) & (whole.turn >= 5)).tolist()
    # By number, in any order, some twice.
    order = numbers(dataset)
    rng = np.random.default_rng(1)
    wanted_numbers = rng.integers(0, len(whole), 60)
    taken = dataset.take(wanted_numbers)
    assert taken.sequence.tolist() == [order[number] for number in wanted_numbers]
    assert key(dataset.take([5])) == key(whole.select([order[5]]))


def test_shuffle_draws_each_experience_once_by_seed_and_epoch(place: str) -> None:
    dataset = open_dataset(place)
    plain = numbers(dataset)
    orders = [numbers(dataset.shuffled(100, seed, epoch)) for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))]
    assert orders[0] == orders[1]
    for order in orders:
        assert sorted(order) == sorted(plain)
    assert len({tuple(order) for order in [plain, *orders]}) == 4
    following = sum(later == early + 1 for early, later in pairwise(orders[0]))
    assert following < len(plain) / 20
    assert {len(batch) for batch in dataset.shuffled(100, 1).batches(16)} <= {16, len(plain) % 16}


def test_shards_of_files_make_up_the_whole(place: str) -> None:
    dataset = open_dataset(place)
    for count in (1, 2, 5):
        shares = [numbers(dataset.shard(index, count)) for index in range(count)]
        assert Counter(number for share in shares for number in share) == Counter(numbers(dataset))
        mixed = [numbers(dataset.shuffled(50, seed=3).shard(index, count)) for index in range(count)]
        assert Counter(number for share in mixed for number in share) == Counter(numbers(dataset))
        assert sum(bool(share) for share in shares) == count


def test_torch_reads_datasets_of_any_kind(place: str, batches: list[ExperienceBatch]) -> None:
    whole = ExperienceBatch.concat(batches)
    dataset = open_dataset(place)
    loader = torch.utils.data.DataLoader(StreamDataset(dataset, 32, as_tensors=False), batch_size=None, num_workers=2)
    assert sorted(numbers(loader)) == list(range(len(whole)))
    ours = StreamDataset(dataset.filter(player_ids=[0]), 32, shuffle_buffer=64)
    assert sum(len(batch.actions) for batch in ours) == int((whole.player_id == 0).sum())


def test_datasets_are_pickled(place: str) -> None:
    dataset = open_dataset(place).filter(player_ids=[1]).batches(10)
    assert numbers(pickle.loads(pickle.dumps(dataset))) == numbers(dataset)


# --- One file, other files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_single_file_is_a_dataset(form: str, batches: list[ExperienceBatch], tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, form) as writer:
        writer.write(batches[0])
    place = open_dataset(tmp_path).files[0].place
    assert open_dataset(place).experiences == 37
    assert key(everything(place)) == key(batches[0])
    assert key(everything(f"file://{place}")) == key(everything(f"file://{tmp_path}")) == key(batches[0])
    alone = tmp_path / f"any name{FORMATS[form]}"
    alone.write_bytes(Path(place).read_bytes())
    if form == "npz":  # other NPZ files may hold anything, so that folders leave them out
        with pytest.raises(StorageError, match="path: expected a folder with files of experience"):
            open_dataset(alone.parent / "nowhere")
    else:
        assert len(open_dataset(tmp_path).files) == 2
    assert key(everything(Path(place).parent)) == key(batches[0])


def test_single_file_on_s3_is_a_dataset(s3: str, batches: list[ExperienceBatch]) -> None:
    with DatasetWriter(s3, "parquet") as writer:
        writer.write(batches[0])
    place = open_dataset(s3).files[0].place
    assert place.startswith("s3://")
    assert key(everything(place)) == key(batches[0])
    with pytest.raises(StorageError, match="which does not exist"):
        open_dataset(place.replace("_0000", "_0001"))
    with pytest.raises(StorageError, match="path: expected a folder with files"):
        open_dataset(f"{s3}/elsewhere")


def test_records_are_read_one_by_one_at_offsets_of_index(
    batches: list[ExperienceBatch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random access to a compressed TFRecord file moves the bytes of one part only."""
    whole = ExperienceBatch.concat(recorded(20, "long"))
    with DatasetWriter(tmp_path, "tfrecord.gz") as writer:
        writer.write(whole)
    dataset = open_dataset(tmp_path)
    (file,) = dataset.files
    entry = file.entry  # type: ignore[attr-defined]
    assert len(entry.offsets) > 3
    moved = []
    read = type(file.store).read  # type: ignore[attr-defined]

    def counted(self: Any, name: str, start: int = 0, stop: int | None = None) -> bytes:
        moved.append(read(self, name, start, stop))
        return bytes(moved[-1])

    monkeypatch.setattr(type(file.store), "read", counted)  # type: ignore[attr-defined]
    assert dataset.take([700]).sequence.tolist() == [700]
    assert sum(map(len, moved)) < file.size / 2


# --- Damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_flipped_byte_anywhere_is_found_and_the_rest_stays_readable(
    form: str, batches: list[ExperienceBatch], tmp_path: Path
) -> None:
    with DatasetWriter(tmp_path, form, max_file_bytes=1) as writer:
        for batch in batches[:3]:
            writer.write(batch)
    dataset = open_dataset(tmp_path)
    victim = Path(dataset.files[1].place)
    whole = victim.read_bytes()
    rng = np.random.default_rng(0)
    for number in range(60):
        spoilt = bytearray(whole)
        if number % 6 == 0:
            del spoilt[rng.integers(len(whole)) :]
        else:
            spoilt[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        victim.write_bytes(spoilt)
        with pytest.raises(StorageError, match=r"path: expected a file of experiences, got '.*part_.*"):
            list(dataset)
        assert numbers(dataset.skip_damaged()) == [*range(37), *range(74, 111)]
        if number % 10 == 0:
            report = verify_dataset(tmp_path)
            assert [damage.place for damage in report.damages] == [str(victim)]
            assert report.experiences == 74
    victim.write_bytes(spoilt)
    assert not repair_dataset(tmp_path).ok
    assert verify_dataset(tmp_path).ok  # set aside, not deleted
    assert numbers(open_dataset(tmp_path)) == [*range(37), *range(74, 111)]
    assert victim.with_name(f".damaged-{victim.name}").read_bytes() == bytes(spoilt)


def test_repair_continues_after_a_killed_one(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, max_file_bytes=1) as writer:
        for batch in batches[:3]:
            writer.write(batch)
    victim = Path(open_dataset(tmp_path).files[1].place)
    aside = victim.with_name(f".damaged-{victim.name}")
    for number, content in enumerate((b"damaged", b"damaged otherwise")):  # the second time the first copy is kept
        victim.write_bytes(content)
        if number == 0:
            aside.write_bytes(content)  # the copy was made, the file not yet removed
        assert not repair_dataset(tmp_path).ok
        assert verify_dataset(tmp_path).ok
        assert not victim.exists()
    assert aside.read_bytes() == b"damaged"
    assert aside.with_name(f"{aside.name}.1").read_bytes() == b"damaged otherwise"
    assert numbers(open_dataset(tmp_path)) == [*range(37), *range(74, 111)]


def test_damaged_log_is_skipped(batches: list[ExperienceBatch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_as_dataset, "EXPERIENCES", 37)
    with ExperienceLog(tmp_path) as log:
        for batch in batches[:6]:
            log.write(batch)
    (segment,) = tmp_path.glob("*.db")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 0xFF
    segment.write_bytes(content)
    with pytest.raises(StorageError, match="segment_"):
        list(open_dataset(tmp_path))
    rest = numbers(open_dataset(tmp_path).skip_damaged())
    assert set(rest) < set(range(6 * 37))
    assert len(rest) >= 2 * 37


# --- Errors -----------------------------------------------------------------------------------------------------------


def test_invalid_dataset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.npz").write_text("nothing")
    for place in (tmp_path, tmp_path / "empty", tmp_path / "not there", "null\0byte"):
        with pytest.raises(StorageError, match="path: expected a folder with files of experience"):
            open_dataset(place)
    with pytest.raises(StorageError, match="path: expected a file of experiences, got"):
        list(open_dataset(tmp_path / "text.npz"))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda d: d.filter(game_ids="one"), "game_ids: expected a list of strings or None, got 'one'"),
        (lambda d: d.filter(player_ids=["0"]), "player_ids: expected a list of integers or None"),
        (lambda d: d.filter(min_turn=1.5), "min_turn: expected"),
        (lambda d: d.batches(0), "batch_size: expected"),
        (lambda d: d.shuffled(0), "shuffle_buffer: expected"),
        (lambda d: d.shuffled(5, seed=-1), "seed: expected"),
        (lambda d: d.shard(2, 2), "index: expected"),
        (lambda d: d.shard(0, 2).shard(0, 2), "shard: expected a dataset that is not divided yet"),
        (lambda d: d.take([0, 37]), "indices: expected integers below 37"),
        (lambda d: d.take([]), "indices: expected integers below 37"),
    ],
)
def test_bad_arguments_are_refused(call: Any, text: str, batches: list[ExperienceBatch], tmp_path: Path) -> None:
    with DatasetWriter(tmp_path) as writer:
        writer.write(batches[0])
    with pytest.raises(ConfigError, match=text):
        call(open_dataset(tmp_path))


def test_files_without_index_cannot_be_counted(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    with DatasetWriter(tmp_path) as writer:
        writer.write(batches[0])
    for path in tmp_path.rglob("_index.json"):
        path.unlink()
    dataset = open_dataset(tmp_path)
    assert dataset.experiences is None
    with pytest.raises(StorageError, match="index: expected an entry of"):
        dataset.take([0])
    assert isinstance(dataset, Dataset)
