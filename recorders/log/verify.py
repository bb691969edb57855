"""Looks at every byte of a log and tells what is damaged, where, and what is intact."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from generals_env.errors import StorageError
from generals_env.recorders.log.abandoned_ranges import FILE, Range, abandoned_ranges, missing
from generals_env.recorders.log.chunk_rows import Chunk
from generals_env.recorders.log.consumer_offsets import ConsumerOffsets, read_position
from generals_env.recorders.log.salvage import salvage
from generals_env.recorders.log.segment_files import (
    BLOCK,
    Seal,
    blocks_of,
    companions,
    log_leftovers,
    open_to_read,
    orphans_in,
    rows,
    seal_of,
    seal_path,
    segment_path,
    starts_in,
)
from generals_env.recorders.log.sqlite_wal import read_wal

__all__ = ["LogDamage", "LogReport", "verify"]

Read = TypeVar("Read")

FETCH = 2**22  # bytes of data at a time


@dataclass(frozen=True)
class LogDamage:
    """One thing that is not as it was written.

    Attributes:
        path: The file.
        what: What is wrong with it.
        offset: Where in the file, in bytes, as far as that is known; ``BLOCK`` bytes from there on are in doubt.
        experiences: First and last number of what is lost by it, None where nothing is.
    """

    path: Path
    what: str
    offset: int | None = None
    experiences: Range | None = None


@dataclass(frozen=True)
class LogReport:
    """What a log is like.

    Attributes:
        damage: What is damaged.
        intact: First and last numbers of the experiences that are whole.
        given_up: Those of experiences that are lost and written down as that, by a repair or after a power cut.
        leftovers: Unfinished files that killed processes have left; they are no damage, and gone after a repair.
    """

    damage: tuple[LogDamage, ...]
    intact: tuple[Range, ...]
    given_up: tuple[Range, ...]
    leftovers: tuple[Path, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damage

    @property
    def count(self) -> int:
        """How many experiences are whole."""
        return sum(last - first + 1 for first, last in self.intact)


def verify(folder: Path, written: bool) -> LogReport:
    """Look at a log.

    Args:
        folder: Of the log.
        written: Whether somebody writes to it: then its newest segment is looked at through SQLite alone. Beside it, to open
            and close the file would drop the locks of this process, and what is half written would look like damage.

    Raises:
        StorageError: If it cannot be read at all.
    """
    damage: list[LogDamage] = []
    intact: list[Range] = []
    starts = starts_in(folder)
    for start in starts:
        found, ranges = look_at(segment_path(folder, start), written and start == starts[-1])
        damage += found
        intact += ranges
    damage += orphan_damage(folder)
    damage += small_files_damage(folder)
    lost = told(damage, folder / FILE, abandoned_ranges, folder) or []
    last = max([number for _, number in intact + lost] + [last_known(folder, starts)], default=-1)
    if starts:
        for gap in missing(starts[0], last, [*intact, *lost]):
            path = segment_path(folder, max((start for start in starts if start <= gap[0]), default=starts[0]))
            damage.append(LogDamage(path, "experiences are missing", experiences=gap))
    given_up = [] if not starts else [one for one in lost if one[1] >= starts[0]]
    return LogReport(tuple(damage), tuple(joined(intact)), tuple(given_up), tuple(log_leftovers(folder, written)))


def look_at(path: Path, written: bool) -> tuple[list[LogDamage], list[Range]]:
    """Return what is damaged in the files of a segment, and which experiences are whole."""
    damage: list[LogDamage] = []
    sealed = told(damage, seal_path(path), seal_of, path)
    try:
        if sealed is not None:
            damage += changed_blocks(path, sealed)
        elif not written:
            wal = companions(path)[0]
            damaged_at = read_wal(wal).damaged_at
            if damaged_at is not None:
                damage.append(LogDamage(wal, "what was committed is damaged", damaged_at))
        intact: list[Range] = []
        try:
            intact.extend((chunk.first, chunk.last) for chunk in whole_chunks(path))
        except (sqlite3.Error, ValueError, TypeError) as error:
            damage.append(LogDamage(path, f"{type(error).__name__}: {error}"))
        gaps = missing(intact[0][0], intact[-1][1], intact) if intact else []
        if not written and (damage or gaps or not intact):
            intact = [(chunk.first, chunk.last) for chunk in salvage(path)]
    except OSError as error:
        if not path.exists():
            return [], []  # it was thrown away meanwhile
        return [*damage, LogDamage(path, f"it cannot be read: {error}")], []
    return damage, intact


def whole_chunks(path: Path) -> Iterator[Chunk]:
    """Yield the chunks of a segment as SQLite gives them; raise at damage what SQLite does, ``ValueError`` or ``TypeError``."""
    after = -1
    with closing(open_to_read(path)) as connection:
        while found := rows(connection, after, FETCH):
            for row in found:
                chunk = Chunk.of_row(row)
                if chunk.first <= after:
                    raise ValueError(f"expected experience {after + 1} or a later one, got {chunk.first}")
                after = chunk.last
                yield chunk


def changed_blocks(path: Path, sealed: Seal) -> list[LogDamage]:
    """Return where a file differs from what was sealed."""
    damage, size = [], 0
    for k, block in enumerate(blocks_of(path)):
        size += len(block)
        if k < len(sealed.blocks) and zlib.crc32(block) != sealed.blocks[k]:
            damage.append(LogDamage(path, "bytes have changed", k * BLOCK))
    if size != sealed.bytes:
        damage.append(LogDamage(path, f"expected {sealed.bytes} bytes, got {size}", min(size, sealed.bytes)))
    return damage


def orphan_damage(folder: Path) -> list[LogDamage]:
    """Return what is lost with segments of which only the seals are there."""
    damage: list[LogDamage] = []
    for orphan in orphans_in(folder):
        path = orphan.with_suffix(".db")
        sealed = told(damage, orphan, seal_of, path)
        if sealed is not None:
            damage.append(LogDamage(path, "the file is gone", experiences=(sealed.first, sealed.last)))
    return damage


def small_files_damage(folder: Path) -> list[LogDamage]:
    """Return what is damaged of consumers."""
    damage: list[LogDamage] = []
    for path in ConsumerOffsets(folder).files():
        told(damage, path, read_position, path)
    return damage


def last_known(folder: Path, starts: list[int]) -> int:
    """Return the largest number that a name, a seal or a consumer tells of, -1 without any."""
    unheard: list[LogDamage] = []
    known = [starts[-1] - 1 if starts else -1]
    for path in [segment_path(folder, start) for start in starts[-1:]] + [one.with_suffix(".db") for one in orphans_in(folder)]:
        sealed = told(unheard, path, seal_of, path)
        known.append(sealed.last if sealed else -1)
    for path in ConsumerOffsets(folder).files():
        entry = told(unheard, path, read_position, path)
        known.append(entry[1] if entry else -1)
    return max(known)


def told(damage: list[LogDamage], path: Path, read: Callable[[Path], Read], of: Path) -> Read | None:
    """Return what ``read`` gives; if the file is damaged, put that on the list instead."""
    try:
        return read(of)
    except StorageError as error:
        damage.append(LogDamage(path, str(error)))
        return None


def joined(ranges: list[Range]) -> list[Range]:
    """Return ranges in order, those that touch as one."""
    result: list[Range] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result
