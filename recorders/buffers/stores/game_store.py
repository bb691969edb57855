"""Stores experiences as games: a board every few turns and the actions between, resimulated when experiences are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from generals_env.concurrency.thread_pool import divided
from generals_env.engine.boards import GAME, PLAYER, Boards
from generals_env.engine.packed.packing import PackedBoards, empty_packed
from generals_env.engine.packed.recording import EXPERIENCE
from generals_env.engine.storage.board_pool import TABLE_NAMES
from generals_env.engine.storage.game_segments import FREE_SEGMENTS, KEPT, TURNS, Segments, drop_turns, follow_turns
from generals_env.engine.storage.game_table import FREE_GAMES
from generals_env.engine.storage.put_turns import put_turns
from generals_env.engine.storage.take_turns import take_turns
from generals_env.errors import ConfigError, StateError
from generals_env.recorders.buffers.stores.growable_tables import (
    SMALL,
    allocated,
    empty_tables,
    free_rows,
    row_bytes,
    used_bytes,
)
from generals_env.recorders.buffers.stores.store import Keys
from generals_env.recorders.buffers.stores.table_store_base import GAME_ARRAYS, GAME_STACK, TableStore, empty_game_arrays
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.statistics_columns import StatisticsColumns

__all__ = ["GameStore"]

#: Experiences of a batch of ``between``.
BATCH_EXPERIENCES = 8192

#: Minimum number of experiences that a thread resimulates.
MIN_THREAD_EXPERIENCES = 32

#: Number of values of ``Segments.where``.
MAX_PLACES = 2**32

#: Arrays with a row for each segment, without the stack of free rows.
SEGMENT_ARRAYS = (
    "keyframe",
    "ending",
    "game",
    "turns",
    "holders",
    "previous",
    "later",
    "actions",
    "rewards",
    "flags",
    "sequences",
    "keys",
    "times",
)


class GameStore(TableStore):
    """Stores at most ``capacity`` experiences in at most ``max_bytes``, and drops the oldest for new ones.

    An experience of two players at 20x20 takes 44 to 50 bytes where games are recorded whole, and 25 more with what the
    players remember. ``follow`` goes on as long as one board leads to the next: not across a surrender, nor where the players
    of a turn were written in separate batches. Every turn is resimulated when it is written, so what is read equals what was
    written: see ``engine.storage.game_segments``.

    Attributes:
        segments: The arrays.
    """

    _growing: ClassVar = {
        "games": ((*GAME_ARRAYS, "current", "present"), *GAME_STACK),
        "segments": (SEGMENT_ARRAYS, "free_segments", FREE_SEGMENTS),
    }

    def __init__(self, like: ExperienceBatch, capacity: int, max_bytes: int | None = None, first: int = 0) -> None:
        """Allocate arrays for experiences of the kind of ``like``.

        Args:
            like: Any batch.
            capacity: Maximum number of experiences.
            max_bytes: Maximum size of all arrays; None for no limit.
            first: Key of the first experience.

        Raises:
            ConfigError: If observations are dense: they cannot be resimulated.
        """
        if like.dense is not None:
            raise ConfigError(
                "store: expected 'boards' or 'zstd' for dense observations, got 'games', which cannot make them: use 'boards'"
            )
        super().__init__(like, capacity, max_bytes)
        tiles, players = like.boards.tiles.shape[1], like.players
        turns = (SMALL, TURNS, players)
        self.segments = Segments(
            tables=empty_tables(SMALL, tiles, players, like.recipe.memory),
            keyframe=np.zeros(SMALL, np.int32),
            ending=np.zeros(SMALL, np.int32),
            game=np.zeros(SMALL, np.int32),
            turns=np.zeros(SMALL, np.int16),
            holders=np.zeros(SMALL, np.int32),
            previous=np.zeros(SMALL, np.int32),
            later=np.zeros(SMALL, np.int32),
            actions=np.empty(turns, np.uint16),
            rewards=np.empty(turns, np.float32),
            flags=np.empty(turns, np.uint8),
            sequences=np.empty(turns, np.int64),
            keys=np.empty(turns[:2], np.int64),
            times=np.empty(turns[:2], np.int64),
            where=np.empty(capacity, np.uint32),
            present=empty_boards(SMALL, tiles, players),
            current=np.full(SMALL, -1, np.int32),
            free_segments=free_rows(0, SMALL),
            **empty_game_arrays(first, SMALL),
        )

    @property
    def _tables(self) -> Segments:
        return self.segments

    @_tables.setter
    def _tables(self, tables: Segments) -> None:
        self.segments = tables

    @property
    def games(self) -> int:
        """Number of games of the experiences stored."""
        return len(np.unique(self.segments.game[self._used() & (self.segments.holders > 0)]))

    @property
    def nbytes(self) -> int:
        """Size of the rows in use of all arrays."""
        segments, state = self.segments, self.segments.state
        size = used_bytes(segments.tables) + (self.next - self.first) * segments.where.itemsize
        used = len(segments.keyframe) - int(state[FREE_SEGMENTS])
        size += used * self._segment_bytes()
        games = len(segments.current) - int(state[FREE_GAMES])
        return size + games * sum(row_bytes(array) for array in segments.present)

    # --- Writing --------------------------------------------------------------------------------------------------

    def put(self, batch: ExperienceBatch, kept: npt.NDArray[np.bool_] | None = None) -> None:
        """Write a batch, or those of its experiences that are ``kept`` (n,); drop the oldest if there is no room."""
        if (batch.steps != 1).any():
            raise ConfigError(f"batch: expected experiences of one turn, got some of {batch.steps.max()}")
        keeps = np.ones(len(batch), np.bool_) if kept is None else kept
        games = self._rows_of(batch.game_ids)
        done, drops = 0, False
        try:
            while done < len(batch):
                alone = drops and self.first == self.next
                done, short = put_turns(self.segments, batch.rows, batch.boards, games, keeps, self.depth, drops, done)
                drops = done < len(batch) and not self._grow(TABLE_NAMES[short], 1)
                if drops and alone:
                    raise StateError(f"max_bytes: expected room for an experience, got {self.max_bytes} bytes: raise it")
        finally:
            self._name_games(batch.game_ids, games)

    def reserve(self, batch: ExperienceBatch) -> bool:
        """Return whether a batch fits without dropping experiences."""
        if len(batch) > self.capacity - (self.next - self.first):
            return False
        # In the worst case a turn needs a segment with two boards.
        turns, free = len(batch.boards.tiles), self.segments.tables.free
        if self.max_bytes is None or allocated(self.segments) + turns * 4096 < self.max_bytes:
            return True
        return bool(turns <= self.segments.state[FREE_SEGMENTS] and 2 * turns + self.depth <= free.min())

    def drop(self, count: int) -> None:
        """Drop the oldest experiences."""
        drop_turns(self.segments, count, self.depth)
        self._forget_games()

    def _segment_bytes(self) -> int:
        """Return the size of a row of the table of segments."""
        return sum(row_bytes(getattr(self.segments, name)) for name in (*SEGMENT_ARRAYS, "free_segments"))

    def _max_rows(self, table: str) -> int:
        if table != "segments":
            return super()._max_rows(table)
        rows: int = MAX_PLACES // (TURNS * self.segments.actions.shape[2])
        free = self._free_bytes()
        if free is not None:
            rows = min(rows, len(self.segments.free_segments) + max(free, 0) // self._segment_bytes())
        return rows

    # --- Reading --------------------------------------------------------------------------------------------------

    def follow(self, keys: Keys, turns: int) -> Keys:
        """Return for each key the keys of the same player's next turns, itself first, (n, turns); -1 after the last."""
        out = np.empty((len(keys), turns), np.int64)
        follow_turns(self.segments, np.ascontiguousarray(keys), out)
        return out

    def take(self, keys: Keys, out: ExperienceBatch | None = None) -> ExperienceBatch:
        """Return experiences with boards of their own, in new arrays."""
        segments, count, depth = self.segments, len(keys), self.depth
        boards = 2 * depth * count
        tiles, players = segments.tables.packed.tiles.shape[1], segments.actions.shape[2]
        rows = np.zeros(count, EXPERIENCE)
        remembers = len(segments.tables.packed.memory) > 0
        room = empty_packed(boards, tiles, players, boards, boards, remembers)
        if depth > 1:  # the first boards of a game have fewer frames: rows that nothing refers to must be valid boards, too
            room.tiles[:] = 0
            room.entries["wide"] = -1
        wanted = np.ascontiguousarray(keys)

        def resimulate(low: int, high: int) -> npt.NDArray[np.int64]:
            # There are at most as many grounds and wide armies as boards, so each thread has rows of its own for them.
            counts = np.full(2, 2 * depth * low, np.int64)
            take_turns(segments, wanted, depth, self.like.shape[0], rows, room, counts, low, high)
            return counts

        divided(resimulate, count, MIN_THREAD_EXPERIENCES)
        room = compacted(room)
        names = self._number_games(rows)
        return replace(self.like, game_ids=names, rows=rows, boards=room)

    def rewards(self) -> npt.NDArray[np.float32]:
        """Return the rewards of all experiences."""
        rewards: npt.NDArray[np.float32] = self.segments.rewards[self._kept()]
        return rewards

    def _kept(self) -> npt.NDArray[np.bool_]:
        """Return which entries of the segments are experiences stored, (S, K, P) bool."""
        segments = self.segments
        played = np.arange(TURNS) < segments.turns[:, None]
        kept: npt.NDArray[np.bool_] = (segments.flags & KEPT != 0) & (played & self._used()[:, None])[..., None]
        return kept

    def _used(self) -> npt.NDArray[np.bool_]:
        """Return which segments are in use, (S,) bool."""
        used = np.ones(len(self.segments.turns), np.bool_)
        used[self.segments.free_segments[: self.segments.state[FREE_SEGMENTS]]] = False
        return used

    def columns(self, low: int, high: int) -> Iterator[StatisticsColumns]:
        """Yield columns of experiences ``low`` to ``high`` in the order in which they were written."""
        segments, players = self.segments, self.segments.actions.shape[2]
        place = segments.where[np.arange(low, high) % len(segments.where)].astype(np.int64)
        place, player = np.divmod(place, players)
        segment, turn = np.divmod(place, TURNS)
        names, game = self._numbered(segments.game[segment])
        rewards = segments.rewards[segment, turn, player]
        yield StatisticsColumns(names, game, player.astype(np.int8), rewards, segments.times[segment, turn])

    def between(self, low: int, high: int) -> Iterator[ExperienceBatch]:
        """Yield experiences ``low`` to ``high`` in the order in which they were written, some thousands at a time."""
        slots, players = len(self.segments.where), self.segments.actions.shape[2]
        for start in range(low, high, BATCH_EXPERIENCES):
            keys = np.arange(start, min(start + BATCH_EXPERIENCES, high))
            batch = self.take(keys)
            # Experiences of one turn, which are next to each other, share its boards again.
            turns = self.segments.where[keys % slots] // players
            firsts = np.flatnonzero(np.diff(turns.astype(np.int64), prepend=-1))
            origin = np.repeat(firsts, np.diff(firsts, append=len(keys)))
            for name in ("state_index", "next_state_index"):
                batch.rows[name] = batch.rows[name][origin]
            yield batch.compact()


def empty_boards(count: int, tiles: int, players: int) -> Boards:
    """Return room for boards."""
    return Boards(
        np.empty((count, tiles), np.int8),
        np.empty((count, tiles), np.int32),
        np.empty((count, tiles), np.int8),
        np.zeros((count, players), PLAYER),
        np.zeros(count, GAME),
    )


def compacted(boards: PackedBoards) -> PackedBoards:
    """Return boards with the grounds and wide armies that they refer to, and no others."""
    entries = boards.entries
    used, entries["ground"] = np.unique(entries["ground"], return_inverse=True)
    wide = entries["wide"]
    spread = wide >= 0
    armies, wide[spread] = np.unique(wide[spread], return_inverse=True)
    return boards._replace(
        terrain=boards.terrain[used],
        players=boards.players[used],
        games=boards.games[used],
        armies=boards.armies[armies],
    )
