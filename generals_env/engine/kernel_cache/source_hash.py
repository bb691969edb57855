"""Hashes the source files of the engine, from which kernels are compiled."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

__all__ = ["ENGINE", "SOURCES", "hash_sources"]

ENGINE = Path(__file__).resolve().parent.parent


def source_files() -> list[Path]:
    """Return the files of the engine; empty if they cannot be found, for example in some frozen programs."""
    if ENGINE.is_dir():
        modules = [
            path for path in ENGINE.rglob("*.py*") if path.suffix in (".py", ".pyc") and path.parent.name != "__pycache__"
        ]
        return sorted(path for path in modules if path.is_file())
    if getattr(sys, "frozen", False):
        return [Path(sys.executable)]
    return [path for path in ENGINE.parents if path.is_file()]  # a zip archive


def hash_sources() -> str | None:
    """Return a hash of the names and contents of all files of the engine; None if they cannot be read."""
    digest = hashlib.sha256()
    try:
        files = source_files()
        for path in files:
            content = path.read_bytes()
            name = path.relative_to(ENGINE).as_posix() if path.is_relative_to(ENGINE) else ""
            digest.update(f"{name} {len(content)}\n".encode())
            digest.update(content)
    except OSError:  # for example while an installer replaces them
        return None
    return digest.hexdigest() if files else None


#: Computed before other modules of the engine are imported: a file that is edited later may differ from the code that runs.
SOURCES = hash_sources()
