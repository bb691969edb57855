"""Tells players apart by what they are: hashes of files, of sources of callables, and of programs with their files."""

from __future__ import annotations

import hashlib
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generals_env.bridge.batch_policies import is_file
from generals_env.errors import StorageError

__all__ = ["clean", "command_digest", "file_digest", "short_command", "source_digest"]

#: The file that starts an agent of the competition; what it needs lies beside it.
RUN = "run.sh"

#: Names of the files beside ``RUN`` that decide how an agent plays end in one of these: not what its first start compiles.
SOURCES = (".py", ".sh", ".c", ".cc", ".cpp", ".h", ".hpp", ".rs", ".go", ".java", ".js", ".ts", ".npz", ".npy", ".pt", ".onnx")

MAX_SOURCES = 1000
SHOWN = 40  # characters of a command


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        StorageError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"player: expected a file that can be read, got {str(path)!r} ({error})") from error


def source_digest(policy: Any) -> str:
    """Return the SHA-256 of the source file of a callable, empty if it has none."""
    kind = policy if inspect.isfunction(policy) or inspect.isclass(policy) else type(policy)
    try:
        path = inspect.getsourcefile(kind)
    except TypeError:
        return ""
    return file_digest(Path(path)) if path and Path(path).is_file() else ""


def command_digest(command: str) -> str:
    """Return the SHA-256 of a command, of the files that it names, and of the sources and weights beside a ``run.sh``."""
    digest = hashlib.sha256(command.encode())
    for word in filter(is_file, shlex.split(command)):
        for path in files_of(Path(word)):
            digest.update(file_digest(path).encode())
    return digest.hexdigest()


def files_of(path: Path) -> Iterator[Path]:
    """Yield a file of a command and those that belong to it."""
    yield path
    if path.name == RUN:
        beside = (other for other in path.parent.rglob("*") if other.suffix in SOURCES and other != path)
        yield from sorted(other for other, _ in zip(beside, range(MAX_SOURCES), strict=False) if other.is_file())


def short_command(command: str) -> str:
    """Return a command for results: names of files without their folders, an agent of the competition by its folder."""
    names = []
    for word in shlex.split(command):
        path = Path(word)
        names.append(path.parent.name if path.name == RUN and path.parent.name else path.name)
    return clean(" ".join(names))[:SHOWN]


def clean(name: str) -> str:
    """Return a name of letters, digits and few signs, as it stands in results and files."""
    return re.sub(r"[^\w.:+-]+", "_", name)
