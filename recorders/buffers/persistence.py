"""Saves a replay buffer to a folder, loads it, and copies and pickles it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Self

import numpy.typing as npt

from generals_env.recorders.buffers.buffer_base import OWN_ATTRIBUTES
from generals_env.recorders.buffers.overflow_policy import OverflowWriter
from generals_env.recorders.formats.folder_use import local_folder

__all__ = ["PersistentBuffer"]


class PersistentBuffer(OverflowWriter):
    """The part of ``ReplayBuffer`` that takes its experiences to files, copies and other processes."""

    def save(self, path: str | Path) -> None:
        """Write all experiences to a new folder, which appears when it is complete.

        Raises:
            StateError: If there are none.
            StorageError: If the folder exists or cannot be written.
        """
        from generals_env.recorders.buffers.save_load import save_buffer  # brings file formats that most buffers never use

        with self._changed:
            store = self._require_stored()
            save_buffer(local_folder("path", path), store.between(store.first, store.next), self._saved())

    def load(self, path: str | Path) -> None:
        """Write all experiences of a folder that ``save`` made to the buffer, whatever ``keep_probability`` is.

        Raises:
            ConfigError: As ``write``.
            StateError: As ``write``.
            StorageError: If the folder cannot be read, or is damaged; then nothing was written.
        """
        from generals_env.recorders.buffers.save_load import load_buffer

        batches, arrays = load_buffer(local_folder("path", path))
        with self._changed:
            count, dropped = 0, self._dropped_newest
            for batch in batches:
                if self._dropped_newest > dropped:  # later ones may be smaller and fit, but would leave a gap
                    self._dropped_newest += len(batch)
                else:
                    self._write(batch, 1.0)
                count += len(batch)
            self._restore(arrays, count - (self._dropped_newest - dropped))

    def __getstate__(self) -> dict[str, Any]:
        """Copy the experiences and settings as of one moment: other threads may continue to write."""
        with self._changed:
            state = {name: value for name, value in self.__dict__.items() if name not in OWN_ATTRIBUTES}
            return copy.deepcopy(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set what ``__getstate__`` returned."""
        self.__dict__.update(state)
        self._begin()

    def __copy__(self) -> Self:
        """Return a buffer with its own copy of the experiences: two buffers must not write to the same arrays."""
        other = object.__new__(type(self))
        other.__setstate__(self.__getstate__())
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a buffer with its own copy of the experiences."""
        return self.__copy__()

    # A subclass with more data for each experience overrides these two.

    def _saved(self) -> dict[str, npt.NDArray[Any]]:
        """Return arrays to save beside the experiences."""
        return {}

    def _restore(self, arrays: dict[str, npt.NDArray[Any]], count: int) -> None:
        """Set what ``_saved`` returned for the experiences that were just loaded, the first ``count`` of those saved."""
