"""Keeps the positions of readers that read a buffer in order: what all of them have taken may be dropped."""

from __future__ import annotations

__all__ = ["ReaderPositions"]

EVERYTHING = 2**63 - 1


class ReaderPositions:
    """The key up to which each reader has taken experiences; not thread-safe.

    What all readers had taken at one time counts as taken after the last of them has left, too. Experiences are held for some
    readers only; while there are only others, all experiences count as taken.
    """

    def __init__(self) -> None:
        """Begin without readers: nothing is taken."""
        self._holding: dict[object, int] = {}
        self._others: dict[object, int] = {}
        self._taken = 0

    def move(self, reader: object, key: int, holds: bool = True) -> None:
        """Set the key before which a reader has taken, or does not want, all experiences; add the reader if it is new.

        Args:
            reader: The reader.
            key: The key.
            holds: Whether experiences from there on are held for it; the same in all calls.
        """
        (self._holding if holds else self._others)[reader] = key
        self._update()

    def leave(self, reader: object) -> None:
        """Remove a reader."""
        self._holding.pop(reader, None)
        self._others.pop(reader, None)
        self._update()

    @property
    def count(self) -> int:
        """Number of readers for which experiences are held."""
        return len(self._holding)

    @property
    def taken(self) -> int:
        """Key before which every reader has taken everything; 0 if there was never a reader."""
        if self._holding:
            return min(self._taken, *self._holding.values())
        return EVERYTHING if self._others else self._taken

    def _update(self) -> None:
        positions = self._holding or self._others
        if positions:
            self._taken = max(self._taken, min(positions.values()))
