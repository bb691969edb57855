"""Reuses the arrays of recordings: new memory pages cost as much time as what is written to them."""

from __future__ import annotations

import sys

from generals_env.engine.packed.recording import Recording, empty_recording, flat

__all__ = ["RecordingPool"]


def max_references(recording: Recording) -> int:
    """Return the largest reference count among the arrays of a recording."""
    return max(sys.getrefcount(array) for array in flat(recording))


#: What ``max_references`` returns while only the recording itself holds its arrays, and there are no views of them.
OWN_REFERENCES = max_references(empty_recording(0, 1, 1, 0, 0, 0))


class RecordingPool:
    """Lends recordings and takes them back once no batch holds their arrays.

    Attributes:
        max_free: How many free recordings are kept.
    """

    def __init__(self, games: int) -> None:
        """Set up an empty pool of recordings that know ``games`` games each."""
        self.max_free = 0
        self._games = games
        self._free: list[Recording] = []

    def take(self, boards: int, tiles: int, players: int, memory: bool) -> Recording:
        """Return an empty recording.

        Args:
            boards: How many boards it has room for.
            tiles: Tiles of a board, H*W.
            players: P.
            memory: Whether it keeps what players remember of the fog.
        """
        for number, free in enumerate(self._free):
            fits = free.packed.tiles.shape == (boards, tiles) and free.packed.players.shape[1] == players
            if fits and (len(free.packed.memory) > 0) == memory:
                recording = self._free.pop(number)
                recording.counts[:] = 0
                recording.present[:] = -1
                recording.current[:] = -1
                return recording
        return empty_recording(self._games, tiles, players, boards, boards * players, boards, memory)

    def put_back(self, recording: Recording) -> None:
        """Keep a recording for ``take``, unless there are enough or a batch still holds one of its arrays."""
        if len(self._free) < self.max_free and max_references(recording) == OWN_REFERENCES:
            self._free.append(recording)

    def clear(self) -> None:
        """Free the memory of all recordings in the pool."""
        self._free.clear()
