"""Names the files and folders of a dataset, and parses these names.

::

    year=2026/month=01/day=15/hour=14/game_<id>_0000.npz     the first file of a game
    year=2026/month=01/day=15/hour=14/part_<writer>_0000.npz the first file of a writer that packs many games into one
    year=2026/month=01/day=15/hour=14/.index.parquet         the index of Parquet files in the folder
    year=2026/month=01/day=15/hour=14/_index.json            the index of other files in the folder
    year=2026/month=01/day=15/hour=14/_index-<writer>.json   the part of this index that one writer writes, on S3
    experiences_000000.npz                                   a batch, as versions before 0.2 and buffers write them

The hour is the one in UTC in which the experience was written. pyarrow, Spark and DuckDB, among others, read folders of this
form. Polars reads every file in them as Parquet, also hidden ones; so the index of Parquet files is a Parquet file without
rows. Earlier versions listed Parquet files in ``_index.json``, too.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote

from generals_env.recorders.formats import FORMATS, format_of_file

__all__ = [
    "INDEXES",
    "JSON_INDEX",
    "PARQUET_INDEX",
    "FileName",
    "file_name",
    "in_order",
    "index_part",
    "is_index",
    "parsed_name",
    "partition_end",
    "partition_of",
    "safe_id",
]

#: Names of the index of Parquet files, and of the index of files in all other formats.
PARQUET_INDEX, JSON_INDEX = ".index.parquet", "_index.json"
INDEXES = (PARQUET_INDEX, JSON_INDEX)

#: A part of an index: its index with the id of the writer before the suffix.
INDEX_PART = re.compile(r"(\.index)-.+(\.parquet)|(_index)-.+(\.json)")

MAX_CHARACTERS = 150  # of an id in a name: file systems allow names of 255

PARTITION = re.compile(r"year=(\d{4})/month=(\d\d)/day=(\d\d)/hour=(\d\d)$")

NAME = re.compile(r"(game|part)_(.+)_(\d{4,})")
NUMBERED = re.compile(r"experiences_(\d+)")


class FileName(NamedTuple):
    """The parts of the name of a file."""

    folder: str
    kind: str  # "game", "part", "experiences"; "" for another name
    id: str  # of the game or the writer, as ``safe_id`` gives it
    number: int  # of the file among files with the same id
    format: str  # a key of ``FORMATS``


def partition_of(seconds: float) -> str:
    """Return the folder for a time in seconds since 1970, UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("year=%Y/month=%m/day=%d/hour=%H")


def partition_end(folder: str) -> float | None:
    """Return when the hour of a folder ends, in seconds since 1970; None if the folder is not one of an hour."""
    found = PARTITION.search(folder)
    if found is None:
        return None
    try:
        year, month, day, hour = map(int, found.groups())
        start = dt.datetime(year, month, day, hour, tzinfo=dt.UTC)
    except ValueError:  # for example month 14
        return None
    return start.timestamp() + 3600


def safe_id(game_id: str) -> str:
    """Return an id that is valid in file names of all systems; different ids stay different."""
    quoted = quote(game_id, safe=" ").replace(" ", "%20")
    if len(quoted) <= MAX_CHARACTERS:
        return quoted or "%"
    return f"{quoted[:MAX_CHARACTERS]}-{hashlib.sha256(game_id.encode()).hexdigest()[:16]}"


def file_name(folder: str, kind: str, file_id: str, number: int, form: str) -> str:
    """Return the name of a file with its folder."""
    name = f"{kind}_{file_id}_{number:04d}{FORMATS[form]}"
    return f"{folder}/{name}" if folder else name


def index_part(index: str, part: str) -> str:
    """Return the name of a part of an index, ``part`` being the id of its writer."""
    stem, _, suffix = index.rpartition(".")
    return f"{stem}-{part}.{suffix}"


def is_index(name: str) -> str:
    """Return which index the file of this name, without folder, is or is a part of; empty for other files."""
    if name in INDEXES:
        return name
    found = INDEX_PART.fullmatch(name)
    return "" if found is None else PARQUET_INDEX if found[1] else JSON_INDEX


def parsed_name(name: str) -> FileName | None:
    """Return the parts of the name of a file of experience; None for other files.

    Every file with the suffix of a format is one, except NPZ files with other names, which may hold any arrays.
    """
    folder, _, last = name.rpartition("/")
    form = format_of_file(last)
    if form is None:
        return None
    stem = last[: -len(FORMATS[form])]
    if found := NAME.fullmatch(stem):
        return FileName(folder, found[1], found[2], int(found[3]), form)
    if found := NUMBERED.fullmatch(stem):
        return FileName(folder, "experiences", "", int(found[1]), form)
    return None if form == "npz" else FileName(folder, "", stem, 0, form)


def in_order(names: Iterable[str]) -> list[str]:
    """Return the names of files of experience in the order in which they are read; other names are left out.

    Files of one game or writer are sorted by their numbers, even if the clock was set back between them; games and writers
    are sorted by their first folders.
    """
    parsed = {name: parts for name in names if (parts := parsed_name(name)) is not None}
    first: dict[tuple[str, str], str] = {}
    for parts in parsed.values():
        key = parts.kind, parts.id
        first[key] = min(first.get(key, parts.folder), parts.folder)

    def position(name: str) -> tuple[str, str, str, int, str]:
        parts = parsed[name]
        return first[parts.kind, parts.id], parts.kind, parts.id, parts.number, name

    return sorted(parsed, key=position)
