"""Saves and loads checkpoints of a trainer: files that are written atomically and verified by a SHA-256 digest.

A file is the zip archive of ``torch.save``, so ``torch.load`` reads it, too. The comment of the archive, its last bytes, is a
SHA-256 digest of all bytes before it. Files of earlier versions have no comment: of these only the CRC-32 of each member can be
checked, which ``torch.load`` does not do.
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

#: Start of the comment; the digest follows.
MARK = b"generals_env checkpoint, SHA-256:"
DIGEST_SIZE = hashlib.sha256().digest_size

#: Signature and size of the last record of every zip archive, whose last bytes are the length of the comment.
END, END_SIZE, LENGTH_SIZE = b"PK\x05\x06", 22, 2


def save_checkpoint(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write tensors, numbers, strings and dicts of these to a file, atomically and durably.

    Raises:
        StorageError: If the file cannot be written; the previous file is unchanged.
    """
    target = Path(path)
    archive = io.BytesIO()
    torch.save(dict(content), archive)
    data = append_digest(archive.getvalue())
    try:
        make_folder(target.parent)
        remove(leftovers_beside(target))
        replace_file(target, lambda file: file.write(data))
    except OSError as error:
        raise StorageError(f"path: expected a writable file, got {str(path)!r} ({error}): pass another path") from error


def load_checkpoint(path: str | Path) -> dict[str, Any] | None:
    """Load a file of ``save_checkpoint`` with tensors on the CPU; return None if there is no such file. Runs no pickled code.

    Raises:
        StorageError: If the file is damaged, or not a checkpoint.
    """
    try:
        data = Path(path).read_bytes()
        verify_digest(data)
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise TypeError(f"expected a dict, got {type(content).__name__}")  # noqa: TRY301 - reported with the others
    except FileNotFoundError:
        return None
    except Exception as error:
        # zipfile and torch raise many types of errors for damaged bytes.
        raise StorageError(
            f"path: expected a checkpoint, got {str(path)!r} ({type(error).__name__}: {error}); "
            "replace it by an intact copy, or move it away to begin anew"
        ) from error
    return content


def append_digest(archive: bytes) -> bytes:
    """Append the digest of an archive without comment as its comment."""
    body = archive[:-LENGTH_SIZE] + (len(MARK) + DIGEST_SIZE).to_bytes(LENGTH_SIZE, "little") + MARK
    return body + hashlib.sha256(body).digest()


def verify_digest(data: bytes) -> None:
    """Raise ``ValueError`` if the digest, or in files without one a CRC-32, shows that bytes have changed."""
    body, digest = data[:-DIGEST_SIZE], data[-DIGEST_SIZE:]
    if body.endswith(MARK):
        if hashlib.sha256(body).digest() != digest:
            raise ValueError("expected the SHA-256 in the file, got another: the file is damaged")
        return
    end = data[-END_SIZE:]
    if not end.startswith(END) or any(end[-LENGTH_SIZE:]):  # a damaged digest must not pass as a file of an earlier version
        raise ValueError("expected a complete file of torch.save, got another or a truncated one")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"expected the CRC-32 in the file, got another for {damaged}: the file is damaged")
