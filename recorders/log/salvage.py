"""Chunks out of a damaged segment, without SQLite: wherever one is whole on its pages, its own checksum proves it.

Rows are written once and never changed, so what is found in any version of a page is true; pages that SQLite no longer reaches
count as well. Format: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generals_env.recorders.log.chunk_rows import Chunk
from generals_env.recorders.log.segment_files import PAGE, companions
from generals_env.recorders.log.sqlite_wal import read_wal

__all__ = ["salvage"]

FILE_HEADER = 100  # bytes on the first page before what all pages have
LEAF_HEADER = 8
COLUMNS = 7

#: How much of a record lies on the page of its row: at least, and at most.
MIN_LOCAL, MAX_LOCAL = (PAGE - 12) * 32 // 255 - 23, PAGE - 35

#: Bytes of an integer by its type in a record; what is not here is no integer that we write.
INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}


def salvage(path: Path) -> list[Chunk]:
    """Return the chunks that are whole in a segment or in the log beside it, in order, without those that overlap.

    What was committed comes first; what lies behind damage in the log beside it fills the gaps.

    Raises:
        OSError: If the files cannot be read.
    """
    wal = read_wal(companions(path)[0])
    data = path.read_bytes() if path.exists() else b""
    committed = Pages(data, wal.committed)
    found = {chunk.first: chunk for page in committed for chunk in chunks_on(page, committed)}
    if wal.damaged_at is not None:
        everything = Pages(data, dict(wal.frames))
        for number, content in wal.frames:  # older versions of a page, too: the newest may be the damaged one
            for chunk in chunks_on(content[FILE_HEADER * (number == 1) :], everything):
                found.setdefault(chunk.first, chunk)
    chunks: list[Chunk] = []
    for _, chunk in sorted(found.items()):
        if not chunks or chunk.first > chunks[-1].last:
            chunks.append(chunk)
    return chunks


@dataclass(frozen=True)
class Pages:
    """The pages of a database, newer ones in front of those in its file."""

    data: bytes
    newer: Mapping[int, bytes]

    def get(self, number: int) -> bytes:
        """Return a page, shorter or empty where the file is."""
        return self.newer.get(number) or self.data[(number - 1) * PAGE : number * PAGE] if number > 0 else b""

    def __iter__(self) -> Iterator[bytes]:
        for number in range(1, max(-(-len(self.data) // PAGE), *self.newer, 0) + 1):
            yield self.get(number)[FILE_HEADER * (number == 1) :]


def chunks_on(page: bytes, pages: Pages) -> Iterator[Chunk]:
    """Yield the whole chunks whose rows are on a page, whatever its type is said to be: that byte may be the damaged one.

    Args:
        page: The page, from its own header on.
        pages: Where the rest of a long row is.
    """
    moved = PAGE - len(page) if len(page) == PAGE - FILE_HEADER else 0  # cells are counted from the start of the page
    cells = int.from_bytes(page[3:5])
    for k in range(min(cells, (len(page) - LEAF_HEADER) // 2)):
        at = int.from_bytes(page[LEAF_HEADER + 2 * k : LEAF_HEADER + 2 * k + 2]) - moved
        if LEAF_HEADER + 2 * k < at < len(page):
            try:
                yield chunk_at(page, at, pages)
            except (ValueError, IndexError, KeyError):  # no row of ours, or no longer
                continue


def chunk_at(page: bytes, at: int, pages: Pages) -> Chunk:
    """Return the chunk of a cell; raise ``ValueError``, ``IndexError`` or ``KeyError`` if there is none, or it is broken."""
    size, at = varint(page, at)
    first, at = varint(page, at)
    if size <= MAX_LOCAL:
        local = size
    else:
        local = MIN_LOCAL + (size - MIN_LOCAL) % (PAGE - 4)
        local = local if local <= MAX_LOCAL else MIN_LOCAL
    types, width = record_header(page, at)
    if width + sum(map(width_of, types)) != size:  # before all of it is read
        raise ValueError(size)
    parts, left = [page[at : at + local]], size - local
    following = int.from_bytes(page[at + local : at + local + 4]) if left else 0
    while left > 0:
        content = pages.get(following)
        if len(content) < 4:
            raise ValueError(following)
        parts.append(content[4 : 4 + left])
        left -= len(parts[-1])
        following = int.from_bytes(content[:4])
        if len(parts[-1]) == 0:
            raise ValueError(following)
    record = b"".join(parts)
    values: list[Any] = []
    for kind in types:
        values.append(value_of(kind, record[width : width + width_of(kind)]))
        width += width_of(kind)
    return Chunk.of_row((first, *values[1:]))


def record_header(page: bytes, at: int) -> tuple[list[int], int]:
    """Return the types of the columns of a record, and how long its header is."""
    width, place = varint(page, at)
    types = []
    for _ in range(COLUMNS):
        kind, place = varint(page, place)
        types.append(kind)
    if place - at != width or types[0] != 0 or types[-1] < 12 or types[-1] % 2:
        raise ValueError(types)
    return types, width


def width_of(kind: int) -> int:
    """Return how many bytes a value of this type takes."""
    return (kind - 12) // 2 if kind >= 12 else 0 if kind == 0 else INTEGERS[kind]


def value_of(kind: int, content: bytes) -> int | str | bytes | None:
    """Return a value of a record."""
    if kind >= 12:
        return content.decode() if kind % 2 else content
    return None if kind == 0 else 1 if kind == 9 else int.from_bytes(content, signed=True)


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number of variable length at a place, and the place after it."""
    value = 0
    for k in range(8):
        byte = data[at + k]
        value = value << 7 | byte & 127
        if byte < 128:
            return value, at + k + 1
    return value << 8 | data[at + 8], at + 9
