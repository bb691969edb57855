"""Keeps statistics of the experiences that a source holds, updated incrementally as they are added and dropped."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.server.experience_source import ExperienceSource
from generals_env.recorders.stream.server.game_totals import GameTotals, Rows, merge_rows

__all__ = ["Statistics"]

BLOCK = 2**14  # experiences that are summed up together


class Totals(NamedTuple):
    """Sums over experiences of all games and players."""

    reward: float
    squares: float
    min_reward: float
    max_reward: float
    oldest: int
    newest: int


@dataclass
class Block:
    """Sums over the experiences ``first`` to ``next - 1``.

    Attributes:
        first: Sequence of the first.
        next: Sequence after the last.
        rows: Sums by game and player; or one row per experience, once the oldest of the block were dropped.
        totals: Sums over all rows.
        ungrouped: Whether there is one row per experience.
    """

    first: int
    next: int
    rows: Rows
    totals: Totals
    ungrouped: bool


class Statistics:
    """Statistics of a source, by game and player.

    A call reads only the experiences added since the last call. When the oldest experiences are dropped, their block is read
    once more with one row per experience; from then on rows are cut off without reading. So the cost of a call depends on what
    has changed, not on what is held.
    """

    def __init__(self, source: ExperienceSource) -> None:
        """Prepare to read; the first call reads everything."""
        self._source = source
        self._blocks: deque[Block] = deque()
        self._game_totals = GameTotals()  # of all blocks
        self._lock = threading.Lock()

    def games(self) -> frozenset[str]:
        """Return the ids of all games that have experiences.

        Raises:
            StorageError: If the source cannot be read.
        """
        with self._lock:
            self._update()
            return self._game_totals.games

    def answer(self, game_ids: frozenset[str]) -> pb.GetExperienceStatsResponse:
        """Return the statistics of these games, of all games if none is named.

        Raises:
            StorageError: If the source cannot be read.
        """
        with self._lock:
            answer = self.position(self._update())
            game_totals = self._game_totals
            if game_ids:
                indices = game_totals.indices_of(game_ids)
                tables = [block.rows[np.isin(block.rows["game"], indices)] for block in self._blocks]
                counts = np.zeros_like(game_totals.counts)
                for rows in tables:
                    np.add.at(counts, (rows["game"], rows["player"]), rows["count"])
                totals = merge_totals(sum_rows(rows) for rows in tables if len(rows))
            else:
                counts, totals = game_totals.counts, merge_totals(block.totals for block in self._blocks)
            per_game, per_player = counts.sum(axis=1), counts.sum(axis=0)
            games = np.flatnonzero(per_game)
            if totals is None:
                return answer
            answer.total_experiences, answer.total_games = int(per_game.sum()), len(games)
            answer.experiences_per_game.update(zip(game_totals.ids_of(games), per_game[games].tolist(), strict=True))
            players = np.flatnonzero(per_player)
            answer.experiences_per_player.update(zip(players.tolist(), per_player[players].tolist(), strict=True))
            mean = totals.reward / answer.total_experiences
            answer.average_reward = mean
            # Rounding may leave a difference below 0; sums of float32 squares in float64 are exact enough.
            answer.reward_deviation = math.sqrt(max(totals.squares / answer.total_experiences - mean * mean, 0.0))
            answer.min_reward, answer.max_reward = totals.min_reward, totals.max_reward
            answer.oldest_experience.FromNanoseconds(totals.oldest)
            answer.newest_experience.FromNanoseconds(totals.newest)
            return answer

    def position(self, span: tuple[int, int] | None = None) -> pb.GetExperienceStatsResponse:
        """Return the fields that need no reading: the stream id, and the span of sequences."""
        first, following = self._source.span if span is None else span
        return pb.GetExperienceStatsResponse(stream_id=self._source.stream_id, first_sequence=first, next_sequence=following)

    # --- Incremental updates --------------------------------------------------------------------------------------

    def _update(self) -> tuple[int, int]:
        """Update the sums to what the source holds now, and return its span."""
        first, following = self._source.span
        self._drop_before(first)
        last = self._blocks[-1].next if self._blocks else first
        for low in range(max(first, last), following, BLOCK):
            for block in self._read(low, min(low + BLOCK, following)):
                self._append(block)
        return (self._blocks[0].first, self._blocks[-1].next) if self._blocks else (first, following)

    def _drop_before(self, first: int) -> None:
        """Subtract the experiences before a sequence."""
        while self._blocks and self._blocks[0].next <= first:
            self._game_totals.remove(self._blocks.popleft().rows)
        if not self._blocks or self._blocks[0].first >= first:
            return
        block = self._blocks[0]
        if block.ungrouped:
            dropped = first - block.first
            self._game_totals.remove(block.rows[:dropped])
            block.first, block.rows = first, block.rows[dropped:]
            block.totals = sum_rows(block.rows)
        else:
            remaining = list(self._read(first, block.next))
            self._blocks.popleft()
            self._blocks.extendleft(reversed(remaining))
            self._game_totals.remove(block.rows)

    def _append(self, block: Block) -> None:
        """Append a block, merged with the last one if both are small: many blocks would slow every call down."""
        last = self._blocks[-1] if self._blocks else None
        if last is not None and not last.ungrouped and last.next == block.first and block.next - last.first <= BLOCK:
            block.first, block.rows = last.first, np.concatenate([last.rows, block.rows])
            self._blocks.pop()
        block.rows, block.ungrouped = merge_rows(block.rows), False
        block.totals = sum_rows(block.rows)
        self._blocks.append(block)

    def _read(self, first: int, following: int) -> Iterator[Block]:
        """Count the held experiences of a range of sequences, and yield them in blocks without gaps."""
        found = list(self._source.columns(first, following))  # all before counting, so that an error changes nothing
        tables: list[Rows] = []
        start = following = found[0][0] if found else first
        for sequence, columns in found:
            if sequence != following:
                yield ungrouped_block(start, following, tables)
                tables, start = [], sequence
            tables.append(self._game_totals.add(columns))
            following = sequence + len(columns)
        if tables:
            yield ungrouped_block(start, following, tables)


def ungrouped_block(first: int, following: int, tables: list[Rows]) -> Block:
    """Return a block with one row per experience."""
    rows = np.concatenate(tables)
    return Block(first, following, rows, sum_rows(rows), ungrouped=True)


def sum_rows(rows: Rows) -> Totals:
    """Sum up rows; there must be at least one."""
    return Totals(
        float(rows["reward"].sum()),
        float(rows["squares"].sum()),
        float(rows["min_reward"].min()),
        float(rows["max_reward"].max()),
        int(rows["oldest"].min()),
        int(rows["newest"].max()),
    )


def merge_totals(totals: Iterable[Totals]) -> Totals | None:
    """Merge totals; return None if there are none."""
    columns = list(zip(*totals, strict=True))
    if not columns:
        return None
    reward, squares, min_reward, max_reward, oldest, newest = columns
    return Totals(sum(reward), sum(squares), min(min_reward), max(max_reward), min(oldest), max(newest))
