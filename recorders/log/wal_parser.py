"""Parses the WAL file of an SQLite database: its committed pages, and whether damage hides committed frames.

After a crash SQLite uses the frames up to the first one with a wrong checksum, and silently drops the rest: right for a tail
that was being written, wrong for frames that were committed. Format: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from generals_env.recorders.log.segment_files import PAGE

__all__ = ["Wal", "read_wal"]

HEADER, FRAME = 32, 24  # bytes before the frames, and before the page of each

MAGIC = (0x377F0682, 0x377F0683)  # checksums are of little-endian or big-endian words

Words = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Wal:
    """Content of a WAL file.

    Attributes:
        committed: Committed pages by number, as SQLite reads them.
        frames: All (page number, page) since the last reset of the file, in order, also after damage.
        damaged_at: Offset of a broken frame that is followed by committed ones, or of a broken header; None without damage.
    """

    committed: dict[int, bytes]
    frames: list[tuple[int, bytes]]
    damaged_at: int | None


def read_wal(path: Path) -> Wal:
    """Return the content of a WAL file; empty if it does not exist.

    Raises:
        OSError: If it cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Wal({}, [], None)
    count = (len(data) - HEADER) // (FRAME + PAGE)
    if count < 1:
        return Wal({}, [], None)
    table = np.frombuffer(data, np.uint8, count * (FRAME + PAGE), HEADER).reshape(count, FRAME + PAGE)
    heads = np.ascontiguousarray(table[:, :FRAME]).view(">u4").astype(np.uint32)  # page, size, two salts, two sums
    header = np.frombuffer(data, ">u4", HEADER // 4).astype(np.uint32)
    order = ">u4" if data[3] & 1 else "<u4"
    sums = checksum(np.zeros((1, 2), np.uint32), np.frombuffer(data, order, 6).reshape(1, 6).astype(np.uint32))
    good_header = int(header[0]) in MAGIC and header[2] == PAGE and np.array_equal(sums[0], header[6:])
    # Frames from before the last reset have other salts. If the header is broken, take the salts of the first frame.
    salts = header[4:6] if good_header else heads[0, 2:4]
    present = (heads[:, 2:4] == salts).all(axis=1) & (heads[:, 0] > 0)
    words = np.concatenate([table[:, :8], table[:, FRAME:]], axis=1).view(order).astype(np.uint32)
    before = np.concatenate([header[None, 6:], heads[:-1, 4:]])
    right = present & (checksum(before, words) == heads[:, 4:]).all(axis=1)
    broken = int(np.argmin(right)) if not right.all() else count
    commits = np.flatnonzero(heads[:, 1])
    valid = int(commits[commits < broken].max(initial=-1)) + 1 if good_header else 0
    pages = [(int(heads[k, 0]), table[k, FRAME:].tobytes()) for k in range(count) if present[k]]
    later = present[broken + 1 :]
    # Without a commit after it, the broken frame belongs to a transaction that never ended.
    hidden = later.any() and (present & (heads[:, 1] > 0))[broken:].any()
    damaged_at = HEADER + broken * (FRAME + PAGE) if hidden else None
    return Wal(dict(pages[:valid]), pages, damaged_at if good_header else 0)


def checksum(before: Words, words: Words) -> Words:
    """Return SQLite's checksums of rows of 32-bit words.

    For each two words, ``a += x + b; b += y + a``, modulo 2**32. This is linear, so the sums are a matrix product.

    Args:
        before: (n, 2) initial sums.
        words: (n, even) words.

    Returns:
        (n, 2) sums.
    """
    start, weights = powers(words.shape[1] // 2)
    # Products and sums wrap at 2**64, which is right modulo 2**32.
    return (before.astype(np.uint64) @ start + words.astype(np.uint64) @ weights).astype(np.uint32)


@cache
def powers(pairs: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return the weights of the initial sums, (2, 2), and of each word, (2 * pairs, 2), in the final sums."""
    weights = np.zeros((2 * pairs, 2), np.uint64)
    a, b = (1, 0), (0, 1)  # each final sum as a combination of the two sums before
    for k in reversed(range(pairs)):
        first, second = (a[0], b[0]), (a[1], b[1])  # weight of either sum in (a, b) at the end
        # x goes into a, and through a into b; y goes into b alone.
        weights[2 * k] = [(first[0] + second[0]) % 2**32, (first[1] + second[1]) % 2**32]
        weights[2 * k + 1] = second
        # a and b before: a into a and b, b into a, and into b twice.
        a, b = (
            ((first[0] + second[0]) % 2**32, (first[0] + 2 * second[0]) % 2**32),
            ((first[1] + second[1]) % 2**32, (first[1] + 2 * second[1]) % 2**32),
        )
    return np.array([[a[0], b[0]], [a[1], b[1]]], np.uint64), weights
