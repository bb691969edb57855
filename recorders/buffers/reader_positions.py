"""How far those have come who read a buffer in order: what all of them have may make room in a buffer that drops nothing."""

from __future__ import annotations

__all__ = ["Readers"]


class Readers:
    """The places of readers, by the numbers of a buffer; for one thread at a time.

    What was once taken by all readers that were there stays taken when the last of them leaves.
    """

    def __init__(self) -> None:
        """Know no reader: nothing is taken."""
        self._places: dict[object, int] = {}
        self._taken = 0

    def move(self, reader: object, number: int) -> None:
        """Take note that a reader has, or does not want, whatever comes before a number."""
        self._places[reader] = number
        self._note()

    def leave(self, reader: object) -> None:
        """Forget a reader."""
        self._places.pop(reader, None)
        self._note()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._places)

    @property
    def taken(self) -> int:
        """Number before which every reader has everything; 0 as long as there was none."""
        return min(self._taken, *self._places.values()) if self._places else self._taken

    def _note(self) -> None:
        if self._places:
            self._taken = max(self._taken, min(self._places.values()))
