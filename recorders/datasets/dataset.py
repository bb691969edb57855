"""Recorded experience, read back: from a folder, from S3, from a log, in any format."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_integer
from generals_env.errors import ConfigError, StorageError
from generals_env.pickling import pickled_as
from generals_env.recorders.datasets.data_file import DataFile, files_in
from generals_env.recorders.datasets.index import index_of, read_indexes
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.filter import EVERYTHING, ExperienceFilter
from generals_env.recorders.experience.shuffle import shuffled_batches
from generals_env.recorders.filesystem.retry import Retry
from generals_env.recorders.filesystem.stores import LocalStore, is_url, local_path, open_store
from generals_env.recorders.formats import FORMATS, format_of_file
from generals_env.recorders.formats.file_names import JSON_INDEX
from generals_env.recorders.formats.folder_use import refuse_mixed

__all__ = ["Dataset", "open_dataset"]

logger = logging.getLogger(__name__)


class Part(Protocol):
    """A piece of a dataset that is read at once: a file, or a stretch of a log."""

    @property
    def place(self) -> str:
        """Where it lies, for people."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def format(self) -> str:
        """How it is called."""

    @property
    def experiences(self) -> int | None:
        """How many experiences it holds, None if nobody knows without reading it."""

    def may_hold(self, selection: ExperienceFilter) -> bool:
        """Return whether there may be such experiences, as far as is known without reading it."""

    def read(self, selection: ExperienceFilter = EVERYTHING) -> ExperienceBatch | None:
        """Return those experiences that are wanted, None if there is none; a ``StorageError`` if it is damaged."""


@dataclass(frozen=True)
class Order:
    """In what order, and in what pieces, experiences come.

    Attributes:
        batch_size: Experiences of a batch, None for those of a file.
        shuffle_buffer: How many are mixed with one another; 0 for the order in which they were written.
        seed: Of the shuffling.
        epoch: Draws another order of the same seed.
        shard: Which share of the files.
        shards: Of how many.
    """

    batch_size: int | None = None
    shuffle_buffer: int = 0
    seed: int = 0
    epoch: int = 0
    shard: int = 0
    shards: int = 1


