"""Caches encoded ranges of a buffer, so that consumers at about the same position share the encoding."""

from __future__ import annotations

import threading
from bisect import bisect_right, insort
from collections import OrderedDict
from functools import partial

from generals_env.recorders.buffers.replay_buffer import ReplayBuffer
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.encoding.timings import measured
from generals_env.recorders.stream.server.experience_source import EncodedRange

__all__ = ["RANGE_SIZE", "EncodedRangeCache"]

RANGE_SIZE = 1024  # experiences, at most


class EncodedRangeCache:
    """Least-recently-used cache of encoded ranges, limited in bytes."""

    def __init__(self, buffer: ReplayBuffer, max_bytes: int) -> None:
        """Encode ranges of ``buffer``, and keep up to ``max_bytes`` of them."""
        self._buffer = buffer
        self._max_bytes = max_bytes
        self._nbytes = 0
        self._ranges: OrderedDict[int, EncodedRange] = OrderedDict()  # by first sequence, least recently used first
        self._firsts: list[int] = []  # sorted
        self._lock = threading.Lock()

    def range_at(self, sequence: int) -> EncodedRange | None:
        """Return a range that contains this sequence, or the next ones if it was dropped; None if the buffer has neither."""
        with self._lock:  # held while encoding, so that a second consumer waits for the range instead of encoding it again
            after = bisect_right(self._firsts, sequence)
            if after:
                encoded = self._ranges[self._firsts[after - 1]]
                if sequence < encoded.next:
                    self._ranges.move_to_end(encoded.first)
                    return encoded
            following = self._firsts[after] if after < len(self._firsts) else sequence + RANGE_SIZE
            batch = self._buffer.read(sequence, min(RANGE_SIZE, following - sequence))
            if batch is None:
                return None
            first = int(batch.sequence[0])
            data = measured("stream", batch, partial(encode_batch, batch))
            encoded = EncodedRange(first, len(batch), data, int(batch.collected_at.min()))
            if first == sequence:  # else a cached range may begin inside this one
                self._insert(encoded)
            return encoded

    def _insert(self, encoded: EncodedRange) -> None:
        self._ranges[encoded.first] = encoded
        insort(self._firsts, encoded.first)
        self._nbytes += len(encoded.data)
        while self._nbytes > self._max_bytes:
            first, evicted = self._ranges.popitem(last=False)
            self._firsts.remove(first)
            self._nbytes -= len(evicted.data)
