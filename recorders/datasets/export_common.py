"""What exports share: the check that batches are alike, and folders that appear whole."""

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
    """Yield batches padded to one shape, that of the first one without; raise ``ConfigError`` if they differ otherwise."""
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
def appearing(place: Path, argument: str) -> Iterator[Path]:
    """Lend an empty folder that takes its place when all has gone well, and is gone when not.

    Raises:
        StorageError: If there is something in its place already, or it cannot be written.
    """
    try:
        if place.exists():
            raise StorageError(f"{argument}: expected a place where nothing is yet, got {str(place)!r}")
        make_folder(place.parent)
        remove(leftovers_beside(place))
        with unfinished_folder(place) as folder:
            yield folder
    except GeneralsError:
        raise
    except OSError as error:
        raise StorageError(f"{argument}: expected to write to {str(place)!r}, got {error}") from error
