"""Decodes the bytes of a replay file: gzip, the ``.gior`` compression of the live game, and JSON in UTF-8, UTF-16 or UTF-32.

An error about a file that is not a replay says what the file is (a web page, a truncated file), not where a decoder failed.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
import zlib
from typing import Any

from generals_env.errors import ReplayError
from generals_env.replay.lz_string import decompress

__all__ = ["DAMAGED_ARCHIVE", "parse", "unzipped"]

#: What the standard library raises on damaged ZIP and tar archives, also from within its own code (empty names, cut headers).
DAMAGED_ARCHIVE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
)

GZIP = b"\x1f\x8b"

#: First bytes of other kinds of files that users may pass by mistake.
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

#: First byte of compressed JSON, an object or a list, in a ``.gior`` file; UTF-8 text of JSON never begins with it.
PACKED = (0x36, 0x37)

SHOWN = 40  # characters of a text in an error


def unzipped(data: bytes, max_bytes: int) -> bytes:
    """Return the content of a file, decompressed if it is gzip.

    Args:
        data: The file, or its beginning if that is longer than ``max_bytes``.
        max_bytes: Limit of the size before and after decompression.

    Raises:
        ReplayError: If the file is larger, or is truncated or damaged gzip.
    """
    if len(data) > max_bytes:
        raise ReplayError(f"path: expected at most {max_bytes} bytes, got more: pass a file with one replay")
    if not data.startswith(GZIP):
        return data
    try:
        content = gzip.GzipFile(fileobj=io.BytesIO(data)).read(max_bytes + 1)
    except EOFError as error:
        raise ReplayError(f"expected a whole gzip file, got the first {len(data)} bytes of one: download it again") from error
    except (OSError, zlib.error) as error:
        raise ReplayError(f"expected a gzip file, got a damaged one ({error}): download it again") from error
    if len(content) > max_bytes:
        raise ReplayError(f"path: expected at most {max_bytes} bytes, got more: pass a file with one replay")
    if content.startswith(GZIP):
        raise ReplayError("expected a replay in the gzip file, got another gzip file: unpack it once")
    return content


def parse(data: bytes, max_characters: int) -> Any:
    """Return the fields in a file, as JSON gives them.

    Args:
        data: Content of the file, without gzip.
        max_characters: Limit of the length of the text in a ``.gior`` file.

    Raises:
        ReplayError: If the content is neither JSON nor ``.gior``.
    """
    encoding = json.detect_encoding(data)  # by byte order mark and null bytes, as RFC 8259 and earlier RFCs specify
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        begins = data[:SHOWN].decode(encoding, "replace").lstrip()
        if begins.startswith(("{", "[")):
            where = f"byte {data[error.start]:#04x} at {error.start}"
            raise ReplayError(f"expected JSON in {encoding.upper()}, got {where}, which is none: save it in UTF-8") from error
        if begins.startswith("<"):
            return from_text(begins)
    else:
        if is_text(text):
            return from_text(text.lstrip("\ufeff"))
    text = unpacked(data, max_characters)
    try:
        return from_text(text)
    except ReplayError as error:
        raise ReplayError(
            f"expected a .gior file, got a damaged one: unpacked it is no replay ({error}): download it again"
        ) from error


def is_text(text: str) -> bool:
    """Return whether the beginning of a text consists of printable characters and white space."""
    return all(character.isprintable() or character.isspace() for character in text[:SHOWN])


def unpacked(data: bytes, max_characters: int) -> str:
    """Decompress the content of a ``.gior`` file.

    Raises:
        ReplayError: If the data is damaged or not a ``.gior`` file.
    """
    for start, kind in OTHERS.items():
        if data.startswith(start):
            raise ReplayError(f"expected a replay, got {kind}: pass a file with one replay")
    try:
        return decompress(data, max_characters)
    except ReplayError as error:
        if data[0] in PACKED:
            raise
        raise ReplayError(
            f"expected .gior or JSON, got {len(data)} bytes of another kind that begin with {data[:8]!r}: pass a replay file"
        ) from error


def from_text(text: str) -> Any:
    """Parse JSON.

    Raises:
        ReplayError: If the text is not JSON.
    """
    begins = text[:1000].lstrip().lower()
    if not begins:
        raise ReplayError("expected a replay, got an empty file: download it again")
    if begins.startswith("<"):
        kind = "a web page" if "<html" in begins or begins.startswith("<!doctype html") else "XML or part of a web page"
        raise ReplayError(f"expected a replay, got {kind} that begins with {shown(text)}: download the file itself")
    try:
        return json.loads(text, object_pairs_hook=without_repeats)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        if begins[0] not in "[{":
            raise ReplayError(f"expected a replay, got text that begins with {shown(text)}: pass a replay file") from error
        if error.msg == "Extra data":
            raise ReplayError(
                f"expected one replay, got more text behind it ({where}): write each game to its own file"
            ) from error
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
            raise ReplayError(
                f"expected whole JSON, got its first {len(text)} characters: it is cut off, download it again"
            ) from error
        raise ReplayError(f"expected JSON, got text that is none at {where} ({error.msg})") from error
    except RecursionError as error:
        raise ReplayError("expected a replay, got JSON with lists in lists without end: pass a replay") from error
    except ReplayError:
        raise
    except ValueError as error:  # numbers of thousands of digits
        raise ReplayError(f"expected a replay, got JSON that cannot be read ({error}): pass a replay file") from error


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; refuse repeated names, as it would be ambiguous which value is meant."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ReplayError(f"{twice}: expected once, got it {names.count(twice)} times: remove all but one")
    return fields


def shown(text: str) -> str:
    """Return the beginning of a text for an error message."""
    return repr(text.strip()[:SHOWN])
