"""Holds the recording of a range of games, and copies the boards with which a range goes on in a new recording."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.packed.gather import gather_rows
from generals_env.engine.packed.recording import BOARDS, ENDED, GAMES, Recording, flat
from generals_env.recorders.experience.stacked_frames import boards_of_frames

__all__ = ["GameRange"]


class GameRange:
    """Games ``low`` to ``high`` - 1 of B games, and their turns that are in no batch yet.

    Attributes:
        low: First game.
        high: Last game + 1.
        recording: The turns.
        carried: With how many boards of earlier turns the recording began.
        boards: How many boards it holds, as far as turns are recorded one by one; kernels count in ``recording.counts``.
        max_boards: With more boards than this there is no room for another turn of all games.
        target: The arrays of the recording, as ``record_turn`` takes them.
    """

    __slots__ = ("boards", "carried", "high", "low", "max_boards", "recording", "target")

    def __init__(self, low: int, high: int, recording: Recording) -> None:
        self.low = low
        self.high = high
        self.recording = recording
        self.carried = 0
        self.boards = 0
        self.max_boards = len(recording.packed.tiles) - 2 * (high - low)  # each game may bring two boards a turn
        self.target = flat(recording)

    def has_boards(self) -> bool:
        """Return whether the present board of at least one game is in the recording."""
        return bool((self.recording.present >= 0).any())

    def leave(self, which: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """End the games that ``which`` (B,) picks in this recording.

        Returns:
            (high - low,) bool: the games that were picked and are in the recording.
        """
        current, present = (array[self.low : self.high] for array in (self.recording.current, self.recording.present))
        left: npt.NDArray[np.bool_] = which[self.low : self.high] & (current != -1)
        present[left] = -1
        current[left] = ENDED
        return left

    def carry(self, old: GameRange, frames: int) -> None:
        """Go on with games of ``old``: copy their present boards, and the boards that ``frames`` stacked frames need."""
        packed, counts = self.recording.packed, self.recording.counts
        games = self.low + np.flatnonzero(old.recording.present[self.low : self.high] >= 0)
        present = old.recording.present[games].astype(np.int64)
        needed = boards_of_frames(old.recording.packed.entries["previous"], present, frames)
        start = int(counts[BOARDS])
        rows = np.full(len(old.recording.packed.tiles), -1, np.int32)
        rows[needed] = np.arange(start, start + len(needed))
        # ``gather_rows`` writes rows from 0 on; grounds and wide armies it appends.
        behind = packed._replace(tiles=packed.tiles[start:], entries=packed.entries[start:], memory=packed.memory[start:])
        grounds = np.full(len(old.recording.packed.games), -1, np.int32)
        gather_rows(old.recording.packed, needed, rows, grounds, behind, counts[:2])
        self.recording.present[games] = rows[old.recording.present[games]]
        begun = int(counts[GAMES])
        self.recording.current[games] = np.arange(begun, begun + len(games))
        self.recording.places[begun : begun + len(games)] = games
        counts[BOARDS] += len(needed)
        counts[GAMES] += len(games)
        self.carried = self.boards = int(counts[BOARDS])
