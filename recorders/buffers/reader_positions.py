"""Keeps the positions of readers that read a buffer in order: what all of them have taken may be dropped."""

from __future__ import annotations

__all__ = ["ReaderPositions"]


class ReaderPositions:
    """The key up to which each reader has taken experiences; not thread-safe.

    What all readers had taken at one time counts as taken after the last of them has left, too.
    """

    def __init__(self) -> None:
        """Begin without readers: nothing is taken."""
        self._positions: dict[object, int] = {}
        self._taken = 0

    def move(self, reader: object, key: int) -> None:
        """Set the key before which a reader has taken, or does not want, all experiences; add the reader if it is new."""
        self._positions[reader] = key
        self._update()

    def leave(self, reader: object) -> None:
        """Remove a reader."""
        self._positions.pop(reader, None)
        self._update()

    @property
    def count(self) -> int:
        """Number of readers."""
        return len(self._positions)

    @property
    def taken(self) -> int:
        """Key before which every reader has taken everything; 0 if there was never a reader."""
        return min(self._taken, *self._positions.values()) if self._positions else self._taken

    def _update(self) -> None:
        if self._positions:
            self._taken = max(self._taken, min(self._positions.values()))
