"""Experiences kept as games: a board every few turns and the actions between, played again when they are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.concurrency.threads import divided
from generals_env.engine.boards import GAME, PLAYER, Boards
from generals_env.engine.packed.packing import PackedBoards, empty_packed
from generals_env.engine.packed.recording import EXPERIENCE
from generals_env.engine.storage.board_pool import FREE_GAMES, SHORT_OF
from generals_env.engine.storage.game_segments import (
    FREE_SEGMENTS,
    KEPT,
    TURNS,
    Segments,
    drop_turns,
    follow_turns,
    put_turns,
    take_turns,
)
from generals_env.errors import ConfigError, StateError
from generals_env.recorders.buffers.game_ids import GameIdTable
from generals_env.recorders.buffers.growable_tables import (
    SMALL,
    allocated,
    empty_tables,
    free_rows,
    grown_tables,
    longer,
    row_bytes,
    used_bytes,
)
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.counted_columns import Columns

__all__ = ["GameStore"]

Keys = npt.NDArray[np.int64]

#: Experiences of a batch of ``between``.
PART = 8192

#: Experiences that a thread plays again at the least.
LEAST = 32

#: What ``Segments.where`` can tell apart.
MAX_PLACES = 2**32

#: Arrays with a row for each segment, the stack of free rows last.
OF_SEGMENTS = (
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
    "free_segments",
)

#: Arrays with a row for each game, beside the boards.
OF_GAMES = ("current", "game_refs", "game_ground", "freed_games", "listed")


class GameStore(GameIdTable):
    """At most ``capacity`` experiences in at most ``max_bytes``; the oldest make room for new ones.

    An experience of two players at 20x20 takes 44 to 50 bytes where games are recorded whole, and 25 more with what the
    players remember. A player's course is followed as far as one board leads to the next: not across a surrender, nor where
    the players of a turn were written apart. Every turn is played when it is written, so what is read is what was written: see
    ``engine.storage.game_segments``.

    Attributes:
        capacity: N.
        like: A batch without experiences, with the players, shape, recipe and metadata of what is held.
    """

    def __init__(self, like: ExperienceBatch, capacity: int, max_bytes: int | None = None, first: int = 0) -> None:
        """Make room for experiences such as those of ``like``.

        Args:
            like: Any batch.
            capacity: N.
            max_bytes: Of all arrays; None for no limit but N.
            first: Key of the first experience.

        Raises:
            ConfigError: If observations are dense: they cannot be played again.
        """
        if like.dense is not None:
            raise ConfigError("store: expected 'boards' for observations that wrappers of others made, got 'games'")
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
            game_refs=np.zeros(SMALL, np.int32),
            game_ground=np.full(SMALL, -1, np.int32),
            free_games=free_rows(0, SMALL),
            freed_games=np.zeros(SMALL, np.int32),
            listed=np.zeros(SMALL, np.bool_),
            free_segments=free_rows(0, SMALL),
            state=np.array([first, first, SMALL, 0, SMALL], np.int64),
        )

    # --- What is held ---------------------------------------------------------------------------------------------

    @property
    def _tables(self) -> Segments:
        return self.segments

    @property
    def games(self) -> int:
        """How many games the experiences are of."""
        return len(np.unique(self.segments.game[self._used() & (self.segments.holders > 0)]))

    @property
    def nbytes(self) -> int:
        """Bytes that are in use: of each array, those rows that hold something."""
        segments, state = self.segments, self.segments.state
        size = used_bytes(segments.tables) + (self.next - self.first) * segments.where.itemsize
        used = len(segments.keyframe) - int(state[FREE_SEGMENTS])
        size += used * sum(row_bytes(getattr(segments, name)) for name in OF_SEGMENTS)
        games = len(segments.current) - int(state[FREE_GAMES])
        return size + games * sum(row_bytes(array) for array in segments.present)

    # --- Writing --------------------------------------------------------------------------------------------------

    def put(self, batch: ExperienceBatch, kept: npt.NDArray[np.bool_] | None = None) -> None:
        """Write a batch, or of it what is to be kept; the oldest experiences make room."""
        if (batch.steps != 1).any():
            raise ConfigError(f"batch: expected experiences of one turn, got some of {batch.steps.max()}")
        keeps = np.ones(len(batch), np.bool_) if kept is None else kept
        games = self._rows_of(batch.game_ids)
        done, drops = 0, False
        try:
            while done < len(batch):
                alone = drops and self.first == self.next
                done, short = put_turns(self.segments, batch.rows, batch.boards, games, keeps, self.depth, drops, done)
                drops = done < len(batch) and not self._grow(SHORT_OF[short], 1)
                if drops and alone:
                    raise StateError(f"max_bytes: expected room for an experience, got {self.max_bytes} bytes")
        finally:
            self._name_games(batch.game_ids, games)

    def reserve(self, batch: ExperienceBatch) -> bool:
        """Return whether a batch fits without dropping anything."""
        if len(batch) > self.capacity - (self.next - self.first):
            return False
        # A turn may need a segment with two boards, if the worst comes to the worst.
        turns, free = len(batch.boards.tiles), self.segments.tables.free
        if self.max_bytes is None or allocated(self.segments) + turns * 4096 < self.max_bytes:
            return True
        return bool(turns <= self.segments.state[FREE_SEGMENTS] and 2 * turns + self.depth <= free.min())

    def drop(self, count: int) -> None:
        """Drop the oldest experiences."""
        drop_turns(self.segments, count, self.depth)
        self._forget_games()

    def _grow(self, table: str, least: int) -> bool:
        """Make a table larger by at least ``least`` rows; return False if there is no room for that."""
        segments, state = self.segments, self.segments.state
        room = None if self.max_bytes is None else self.max_bytes - allocated(segments)
        if table in ("games", "segments"):
            names = OF_GAMES if table == "games" else OF_SEGMENTS[:-1]
            stack, column = ("free_games", FREE_GAMES) if table == "games" else ("free_segments", FREE_SEGMENTS)
            arrays = {name: getattr(segments, name) for name in names}
            old = len(getattr(segments, stack))
            new = old + max(old // 4, SMALL, least)
            if table == "segments":
                new = min(new, MAX_PLACES // (TURNS * segments.actions.shape[2]))
                if room is not None:
                    new = min(new, old + max(room, 0) // sum(map(row_bytes, arrays.values())))
                if new < old + least:
                    return False
            larger: dict[str, Any] = {name: longer(array, new) for name, array in arrays.items()}
            larger[stack] = free_rows(old, new, getattr(segments, stack)[: state[column]])
            state[column] += new - old
            if table == "games":
                larger["present"] = Boards._make(longer(array, new) for array in segments.present)
            self.segments = segments._replace(**larger)
            return True
        tables = grown_tables(segments.tables, table, least, room)
        if tables is not None:
            self.segments = segments._replace(tables=tables)
        return tables is not None

    # --- Reading --------------------------------------------------------------------------------------------------

    def follow(self, keys: Keys, turns: int) -> Keys:
        """Return for each key those of the same player's turns from there on, (n, turns); -1 where there are no more."""
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
        if depth > 1:  # a game's first boards have fewer before them: what nobody refers to is a board, too
            room.tiles[:] = 0
            room.entries["wide"] = -1
        wanted = np.ascontiguousarray(keys)

        def play(low: int, high: int) -> npt.NDArray[np.int64]:
            # No more grounds and wide armies than boards: so each part has its own place for them.
            counts = np.full(2, 2 * depth * low, np.int64)
            take_turns(segments, wanted, depth, self.like.shape[0], rows, room, counts, low, high)
            return counts

        divided(play, count, LEAST)
        room = compacted(room)
        names = self._number_games(rows)
        return replace(self.like, game_ids=names, rows=rows, boards=room)

    def rewards(self) -> npt.NDArray[np.float32]:
        """Return the rewards of all experiences."""
        rewards: npt.NDArray[np.float32] = self.segments.rewards[self._kept()]
        return rewards

    def _kept(self) -> npt.NDArray[np.bool_]:
        """Return which entries of the segments are experiences held, (S, K, P) bool."""
        segments = self.segments
        played = np.arange(TURNS) < segments.turns[:, None]
        kept: npt.NDArray[np.bool_] = (segments.flags & KEPT != 0) & (played & self._used()[:, None])[..., None]
        return kept

    def _used(self) -> npt.NDArray[np.bool_]:
        """Return which segments are in use, (S,) bool."""
        used = np.ones(len(self.segments.turns), np.bool_)
        used[self.segments.free_segments[: self.segments.state[FREE_SEGMENTS]]] = False
        return used

    def columns(self, low: int, high: int) -> Iterator[Columns]:
        """Yield columns of experiences ``low`` to ``high`` in the order in which they were written."""
        segments, players = self.segments, self.segments.actions.shape[2]
        place = segments.where[np.arange(low, high) % len(segments.where)].astype(np.int64)
        place, player = np.divmod(place, players)
        segment, turn = np.divmod(place, TURNS)
        names, game = self._numbered(segments.game[segment])
        rewards = segments.rewards[segment, turn, player]
        yield Columns(names, game, player.astype(np.int8), rewards, segments.times[segment, turn])

    def between(self, low: int, high: int) -> Iterator[ExperienceBatch]:
        """Yield experiences ``low`` to ``high`` in the order in which they were written, some thousands at a time."""
        slots, players = len(self.segments.where), self.segments.actions.shape[2]
        for start in range(low, high, PART):
            keys = np.arange(start, min(start + PART, high))
            batch = self.take(keys)
            # Players of a turn, which stand together, share its boards again.
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
