"""What a log may throw away: its oldest segments, whole, by bytes and by age, and not before those who registered have read."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from generals_env.errors import StorageError
from generals_env.recorders.log.consumer_offsets import ConsumerOffsets
from generals_env.recorders.log.segment_files import Seal, segment_path, unlink

__all__ = ["SegmentRetention"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SegmentRetention:
    """Limits of a log.

    Attributes:
        folder: Of the log.
        max_bytes: Of all segments together; None for any number.
        max_age: Seconds that an experience is kept at least; None for ever.
        drop_unread: Whether also to drop what a consumer has yet to read.
    """

    folder: Path
    max_bytes: int | None
    max_age: float | None
    drop_unread: bool

    def apply(self, sealed: dict[int, Seal], unsealed_bytes: int, now: int) -> None:
        """Throw away what is over the limits, and take it out of ``sealed``. What cannot be deleted now stays until later.

        Args:
            sealed: The segments that may go, by their first number.
            unsealed_bytes: Of the others.
            now: Nanoseconds UTC.
        """
        total = unsealed_bytes + sum(segment.bytes for segment in sealed.values())
        unread: int | None = None
        for start in sorted(sealed):
            segment = sealed[start]
            too_old = self.max_age is not None and segment.written_at < now - self.max_age * 1e9
            too_many = self.max_bytes is not None and total > self.max_bytes
            if not too_old and not too_many:
                return
            try:
                if unread is None:
                    unread = self._first_unread()
                if unread is not None and segment.last >= unread:
                    return
                unlink(segment_path(self.folder, start))
            except OSError as error:  # the experience of the moment is safe, and nobody waits for room
                logger.warning("%s: nothing is thrown away for now: %s", self.folder, error)
                return
            total -= segment.bytes
            del sealed[start]

    def _first_unread(self) -> int | None:
        """Return the first number that a consumer has yet to read, None where that does not matter."""
        if self.drop_unread:
            return None
        try:
            positions = ConsumerOffsets(self.folder).all()
        except StorageError as error:
            logger.error("%s: all is kept, as a consumer may be anywhere: %s", self.folder, error)  # noqa: TRY400 - the text says all
            return 0
        return min(positions.values()) + 1 if positions else None
