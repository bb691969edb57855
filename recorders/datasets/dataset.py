"""Reads recorded experience back: from a folder, S3, one file or a log, in any format; filtered, shuffled, sharded."""

from __future__ import annotations

import importlib
import logging
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_integer
from generals_env.engine.storage.hash_set import HashSet, add_new, empty_hash_set
from generals_env.errors import ConfigError, StorageError
from generals_env.pickling import pickled_as
from generals_env.recorders.datasets.data_file import DataFile, files_in
from generals_env.recorders.datasets.index import index_of, read_indexes
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.filter import EVERYTHING, ExperienceFilter
from generals_env.recorders.experience.identity import MAX_REMEMBERED, experience_hashes
from generals_env.recorders.experience.shuffle import shuffled_batches
from generals_env.recorders.filesystem.file_stores import LocalStore, is_url, local_path, open_store
from generals_env.recorders.filesystem.retry import Retry
from generals_env.recorders.formats import FORMATS, format_of_file
from generals_env.recorders.formats.file_names import JSON_INDEX, is_index, parsed_name
from generals_env.recorders.formats.folder_use import refuse_mixed

__all__ = ["Dataset", "open_dataset"]

logger = logging.getLogger(__name__)

#: Functions that list the parts of a URL by its scheme, as ``module:function``, imported on first use.
STREAMS = dict.fromkeys(("redis", "rediss"), "generals_env.recorders.distributed.redis_streams.parts:redis_parts")


