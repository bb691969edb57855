"""Limits how far a consumer may be behind: skips the oldest or the newest experiences that it has not read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.stream.server.experience_source import EncodedRange, SourceCursor

__all__ = ["LagLimitedCursor"]


class LagLimitedCursor:
    """A cursor that behaves as a queue of ``max_lag`` experiences, to which the source adds and from which the consumer takes.

    What was added since the last read is looked at with the next one. ``"drop_oldest"`` then skips to the newest ``max_lag``
    experiences. ``"drop_newest"`` accepts added ones while there is room, and skips the others: as many places are free as the
    consumer has read.

    Attributes:
        dropped: How many experiences were skipped; all are among ``missed``.
    """

    def __init__(self, cursor: SourceCursor, policy: str, max_lag: int, following: Callable[[], int]) -> None:
        """Limit a cursor.

        Args:
            cursor: The cursor, which this one moves.
            policy: ``"drop_oldest"`` or ``"drop_newest"``.
            max_lag: Maximum number of experiences that are not read.
            following: Returns the sequence after the newest experience.
        """
        self.dropped = 0
        self._cursor, self._max_lag, self._following = cursor, max_lag, following
        self._keeps_oldest = policy == "drop_newest"
        self._accepted: deque[tuple[int, int]] = deque()  # ranges of sequences in the queue, with "drop_newest"
        self._seen = cursor.position  # sequence after the newest one that was accepted or refused

    @property
    def position(self) -> int:
        """See ``SourceCursor``."""
        return self._cursor.position

    @property
    def missed(self) -> int:
        """See ``SourceCursor``."""
        return self._cursor.missed

    def read_batch(self, seconds: float, before: int | None = None) -> ExperienceBatch | None:
        """See ``SourceCursor``."""
        end = self._make_room()
        return self._cursor.read_batch(seconds, end if before is None or end is None else min(end, before))

    def read_range(self, seconds: float, wait: float) -> EncodedRange | None:
        """See ``SourceCursor``; only with ``"drop_oldest"``, as a range may end after the last accepted experience."""
        self._make_room()
        return self._cursor.read_range(seconds, wait)

    def skip_to(self, sequence: int) -> None:
        """See ``SourceCursor``."""
        self.dropped += max(sequence - self._cursor.position, 0)
        self._cursor.skip_to(sequence)

    def acknowledge(self) -> None:
        """See ``SourceCursor``."""
        self._cursor.acknowledge()

    def close(self) -> None:
        """See ``SourceCursor``."""
        self._cursor.close()

    def _make_room(self) -> int | None:
        """Skip what does not fit into the queue, and return the sequence to read before; None for no end."""
        if not self._keeps_oldest:
            self.skip_to(self._following() - self._max_lag)
            return None
        self._accept(self._following())
        if not self._accepted:
            self.skip_to(self._seen)
            return self._cursor.position + self._max_lag  # an empty queue accepts that many of those to come
        first, end = self._accepted[0]
        self.skip_to(first)
        return end

    def _accept(self, following: int) -> None:
        """Take the experiences that were read out of the queue, and accept new ones while there is room."""
        queue, position = self._accepted, self._cursor.position
        while queue and queue[0][1] <= position:
            queue.popleft()
        if queue:
            queue[0] = max(queue[0][0], position), queue[0][1]
        room = self._max_lag - sum(end - first for first, end in queue)
        first = max(self._seen, position)
        end = min(first + room, following)
        if end > first:
            if queue and queue[-1][1] == first:
                first = queue.pop()[0]
            queue.append((first, end))
        self._seen = max(self._seen, position, following)
