"""The bytes of a replay file, unpacked and parsed: gzip, the live game's own packing, JSON in any encoding of its standard.

What is no replay is told by what it is (a web page, a file cut off), not by where the reader of some inner form gave up.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from typing import Any

from generals_env.errors import ReplayError
from generals_env.replay.lz_string import decompress

__all__ = ["parse", "unzipped"]

GZIP = b"\x1f\x8b"

#: How files of other kinds begin that are taken for replays by mistake.
OTHERS = {
    b"PK": "a ZIP archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"\xfd7zXZ": "an XZ file",
    b"BZh": "a bzip2 file",
    b"\x89PNG": "a picture",
    b"GIF8": "a picture",
    b"%PDF": "a PDF file",
    b"PAR1": "a Parquet file",
    b"SQLite format 3": "an SQLite database",
}

#: How JSON begins, an object or a list, in the packing of the live game; no text in UTF-8 begins so.
PACKED = (0x36, 0x37)

SHOWN = 40  # characters of a text in an error


def unzipped(data: bytes, most: int) -> bytes:
    """Return the content of a file, gzip undone.

    Args:
        data: The file, or its beginning if that is longer than ``most``.
        most: Bytes that it may have, before and after.

    Raises:
        ReplayError: If it is larger, or gzip that is cut off or damaged.
    """
    if len(data) > most:
        raise ReplayError(f"path: expected at most {most} bytes, got more")
    if not data.startswith(GZIP):
        return data
    try:
        content = gzip.GzipFile(fileobj=io.BytesIO(data)).read(most + 1)
    except EOFError as error:
        raise ReplayError(f"expected a whole gzip file, got the first {len(data)} bytes of one") from error
    except (OSError, zlib.error) as error:
        raise ReplayError(f"expected a gzip file, got a damaged one ({error})") from error
    if len(content) > most:
        raise ReplayError(f"path: expected at most {most} bytes, got more")
    if content.startswith(GZIP):
        raise ReplayError("expected a replay in the gzip file, got another gzip file: unpack it once")
    return content


def parse(data: bytes, most: int) -> Any:
    """Return the fields that a file holds, as JSON gives them.

    Args:
        data: Content of the file, without gzip.
        most: Characters that packed data may become.

    Raises:
        ReplayError: If it is no JSON, packed or not.
    """
    encoding = json.detect_encoding(data)  # by byte order mark and zeros, as RFC 8259 and the older ones have it
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        begins = data[:SHOWN].decode(encoding, "replace").lstrip()
        if begins.startswith(("{", "[")):
            where = f"byte {data[error.start]:#04x} at {error.start}"
            raise ReplayError(f"expected JSON in {encoding.upper()}, got {where}, which is none") from error
        if begins.startswith("<"):
            return from_text(begins)
    else:
        if is_text(text):
            return from_text(text.lstrip("\ufeff"))
    text = unpacked(data, most)
    try:
        return from_text(text)
    except ReplayError as error:
        raise ReplayError(f"expected a .gior file, got a damaged one: unpacked it is no replay ({error})") from error


def is_text(text: str) -> bool:
    """Return whether the beginning of a text has no other characters than people and programs write into files."""
    return all(character.isprintable() or character.isspace() for character in text[:SHOWN])


def unpacked(data: bytes, most: int) -> str:
    """Return the text in data that is no text itself.

    Raises:
        ReplayError: If it is not packed as ``.gior`` files are, or damaged.
    """
    for start, kind in OTHERS.items():
        if data.startswith(start):
            raise ReplayError(f"expected a replay, got {kind}")
    try:
        return decompress(data, most)
    except ReplayError as error:
        if data[0] in PACKED:
            raise
        raise ReplayError(
            f"expected .gior or JSON, got {len(data)} bytes of another kind that begin with {data[:8]!r}"
        ) from error


def from_text(text: str) -> Any:
    """Return what JSON holds.

    Raises:
        ReplayError: If it is none.
    """
    begins = text[:1000].lstrip().lower()
    if not begins:
        raise ReplayError("expected a replay, got an empty file")
    if begins.startswith("<"):
        kind = "a web page" if "<html" in begins or begins.startswith("<!doctype html") else "XML or part of a web page"
        raise ReplayError(f"expected a replay, got {kind} that begins with {shown(text)}")
    try:
        return json.loads(text, object_pairs_hook=without_repeats)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        if begins[0] not in "[{":
            raise ReplayError(f"expected a replay, got text that begins with {shown(text)}") from error
        if error.msg == "Extra data":
            raise ReplayError(f"expected one replay, got more text behind it ({where})") from error
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
            raise ReplayError(f"expected whole JSON, got its first {len(text)} characters: it is cut off") from error
        raise ReplayError(f"expected JSON, got text that is none at {where} ({error.msg})") from error
    except RecursionError as error:
        raise ReplayError("expected a replay, got JSON with lists in lists without end") from error
    except ReplayError:
        raise
    except ValueError as error:  # numbers of thousands of digits
        raise ReplayError(f"expected a replay, got JSON that cannot be read ({error})") from error


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; a name that is there twice leaves open which value holds."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ReplayError(f"{twice}: expected once, got it {names.count(twice)} times")
    return fields


def shown(text: str) -> str:
    """Return the beginning of a text as an error shows it."""
    return repr(text.strip()[:SHOWN])
