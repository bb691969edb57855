"""Salvages the intact chunks of a damaged segment by reading its pages without SQLite; the chunks' checksums prove them intact.

Rows are written once and never changed, so that a row in any version of a page is valid, also on pages that SQLite no longer
reaches. Format: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generals_env.recorders.log.chunk_rows import Chunk
from generals_env.recorders.log.segment_files import PAGE, companions
from generals_env.recorders.log.wal_parser import read_wal

__all__ = ["salvage"]

FILE_HEADER = 100  # bytes on the first page before its page header
LEAF_HEADER = 8
COLUMNS = 7

#: Minimum and maximum bytes of a record that lie on the page of its row.
MIN_LOCAL, MAX_LOCAL = (PAGE - 12) * 32 // 255 - 23, PAGE - 35

#: Bytes of an integer by its type in a record, for the types that chunks have.
INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}


def salvage(path: Path) -> list[Chunk]:
    """Return the intact chunks of a segment and its WAL file, in order, without overlaps.

    Committed chunks take precedence; chunks after damage in the WAL file fill gaps.

    Raises:
        OSError: If the files cannot be read.
    """
    wal = read_wal(companions(path)[0])
    data = path.read_bytes() if path.exists() else b""
    committed = Pages(data, wal.committed)
    found = {chunk.first: chunk for page in committed for chunk in chunks_on(page, committed)}
    if wal.damaged_at is not None:
        everything = Pages(data, dict(wal.frames))
        for number, content in wal.frames:  # also older versions of a page: the newest may be damaged
            for chunk in chunks_on(content[FILE_HEADER * (number == 1) :], everything):
                found.setdefault(chunk.first, chunk)
    chunks: list[Chunk] = []
    for _, chunk in sorted(found.items()):
        if not chunks or chunk.first > chunks[-1].last:
            chunks.append(chunk)
    return chunks


@dataclass(frozen=True)
class Pages:
    """The pages of a database: newer versions take precedence over the file."""

    data: bytes
    newer: Mapping[int, bytes]

    def get(self, number: int) -> bytes:
        """Return a page; it is shorter, or empty, at the end of a truncated file."""
        return self.newer.get(number) or self.data[(number - 1) * PAGE : number * PAGE] if number > 0 else b""

    def __iter__(self) -> Iterator[bytes]:
        for number in range(1, max(-(-len(self.data) // PAGE), *self.newer, 0) + 1):
            yield self.get(number)[FILE_HEADER * (number == 1) :]


def chunks_on(page: bytes, pages: Pages) -> Iterator[Chunk]:
    """Yield the intact chunks whose rows are on a page. Its type is ignored, as that byte may be damaged.

    Args:
        page: The page, from its page header on.
        pages: All pages, for the rest of long rows.
    """
    moved = PAGE - len(page) if len(page) == PAGE - FILE_HEADER else 0  # offsets of cells count from the start of the page
    cells = int.from_bytes(page[3:5])
    for k in range(min(cells, (len(page) - LEAF_HEADER) // 2)):
        at = int.from_bytes(page[LEAF_HEADER + 2 * k : LEAF_HEADER + 2 * k + 2]) - moved
        if LEAF_HEADER + 2 * k < at < len(page):
            try:
                yield chunk_at(page, at, pages)
            except (ValueError, IndexError, KeyError):  # not the row of a chunk, or a damaged one
                continue


def chunk_at(page: bytes, at: int, pages: Pages) -> Chunk:
    """Return the chunk of a cell; raise ``ValueError``, ``IndexError`` or ``KeyError`` if it has none, or a damaged one."""
    size, at = varint(page, at)
    first, at = varint(page, at)
    if size <= MAX_LOCAL:
        local = size
    else:
        local = MIN_LOCAL + (size - MIN_LOCAL) % (PAGE - 4)
        local = local if local <= MAX_LOCAL else MIN_LOCAL
    types, width = record_header(page, at)
    if width + sum(map(width_of, types)) != size:  # checked before the overflow pages are read
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
    """Return the types of the columns of a record, and the bytes of its header."""
    width, offset = varint(page, at)
    types = []
    for _ in range(COLUMNS):
        kind, offset = varint(page, offset)
        types.append(kind)
    if offset - at != width or types[0] != 0 or types[-1] < 12 or types[-1] % 2:
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
    """Return the variable-length integer at an offset, and the offset after it."""
    value = 0
    for k in range(8):
        byte = data[at + k]
        value = value << 7 | byte & 127
        if byte < 128:
            return value, at + k + 1
    return value << 8 | data[at + 8], at + 9
