"""Stores the transitions of ``BoardReplayBuffer`` as experiences, which it addresses by their position."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.storage.game_table import FIRST
from generals_env.recorders.buffers.buffer_base import OWN_ATTRIBUTES, fitted
from generals_env.recorders.buffers.replay_buffer import ReplayBuffer
from generals_env.recorders.buffers.stores.board_store import BoardStore
from generals_env.recorders.buffers.stores.store import Store
from generals_env.recorders.encoding.batch_codec import decode_batch, encode_batch
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.stacked_frames import frames_back

__all__ = ["TurnBuffer"]

Index = npt.NDArray[np.int64]


class TurnBuffer(ReplayBuffer):
    """A replay buffer with access by position: the oldest experience has position 0."""

    @property
    def plays_again(self) -> bool:
        """Whether games are stored as actions and resimulated."""
        return self._kind == "games"

    def write_kept(self, batch: ExperienceBatch, kept: npt.NDArray[np.bool_]) -> None:
        """Write the experiences of a batch that are ``kept`` (n,); errors as of ``write``."""
        if not kept.any():
            return
        with self._changed:
            store = self._store_for(batch)
            self._put(store, fitted(batch, store), kept)

    def at(self, positions: Index, n_step: int = 1, gamma: float = 0.99) -> ExperienceBatch:
        """Return experiences by their positions (n,), each spanning ``n_step`` turns."""
        with self._changed:
            return self._take(self._require_stored().first + positions, None, n_step, gamma)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle experiences compressed; a store that resimulates games is small and pickled as it is."""
        with self._changed:
            store = self._store
            if store is None or self.plays_again:
                return super().__getstate__()
            state = {name: value for name, value in self.__dict__.items() if name not in (*OWN_ATTRIBUTES, "_store")}
            batches = list(store.between(store.first, store.next)) if len(self) else []
            saved = store.like.metadata, [encode_batch(batch) for batch in batches]
            return copy.deepcopy(state) | {"_store": None, "_next": store.first, "saved": saved}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Write the pickled experiences again."""
        metadata, batches = state.pop("saved", ({}, []))
        super().__setstate__(state)
        for data in batches:
            self.write(replace(decode_batch(data), metadata=metadata))

    def _new_store(self, like: ExperienceBatch, first: int) -> Store:
        if self._kind == "boards" and self._capacity is not None:
            return LinkedBoardStore(like, self._capacity, self._max_bytes, first)
        return super()._new_store(like, first)


class LinkedBoardStore(BoardStore):
    """A ``BoardStore`` that stores the last board of a batch only once if the next batch begins with it."""

    def _places(self, batch: ExperienceBatch, games: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        ring, boards, known = self.ring, batch.boards, self.ring.tables.packed
        places = np.full(len(boards.tiles), -1, np.int32)
        here, first = np.unique(batch.state_index, return_index=True)
        game, player = games[batch.game[first]], batch.player_id[first]
        keys = np.where(game >= 0, ring.last[game, player], -1)
        goes_on = keys >= max(int(ring.state[FIRST]), 0)
        here, keys = here[goes_on], keys[goes_on]
        there = ring.experiences["next_state_index"][keys % self.capacity]
        meets = boards.entries["turn"][here] == known.entries["turn"][there]
        here, there = here[meets], there[meets]
        one, other = boards.entries[here], known.entries[there]
        same = (one["last_move"] == other["last_move"]) & (one["wide"] < 0) & (other["wide"] < 0)
        same &= (boards.tiles[here] == known.tiles[there]).all(axis=1)
        one, other = one["ground"], other["ground"]
        same &= boards.games[one] == known.games[other]
        same &= (boards.players[one] == known.players[other]).all(axis=1)
        same &= (boards.terrain[one] == known.terrain[other]).all(axis=1)
        if len(boards.memory):
            same &= (boards.memory[here] == known.memory[there]).all(axis=(1, 2))
        frames = (
            frames_back(packed.entries["previous"], rows, self.depth) for packed, rows in ((boards, here), (known, there))
        )
        chains = list(zip(*frames, strict=True))
        for here, there in chains:
            same &= (here < 0) | (there >= 0)
        for here, there in chains:
            places[here[same & (here >= 0)]] = there[same & (here >= 0)]
        np.add.at(ring.tables.board_refs, places[places >= 0], 1)
        return places
