"""What a trainer is, in one file that is there whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from generals_env.errors import StorageError
from generals_env.recorders.leftovers import leftovers_beside, remove
from generals_env.recorders.whole_files import replace_file

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(path: str | Path, content: Mapping[str, Any]) -> None:
    """Put tensors, numbers, strings and dicts of these into a file, at once and safe from a crash.

    Raises:
        StorageError: If it cannot be written. What was there before is still there.
    """
    place = Path(path)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        remove(leftovers_beside(place))
        replace_file(place, lambda file: torch.save(dict(content), file))
    except (OSError, RuntimeError) as error:  # torch tells of a full disk as it likes
        raise StorageError(f"path: expected to write to {str(path)!r}, got {error}") from error


def load_checkpoint(path: str | Path) -> dict[str, Any] | None:
    """Return what ``save_checkpoint`` wrote, on the CPU, None if there is no such file. No code in it is ever run.

    Raises:
        StorageError: If it is damaged, or none of ours.
    """
    try:
        content = torch.load(Path(path), map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise TypeError(f"expected a dict, got {type(content).__name__}")  # noqa: TRY301 - told with the others
    except FileNotFoundError:
        return None
    except Exception as error:
        # Damaged bytes can make torch raise nearly anything.
        raise StorageError(f"path: expected a checkpoint, got {str(path)!r} ({type(error).__name__}: {error})") from error
    return content
