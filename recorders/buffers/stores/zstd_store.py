"""Stores experiences in memory in chunks compressed with zstd: a few bytes each for any recording, but slow to sample."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from generals_env.recorders.buffers.stores.store import Keys
from generals_env.recorders.encoding.batch_codec import decode_batch, encode_batch
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.n_step import followers
from generals_env.recorders.experience.statistics_columns import StatisticsColumns, statistics_columns

__all__ = ["ZstdStore"]

#: Maximum number of experiences of a chunk: ``take`` decompresses every chunk that it needs.
CHUNK_EXPERIENCES = 8192

#: Number of chunks that stay decompressed for further calls.
MAX_OPEN = 8


@dataclass
class ZstdChunk:
    """Experiences ``first`` to ``first + len(rewards) - 1``, of which the oldest may have been dropped."""

    first: int
    data: bytes
    rewards: npt.NDArray[np.float32]
    games: tuple[str, ...]


class ZstdStore:
    """Stores at most ``capacity`` experiences in at most ``max_bytes``, and drops the oldest for new ones.

    The memory of a chunk is freed when all its experiences are dropped. ``follow`` does not go beyond a chunk.

    Attributes:
        capacity: Maximum number of experiences.
        max_bytes: Maximum memory; None for no limit.
        like: A batch without experiences, with the players, shape, recipe and metadata of those stored.
        first: Key of the oldest experience.
        next: Key that the next experience will get.
    """

    def __init__(self, like: ExperienceBatch, capacity: int, max_bytes: int | None = None, first: int = 0) -> None:
        """Begin without chunks; arguments as of ``BoardStore``."""
        self.capacity = capacity
        self.max_bytes = max_bytes
        self.like = like.select(np.zeros(0, np.int64))
        self.first = self.next = first
        self._chunks: list[ZstdChunk] = []
        self._games: Counter[str] = Counter()  # number of chunks with each game
        self._bytes = 0
        self._ready: tuple[ExperienceBatch, list[tuple[ExperienceBatch, bytes]]] | None = None  # compressed by ``reserve``
        self._open: OrderedDict[int, ExperienceBatch] = OrderedDict()  # decompressed, by first key; least recently used first

    @property
    def games(self) -> int:
        """Number of games of the experiences stored."""
        return len(self._games)

    @property
    def nbytes(self) -> int:
        """Size of the compressed and of the decompressed chunks."""
        return self._bytes + sum(batch.nbytes for batch in self._open.values())

    def put(self, batch: ExperienceBatch, kept: npt.NDArray[np.bool_] | None = None) -> None:
        """Write a batch, or those of its experiences that are ``kept`` (n,); drop the oldest if there is no room."""
        batch = batch if kept is None else batch.select(kept)
        for part, data in self._encoded(batch):
            chunk = ZstdChunk(self.next, data, part.reward.copy(), part.game_ids)
            self._chunks.append(chunk)
            self._games.update(part.game_ids)
            self._bytes += len(chunk.data) + chunk.rewards.nbytes
            self.next += len(part)
            self.drop(max(self.next - self.first - self.capacity, 0))
            self._close_chunks(0)
            while self.max_bytes is not None and self._bytes > self.max_bytes and len(self._chunks) > 1:
                self.drop(self._chunks[1].first - self.first)
        self._ready = None

    def reserve(self, batch: ExperienceBatch) -> bool:
        """Return whether a batch fits without dropping experiences; it is compressed for that, and not again by ``put``."""
        if len(batch) > self.capacity - (self.next - self.first):
            return False
        if self.max_bytes is None:
            return True
        parts = self._encoded(batch)
        fits = self._bytes + sum(len(data) + part.reward.nbytes for part, data in parts) <= self.max_bytes
        self._ready = (batch, parts) if fits else None
        return fits

    def _encoded(self, batch: ExperienceBatch) -> list[tuple[ExperienceBatch, bytes]]:
        """Return the slices of a batch that become chunks, each with its compressed bytes."""
        if self._ready is not None and self._ready[0] is batch:
            return self._ready[1]
        size = CHUNK_EXPERIENCES
        if self.max_bytes is not None and len(batch):  # a decompressed chunk must fit, too
            size = min(max(len(batch) * self.max_bytes // (8 * batch.nbytes), 1), CHUNK_EXPERIENCES)
        parts = [batch.slice(low, low + size) for low in range(0, len(batch), size)]
        parts = [part if len(part) == len(batch) else part.compact() for part in parts]
        return [(part, encode_batch(part)) for part in parts]

    def drop(self, count: int) -> None:
        """Drop the oldest experiences."""
        self.first += count
        while self._chunks and self._chunks[0].first + len(self._chunks[0].rewards) <= self.first:
            chunk = self._chunks.pop(0)
            self._bytes -= len(chunk.data) + chunk.rewards.nbytes
            self._open.pop(chunk.first, None)
            self._games.subtract(chunk.games)
            for name in chunk.games:
                if not self._games[name]:
                    del self._games[name]

    def _opened(self, number: int) -> ExperienceBatch:
        """Return a chunk as a batch."""
        chunk = self._chunks[number]
        batch = self._open.pop(chunk.first, None)
        if batch is None:
            batch = decode_batch(chunk.data)
        self._open[chunk.first] = batch
        self._close_chunks(1)
        return batch

    def _close_chunks(self, kept: int) -> None:
        """Discard decompressed chunks while they exceed a limit, the least recently used first, but keep the last ``kept``."""
        limit = np.inf if self.max_bytes is None else self.max_bytes
        while len(self._open) > kept and (len(self._open) > MAX_OPEN or self.nbytes > limit):
            self._open.popitem(last=False)

    def _numbers(self, keys: Keys) -> npt.NDArray[np.intp]:
        """Return the index of the chunk of each key."""
        firsts = np.array([chunk.first for chunk in self._chunks])
        return np.searchsorted(firsts, keys, side="right") - 1

    def take(self, keys: Keys, out: ExperienceBatch | None = None) -> ExperienceBatch:
        """Return experiences with boards of their own, in new arrays."""
        numbers = self._numbers(keys)
        order = np.argsort(numbers, kind="stable")
        parts = []
        for number in np.unique(numbers).tolist():
            wanted = keys[order][numbers[order] == number] - self._chunks[number].first
            parts.append(self._opened(number).select(wanted))
        back = np.empty(len(keys), np.int64)
        back[order] = np.arange(len(keys))
        return ExperienceBatch.concat(parts).select(back)

    def follow(self, keys: Keys, turns: int) -> Keys:
        """Return for each key the keys of the same player's next turns, itself first, (n, turns); -1 after the last."""
        out = np.full((len(keys), turns), -1, np.int64)
        out[:, 0] = keys
        numbers = self._numbers(keys)
        for number in np.unique(numbers).tolist():
            first = self._chunks[number].first
            following = followers(self._opened(number))
            for i in np.flatnonzero(numbers == number).tolist():
                place = int(keys[i]) - first
                for turn in range(1, turns):
                    place = int(following[place])
                    if place < 0:
                        break
                    out[i, turn] = first + place
        return out

    def rewards(self) -> npt.NDArray[np.float32]:
        """Return the rewards of all experiences."""
        if not self._chunks:
            return np.zeros(0, np.float32)
        return np.concatenate([chunk.rewards for chunk in self._chunks])[self.first - self._chunks[0].first :]

    def columns(self, low: int, high: int) -> Iterator[StatisticsColumns]:
        """Yield columns of experiences ``low`` to ``high`` in the order in which they were written, a chunk at a time."""
        return map(statistics_columns, self.between(low, high))

    def between(self, low: int, high: int) -> Iterator[ExperienceBatch]:
        """Yield experiences ``low`` to ``high`` in the order in which they were written, a chunk at a time."""
        for number, chunk in enumerate(self._chunks):
            start, stop = max(low - chunk.first, 0), min(high - chunk.first, len(chunk.rewards))
            if start < stop:
                batch = self._opened(number)
                yield batch if stop - start == len(batch) else batch.select(np.arange(start, stop))