@pickled_as("generals_env.recorders")
@dataclass(frozen=True)
class Dataset:
    """Batches of experience, read lazily, a file at a time; going through it again reads again.

    Methods give datasets that read the same files in another way::

        for batch in open_dataset("runs/a").filter(player_ids=[0]).shuffled(100_000, seed=1).batches(256):
            ...

    Attributes:
        files: What is read, in order.
        selection: Which experiences are wanted.
        order: In what order they come.
        on_damage: ``"raise"``, or ``"skip"`` for files that are damaged, which are logged.
        index_damages: What is wrong with indexes, by their names; reading does not need them.
    """

    files: tuple[Part, ...]
    selection: ExperienceFilter = EVERYTHING
    order: Order = Order()
    on_damage: str = "raise"
    index_damages: tuple[tuple[str, str], ...] = ()

    # --- Other ways to read it ------------------------------------------------------------------------------------

    def filter(
        self, game_ids: Collection[str] | None = None, player_ids: Collection[int] | None = None, min_turn: int | None = None
    ) -> Dataset:
        """Return the dataset with those experiences only for which all that is given holds.

        Files of which name or index tells that they have none are not read.

        Args:
            game_ids: Of these games.
            player_ids: Of these players.
            min_turn: From this turn on.

        Raises:
            ConfigError: If an argument is not what it should be.
        """
        selection = self.selection & ExperienceFilter.of(game_ids, player_ids, min_turn)
        return replace(self, files=tuple(file for file in self.files if file.may_hold(selection)), selection=selection)

    def batches(self, batch_size: int) -> Dataset:
        """Return the dataset in batches of ``batch_size``, of as many files as that takes; the last one may be smaller.

        Raises:
            ConfigError: If it is not a positive integer. While reading: if files differ in players or recipe.
        """
        check_integer("batch_size", batch_size, 1, 2**31)
        return replace(self, order=replace(self.order, batch_size=batch_size))

    def shuffled(self, shuffle_buffer: int, seed: int = 0, epoch: int = 0) -> Dataset:
        """Return the dataset in an order that seed and epoch draw: first that of the files, then of experiences.

        Args:
            shuffle_buffer: How many experiences are mixed with one another.
            seed: A non-negative integer.
            epoch: Another one: a different order each time.

        Raises:
            ConfigError: If an argument is not what it should be.
        """
        check_integer("shuffle_buffer", shuffle_buffer, 1, 2**40)
        check_integer("seed", seed, 0, 2**63 - 1)
        check_integer("epoch", epoch, 0, 2**63 - 1)
        return replace(self, order=replace(self.order, shuffle_buffer=shuffle_buffer, seed=seed, epoch=epoch))

    def shard(self, index: int, count: int) -> Dataset:
        """Return share ``index`` of ``count`` shares of the files, for as many readers: each file is in one of them.

        Raises:
            ConfigError: If an argument is not what it should be.
        """
        check_integer("count", count, 1, 2**20)
        check_integer("index", index, 0, count - 1)
        if self.order.shards != 1:
            raise ConfigError(f"shard: expected a dataset that is not divided yet, got share {self.order.shard}")
        return replace(self, order=replace(self.order, shard=index, shards=count))

    def skip_damaged(self) -> Dataset:
        """Return the dataset without files that are damaged; each is logged as a warning."""
        return replace(self, on_damage="skip")

    # --- What it holds --------------------------------------------------------------------------------------------

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def experiences(self) -> int | None:
        """How many experiences the files hold, before any filter, as indexes tell; None if one of them does not."""
        counts = [file.experiences for file in self.files]
        return None if None in counts else sum(count for count in counts if count is not None)

    def __iter__(self) -> Iterator[ExperienceBatch]:
        """Yield batches: a file each, or as ``batches`` says.

        Raises:
            ConfigError: If files differ in players or recipe, and batches are to be of one size.
            StorageError: If a file cannot be read or is damaged.
        """
        order = self.order
        if order.batch_size is None and not order.shuffle_buffer:
            yield from self.read()
            return
        size = order.batch_size or min(order.shuffle_buffer, 4096)
        rng = np.random.default_rng((order.seed, order.epoch, order.shard, order.shards))
        for batch in shuffled_batches(self.read(), size, order.shuffle_buffer, rng):
            yield batch.compact()

    def read(self) -> Iterator[ExperienceBatch]:
        """Yield what is wanted of each file, in the order of files that is asked for."""
        order, files = self.order, list(self.files)
        if order.shuffle_buffer:
            files = [files[k] for k in np.random.default_rng((order.seed, order.epoch)).permutation(len(files))]
        for file in files[order.shard :: order.shards]:
            try:
                batch = file.read(self.selection)
            except StorageError as error:
                if self.on_damage == "raise":
                    raise
                logger.warning("skipped: %s", error)
                continue
            if batch is not None:
                yield batch

    def take(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> ExperienceBatch:
        """Return experiences by their numbers in the order in which they were written, without filter, in the order given.

        Only the files, or parts of files, that hold them are read; the index must tell how many each file has.

        Args:
            indices: (n,) integers from 0 on.

        Raises:
            ConfigError: If there are no such experiences, or files differ in players or recipe.
            StorageError: If an index does not tell, or a file is damaged.
        """
        wanted = np.asarray(indices, np.int64)
        counts = [-1 if file.experiences is None else file.experiences for file in self.files]
        if -1 in counts:
            raise StorageError(f"index: expected one that tells of {self.files[counts.index(-1)].place!r}, got none")
        ends = np.cumsum(counts)
        if wanted.ndim != 1 or not len(wanted) or not (wanted.min() >= 0 and len(ends) and wanted.max() < ends[-1]):
            raise ConfigError(f"indices: expected integers below {int(ends[-1]) if len(ends) else 0}, got {indices!r:.200}")
        found: list[ExperienceBatch] = []
        unique, inverse = np.unique(wanted, return_inverse=True)
        done = 0
        while done < len(unique):
            number = int(np.searchsorted(ends, unique[done], side="right"))
            start, file = int(ends[number]) - counts[number], self.files[number]
            low, batch = file.read_at(int(unique[done]) - start) if isinstance(file, DataFile) else (0, file.read())
            held = low + (0 if batch is None else len(batch))
            stop = int(np.searchsorted(unique, start + held))
            if batch is None or stop == done:
                raise StorageError(f"index: expected {counts[number]} experiences in {file.place!r}, got {held}")
            found.append(batch.select(unique[done:stop] - start - low))
            done = stop
        return ExperienceBatch.concat(found).select(inverse)

    def __repr__(self) -> str:
        """Return how much there is."""
        return f"Dataset({len(self.files)} files, {self.nbytes:,} bytes)"


def open_dataset(path: str | Path, retry: Retry | None = None, timeout: float = 30.0) -> Dataset:
    """Return the dataset in a folder, at a URL, in one file, or in a log.

    Args:
        path: A folder or a file, or a URL as ``filesystem.stores.open_store`` takes it. Formats are told by suffixes:
            ``.npz``, ``.parquet``, ``.tfrecord``, ``.tfrecord.gz``, ``.games``; they may lie beside one another.
        retry: For what goes over the network.
        timeout: Seconds to wait for an answer of S3.

    Raises:
        ConfigError: If the URL is none.
        ImportError: Without what it needs (``pip install "generals_env[storage]"``).
        StorageError: If there is none, or if a folder holds both a log and files of experience.
    """
    what = f"a folder with files of experience ({', '.join(FORMATS.values())}), a log, or one such file"
    try:
        path = local_path(path)
        text = str(path)
        remote = isinstance(path, str) and is_url(path)
        if format_of_file(text) is not None and (remote or Path(path).is_file()):
            return Dataset((single_file(text, remote, retry, timeout),))
        if not remote and not Path(path).exists():
            raise StorageError(f"path: expected {what}, got {text!r}")
    except (TypeError, ValueError, OSError) as error:
        if isinstance(error, StorageError | ConfigError):
            raise
        raise StorageError(f"path: expected {what}, got {path!r} ({error})") from error
    store = open_store(path, retry=retry, timeout=timeout)
    if isinstance(store, LocalStore):
        from generals_env.recorders.log.dataset_parts import is_log, log_parts

        refuse_mixed(store.folder, "path")
        if is_log(store.folder):
            return Dataset(tuple(log_parts(store.folder)))
    files, damages = files_in(store)
    if not files:
        raise StorageError(f"path: expected {what}, got {text!r}")
    return Dataset(tuple(files), index_damages=tuple(damages.items()))


def single_file(path: str, remote: bool, retry: Retry | None, timeout: float) -> DataFile:
    """Return one file, with what the index of its folder tells of it."""
    folder, _, name = path.rpartition("/") if remote else (str(Path(path).parent), "", Path(path).name)
    store = open_store(folder, retry=retry, timeout=timeout)
    form = format_of_file(name)
    try:
        size = store.size(name)
    except FileNotFoundError as error:
        raise StorageError(f"path: expected a file of experiences, got {path!r}, which is not there") from error
    if form is None:
        raise StorageError(f"path: expected a file of experiences, got {path!r}, which is none by its name")
    entries, damages = read_indexes(store, "", {index_of(form), JSON_INDEX})
    for damage in damages.values():
        logger.warning("%s", damage)
    entry = entries.get(name)
    return DataFile(store, name, size, form, entry)
