"""Checks and pads the batches of an export, and makes its folder appear whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from generals_env.errors import ConfigError, GeneralsError, StorageError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.batch_kind import BatchKind
from generals_env.recorders.filesystem.atomic_files import make_folder, unfinished_folder
from generals_env.recorders.filesystem.leftovers import leftovers_beside, remove

__all__ = [
    "alike",
    "appearing",
]


def alike(batches: Iterable[ExperienceBatch], shape: tuple[int, int] | None) -> Iterator[ExperienceBatch]:
    """Yield batches padded to ``shape``, by default that of the first one.

    Raises:
        ConfigError: If they differ in players, recipe or kind of observations, or are larger than ``shape``.
    """
    first = None
    for batch in batches:
        if not len(batch):
            continue
        shape = shape or batch.shape
        part = batch.padded(*shape)
        kind = BatchKind.of(part).tensors
        first = first or kind
        if kind != first:
            raise ConfigError(f"batches: expected {first}, got {kind}")
        yield part


@contextmanager
def appearing(path: Path, argument: str) -> Iterator[Path]:
    """Make an empty folder that is renamed to ``path`` when the block ends, and deleted if the block raises.

    Args:
        path: The final path.
        argument: The argument that errors name.

    Raises:
        StorageError: If ``path`` exists already, or cannot be written.
    """
    try:
        if path.exists():
            raise StorageError(f"{argument}: expected a new one, got {str(path)!r}, which exists: delete it, or pass another")
        make_folder(path.parent)
        remove(leftovers_beside(path))
        with unfinished_folder(path) as folder:
            yield folder
    except GeneralsError:
        raise
    except OSError as error:
        raise StorageError(f"{argument}: expected to write to {str(path)!r}, got {error}") from error
