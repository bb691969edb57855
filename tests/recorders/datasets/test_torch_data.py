"""Experience in torch's loader: every one of it exactly once, whoever reads it, and the same order for the same seed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.paths import DATA
from torch.utils.data import DataLoader

import generals_env
from generals_env.errors import ConfigError, StorageError
from generals_env.recorders import Dataset, ExperienceBatch, ExperienceRecorder, open_dataset, record_replays
from generals_env.recorders.datasets.torch_datasets import BoardDataset, StreamDataset
from generals_env.recorders.experience.torch_tensors import TorchTensors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of five files of unequal length."""
    path: Path = tmp_path_factory.mktemp("recorded")
    with ExperienceRecorder(generals_env.make_vec(3, height=5, width=6, max_turns=20), path) as env:
        env.reset(seed=1)
        for turns in (7, 30, 12, 1, 25):
            env.play(turns, ("random", "expander"))
            env.flush()
    assert len(open_dataset(path).files) >= 5
    return path


@pytest.fixture(scope="module")
def whole(folder: Path) -> ExperienceBatch:
    return ExperienceBatch.concat(list(open_dataset(folder)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def loader(dataset: Any, workers: int = 0, context: str = "fork", **options: Any) -> DataLoader[Any]:
    more: Any = {"multiprocessing_context": context} if workers else {}
    return DataLoader(dataset, num_workers=workers, **more, **options)


def numbers(parts: list[ExperienceBatch]) -> list[int]:
    """Return the sequences of all experiences."""
    return np.concatenate([part.sequence for part in parts]).tolist() if parts else []


def joined(parts: list[TorchTensors]) -> list[np.ndarray]:
    return [np.concatenate([tensor.numpy() for tensor in column]) for column in zip(*parts, strict=True)]


def rows_of(columns: Any) -> list[bytes]:
    """Return each experience as bytes, sorted."""
    return sorted(b"".join(np.ascontiguousarray(column[i]).tobytes() for column in columns) for i in range(len(columns[0])))


WORKERS = [(0, "fork"), (1, "fork"), (2, "fork"), (2, "spawn")]


@pytest.mark.parametrize("shuffle", [0, 40])
@pytest.mark.parametrize(("workers", "context"), WORKERS)
def test_every_experience_comes_exactly_once(
    folder: Path, whole: ExperienceBatch, workers: int, context: str, shuffle: int
) -> None:
    stream = StreamDataset(folder, 32, shuffle, seed=1)
    parts: list[TorchTensors] = list(loader(stream, workers, context, batch_size=None))
    assert all(type(part) is TorchTensors for part in parts)
    assert rows_of(joined(parts)) == rows_of(whole.tensors())
    sizes = [len(part.actions) for part in parts]
    assert sum(size != 32 for size in sizes) <= max(workers, 1)
    assert max(sizes) == 32
    if workers == 0:
        assert sizes[:-1] == [32] * (len(sizes) - 1)
        if not shuffle:
            assert all(map(np.array_equal, joined(parts), whole.tensors()))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("listed", [False, True])
def test_the_order_is_that_of_seed_and_epoch(folder: Path, whole: ExperienceBatch, workers: int, listed: bool) -> None:
    source: Any = list(open_dataset(folder)) if listed else open_dataset(folder)

    def order(seed: int, epoch: int, dataset: StreamDataset | None = None) -> list[int]:
        stream = dataset or StreamDataset(source, 16, 50, seed, as_tensors=False)
        stream.set_epoch(epoch)
        return numbers(list(loader(stream, workers, batch_size=None)))

    first = order(1, 0)
    assert first == order(1, 0)
    assert sorted(first) == whole.sequence.tolist()
    others = [order(1, 1), order(2, 0), order(1, 2)]
    assert all(sorted(other) == sorted(first) != other for other in others)
    assert len({tuple(other) for other in [first, *others]}) == 4
    if workers:  # those that stay hear of the epoch, too
        stream = StreamDataset(source, 16, 50, 1, as_tensors=False)
        staying = loader(stream, workers, batch_size=None, persistent_workers=True)
        assert numbers(list(staying)) == first
        stream.set_epoch(1)
        assert numbers(list(staying)) == others[0]
        del staying


def test_a_shuffle_mixes_what_lies_apart(folder: Path, whole: ExperienceBatch) -> None:
    mixed = np.array(numbers(list(StreamDataset(folder, 16, 10_000, as_tensors=False))))
    assert sorted(mixed.tolist()) == whole.sequence.tolist()
    assert abs(np.corrcoef(mixed, np.arange(len(mixed)))[0, 1]) < 0.2
    kept = next(iter(StreamDataset(folder, 16, 10_000, as_tensors=False)))
    assert len(kept.boards.tiles) <= 32  # nothing else goes to the other process


def test_games_of_several_sizes_have_one_shape(tmp_path: Path) -> None:
    record_replays([DATA / "cqivEp6Ad.json.gz", DATA / "B5--zeFUe.json.gz"], tmp_path)
    total = sum(map(len, open_dataset(tmp_path)))
    (shape,) = {tuple(batch.states.shape[2:]) for batch in StreamDataset(tmp_path, 100, 50, shape=(40, 41))}
    assert shape == (40, 41)
    assert sum(len(batch.actions) for batch in StreamDataset(tmp_path, 100)) == total
    with pytest.raises(ConfigError, match="shape: expected at least"):
        list(StreamDataset(tmp_path, 100, shape=(2, 2)))


@pytest.mark.parametrize(("workers", "context"), WORKERS)
def test_a_dataset_in_memory_is_expanded_a_batch_at_a_time(
    folder: Path, whole: ExperienceBatch, workers: int, context: str
) -> None:
    dataset = BoardDataset(folder)
    assert len(dataset) == len(whole)
    own = list(loader(dataset, workers, context, batch_size=50, collate_fn=BoardDataset.collate))
    assert all(map(np.array_equal, joined(own), whole.tensors()))
    assert all(type(part) is TorchTensors for part in own)
    assert [len(part.actions) for part in own] == [50] * (len(whole) // 50) + [len(whole) % 50] * (len(whole) % 50 > 0)


def test_the_loaders_own_collation_gives_the_same(whole: ExperienceBatch) -> None:
    dataset = BoardDataset(whole)
    batches = [
        list(loader(dataset, batch_size=64, shuffle=True, generator=torch.Generator().manual_seed(3), collate_fn=collate))
        for collate in (None, None, BoardDataset.collate)
    ]
    for other in batches[1:]:
        for one, two in zip(batches[0], other, strict=True):
            assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(one, two, strict=True))
    assert rows_of(joined(batches[0])) == rows_of(whole.tensors())


def test_single_experiences_and_slices(whole: ExperienceBatch) -> None:
    dataset = BoardDataset([whole.slice(0, 20), whole.slice(20, len(whole))])
    tensors = whole.tensors()
    for index in (0, 37, -1):
        assert all(np.array_equal(one.numpy(), column[index]) for one, column in zip(dataset[index], tensors, strict=True))
    assert dataset[3].states.shape == (9, 5, 6)
    fetched = dataset.__getitems__([5, 2, 5])
    assert len(fetched) == 3
    assert torch.equal(fetched[1].states, fetched[0:2].whole.states[1])
    assert torch.equal(fetched[0].states, fetched[2].states)
    with pytest.raises(IndexError, match=f"index: expected an integer below {len(whole)}, got {len(whole)}"):
        dataset[len(whole)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_file_is_told_of(folder: Path, tmp_path: Path, workers: int) -> None:
    files = list(open_dataset(folder).files)
    damaged = tmp_path / "experiences_000001.npz"
    damaged.write_bytes(Path(files[1].place).read_bytes()[:-100])
    files[1] = open_dataset(damaged).files[0]
    with pytest.raises(StorageError, match="path: expected a file of experiences"):
        list(loader(StreamDataset(Dataset(tuple(files)), 16), workers, batch_size=None))
    with pytest.raises(StorageError, match="path: expected a file of experiences"):
        BoardDataset(tmp_path)


def test_errors_say_what_was_expected(folder: Path, tmp_path: Path) -> None:
    wrong: Any
    for wrong in (5, iter([]), map(len, [])):
        with pytest.raises(ConfigError, match="source: expected a path, or batches that can be gone through again"):
            StreamDataset(wrong, 5)
    for options, text in (
        ({"batch_size": 0}, "batch_size: expected a positive integer, got 0"),
        ({"batch_size": 5, "shuffle_buffer": -1}, "shuffle_buffer: expected a non-negative integer, got -1"),
        ({"batch_size": 5, "seed": 0.5}, "seed: expected a non-negative integer, got 0.5"),
    ):
        with pytest.raises(ConfigError, match=text):
            StreamDataset(folder, **options)
    with pytest.raises(ConfigError, match="epoch: expected a non-negative integer, got None"):
        StreamDataset(folder, 5).set_epoch(None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="batches: expected a path or batches, got 5"):
        BoardDataset(5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="batches: expected one or more, got none"):
        BoardDataset([])
    for make in (BoardDataset, lambda path: StreamDataset(path, 5)):
        with pytest.raises(StorageError, match="path: expected a folder"):
            make(tmp_path)


def test_without_torch_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "generals_env.recorders.datasets.torch_datasets")
    monkeypatch.setitem(sys.modules, "torch.utils.data", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r'expected torch, got .*: pip install "generals_env\[torch\]"') as caught:
        importlib.import_module("generals_env.recorders.datasets.torch_datasets")
    assert caught.value.__suppress_context__
