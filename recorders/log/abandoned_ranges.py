"""Keeps the ranges of sequence numbers whose experiences are lost, so that their absence does not count as damage."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from generals_env.errors import StorageError
from generals_env.recorders.filesystem.checked_json import read_checked, write_checked

__all__ = ["FILE", "Range", "abandoned_ranges", "missing", "write_abandoned"]

FILE = "lost.json"

#: First and last sequence number.
Range = tuple[int, int]


def abandoned_ranges(folder: Path) -> list[Range]:
    """Return the abandoned ranges of a log, in order.

    Raises:
        StorageError: If the file that holds them is damaged.
    """
    content = read_checked(folder / FILE)
    try:
        return [] if content is None else [(int(first), int(last)) for first, last in content["ranges"]]
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{folder / FILE}: expected ranges of numbers, got {content!r:.200}: run repair()") from error


def write_abandoned(folder: Path, ranges: Iterable[Range]) -> None:
    """Replace the abandoned ranges of a log.

    Raises:
        OSError: If the file cannot be written.
    """
    write_checked(folder / FILE, {"ranges": sorted(ranges)})


def missing(first: int, last: int, present: Iterable[Range]) -> list[Range]:
    """Return the ranges of numbers from ``first`` to ``last`` that are in none of the ranges ``present``."""
    gaps = []
    for low, high in sorted(present):
        if low > first:
            gaps.append((first, min(low - 1, last)))
        first = max(first, high + 1)
        if first > last:
            break
    if first <= last:
        gaps.append((first, last))
    return [gap for gap in gaps if gap[0] <= gap[1]]
