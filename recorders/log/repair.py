"""Repairs a damaged log: rebuilds segments from their intact chunks, records what is lost, keeps the damaged files."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path

from generals_env.errors import StorageError
from generals_env.recorders.filesystem.atomic_files import sync_folder
from generals_env.recorders.filesystem.checked_json import sync_file
from generals_env.recorders.filesystem.leftovers import remove
from generals_env.recorders.log.abandoned_ranges import FILE, missing, write_abandoned
from generals_env.recorders.log.chunk_rows import Chunk
from generals_env.recorders.log.consumer_offsets import ConsumerOffsets
from generals_env.recorders.log.salvage import salvage
from generals_env.recorders.log.segment_files import (
    DAMAGED,
    append,
    companions,
    connect,
    create,
    orphans_in,
    seal,
    seal_path,
    segment_path,
    starts_in,
    unlink,
    unlink_companions,
)
from generals_env.recorders.log.verify import LogReport, check_segment, last_known, verify

__all__ = ["repair"]


def repair(folder: Path) -> LogReport:
    """Repair a log that no process writes to, and return what was wrong with it.

    After every step the log can be repaired again: a damaged file is copied before it is replaced.

    Raises:
        StorageError: If the log cannot be written.
    """
    report = verify(folder, written=False)
    remove(report.leftovers)
    if report.ok:
        return report
    try:
        starts = starts_in(folder)
        last = max([last_known(folder, starts)] + [number for _, number in (*report.intact, *report.given_up)])
        for start in starts:
            path = segment_path(folder, start)
            damage, _ = check_segment(path, written=False)
            if damage:
                rebuild(path)
        small = [*orphans_in(folder), *ConsumerOffsets(folder).files()]
        wrong = {damage.path for damage in report.damage}
        for path in small:
            if path in wrong or path.with_suffix(".db") in wrong:
                keep(path)
                path.unlink()
        if folder / FILE in wrong:
            keep(folder / FILE)
        lowest = min([*starts, last + 1])
        lost = missing(lowest, last, report.intact)
        if lost or (folder / FILE).exists():
            write_abandoned(folder, lost)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"log: expected to repair {str(folder)!r}, got {error}") from error
    return report


def rebuild(path: Path) -> None:
    """Replace a segment by one of its intact chunks."""
    for one in (path, seal_path(path), companions(path)[0]):
        if one.exists():
            keep(one)
    chunks = salvage(path)
    if not chunks:
        unlink(path)
        return
    fresh = path.parent / DAMAGED / path.name
    write_segment(fresh, chunks)
    # A seal makes readers ignore the WAL file of the segment, so it comes first.
    seal_path(fresh).replace(seal_path(path))
    fresh.replace(path)
    unlink_companions(path)
    sync_folder(path.parent)


def write_segment(path: Path, chunks: list[Chunk]) -> None:
    """Write chunks as a sealed segment."""
    unlink(path)
    create(path)
    with closing(connect(path)) as connection:
        for chunk in chunks:
            append(connection, [chunk])
    seal(path, gaps=True)


def keep(path: Path) -> None:
    """Copy a damaged file into the folder ``damaged``, under an unused name."""
    kept = path.parent / DAMAGED
    kept.mkdir(exist_ok=True)
    name = next(name for k in count() if not (name := kept / f"{path.name}.{k}").exists())
    shutil.copyfile(path, name)
    sync_file(name)
    sync_folder(kept)