class Part(Protocol):
    """A part of a dataset that is read at once: a file, or a range of a log."""

    @property
    def place(self) -> str:
        """Path or URL, for messages."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def format(self) -> str:
        """Name of the format."""

    @property
    def experiences(self) -> int | None:
        """Number of experiences, None if it is unknown without reading the part."""

    def may_hold(self, selection: ExperienceFilter) -> bool:
        """Return whether such experiences may be in it, judging without reading it."""

    def read(self, selection: ExperienceFilter = EVERYTHING) -> ExperienceBatch | None:
        """Return the selected experiences, None if there are none; raise ``StorageError`` if the part is damaged."""


@dataclass(frozen=True)
class Order:
    """The order of experiences, and the size of batches.

    Attributes:
        batch_size: Experiences of a batch, None for one batch a file.
        shuffle_buffer: How many experiences are shuffled with one another; 0 for the order in which they were written.
        seed: The seed of the shuffling.
        epoch: Each epoch has another order for the same seed.
        shard: Index of the shard to read.
        shards: Number of shards.
        remembered: How many experiences are remembered to leave repeats out; 0 to read repeats, too.
    """

    batch_size: int | None = None
    shuffle_buffer: int = 0
    seed: int = 0
    epoch: int = 0
    shard: int = 0
    shards: int = 1
    remembered: int = 0


@pickled_as("generals_env.recorders")
@dataclass(frozen=True)
class Dataset:
    """Batches of experience, read lazily, a file at a time; going through it again reads again.

    Its methods return datasets that read the same files in another way::

        for batch in open_dataset("runs/a").filter(player_ids=[0]).shuffled(100_000, seed=1).batches(256):
            ...

    Attributes:
        files: The files, or ranges of a log, in order.
        selection: Which experiences are read.
        order: Their order, and the size of batches.
        on_damage: ``"raise"``, or ``"skip"`` to log damaged files and leave them out.
        index_damages: Names and descriptions of damaged indexes; reading does not need them.
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
        """Return the dataset with only the experiences that meet all conditions.

        Files that have none according to their name or index entry are not read.

        Args:
            game_ids: Experiences of these games.
            player_ids: Experiences of these players.
            min_turn: Experiences from this turn on.

        Raises:
            ConfigError: If an argument has a wrong value.
        """
        selection = self.selection & ExperienceFilter.of(game_ids, player_ids, min_turn)
        return replace(self, files=tuple(file for file in self.files if file.may_hold(selection)), selection=selection)

    def batches(self, batch_size: int) -> Dataset:
        """Return the dataset in batches of ``batch_size``, which may span several files; the last one may be smaller.

        Raises:
            ConfigError: If ``batch_size`` is not a positive integer. While reading: if files differ in players or recipe.
        """
        check_integer("batch_size", batch_size, 1, 2**31)
        return replace(self, order=replace(self.order, batch_size=batch_size))

    def shuffled(self, shuffle_buffer: int, seed: int = 0, epoch: int = 0) -> Dataset:
        """Return the dataset in random order: files are shuffled, then experiences within a buffer.

        Args:
            shuffle_buffer: How many experiences are shuffled with one another.
            seed: A non-negative integer.
            epoch: A non-negative integer; each epoch has another order.

        Raises:
            ConfigError: If an argument has a wrong value.
        """
        check_integer("shuffle_buffer", shuffle_buffer, 1, 2**40)
        check_integer("seed", seed, 0, 2**63 - 1)
        check_integer("epoch", epoch, 0, 2**63 - 1)
        return replace(self, order=replace(self.order, shuffle_buffer=shuffle_buffer, seed=seed, epoch=epoch))

    def shard(self, index: int, count: int) -> Dataset:
        """Return shard ``index`` of ``count`` shards, for as many readers: each file is in one shard.

        Raises:
            ConfigError: If an argument has a wrong value, or the dataset is a shard already.
        """
        check_integer("count", count, 1, 2**20)
        check_integer("index", index, 0, count - 1)
        if self.order.shards != 1:
            raise ConfigError(
                f"shard: expected a dataset that is not divided yet, got shard {self.order.shard}: call shard() once"
            )
        return replace(self, order=replace(self.order, shard=index, shards=count))

    def without_repeats(self, capacity: int = 1_000_000) -> Dataset:
        """Return the dataset with each experience once, as of tasks that two workers have played.

        The identity of an experience is its game, player and turn. A repeat is left out if fewer than ``capacity`` others lie
        between. Shards of such a dataset hold whole runs (``metadata["run"]``, as the index has it), by a hash of their ids: so
        repeats of a run are in one shard, and readers on several machines read none of them twice, without knowing of each
        other. They are less even than those of ``shard`` alone. Files of several runs or of none, and files without an index
        entry, are assigned by the writer in their names.

        Args:
            capacity: How many experiences are remembered, 24 to 40 bytes each.

        Raises:
            ConfigError: If ``capacity`` is no positive integer.
        """
        check_integer("capacity", capacity, 1, MAX_REMEMBERED)
        return replace(self, order=replace(self.order, remembered=capacity))

    def skip_damaged(self) -> Dataset:
        """Return the dataset without damaged files; each is logged as a warning."""
        return replace(self, on_damage="skip")

    # --- Contents -------------------------------------------------------------------------------------------------

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def experiences(self) -> int | None:
        """Number of experiences before any filter, according to the index; None if a file has no entry."""
        counts = [file.experiences for file in self.files]
        return None if None in counts else sum(count for count in counts if count is not None)

    def __iter__(self) -> Iterator[ExperienceBatch]:
        """Yield batches: one for each file, or of the size that ``batches`` was given.

        Raises:
            ConfigError: If files differ in players or recipe, and batches may span files.
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
        """Yield the selected experiences of each file, files in their order or shuffled."""
        order, files = self.order, list(self.files)
        if order.shuffle_buffer:
            files = [files[k] for k in np.random.default_rng((order.seed, order.epoch)).permutation(len(files))]
        if order.remembered:
            shard = [file for file in files if run_hash(file) % order.shards == order.shard]
        else:
            shard = files[order.shard :: order.shards]
        seen = empty_hash_set(order.remembered) if order.remembered else None
        for file in shard:
            try:
                batch = file.read(self.selection)
            except StorageError as error:
                if self.on_damage == "raise":
                    raise
                logger.warning("skipped: %s", error)
                continue
            if batch is not None and seen is not None:
                batch = unrepeated(batch, seen)
            if batch is not None:
                yield batch

    def take(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> ExperienceBatch:
        """Return experiences by index, in the given order; indices count in the order of writing, before any filter.

        Only the files, or sections of files, that hold them are read. All files need index entries.

        Args:
            indices: (n,) integers from 0 on.

        Raises:
            ConfigError: If an index is out of range, or files differ in players or recipe.
            StorageError: If a file has no index entry, or is damaged.
        """
        wanted = np.asarray(indices, np.int64)
        counts = [-1 if file.experiences is None else file.experiences for file in self.files]
        if -1 in counts:
            raise StorageError(
                f"index: expected an entry of {self.files[counts.index(-1)].place!r}, got none: run repair_dataset()"
            )
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
                raise StorageError(
                    f"index: expected {counts[number]} experiences in {file.place!r}, got {held}: run repair_dataset()"
                )
            found.append(batch.select(unique[done:stop] - start - low))
            done = stop
        return ExperienceBatch.concat(found).select(inverse)

    def __repr__(self) -> str:
        """Return the number of files and bytes."""
        return f"Dataset({len(self.files)} files, {self.nbytes:,} bytes)"


def run_hash(part: Part) -> int:
    """Return a number, the same on every machine, for the run of a part: of its writer if it has several runs, or none."""
    name = part.place
    if isinstance(part, DataFile):
        parsed = parsed_name(part.name)
        name = parsed.id if parsed is not None else part.name
        if part.entry is not None and len(part.entry.runs) == 1:
            name = part.entry.runs[0]
    return zlib.crc32(name.encode())


def unrepeated(batch: ExperienceBatch, seen: HashSet) -> ExperienceBatch | None:
    """Return the experiences that are not in ``seen``, None if there are none, and add them to it."""
    hashes = experience_hashes(batch)
    new, forgotten = np.empty(len(hashes), np.bool_), np.empty(len(hashes), np.uint64)
    count = add_new(seen, hashes, new, forgotten)
    return batch if count == len(batch) else batch.select(new) if count else None


def open_dataset(path: str | Path, retry: Retry | None = None, timeout: float = 30.0) -> Dataset:
    """Return the dataset in a folder, at a URL, in one file, in a log, or in a stream of Redis as it is now.

    Args:
        path: A folder or a file, a URL as ``filesystem.stores.open_store`` takes it, or ``redis://host:port/db?stream=NAME``.
            The suffix tells the format: ``.npz``, ``.parquet``, ``.tfrecord``, ``.tfrecord.gz``, ``.games``; a folder may hold
            several formats.
        retry: How often requests over the network are tried.
        timeout: Seconds to wait for an answer of S3.

    Raises:
        ConfigError: If the URL is malformed.
        ImportError: Without the libraries that it needs (``pip install "generals_env[storage]"``).
        StorageError: If there is no dataset, or if a folder holds both a log and files of experience.
    """
    what = f"a folder with files of experience ({', '.join(FORMATS.values())}), a log, or one such file"
    scheme = path.partition(":")[0].lower() if isinstance(path, str) else ""
    if scheme in STREAMS:
        module, _, name = STREAMS[scheme].partition(":")
        return Dataset(tuple(getattr(importlib.import_module(module), name)(path, retry)))
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
        from generals_env.recorders.log.log_as_dataset import is_log, log_parts

        refuse_mixed(store.folder, "path")
        if is_log(store.folder):
            return Dataset(tuple(log_parts(store.folder)))
    files, damages = files_in(store)
    if not files:
        raise StorageError(f"path: expected {what}, got {text!r}")
    return Dataset(tuple(files), index_damages=tuple(damages.items()))


def single_file(path: str, remote: bool, retry: Retry | None, timeout: float) -> DataFile:
    """Return one file, with its entry in the index of its folder."""
    folder, _, name = path.rpartition("/") if remote else (str(Path(path).parent), "", Path(path).name)
    store = open_store(folder, retry=retry, timeout=timeout)
    form = format_of_file(name)
    try:
        size = store.size(name)
    except FileNotFoundError as error:
        raise StorageError(f"path: expected a file of experiences, got {path!r}, which does not exist") from error
    if form is None:
        raise StorageError(
            f"path: expected a file of experiences, got {path!r}, whose suffix is unknown: use one of "
            f"{', '.join(FORMATS.values())}"
        )
    entries, damages = read_indexes(store, "", {index_of(form), JSON_INDEX})
    if name not in entries:  # its writer may not have merged its part of the index yet
        beside = [file.name for file in store.files(hidden=True) if "/" not in file.name and is_index(file.name)]
        entries, damages = read_indexes(store, "", beside)
    for damage in damages.values():
        logger.warning("%s", damage)
    entry = entries.get(name)
    return DataFile(store, name, size, form, entry)
