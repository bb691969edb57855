"""Reads PEM files of certificates and keys."""

from __future__ import annotations

from pathlib import Path

from generals_env.errors import ConfigError

__all__ = ["read_pem"]


def read_pem(name: str, path: str | Path) -> bytes:
    """Return the bytes of a PEM file.

    Args:
        name: Name of the argument, for errors.
        path: The file.

    Raises:
        ConfigError: If it cannot be read, or is not in PEM format.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{name}: expected a file that can be read, got {str(path)!r} ({error}): check the path and its permissions"
        ) from error
    if b"-----BEGIN " not in data:
        raise ConfigError(f"{name}: expected a file in PEM, got {str(path)!r}: convert it with openssl")
    return data
