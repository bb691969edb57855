"""Makes a damaged log whole again, less what is lost: that is written down, and the damaged files are kept."""

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
from generals_env.recorders.log.abandoned_ranges import FILE, missing, write_lost
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
from generals_env.recorders.log.verify import LogReport, last_known, look_at, verify

__all__ = ["repair"]


def repair(folder: Path) -> LogReport:
    """Repair a log to which nobody writes, and return what was wrong with it.

    Every step leaves a log that can be repaired again: the damaged file is kept before another takes its name.

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
            damage, _ = look_at(path, written=False)
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
            write_lost(folder, lost)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"log: expected to repair {str(folder)!r}, got {error}") from error
    return report


def rebuild(path: Path) -> None:
    """Put what is whole in a segment in place of it."""
    for one in (path, seal_path(path), companions(path)[0]):
        if one.exists():
            keep(one)
    chunks = salvage(path)
    if not chunks:
        unlink(path)
        return
    fresh = path.parent / DAMAGED / path.name
    write_segment(fresh, chunks)
    # A seal makes readers pass over the log beside the segment, so it comes first.
    seal_path(fresh).replace(seal_path(path))
    fresh.replace(path)
    unlink_companions(path)
    sync_folder(path.parent)


def write_segment(path: Path, chunks: list[Chunk]) -> None:
    """Make a sealed segment of chunks."""
    unlink(path)
    create(path)
    with closing(connect(path)) as connection:
        for chunk in chunks:
            append(connection, [chunk])
    seal(path, gaps=True)


def keep(path: Path) -> None:
    """Copy a damaged file to where it is kept, under a name that nothing has."""
    kept = path.parent / DAMAGED
    kept.mkdir(exist_ok=True)
    name = next(name for k in count() if not (name := kept / f"{path.name}.{k}").exists())
    shutil.copyfile(path, name)
    sync_file(name)
    sync_folder(kept)
