"""Finds replays of people in files, folders, archives, packed sets and tables, one after another, within limits of memory.

Members of archives are read in memory, and never extracted to files, so their names do not matter. What cannot be read as a
replay is a source, too, whose ``read`` raises the reason: each is counted.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from generals_env import replay
from generals_env.errors import ReplayError
from generals_env.replay.file_text import DAMAGED_ARCHIVE, parse, unzipped
from generals_env.replay.lz_string import MAX_CHARACTERS
from generals_env.replay.reader import MAX_BYTES, from_bytes

__all__ = ["ReplaySource", "file_source", "find_files", "replay_sources"]

#: Limits of an archive's content, in bytes and in multiples of its own size: replays compress to a fifth or a tenth.
ARCHIVE_BYTES, ARCHIVE_RATIO = 2**30, 200

#: Rows of a Parquet file that are read at a time.
TABLE_ROWS = 64

SNIFFED = 64  # bytes that tell the kind of a file

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
LINES_SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")


class ReplaySource(NamedTuple):
    """A replay that can be read.

    Attributes:
        name: Where it is, for reports: a path, for members of archives and packs with a part of its own.
        title: Id of the game if the replay has none.
        read: Returns it, or raises ``ReplayError``.
        nbytes: Memory that ``read`` holds.
    """

    name: str
    title: str
    read: Callable[[], replay.Replay]
    nbytes: int = 0


def file_source(path: str | Path) -> ReplaySource:
    """Return the source of a file with one replay."""
    return ReplaySource(str(path), Path(path).name, partial(replay.read, path))


def find_files(paths: Iterable[str | Path]) -> list[Path]:
    """Return files, and those in folders and their folders, in the order of their names; hidden ones in folders are left out.

    Raises:
        ReplayError: If a path does not exist.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = (file for file in sorted(path.rglob("*")) if file.is_file())
            files += [file for file in inside if not any(part.startswith(".") for part in file.relative_to(path).parts)]
        elif path.exists():
            files.append(path)
        else:
            raise ReplayError(f"paths: expected files and folders that exist, got {str(path)!r}: check the path")
    return files


def replay_sources(files: Iterable[str | Path]) -> Iterator[ReplaySource]:
    """Yield the replays in files.

    A file is a replay as ``generals_env.replay.read`` takes it, a JSON list of replays or of objects with a ``replay`` each, a
    file of JSON lines, a Parquet table with the fields as columns, or a ZIP or tar archive of such files but tables.
    """
    for path in map(Path, files):
        try:
            yield from in_file(path)
        except ReplayError as error:
            yield refused(str(path), str(error))
        except OSError as error:
            yield refused(str(path), f"path: expected a readable file, got {error}: check path and permissions")


def refused(name: str, why: str) -> ReplaySource:
    """Return a source that cannot be read."""

    def read() -> NoReturn:
        raise ReplayError(why)

    return ReplaySource(name, name, read)


def in_file(path: Path) -> Iterator[ReplaySource]:
    """Yield the replays in a file."""
    name, size = path.name.lower(), path.stat().st_size
    with path.open("rb") as file:
        begins = file.read(SNIFFED)
        file.seek(0)
        if begins.startswith(b"PAR1"):
            yield from in_table(path)
        elif begins.startswith(b"PK\x03\x04"):
            yield from in_zip(str(path), file, size)
        elif name.endswith(TAR_SUFFIXES):
            yield from in_tar(str(path), file, size)
        elif name.endswith(LINES_SUFFIXES):
            yield from in_lines(str(path), file)
        else:
            yield from in_content(str(path), file.read(MAX_BYTES + 1))


def in_content(name: str, data: bytes) -> Iterator[ReplaySource]:
    """Yield the replay in the content of a file, or the replays if it is a packed set."""
    try:
        if name.lower().endswith(LINES_SUFFIXES):
            yield from in_lines(name, io.BytesIO(data))
            return
        data = unzipped(data, MAX_BYTES)
        if not begins_set(data):
            yield ReplaySource(name, Path(name).name, partial(from_bytes, data), len(data))
            return
        entries = parse(data, MAX_CHARACTERS)
        for number, entry in enumerate(entries):
            fields = entry["replay"] if isinstance(entry, Mapping) and isinstance(entry.get("replay"), Mapping) else entry
            yield ReplaySource(f"{name}[{number}]", f"{Path(name).name}-{number}", partial(replay.from_dict, fields))
    except ReplayError as error:
        yield refused(name, str(error))


