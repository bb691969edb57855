"""Bounds the work that a file may cause, as a small file can describe long games on large boards."""

from __future__ import annotations

from generals_env.errors import ReplayError

__all__ = ["MAX_WORK", "Work"]

#: Tiles times turns of all games of a file: some minutes. The longest game of the tests has 2 million.
MAX_WORK = 4 * 10**9


class Work:
    """Counts the work of one file."""

    def __init__(self, limit: int = MAX_WORK) -> None:
        """Begin with nothing done.

        Args:
            limit: Tiles times turns that may be played.
        """
        self.limit = limit
        self.done = 0

    def spend(self, amount: int) -> None:
        """Count the work of a game before it is played.

        Raises:
            ReplayError: If the file's games are too long together.
        """
        if self.done + amount > self.limit:
            raise ReplayError(
                f"expected at most {self.limit:,} tiles times turns in a file, got {self.done + amount:,}: "
                "pass a file with fewer or shorter games"
            )
        self.done += amount
