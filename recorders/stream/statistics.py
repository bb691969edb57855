"""What is kept, counted without a look at all of it: blocks of experiences are summed up once."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from generals_env.recorders.stream import experience_pb2 as pb
from generals_env.recorders.stream.feed import Feed, Wanted
from generals_env.recorders.stream.sums import Sums, joined, of_games, sums_of

__all__ = ["Statistics"]

BLOCK = 65_536  # experiences that are summed up together

NOTHING = joined([])


@dataclass
class Block:
    """Experiences ``first`` to ``next - 1``, summed up."""

    first: int
    next: int
    sums: Sums


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
        return frozenset(self._kept()[0].games)

    def answer(self, game_ids: frozenset[str]) -> pb.GetExperienceStatsResponse:
        """Return what is kept of these games, of all if none is named.

        Raises:
            StorageError: If the feed cannot be read.
        """
        sums, span = self._kept()
        if game_ids:
            sums = of_games(sums, game_ids)
        answer = self.place(span)
        rows = sums.rows
        if not len(rows):
            return answer
        counts = rows["count"]
        per_game = np.bincount(rows["game"], counts).astype(np.int64).tolist()
        per_player = np.bincount(rows["player"], counts).astype(np.int64).tolist()
        answer.total_experiences, answer.total_games = int(counts.sum()), len(sums.games)
        answer.experiences_per_game.update(zip(sums.games, per_game, strict=True))
        answer.experiences_per_player.update({player: count for player, count in enumerate(per_player) if count})
        answer.average_reward = rows["reward"].sum() / counts.sum()
        answer.min_reward, answer.max_reward = rows["least"].min(), rows["most"].max()
        answer.oldest_experience.FromNanoseconds(int(rows["oldest"].min()))
        answer.newest_experience.FromNanoseconds(int(rows["newest"].max()))
        return answer

    def place(self, span: tuple[int, int] | None = None) -> pb.GetExperienceStatsResponse:
        """Return what is known without reading: which stream it is, and which numbers are kept."""
        first, following = self._feed.span if span is None else span
        return pb.GetExperienceStatsResponse(stream_id=self._feed.stream_id, first_sequence=first, next_sequence=following)

    def _kept(self) -> tuple[Sums, tuple[int, int]]:
        """Return the sums of all that is kept, and the span of it."""
        with self._lock:
            first, following = self._feed.span
            self._forget(first)
            self._read_on(following)
            if self._blocks:
                first, following = self._blocks[0].first, self._blocks[-1].next
            return joined(block.sums for block in self._blocks), (first, following)

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
        last.sums = joined([last.sums, block.sums])
        last.next = block.next

    def _summed(self, first: int, following: int) -> list[Block]:
        """Return what is left of a range of numbers, summed up."""
        cursor = self._feed.cursor(first, Wanted())
        blocks: list[Block] = []
        parts: list[list[Sums]] = []  # of each block
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
                    blocks.append(Block(low, low, NOTHING))
                    parts.append([])
                parts[-1].append(sums_of(batch))
                blocks[-1].next = int(batch.sequence[-1]) + 1
        finally:
            cursor.close()
        for block, some in zip(blocks, parts, strict=True):
            block.sums = joined(some)
        return blocks
