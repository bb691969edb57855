"""Reads PEM files of certificates and keys."""

from __future__ import annotations

from pathlib import Path

from generals_env.errors import ConfigError

__all__ = ["pem"]


def pem(name: str, path: str | Path) -> bytes:
    """Return what is in a file in PEM.

    Raises:
        ConfigError: If it cannot be read, or is none.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{name}: expected a file that can be read, got {str(path)!r} ({error})") from error
    if b"-----BEGIN " not in data:
        raise ConfigError(f"{name}: expected a file in PEM, got {str(path)!r}")
    return data
