"""Keeps experiences over packed boards in memory: the arrays, how they grow, and the ids of games."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.packed.gather import gather
from generals_env.engine.packed.packing import ENTRY, PackedBoards, empty_packed
from generals_env.engine.packed.recording import EXPERIENCE
from generals_env.engine.storage.board_pool import FREE_BOARDS, FREE_GAMES, FREE_GROUNDS, FREE_WIDE, SHORT_OF
from generals_env.engine.storage.experience_ring import Ring, drop, follow, put, release, take
from generals_env.errors import StateError
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
from generals_env.recorders.experience.dense import Dense

__all__ = ["BoardStore"]

Keys = npt.NDArray[np.int64]


class BoardStore(GameIdTable):
    """At most ``capacity`` experiences in at most ``max_bytes``; the oldest make room for new ones.

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
        """
        super().__init__(like, capacity, max_bytes)
        tiles, players = like.boards.tiles.shape[1], like.players
        # As a rule all players of a turn share its board, and a game its ground; where they do not, tables grow. Rows that
        # were never used take no memory.
        boards = capacity // players + capacity // 64 + SMALL
        if max_bytes is not None:
            # Some room stays for grounds and wide armies.
            board = 2 * tiles * (players + 1 if like.recipe.memory else 1) + ENTRY.itemsize + 8
            boards = min(boards, max((max_bytes * 7 // 8 - capacity * (EXPERIENCE.itemsize + 8)) // board, SMALL))
        self.ring = Ring(
            experiences=np.zeros(capacity, EXPERIENCE),
            following=np.empty(capacity, np.int64),
            tables=empty_tables(boards, tiles, players, like.recipe.memory),
            game_refs=np.zeros(SMALL, np.int32),
            game_ground=np.full(SMALL, -1, np.int32),
            last=np.full((SMALL, players), -1, np.int64),
            free_games=free_rows(0, SMALL),
            freed_games=np.zeros(SMALL, np.int32),
            listed=np.zeros(SMALL, np.bool_),
            state=np.array([first, first, SMALL, 0], np.int64),
        )
        self._dense: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None
        if like.dense is not None:
            shape, dtype = (capacity, *like.dense.observations.shape[1:]), like.dense.observations.dtype
            self._dense = np.empty(shape, dtype), np.empty(shape, dtype)

    # --- What is held ---------------------------------------------------------------------------------------------

    @property
    def _tables(self) -> Ring:
        return self.ring

    @property
    def nbytes(self) -> int:
        """Bytes that are in use: of each array, those rows that hold something."""
        experience = EXPERIENCE.itemsize + self.ring.following.itemsize
        if self._dense is not None:
            experience += 2 * row_bytes(self._dense[0])
        return (self.next - self.first) * experience + used_bytes(self.ring.tables)

    # --- Writing --------------------------------------------------------------------------------------------------

    def put(self, batch: ExperienceBatch, kept: npt.NDArray[np.bool_] | None = None) -> None:
        """Write a batch, or of it what is to be kept; the oldest experiences make room."""
        batch = batch if kept is None else batch.select(kept)
        rows, boards = batch.rows, batch.boards
        games = self._rows_of(batch.game_ids)
        places = self._places(batch, games)
        ground_places = np.full(len(boards.games), -1, np.int32)
        start = self.next
        done, drops, alone = 0, False, -1
        try:
            while done < len(rows):
                done, short = put(self.ring, rows, boards, games, self.depth, drops, places, ground_places, done)
                drops = done < len(rows) and not self._grow(SHORT_OF[short], 1)
                if drops:  # a table that cannot grow any more is made do with
                    if alone == done:
                        raise StateError(f"max_bytes: expected room for an experience, got {self.max_bytes} bytes")
                    release(self.ring, places)
                    places[:] = ground_places[:] = -1
                    alone = done if self.first == self.next else -1
        finally:
            release(self.ring, places)
            self._name_games(batch.game_ids, games)
        if self._dense is not None and batch.dense is not None:
            keep = min(len(rows), self.capacity)
            slots = np.arange(start + len(rows) - keep, start + len(rows)) % self.capacity
            for array, index in zip(self._dense, (batch.dense.before, batch.dense.after), strict=True):
                array[slots] = batch.dense.observations[index[len(rows) - keep :]]

    def _places(self, batch: ExperienceBatch, games: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Return for each board of a batch where it lies already, held once more, and -1 for nowhere."""
        return np.full(len(batch.boards.tiles), -1, np.int32)

    def reserve(self, batch: ExperienceBatch) -> bool:
        """Make tables large enough for a batch; return False if it does not fit without dropping anything."""
        boards, free = batch.boards, self.ring.tables.free
        if len(batch) > self.capacity - (self.next - self.first):
            return False
        wanted = {
            "boards": len(boards.tiles) - int(free[FREE_BOARDS]),
            "grounds": len(boards.games) - int(free[FREE_GROUNDS]),
            "armies": len(boards.armies) - int(free[FREE_WIDE]),
        }
        return all(count <= 0 or self._grow(table, count) for table, count in wanted.items())

    def drop(self, count: int) -> None:
        """Drop the oldest experiences."""
        drop(self.ring, count, self.depth)
        self._forget_games()

    def _grow(self, table: str, least: int) -> bool:
        """Make a table larger by at least ``least`` rows; return False if there is no room for that."""
        ring = self.ring
        if table == "games":
            old = len(ring.game_refs)
            new = 2 * old
            free = free_rows(old, new, ring.free_games[: ring.state[FREE_GAMES]])
            ring.state[FREE_GAMES] += new - old
            names = ("game_refs", "game_ground", "last", "freed_games", "listed")
            larger: dict[str, Any] = {name: longer(getattr(ring, name), new) for name in names}
            self.ring = ring._replace(free_games=free, **larger)
            return True
        room = None
        if self.max_bytes is not None:
            room = self.max_bytes - allocated(ring) - sum(array.nbytes for array in self._dense or ())
        tables = grown_tables(ring.tables, table, least, room)
        if tables is not None:
            self.ring = ring._replace(tables=tables)
        return tables is not None

    # --- Reading --------------------------------------------------------------------------------------------------

    def follow(self, keys: Keys, turns: int) -> Keys:
        """Return for each key those of the same player's turns from there on, (n, turns); -1 where there are no more."""
        out = np.empty((len(keys), turns), np.int64)
        follow(self.ring, keys, out)
        return out

    def take(self, keys: Keys, out: ExperienceBatch | None = None) -> ExperienceBatch:
        """Return experiences with boards of their own.

        Args:
            keys: (n,) int64.
            out: What an earlier call gave for as many keys; its arrays are written to.
        """
        ring, count, depth = self.ring, len(keys), self.depth
        boards = 2 * depth * count
        tiles, players = ring.tables.packed.tiles.shape[1], ring.last.shape[1]
        remembers = len(ring.tables.packed.memory) > 0
        shapes = [(boards, tiles), (boards,), (boards, tiles), (boards, players), (boards,), (boards, tiles)]
        shapes.append((boards if remembers else 0, players, tiles))
        rows, room = np.zeros(0, EXPERIENCE), None
        if out is not None:
            rows, room = out.rows, PackedBoards._make(array if array.base is None else array.base for array in out.boards)
        if room is None or rows.shape != (count,) or [array.shape for array in room] != shapes:
            rows, room = np.zeros(count, EXPERIENCE), empty_packed(boards, tiles, players, boards, boards, remembers)
        if depth > 1:  # a game's first boards have fewer before them: what nobody refers to is a board, too
            room.tiles[:] = 0
            room.entries[:] = 0
            room.entries["wide"] = -1
        counts = np.zeros(2, np.int64)
        take(ring, keys, depth, rows, room, counts)
        names = self._number_games(rows)
        dense = None
        if self._dense is not None:
            before, after = self._dense
            observations = np.concatenate([before[keys % self.capacity], after[keys % self.capacity]])
            places = np.arange(2 * count, dtype=np.int32)
            dense = Dense(observations, places[:count], places[count:])
        grounds, wide = counts.tolist()
        drawn = room._replace(  # views, even of a few rows: the next draw into ``out`` needs all the room
            terrain=room.terrain[:grounds],
            players=room.players[:grounds],
            games=room.games[:grounds],
            armies=room.armies[:wide],
        )
        return replace(
            self.like,
            game_ids=names,
            rows=rows,
            boards=drawn,
            dense=dense,
        )

    def rewards(self) -> npt.NDArray[np.float32]:
        """Return the rewards of all experiences."""
        return self.ring.experiences["reward"][np.arange(self.first, self.next) % self.capacity]

    def columns(self, low: int, high: int) -> Iterator[Columns]:
        """Yield columns of experiences ``low`` to ``high`` in the order in which they were written."""
        rows = self.ring.experiences[np.arange(low, high) % self.capacity]
        names, game = self._numbered(rows["game"])
        yield Columns(names, game, rows["player_id"], rows["reward"], rows["collected_at"])

    def between(self, low: int, high: int) -> Iterator[ExperienceBatch]:
        """Yield experiences ``low`` to ``high`` in the order in which they were written, as one batch in new arrays."""
        keys = np.arange(low, high)
        slots = keys % self.capacity
        rows = self.ring.experiences[slots]
        needed = np.unique(np.concatenate([rows["state_index"], rows["next_state_index"]]))
        reached = needed
        for _ in range(self.depth - 1):
            reached = self.ring.tables.packed.entries["previous"][reached]
            reached = reached[reached >= 0]
            needed = np.union1d(needed, reached)
        places = np.zeros(len(self.ring.tables.board_refs), np.int32)
        places[needed] = np.arange(len(needed))
        for name in ("state_index", "next_state_index"):
            rows[name] = places[rows[name]]
        names = self._number_games(rows)
        dense = None
        if self._dense is not None:
            observations = np.concatenate([array[slots] for array in self._dense])
            index = np.arange(2 * len(keys), dtype=np.int32)
            dense = Dense(observations, index[: len(keys)], index[len(keys) :])
        yield replace(self.like, game_ids=names, rows=rows, boards=gather(self.ring.tables.packed, needed), dense=dense)
