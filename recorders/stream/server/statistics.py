"""What is kept, counted without a look at all of it: sums go on as experiences come and go."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.server.game_totals import GameTotals, Rows, grouped
from generals_env.recorders.stream.server.source import ExperienceSource

__all__ = ["Statistics"]

BLOCK = 2**14  # experiences that are summed up together


class Totals(NamedTuple):
    """What some experiences add up to, of all games and players."""

    reward: float
    least: float
    most: float
    oldest: int
    newest: int


@dataclass
class Block:
    """Experiences ``first`` to ``next - 1``, summed up.

    Attributes:
        first: Number of the first.
        next: Number after the last.
        rows: Their sums by game and player; or a row for each, once the oldest of the block are gone.
        totals: What they add up to.
        single: Whether there is a row for each.
    """

    first: int
    next: int
    rows: Rows
    totals: Totals
    single: bool


class Statistics:
    """What a feed keeps, by game and player.

    A call reads what came since the last one, the first call everything. When the oldest experiences go, the block that they
    are of is read once more, one by one; then it gets shorter without being read again. So a call takes as long as what has
    changed.
    """

    def __init__(self, feed: ExperienceSource) -> None:
        """Read nothing yet."""
        self._feed = feed
        self._blocks: deque[Block] = deque()
        self._tally = GameTotals()  # of all blocks
        self._lock = threading.Lock()

    def games(self) -> frozenset[str]:
        """Return the ids of all games of which experiences are kept.

        Raises:
            StorageError: If the feed cannot be read.
        """
        with self._lock:
            self._go_on()
            return self._tally.games

    def answer(self, game_ids: frozenset[str]) -> pb.GetExperienceStatsResponse:
        """Return what is kept of these games, of all if none is named.

        Raises:
            StorageError: If the feed cannot be read.
        """
        with self._lock:
            answer = self.place(self._go_on())
            tally = self._tally
            if game_ids:
                numbers = tally.numbers_of(game_ids)
                tables = [block.rows[np.isin(block.rows["game"], numbers)] for block in self._blocks]
                counts = np.zeros_like(tally.counts)
                for rows in tables:
                    np.add.at(counts, (rows["game"], rows["player"]), rows["count"])
                totals = in_all(totals_of(rows) for rows in tables if len(rows))
            else:
                counts, totals = tally.counts, in_all(block.totals for block in self._blocks)
            per_game, per_player = counts.sum(axis=1), counts.sum(axis=0)
            games = np.flatnonzero(per_game)
            if totals is None:
                return answer
            answer.total_experiences, answer.total_games = int(per_game.sum()), len(games)
            answer.experiences_per_game.update(zip(tally.names_of(games), per_game[games].tolist(), strict=True))
            players = np.flatnonzero(per_player)
            answer.experiences_per_player.update(zip(players.tolist(), per_player[players].tolist(), strict=True))
            answer.average_reward = totals.reward / answer.total_experiences
            answer.min_reward, answer.max_reward = totals.least, totals.most
            answer.oldest_experience.FromNanoseconds(totals.oldest)
            answer.newest_experience.FromNanoseconds(totals.newest)
            return answer

    def place(self, span: tuple[int, int] | None = None) -> pb.GetExperienceStatsResponse:
        """Return what is known without reading: which stream it is, and which numbers are kept."""
        first, following = self._feed.span if span is None else span
        return pb.GetExperienceStatsResponse(stream_id=self._feed.stream_id, first_sequence=first, next_sequence=following)

    # --- As experiences come and go -------------------------------------------------------------------------------

    def _go_on(self) -> tuple[int, int]:
        """Count what is kept now, and return the span of it."""
        first, following = self._feed.span
        self._forget(first)
        last = self._blocks[-1].next if self._blocks else first
        for low in range(max(first, last), following, BLOCK):
            for block in self._read(low, min(low + BLOCK, following)):
                self._append(block)
        return (self._blocks[0].first, self._blocks[-1].next) if self._blocks else (first, following)

    def _forget(self, first: int) -> None:
        """Count no more what lies before a number."""
        while self._blocks and self._blocks[0].next <= first:
            self._tally.remove(self._blocks.popleft().rows)
        if not self._blocks or self._blocks[0].first >= first:
            return
        block = self._blocks[0]
        if block.single:
            gone = first - block.first
            self._tally.remove(block.rows[:gone])
            block.first, block.rows = first, block.rows[gone:]
            block.totals = totals_of(block.rows)
        else:
            rest = list(self._read(first, block.next))
            self._blocks.popleft()
            self._blocks.extendleft(reversed(rest))
            self._tally.remove(block.rows)

    def _append(self, block: Block) -> None:
        """Put a block behind the others, or into the last one if both are small: many would make every call slow."""
        last = self._blocks[-1] if self._blocks else None
        if last is not None and not last.single and last.next == block.first and block.next - last.first <= BLOCK:
            block.first, block.rows = last.first, np.concatenate([last.rows, block.rows])
            self._blocks.pop()
        block.rows, block.single = grouped(block.rows), False
        block.totals = totals_of(block.rows)
        self._blocks.append(block)

    def _read(self, first: int, following: int) -> Iterator[Block]:
        """Yield what there is of a range of numbers, counted, in blocks without holes."""
        found = list(self._feed.columns(first, following))  # all of it or, on an error, nothing
        tables: list[Rows] = []
        start = following = found[0][0] if found else first
        for number, columns in found:
            if number != following:
                yield single(start, following, tables)
                tables, start = [], number
            tables.append(self._tally.add(columns))
            following = number + len(columns)
        if tables:
            yield single(start, following, tables)


def single(first: int, following: int, tables: list[Rows]) -> Block:
    """Return a block with a row for each experience."""
    rows = np.concatenate(tables)
    return Block(first, following, rows, totals_of(rows), single=True)


def totals_of(rows: Rows) -> Totals:
    """Return what rows add up to; there is at least one."""
    return Totals(
        float(rows["reward"].sum()),
        float(rows["least"].min()),
        float(rows["most"].max()),
        int(rows["oldest"].min()),
        int(rows["newest"].max()),
    )


def in_all(parts: Iterable[Totals]) -> Totals | None:
    """Return what all parts together add up to, None if there are none."""
    columns = list(zip(*parts, strict=True))
    if not columns:
        return None
    reward, least, most, oldest, newest = columns
    return Totals(sum(reward), min(least), max(most), min(oldest), max(newest))