def begins_set(data: bytes) -> bool:
    """Return whether JSON begins a list of objects or lists; a replay that is a list begins with its version."""
    text = data[:SNIFFED].removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith(b"[") and text[1:].lstrip()[:1] in (b"{", b"[")


def in_lines(name: str, file: BinaryIO) -> Iterator[ReplaySource]:
    """Yield the replays in a file of JSON lines, which may be gzipped."""
    stream: Any = gzip.GzipFile(fileobj=file) if name.lower().endswith(".gz") else file
    try:
        for number in count():
            line = stream.readline(MAX_BYTES + 1)
            if not line:
                return
            if len(line) > MAX_BYTES:
                yield refused(f"{name}:{number}", f"line {number}: expected at most {MAX_BYTES} bytes, got more: split the set")
                return
            if line.strip():
                read = partial(from_bytes, bytes(line))
                yield ReplaySource(f"{name}:{number}", f"{Path(name).name}-{number}", read, len(line))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield refused(name, f"expected a whole gzip file, got a damaged one ({error}): download it again")


def in_zip(name: str, file: BinaryIO, size: int) -> Iterator[ReplaySource]:
    """Yield the replays in a ZIP archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            left = max(ARCHIVE_BYTES, ARCHIVE_RATIO * size)
            for member in archive.infolist():
                if member.is_dir():
                    continue
                place = f"{name}/{member.filename}"
                if member.flag_bits & 1:
                    yield refused(place, "expected a replay, got an encrypted file: decrypt the archive")
                    continue
                try:
                    with archive.open(member) as content:
                        data = content.read(min(left, MAX_BYTES) + 1)
                except DAMAGED_ARCHIVE as error:
                    yield refused(place, f"expected a whole file, got a damaged or unknown one ({error}): download it again")
                    continue
                left -= len(data)
                if left < 0:
                    yield refused(place, too_large(size))
                    return
                yield from in_member(place, data)
    except DAMAGED_ARCHIVE as error:
        yield refused(name, f"expected a ZIP archive, got a damaged or unknown one ({error}): download it again")


def in_tar(name: str, file: BinaryIO, size: int) -> Iterator[ReplaySource]:
    """Yield the replays in a tar archive; links and devices in it are ignored."""
    try:
        with tarfile.open(fileobj=file, mode="r|*") as archive:
            left = max(ARCHIVE_BYTES, ARCHIVE_RATIO * size)
            for member in archive:
                left -= member.size
                if left < 0:  # the next member lies behind the content of this one
                    yield refused(f"{name}/{member.name}", too_large(size))
                    return
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    yield from in_member(f"{name}/{member.name}", content.read(MAX_BYTES + 1))
    except DAMAGED_ARCHIVE as error:
        yield refused(name, f"expected a tar archive, got a damaged one ({error}): download it again")


def in_member(place: str, data: bytes) -> Iterator[ReplaySource]:
    """Yield the replays in a member of an archive."""
    if data.startswith((b"PK\x03\x04", b"PAR1")) or place.lower().endswith(TAR_SUFFIXES):
        yield refused(place, "expected a replay or a set in JSON, got an archive or table in the archive: unpack the outer one")
    else:
        yield from in_content(place, data)


def too_large(size: int) -> str:
    """Return why the rest of an archive is not read."""
    return (
        f"expected an archive with at most {ARCHIVE_BYTES} bytes or {ARCHIVE_RATIO} times its size in it, got more in "
        f"{size} bytes: unpack it if you trust it"
    )


def in_table(path: Path) -> Iterator[ReplaySource]:
    """Yield the replays in a Parquet table, a row each.

    Raises:
        ReplayError: If the table is damaged, or pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ReplayError('expected pyarrow to read Parquet, got none: pip install "generals_env[storage]"') from error
    from generals_env.recorders.people.replay_table import rows_of

    number = 0
    try:
        with parquet.ParquetFile(path) as table:
            about = table.metadata
            sizes = [about.row_group(group).total_byte_size for group in range(about.num_row_groups)]
            if max(sizes, default=0) > ARCHIVE_BYTES:
                raise ReplayError(f"expected row groups of at most {ARCHIVE_BYTES} bytes, got {max(sizes)}: write smaller ones")
            for batch in table.iter_batches(TABLE_ROWS):
                for row in rows_of(batch):
                    yield ReplaySource(f"{path}[{number}]", f"{path.name}-{number}", partial(replay.from_dict, row))
                    number += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ReplayError(
            f"expected a Parquet table, got a damaged one at row {number} ({error}): download it again"
        ) from error
