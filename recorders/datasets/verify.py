"""Verifies and repairs a dataset: reads every file, compares it with its index entry, and counts sequence numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.errors import StorageError
from generals_env.recorders.datasets.data_file import DataFile, files_in, mend_index
from generals_env.recorders.datasets.index import folder_of, inside, read_indexes
from generals_env.recorders.filesystem.file_stores import FileStore, LocalStore, open_store
from generals_env.recorders.formats.file_names import is_index, parsed_name
from generals_env.recorders.formats.folder_use import refuse_mixed
from generals_env.recorders.log import ExperienceLog, LogReport
from generals_env.recorders.log.log_as_dataset import is_log

__all__ = ["DatasetDamage", "DatasetReport", "repair_dataset", "verify_dataset"]

Track = Callable[[list[DataFile]], Iterable[DataFile]]

#: Prefix of damaged files that ``repair_dataset`` renames; readers ignore hidden files.
DAMAGED = ".damaged-"


class DatasetDamage(NamedTuple):
    """A damaged file or index, and a description of the damage."""

    place: str
    what: str


@dataclass
class DatasetReport:
    """Result of ``verify_dataset`` and ``repair_dataset``.

    Attributes:
        files: Number of files read.
        experiences: Number of experiences in them.
        nbytes: Bytes of the files.
        damages: Damaged files and indexes, and files that are in an index but do not exist.
        unindexed: Files without an index entry: their writer was killed, or is still writing.
        gaps: Number of missing sequence numbers between others, by run.
        repeats: Number of experiences whose sequence number occurs more than once, by run.
        leftovers: Unfinished files and folders, or uploads to S3, of killed processes. ``repair_dataset`` removes them, and in
            a folder so does the next ``DatasetWriter``.
    """

    files: int = 0
    experiences: int = 0
    nbytes: int = 0
    damages: list[DatasetDamage] = field(default_factory=list)
    unindexed: list[str] = field(default_factory=list)
    gaps: dict[str, int] = field(default_factory=dict)
    repeats: dict[str, int] = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged or missing."""
        return not self.damages


def verify_dataset(place: str | Path | FileStore, track: Track = iter) -> DatasetReport:
    """Read all files of a dataset, or a log, and report damage, gaps and leftovers.

    Args:
        place: A folder or a URL, or a store.
        track: Takes the files and yields them, as a progress bar does.

    Raises:
        StorageError: If the folder or URL cannot be read.
    """
    store = open_store(place) if isinstance(place, (str, Path)) else place
    if isinstance(store, LocalStore):
        refuse_mixed(store.folder, "place")
        if is_log(store.folder):
            return of_log(store.folder, ExperienceLog(store.folder, mode="r").verify())
    report = DatasetReport(leftovers=store.leftovers())
    files, damaged_indexes = files_in(store)
    damaged_folders = {folder_of(name) for name in damaged_indexes}
    for name, what in damaged_indexes.items():
        report.damages.append(DatasetDamage(f"{store.url}/{name}", what))
    report.damages += missing_files(store, files)
    sequences: dict[str, list[npt.NDArray[np.int64]]] = {}
    for file in track(files):
        report.files += 1
        report.nbytes += file.size
        parsed = parsed_name(file.name)
        if file.entry is None and parsed is not None and parsed.folder not in damaged_folders:
            report.unindexed.append(file.place)
        try:
            batch = file.whole()
        except StorageError as error:
            report.damages.append(DatasetDamage(file.place, str(error)))
            continue
        report.experiences += len(batch)
        run = batch.metadata.get("run")
        sequences.setdefault(run if isinstance(run, str) else "", []).append(batch.sequence)
    for run, parts in sequences.items():
        numbers, times = np.unique(np.concatenate(parts), return_counts=True)
        if not len(numbers):
            continue
        gaps = int(numbers[-1] - numbers[0]) + 1 - len(numbers)
        repeats = int(times.sum()) - len(numbers)
        if gaps:
            report.gaps[run] = gaps
        if repeats:
            report.repeats[run] = repeats
    return report


def of_log(folder: Path, report: LogReport) -> DatasetReport:
    """Return the report on a log in the form for datasets."""
    files = list(folder.glob("segment_*.db"))
    damages = []
    for damage in report.damage:
        lost = f", experiences {damage.experiences[0]} to {damage.experiences[1]} are lost" if damage.experiences else ""
        where = "" if damage.offset is None else f" at byte {damage.offset}"
        damages.append(DatasetDamage(f"{damage.path}{where}", damage.what + lost))
    gaps = sum(last - first + 1 for first, last in report.given_up)
    return DatasetReport(
        files=len(files),
        experiences=report.count,
        nbytes=sum(file.stat().st_size for file in files),
        damages=damages,
        gaps={"the log": gaps} if gaps else {},
        leftovers=[str(path) for path in report.leftovers],
    )


def missing_files(store: FileStore, files: list[DataFile]) -> list[DatasetDamage]:
    """Return files that are in an index but do not exist, as damage."""
    there = {file.name for file in files}
    damages = []
    for folder, indexes in sorted(indexed_folders(store).items()):
        entries, _ = read_indexes(store, folder, indexes)  # damaged indexes are reported already
        names = [inside(folder, name) for name in entries]
        damages += [
            DatasetDamage(f"{store.url}/{name}", "it is in the index, but does not exist")
            for name in names
            if name not in there
        ]
    return damages


def indexed_folders(store: FileStore) -> dict[str, list[str]]:
    """Return the indexes of each folder that has some, and the parts of indexes."""
    found: dict[str, list[str]] = {}
    for file in store.files(hidden=True):
        folder, _, last = file.name.rpartition("/")
        if is_index(last):
            found.setdefault(folder, []).append(last)
    return found


def set_aside(store: FileStore, name: str) -> None:
    """Give a file a name that is not seen, and that nothing has unless it is a copy which a killed repair has made."""
    content = store.read(name)
    folder, _, last = name.rpartition("/")
    for number in count():
        aside = inside(folder, f"{DAMAGED}{last}{f'.{number}' if number else ''}")
        try:
            store.create(aside, content)
        except FileExistsError:
            if store.read(aside) != content:
                continue
        break
    store.delete(name)


def repair_dataset(place: str | Path | FileStore, track: Track = iter) -> DatasetReport:
    """Rename damaged files, so that readers skip them, rebuild indexes, remove leftovers, and report what was wrong.

    A damaged file stays in its folder, under a name that begins with ``.damaged-``; for logs see ``ExperienceLog.repair``.

    Args:
        place: As of ``verify_dataset``.
        track: As of ``verify_dataset``.

    Raises:
        StorageError: If the folder or URL cannot be read or written.
    """
    store = open_store(place) if isinstance(place, (str, Path)) else place
    if isinstance(store, LocalStore) and is_log(store.folder):
        refuse_mixed(store.folder, "place")
        return of_log(store.folder, ExperienceLog(store.folder, mode="r").repair())
    report = verify_dataset(store, track)
    store.clear(report.leftovers)
    damaged = {damage.place for damage in report.damages}
    files, _ = files_in(store)
    folders = set()
    for file in files:
        folders.add(folder_of(file.name))
        if file.place in damaged:
            set_aside(store, file.name)
    for folder in sorted(folders | set(indexed_folders(store))):
        mend_index(store, folder)
    return report
