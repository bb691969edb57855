"""EncodedRangeCache of a buffer, packed once for all consumers that are at about the same place."""

from __future__ import annotations

import threading
from bisect import bisect_right, insort
from collections import OrderedDict

from generals_env.recorders.buffers.replay_buffer import ReplayBuffer
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.stream.server.source import EncodedRange

__all__ = ["PIECE", "EncodedRangeCache"]

PIECE = 1024  # experiences, at the most


class EncodedRangeCache:
    """The pieces that were asked for last, up to a number of bytes."""

    def __init__(self, buffer: ReplayBuffer, max_bytes: int) -> None:
        """Cut pieces of ``buffer``, and remember ``max_bytes`` of them."""
        self._buffer = buffer
        self._max_bytes = max_bytes
        self._nbytes = 0
        self._known: OrderedDict[int, EncodedRange] = OrderedDict()  # by their first number, the longest unused one first
        self._firsts: list[int] = []  # sorted
        self._lock = threading.Lock()

    def at(self, number: int) -> EncodedRange | None:
        """Return a piece with this experience in it, or with those after it if it is gone; None if there are none."""
        with self._lock:  # who wants the same piece at the same time waits for it instead of packing it, too
            place = bisect_right(self._firsts, number)
            if place:
                piece = self._known[self._firsts[place - 1]]
                if number < piece.next:
                    self._known.move_to_end(piece.first)
                    return piece
            following = self._firsts[place] if place < len(self._firsts) else number + PIECE
            batch = self._buffer.read(number, min(PIECE, following - number))
            if batch is None:
                return None
            first = int(batch.sequence[0])
            piece = EncodedRange(first, len(batch), encode_batch(batch))
            if first == number:  # else there is a piece that begins in it
                self._remember(piece)
            return piece

    def _remember(self, piece: EncodedRange) -> None:
        self._known[piece.first] = piece
        insort(self._firsts, piece.first)
        self._nbytes += len(piece.data)
        while self._nbytes > self._max_bytes:
            first, unused = self._known.popitem(last=False)
            self._firsts.remove(first)
            self._nbytes -= len(unused.data)
