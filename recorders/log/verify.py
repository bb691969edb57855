"""Verifies a log: checks every byte, and reports what is damaged, where, and which experiences are intact."""

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
from generals_env.recorders.log.wal_parser import read_wal

__all__ = ["LogDamage", "LogReport", "verify"]

Read = TypeVar("Read")

FETCH = 2**22  # bytes of data to read at a time


@dataclass(frozen=True)
class LogDamage:
    """Damage of a file, or experiences that are missing.

    Attributes:
        path: The file.
        what: Describes the damage.
        offset: Offset of the damage in bytes, if it is known; it lies within ``BLOCK`` bytes from there.
        experiences: First and last number of the experiences that are lost by it, None if none are.
    """

    path: Path
    what: str
    offset: int | None = None
    experiences: Range | None = None


@dataclass(frozen=True)
class LogReport:
    """Result of ``verify`` and ``repair``.

    Attributes:
        damage: All damage.
        intact: Ranges of intact experiences: first and last numbers.
        given_up: Abandoned ranges: experiences whose loss was recorded by a repair or after a power cut.
        leftovers: Unfinished files of killed processes; they are no damage, and a repair removes them.
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
        """Number of intact experiences."""
        return sum(last - first + 1 for first, last in self.intact)


def verify(folder: Path, written: bool) -> LogReport:
    """Verify a log.

    Args:
        folder: The folder of the log.
        written: Whether it has a writer: then its newest segment is read through SQLite only. To open and close its file
            otherwise would release the locks of this process, and an unfinished write would look like damage.

    Raises:
        StorageError: If the folder cannot be read.
    """
    damage: list[LogDamage] = []
    intact: list[Range] = []
    starts = starts_in(folder)
    for start in starts:
        found, ranges = check_segment(segment_path(folder, start), written and start == starts[-1])
        damage += found
        intact += ranges
    damage += orphan_damage(folder)
    damage += consumer_damage(folder)
    lost = read_or_note(damage, folder / FILE, abandoned_ranges, folder) or []
    last = max([number for _, number in intact + lost] + [last_known(folder, starts)], default=-1)
    if starts:
        for gap in missing(starts[0], last, [*intact, *lost]):
            path = segment_path(folder, max((start for start in starts if start <= gap[0]), default=starts[0]))
            damage.append(LogDamage(path, "experiences are missing", experiences=gap))
    given_up = [] if not starts else [one for one in lost if one[1] >= starts[0]]
    return LogReport(tuple(damage), tuple(joined(intact)), tuple(given_up), tuple(log_leftovers(folder, written)))


def check_segment(path: Path, written: bool) -> tuple[list[LogDamage], list[Range]]:
    """Return the damage of a segment's files, and the ranges of its intact experiences."""
    damage: list[LogDamage] = []
    sealed = read_or_note(damage, seal_path(path), seal_of, path)
    try:
        if sealed is not None:
            damage += changed_blocks(path, sealed)
        elif not written:
            wal = companions(path)[0]
            damaged_at = read_wal(wal).damaged_at
            if damaged_at is not None:
                damage.append(LogDamage(wal, "committed data are damaged", damaged_at))
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
            return [], []  # retention has deleted it meanwhile
        return [*damage, LogDamage(path, f"it cannot be read: {error}")], []
    return damage, intact


def whole_chunks(path: Path) -> Iterator[Chunk]:
    """Yield the chunks that SQLite reads of a segment; at damage raise ``sqlite3.Error``, ``ValueError`` or ``TypeError``."""
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
    """Return the blocks of a file that differ from its seal."""
    damage, size = [], 0
    for k, block in enumerate(blocks_of(path)):
        size += len(block)
        if k < len(sealed.blocks) and zlib.crc32(block) != sealed.blocks[k]:
            damage.append(LogDamage(path, "bytes have changed", k * BLOCK))
    if size != sealed.bytes:
        damage.append(LogDamage(path, f"expected {sealed.bytes} bytes, got {size}", min(size, sealed.bytes)))
    return damage


def orphan_damage(folder: Path) -> list[LogDamage]:
    """Return missing segments, of which only the seals are there, as damage."""
    damage: list[LogDamage] = []
    for orphan in orphans_in(folder):
        path = orphan.with_suffix(".db")
        sealed = read_or_note(damage, orphan, seal_of, path)
        if sealed is not None:
            damage.append(LogDamage(path, "the file is gone", experiences=(sealed.first, sealed.last)))
    return damage


def consumer_damage(folder: Path) -> list[LogDamage]:
    """Return damaged files of consumers."""
    damage: list[LogDamage] = []
    for path in ConsumerOffsets(folder).files():
        read_or_note(damage, path, read_position, path)
    return damage


def last_known(folder: Path, starts: list[int]) -> int:
    """Return the largest number in a segment's name, a seal or a consumer's position, -1 if there is none."""
    ignored: list[LogDamage] = []
    known = [starts[-1] - 1 if starts else -1]
    for path in [segment_path(folder, start) for start in starts[-1:]] + [one.with_suffix(".db") for one in orphans_in(folder)]:
        sealed = read_or_note(ignored, path, seal_of, path)
        known.append(sealed.last if sealed else -1)
    for path in ConsumerOffsets(folder).files():
        entry = read_or_note(ignored, path, read_position, path)
        known.append(entry[1] if entry else -1)
    return max(known)


def read_or_note(damage: list[LogDamage], path: Path, read: Callable[[Path], Read], of: Path) -> Read | None:
    """Return ``read(of)``; if it raises ``StorageError``, append that as damage of ``path`` and return None."""
    try:
        return read(of)
    except StorageError as error:
        damage.append(LogDamage(path, str(error)))
        return None


def joined(ranges: list[Range]) -> list[Range]:
    """Return ranges in order, with adjacent ones merged."""
    result: list[Range] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result
