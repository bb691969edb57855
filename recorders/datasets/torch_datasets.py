"""Feeds recorded experience to torch's ``DataLoader``: as a stream of batches, or as a map-style dataset in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from generals_env.arguments import natural, positive
from generals_env.errors import ConfigError
from generals_env.pickling import pickled_as
from generals_env.recorders.datasets.dataset import Dataset, open_dataset
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.shuffle import shuffled_batches, take_rows

try:
    import torch
    from torch.utils.data import Dataset as MapDataset
    from torch.utils.data import IterableDataset, get_worker_info

    from generals_env.recorders.experience.torch_tensors import TorchTensors, as_torch
except ModuleNotFoundError as error:
    raise ImportError(f'torch_data: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["BoardDataset", "Samples", "StreamDataset"]


@pickled_as("generals_env.recorders")
class StreamDataset(IterableDataset[Any]):
    """Yields batches of recorded experience, one file after another, from any number of files.

    Pass it to a loader that makes no batches itself::

        stream = StreamDataset("runs/a", batch_size=256, shuffle_buffer=100_000, seed=1)
        loader = DataLoader(stream, batch_size=None, num_workers=2)
        for epoch in range(3):
            stream.set_epoch(epoch)
            for batch in loader:  # TorchTensors
                ...

    An epoch has every experience exactly once. Files are divided among the workers; batches have ``batch_size`` experiences,
    except the last one of each worker. The order depends only on ``seed``, the epoch and the number of workers.

    Boards of different sizes in a batch are padded with mountains to the largest height and width, or to ``shape``.
    """

    def __init__(
        self,
        source: str | Path | Dataset | Iterable[ExperienceBatch],
        batch_size: int,
        shuffle_buffer: int = 0,
        seed: int = 0,
        as_tensors: bool = True,
        shape: tuple[int, int] | None = None,
    ) -> None:
        """Read from ``source``.

        Args:
            source: A folder or file as ``open_dataset`` takes it, a ``Dataset``, or an iterable of batches that can be iterated
                again. Of an iterable that is no ``Dataset`` each worker iterates over all batches and keeps its share.
            batch_size: Experiences of a batch.
            shuffle_buffer: How many experiences are shuffled with one another; files, or batches in a list, are shuffled, too.
                0 for the order in which they were written.
            seed: Seed of the shuffling, a non-negative integer.
            as_tensors: Whether to yield ``TorchTensors``; else ``ExperienceBatch``, which takes a fraction of the time to pass
                from a worker: its ``to_torch("cuda")`` makes tensors on the device.
            shape: H and W of all boards, padding included; by default those of the largest board in a batch.

        Raises:
            ConfigError: If an argument has a wrong value.
            StorageError: If there is no dataset.
        """
        self.source: Any = open_dataset(source) if isinstance(source, (str, Path)) else source
        if not isinstance(self.source, Iterable) or isinstance(self.source, Iterator):
            raise ConfigError(
                f"source: expected a path, or batches that can be iterated again, got {source!r:.200}: pass a list or a Dataset"
            )
        self.batch_size = positive("batch_size", batch_size)
        self.shuffle_buffer = natural("shuffle_buffer", shuffle_buffer)
        self.seed = natural("seed", seed)
        self.as_tensors = as_tensors
        self.shape = shape
        # In shared memory, so that persistent workers see the new epoch.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch: each has another order.

        Raises:
            ConfigError: If ``epoch`` is not a non-negative integer.
        """
        self._epoch.fill_(natural("epoch", epoch))

    def __iter__(self) -> Iterator[Any]:
        """Yield this worker's batches of one epoch.

        Raises:
            ConfigError: If batches differ in the number of players or the recipe, or do not fit into ``shape``.
            StorageError: If a file cannot be read or is damaged.
        """
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        # One generator that is the same in all workers, and one for each.
        key = (self.seed, int(self._epoch))
        order, rng = np.random.default_rng(key), np.random.default_rng((*key, worker, workers))
        for part in shuffled_batches(
            self._share(order, worker, workers), self.batch_size, self.shuffle_buffer, rng, self.shape
        ):
            yield as_torch(part.tensors()) if self.as_tensors else part.compact()

    def _share(self, order: np.random.Generator, worker: int, workers: int) -> Iterator[ExperienceBatch]:
        """Yield this worker's batches."""
        source = self.source
        if isinstance(source, Dataset):
            order_of_files = replace(source.order, batch_size=None, shuffle_buffer=0)
            files = list(source.files)
            if self.shuffle_buffer:
                files = [files[i] for i in order.permutation(len(files))]
            yield from replace(source, files=tuple(files[worker::workers]), order=order_of_files)
            return
        if self.shuffle_buffer and isinstance(source, Sequence):
            source = [source[i] for i in order.permutation(len(source))]
        for number, batch in enumerate(source):
            if number % workers == worker:
                yield batch


class Samples(Sequence[TorchTensors]):
    """Experiences that were fetched together; each is a view of ``whole``.

    Attributes:
        whole: The tensors of all of them.
    """

    def __init__(self, whole: TorchTensors) -> None:
        """Take tensors of n experiences."""
        self.whole = whole

    def __len__(self) -> int:
        """Return n."""
        return len(self.whole.actions)

    @overload
    def __getitem__(self, index: int) -> TorchTensors: ...
    @overload
    def __getitem__(self, index: slice) -> Samples: ...
    def __getitem__(self, index: int | slice) -> TorchTensors | Samples:
        """Return one experience, without the first axis, or some."""
        rows = TorchTensors(*(tensor[index] for tensor in self.whole))
        return Samples(rows) if isinstance(index, slice) else rows


@pickled_as("generals_env.recorders")
class BoardDataset(MapDataset[TorchTensors]):
    """Holds recorded experience in memory, packed; tensors are made for a batch at a time.

    ::

        dataset = BoardDataset(open_dataset("runs/a"))
        loader = DataLoader(dataset, batch_size=256, shuffle=True, collate_fn=BoardDataset.collate)

    The loader's default ``collate_fn`` gives the same result but is slower, as it stacks views of one tensor. The loader
    determines the order, reproducible with its ``generator``.

    Attributes:
        batch: All experiences.
    """

    def __init__(self, batches: str | Path | ExperienceBatch | Iterable[ExperienceBatch]) -> None:
        """Read all batches.

        Args:
            batches: A folder or file as ``open_dataset`` takes it, a ``Dataset``, a batch, or batches. Boards are padded to the
                largest height and width among them.

        Raises:
            ConfigError: If there are none, or they differ in the number of players or the recipe.
            StorageError: If a file cannot be read or is damaged.
        """
        source = open_dataset(batches) if isinstance(batches, (str, Path)) else batches
        if not isinstance(source, Iterable) and not isinstance(source, ExperienceBatch):
            raise ConfigError(f"batches: expected a path or batches, got {batches!r:.200}")
        self.batch = source if isinstance(source, ExperienceBatch) else ExperienceBatch.concat(list(source))

    def __len__(self) -> int:
        """Return how many experiences there are."""
        return len(self.batch)

    def __getitem__(self, index: int) -> TorchTensors:
        """Return one experience: tensors as in ``TorchTensors``, without the first axis.

        Raises:
            IndexError: If the index is out of range.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: expected an integer below {len(self)}, got {index}")
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> Samples:
        """Return experiences whose tensors are made together; the loader calls it for a batch."""
        return Samples(as_torch(take_rows(self.batch, np.asarray(indices, np.int64)).tensors()))

    @staticmethod
    def collate(samples: Samples) -> TorchTensors:
        """Return the tensors of fetched experiences, (n, ...) each."""
        return samples.whole
