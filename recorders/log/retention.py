"""Deletes the oldest segments of a log beyond its limits of size and age, once all its consumers have read them."""

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
        folder: The folder of the log.
        max_bytes: Maximum size of all segments together; None for no limit.
        max_age: Minimum seconds that an experience is kept; None for ever.
        drop_unread: Whether also to delete experiences that a consumer has not read.
    """

    folder: Path
    max_bytes: int | None
    max_age: float | None
    drop_unread: bool

    def apply(self, sealed: dict[int, Seal], unsealed_bytes: int, now: int) -> None:
        """Delete segments beyond the limits, and remove them from ``sealed``; after an error the rest is tried next time.

        Args:
            sealed: The segments that may be deleted, by their first number.
            unsealed_bytes: Size of the other segments.
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
            except OSError as error:  # not worth failing a write: no data are at risk
                logger.warning("%s: no segment is deleted for now: %s", self.folder, error)
                return
            total -= segment.bytes
            del sealed[start]

    def _first_unread(self) -> int | None:
        """Return the first number that a consumer has not read, None if there is no consumer or ``drop_unread`` is set."""
        if self.drop_unread:
            return None
        try:
            positions = ConsumerOffsets(self.folder).all()
        except StorageError as error:
            logger.error("%s: no segment is deleted, as the position of a consumer is unknown: %s", self.folder, error)  # noqa: TRY400 - the stack does not help
            return 0
        return min(positions.values()) + 1 if positions else None
