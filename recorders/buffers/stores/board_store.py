"""Stores experiences over packed boards in memory, in a ring buffer whose boards are shared and reference-counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from generals_env.engine.packed.gather import gather
from generals_env.engine.packed.packing import ENTRY, PackedBoards, empty_packed
from generals_env.engine.packed.recording import EXPERIENCE
from generals_env.engine.storage.board_pool import FREE_BOARDS, FREE_GROUNDS, FREE_WIDE, TABLE_NAMES
from generals_env.engine.storage.experience_ring import (
    Ring,
    drop_experiences,
    follow_experiences,
    put_experiences,
    release_placed_boards,
    take_experiences,
)
from generals_env.errors import StateError
from generals_env.recorders.buffers.stores.growable_tables import SMALL, empty_tables, row_bytes, used_bytes
from generals_env.recorders.buffers.stores.store import Keys
from generals_env.recorders.buffers.stores.table_store_base import GAME_ARRAYS, GAME_STACK, TableStore, empty_game_arrays
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.dense_observations import Dense
from generals_env.recorders.experience.stacked_frames import boards_of_frames
from generals_env.recorders.experience.statistics_columns import StatisticsColumns

__all__ = ["BoardStore"]


class BoardStore(TableStore):
    """Stores at most ``capacity`` experiences in at most ``max_bytes``, and drops the oldest for new ones.

    Attributes:
        ring: The arrays.
    """

    _growing: ClassVar = {"games": ((*GAME_ARRAYS, "last"), *GAME_STACK)}

    def __init__(self, like: ExperienceBatch, capacity: int, max_bytes: int | None = None, first: int = 0) -> None:
        """Allocate arrays for experiences of the kind of ``like``.

        Args:
            like: Any batch.
            capacity: Maximum number of experiences.
            max_bytes: Maximum size of all arrays; None for no limit.
            first: Key of the first experience.
        """
        super().__init__(like, capacity, max_bytes)
        tiles, players = like.boards.tiles.shape[1], like.players
        # Usually all players of a turn share its board, and the boards of a game their ground; where they do not, tables grow.
        # Rows that were never written take no memory.
        boards = capacity // players + capacity // 64 + SMALL
        if max_bytes is not None:
            # An eighth is left for grounds and wide armies.
            board = 2 * tiles * (players + 1 if like.recipe.memory else 1) + ENTRY.itemsize + 8
            boards = min(boards, max((max_bytes * 7 // 8 - capacity * (EXPERIENCE.itemsize + 8)) // board, SMALL))
        self.ring = Ring(
            experiences=np.zeros(capacity, EXPERIENCE),
            following=np.empty(capacity, np.int64),
            tables=empty_tables(boards, tiles, players, like.recipe.memory),
            last=np.full((SMALL, players), -1, np.int64),
            **empty_game_arrays(first),
        )
        self._dense: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None
        if like.dense is not None:
            shape, dtype = (capacity, *like.dense.observations.shape[1:]), like.dense.observations.dtype
            self._dense = np.empty(shape, dtype), np.empty(shape, dtype)

    @property
    def _tables(self) -> Ring:
        return self.ring

    @_tables.setter
    def _tables(self, tables: Ring) -> None:
        self.ring = tables

    @property
    def nbytes(self) -> int:
        """Size of the rows in use of all arrays."""
        experience = EXPERIENCE.itemsize + self.ring.following.itemsize
        if self._dense is not None:
            experience += 2 * row_bytes(self._dense[0])
        return (self.next - self.first) * experience + used_bytes(self.ring.tables)

    # --- Writing --------------------------------------------------------------------------------------------------

    def put(self, batch: ExperienceBatch, kept: npt.NDArray[np.bool_] | None = None) -> None:
        """Write a batch, or those of its experiences that are ``kept`` (n,); drop the oldest if there is no room."""
        batch = batch if kept is None else batch.select(kept)
        rows, boards = batch.rows, batch.boards
        games = self._rows_of(batch.game_ids)
        places = self._places(batch, games)
        ground_places = np.full(len(boards.games), -1, np.int32)
        start = self.next
        done, drops, alone = 0, False, -1
        try:
            while done < len(rows):
                done, short = put_experiences(self.ring, rows, boards, games, self.depth, drops, places, ground_places, done)
                drops = done < len(rows) and not self._grow(TABLE_NAMES[short], 1)
                if drops:  # the table is at its limit: drop the oldest experiences instead
                    if alone == done:
                        raise StateError(f"max_bytes: expected room for an experience, got {self.max_bytes} bytes: raise it")
                    release_placed_boards(self.ring, places)
                    places[:] = ground_places[:] = -1
                    alone = done if self.first == self.next else -1
        finally:
            release_placed_boards(self.ring, places)
            self._name_games(batch.game_ids, games)
        if self._dense is not None and batch.dense is not None:
            keep = min(len(rows), self.capacity)
            slots = np.arange(start + len(rows) - keep, start + len(rows)) % self.capacity
            for array, index in zip(self._dense, (batch.dense.before, batch.dense.after), strict=True):
                array[slots] = batch.dense.observations[index[len(rows) - keep :]]

    def _places(self, batch: ExperienceBatch, games: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Return the row of each board of a batch that is stored already, with one more reference, and -1 for the others."""
        return np.full(len(batch.boards.tiles), -1, np.int32)

    def reserve(self, batch: ExperienceBatch) -> bool:
        """Make tables large enough for a batch; return False if it does not fit without dropping experiences."""
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
        drop_experiences(self.ring, count, self.depth)
        self._forget_games()

    def _free_bytes(self) -> int | None:
        free = super()._free_bytes()
        return None if free is None else free - sum(array.nbytes for array in self._dense or ())

    # --- Reading --------------------------------------------------------------------------------------------------

    def follow(self, keys: Keys, turns: int) -> Keys:
        """Return for each key the keys of the same player's next turns, itself first, (n, turns); -1 after the last."""
        out = np.empty((len(keys), turns), np.int64)
        follow_experiences(self.ring, keys, out)
        return out

    def take(self, keys: Keys, out: ExperienceBatch | None = None) -> ExperienceBatch:
        """Return experiences with boards of their own.

        Args:
            keys: (n,) int64.
            out: The result of an earlier call for as many keys; its arrays are reused.
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
        if depth > 1:  # the first boards of a game have fewer frames: rows that nothing refers to must be valid boards, too
            room.tiles[:] = 0
            room.entries[:] = 0
            room.entries["wide"] = -1
        counts = np.zeros(2, np.int64)
        take_experiences(ring, keys, depth, rows, room, counts)
        names = self._number_games(rows)
        dense = None
        if self._dense is not None:
            before, after = self._dense
            observations = np.concatenate([before[keys % self.capacity], after[keys % self.capacity]])
            places = np.arange(2 * count, dtype=np.int32)
            dense = Dense(observations, places[:count], places[count:])
        grounds, wide = counts.tolist()
        drawn = room._replace(  # views, even of a few rows: the next call with ``out`` reuses the whole arrays
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

    def columns(self, low: int, high: int) -> Iterator[StatisticsColumns]:
        """Yield columns of experiences ``low`` to ``high`` in the order in which they were written."""
        rows = self.ring.experiences[np.arange(low, high) % self.capacity]
        names, game = self._numbered(rows["game"])
        yield StatisticsColumns(names, game, rows["player_id"], rows["reward"], rows["collected_at"])

    def between(self, low: int, high: int) -> Iterator[ExperienceBatch]:
        """Yield experiences ``low`` to ``high`` in the order in which they were written, as one batch in new arrays."""
        keys = np.arange(low, high)
        slots = keys % self.capacity
        rows = self.ring.experiences[slots]
        ends = np.concatenate([rows["state_index"], rows["next_state_index"]])
        needed = boards_of_frames(self.ring.tables.packed.entries["previous"], ends, self.depth)
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
