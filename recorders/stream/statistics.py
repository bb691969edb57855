"""What is kept, counted without a look at all of it: blocks of experiences are summed up once."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.stream import experience_pb2 as pb
from generals_env.recorders.stream.feed import Feed, Wanted

__all__ = ["Statistics"]

BLOCK = 16_384  # experiences that are summed up together


@dataclass
class Sums:
    """Of some experiences of one player in one game."""

    count: int
    reward: float
    least: float
    most: float
    oldest: int
    newest: int

    def add(self, other: Sums) -> None:
        """Take others in."""
        self.count += other.count
        self.reward += other.reward
        self.least, self.most = min(self.least, other.least), max(self.most, other.most)
        self.oldest, self.newest = min(self.oldest, other.oldest), max(self.newest, other.newest)


Table = dict[tuple[str, int], Sums]  # by game and player


@dataclass
class Block:
    """Experiences ``first`` to ``next - 1``, summed up."""

    first: int
    next: int
    sums: Table = field(default_factory=dict)


class Statistics:
    """What a feed keeps, by game and player.

    A call reads what came since the last one, the first call everything. When the oldest experiences of a block are gone, what
    is left of it is read again.
    """

    def __init__(self, feed: Feed) -> None:
        """Read nothing yet."""
        self._feed = feed
        self._blocks: deque[Block] = deque()
        self._lock = threading.Lock()

    def games(self) -> frozenset[str]:
        """Return the ids of all games of which experiences are kept.

        Raises:
            StorageError: If the feed cannot be read.
        """
        return frozenset(game for game, _ in self._kept()[0])

    def answer(self, game_ids: frozenset[str]) -> pb.GetExperienceStatsResponse:
        """Return what is kept of these games, of all if none is named.

        Raises:
            StorageError: If the feed cannot be read.
        """
        table, (first, following) = self._kept()
        answer = pb.GetExperienceStatsResponse(stream_id=self._feed.stream_id, first_sequence=first, next_sequence=following)
        total: Sums | None = None
        for (game, player), sums in table.items():
            if game_ids and game not in game_ids:
                continue
            answer.experiences_per_game[game] += sums.count
            answer.experiences_per_player[player] += sums.count
            total = add_to(total, sums)
        if total is not None:
            answer.total_experiences, answer.total_games = total.count, len(answer.experiences_per_game)
            answer.average_reward = total.reward / total.count
            answer.min_reward, answer.max_reward = total.least, total.most
            answer.oldest_experience.FromNanoseconds(total.oldest)
            answer.newest_experience.FromNanoseconds(total.newest)
        return answer

    def _kept(self) -> tuple[Table, tuple[int, int]]:
        """Return the sums of all that is kept, and the span of it."""
        with self._lock:
            first, following = self._feed.span
            self._forget(first)
            self._read_on(following)
            table: Table = {}
            for block in self._blocks:
                for key, sums in block.sums.items():
                    table[key] = add_to(table.get(key), sums)
            if self._blocks:
                first, following = self._blocks[0].first, self._blocks[-1].next
            return table, (first, following)

    def _forget(self, first: int) -> None:
        """Forget what lies before a number."""
        while self._blocks and self._blocks[0].next <= first:
            self._blocks.popleft()
        if self._blocks and self._blocks[0].first < first:
            following = self._blocks.popleft().next
            for block in reversed(self._summed(first, following)):
                self._blocks.appendleft(block)

    def _read_on(self, following: int) -> None:
        """Sum up what is new before a number."""
        start = self._feed.span[0]
        if self._blocks:
            last = self._blocks[-1]
            start = max(start, last.next)
            if last.next - last.first < BLOCK and start == last.next:  # many small blocks would make every call slow
                for block in self._summed(start, min(last.first + BLOCK, following)):
                    self._join(block)
                start = self._blocks[-1].next
        for low in range(start, following, BLOCK):
            for block in self._summed(low, min(low + BLOCK, following)):
                self._join(block)

    def _join(self, block: Block) -> None:
        """Put a block behind the others, or into the last one if that is small."""
        last = self._blocks[-1] if self._blocks else None
        if last is None or last.next != block.first or block.next - last.first > BLOCK:
            self._blocks.append(block)
            return
        for key, sums in block.sums.items():
            last.sums[key] = add_to(last.sums.get(key), sums)
        last.next = block.next

    def _summed(self, first: int, following: int) -> list[Block]:
        """Return what is left of a range of numbers, summed up."""
        cursor = self._feed.cursor(first, Wanted())
        blocks: list[Block] = []
        try:
            while cursor.position < following:
                batch = cursor.batch(0)
                if batch is None:
                    break
                flags = (batch.sequence >= first) & (batch.sequence < following)
                batch = batch if flags.all() else batch.select(flags)
                if not len(batch):
                    continue
                low = int(batch.sequence[0])
                if not blocks or blocks[-1].next != low:
                    blocks.append(Block(low, low))
                add_batch(blocks[-1].sums, batch)
                blocks[-1].next = int(batch.sequence[-1]) + 1
        finally:
            cursor.close()
        return blocks


def add_to(known: Sums | None, sums: Sums) -> Sums:
    """Return the sums of both."""
    if known is None:
        return Sums(**vars(sums))
    known.add(sums)
    return known


def add_batch(table: Table, batch: ExperienceBatch) -> None:
    """Add the experiences of a batch."""
    keys = batch.game.astype(np.int64) << 8 | batch.player_id
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    rewards, times = batch.rewards()[order].astype(np.float64), batch.collected_at[order]
    columns = (
        np.diff(starts, append=len(order)),
        np.add.reduceat(rewards, starts),
        np.minimum.reduceat(rewards, starts),
        np.maximum.reduceat(rewards, starts),
        np.minimum.reduceat(times, starts),
        np.maximum.reduceat(times, starts),
    )
    for key, *sums in zip(keys[order][starts].tolist(), *(column.tolist() for column in columns), strict=True):
        name = batch.game_ids[key >> 8], key & 255
        table[name] = add_to(table.get(name), Sums(*sums))
