"""What a trainer is, in one file that is there whole or not at all, and that shows whether a bit of it has changed.

The file is what ``torch.save`` writes, a zip archive, and ``torch.load`` reads it too. The archive's comment, its last bytes,
holds a SHA-256 of all that comes before. Files of earlier versions end where the archive does, without a comment; of these only
the CRC-32 of each part can be checked, which ``torch.load`` does not do.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from generals_env.errors import StorageError
from generals_env.recorders.filesystem.atomic_files import make_folder, replace_file
from generals_env.recorders.filesystem.leftovers import leftovers_beside, remove

__all__ = ["load_checkpoint", "save_checkpoint"]

#: What the comment begins with; the digest follows.
MARK = b"generals_env checkpoint, SHA-256:"
DIGEST_SIZE = hashlib.sha256().digest_size

#: The record with which every zip archive ends, and the length of the comment in its last bytes.
END, END_SIZE, LENGTH_SIZE = b"PK\x05\x06", 22, 2


def save_checkpoint(path: str | Path, content: Mapping[str, Any]) -> None:
    """Put tensors, numbers, strings and dicts of these into a file, at once and safe from a crash.

    Raises:
        StorageError: If it cannot be written. What was there before is still there.
    """
    place = Path(path)
    archive = io.BytesIO()
    torch.save(dict(content), archive)
    data = sealed(archive.getvalue())
    try:
        make_folder(place.parent)
        remove(leftovers_beside(place))
        replace_file(place, lambda file: file.write(data))
    except OSError as error:
        raise StorageError(f"path: expected to write to {str(path)!r}, got {error}") from error


def load_checkpoint(path: str | Path) -> dict[str, Any] | None:
    """Return what ``save_checkpoint`` wrote, on the CPU, None if there is no such file. No code in it is ever run.

    Raises:
        StorageError: If it is damaged, or none of ours.
    """
    try:
        data = Path(path).read_bytes()
        check(data)
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise TypeError(f"expected a dict, got {type(content).__name__}")  # noqa: TRY301 - told with the others
    except FileNotFoundError:
        return None
    except Exception as error:
        # Damaged bytes can make zipfile and torch raise nearly anything.
        raise StorageError(
            f"path: expected a checkpoint, got {str(path)!r} ({type(error).__name__}: {error}); "
            "put a copy that is whole in its place, or move it away to begin anew"
        ) from error
    return content


def sealed(archive: bytes) -> bytes:
    """Return an archive without a comment with its digest as the comment."""
    body = archive[:-LENGTH_SIZE] + (len(MARK) + DIGEST_SIZE).to_bytes(LENGTH_SIZE, "little") + MARK
    return body + hashlib.sha256(body).digest()


def check(data: bytes) -> None:
    """Raise ``ValueError`` unless the bytes are those that were written, as far as the file can tell."""
    body, digest = data[:-DIGEST_SIZE], data[-DIGEST_SIZE:]
    if body.endswith(MARK):
        if hashlib.sha256(body).digest() != digest:
            raise ValueError("expected the bytes that were written, got others: the file is damaged")
        return
    end = data[-END_SIZE:]
    if not end.startswith(END) or any(end[-LENGTH_SIZE:]):  # a damaged comment does not make a file of an earlier version
        raise ValueError("expected a whole file of torch, got another, or a part of one")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"expected the bytes that were written, got others in {damaged}: the file is damaged")
