"""Makes batches of recordings, each of a range of games."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.packed.fog_memory import recall_rows
from generals_env.engine.packed.packing import first_rows, trimmed
from generals_env.engine.packed.recording import BOARDS, EXPERIENCES, GROUNDS, WIDE
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.experience.sink import Sink
from generals_env.recorders.recording.delivery_queue import DeliveryQueue
from generals_env.recorders.recording.dense_capture import DenseObservationCapture
from generals_env.recorders.recording.game_namer import GameNamer
from generals_env.recorders.recording.game_range_recording import GameRange
from generals_env.recorders.recording.reused_recordings import RecordingPool

__all__ = ["RangeBatcher"]


class RangeBatcher:
    """Divides B games into ranges, each with a recording, and makes a batch of each recording.

    All games are one range while turns come one by one, and several where threads play and write at once.

    Attributes:
        recipe: How observations are made of boards.
        metadata: Goes into every batch. Batches keep the very dict, so assign a new one to change it.
        dense_capture: Keeps observations that boards do not determine; None where they all follow from boards.
        delivery: Takes finished batches to the sink.
    """

    def __init__(
        self,
        sink: Sink,
        games: int,
        run_id: str | None,
        recipe: Recipe | None,
        metadata: Mapping[str, Any] | None,
        min_boards: int,
    ) -> None:
        """Make batches for ``sink``; arguments as of ``TurnBatcher``, and the minimum capacity of a recording of all games."""
        run_id = run_id or uuid.uuid4().hex[:12]
        self.recipe = recipe or Recipe()
        self.metadata: Mapping[str, Any] = {"run": run_id, **(metadata or {})}
        self.dense_capture: DenseObservationCapture | None = None
        self._count = games
        self._min_boards = min_boards
        self._shape = (0, 0)
        self._sequence = 0  # of the first experience that is in no batch yet
        self._namer = GameNamer(run_id, games)
        self._all_games = (0, games)
        self._edges: tuple[int, ...] = self._all_games  # the first game of each range, and B
        self._room = 0  # boards of each game for which a range has room
        self._ranges: list[GameRange] = []  # none before there is a board
        self._pool = RecordingPool(games)
        self._pool.max_free = 2 * len(self._edges)
        self.delivery = DeliveryQueue(sink, self._pool)

    @property
    def experiences(self) -> int:
        """Experiences recorded so far."""
        return self._sequence + sum(int(one.recording.counts[EXPERIENCES]) for one in self._ranges)

    @property
    def games(self) -> int:
        """Games begun so far."""
        return self._namer.named + sum(self._namer.count_new(one.recording) for one in self._ranges)

    def fits(self, boards: Boards) -> bool:
        """Return whether boards have the shape and the players of the recordings, if there are any."""
        game = boards.games[0]
        return not self._ranges or (
            self._shape == (game["height"], game["width"])
            and self._ranges[0].recording.packed.players.shape[1] == boards.players.shape[1]
        )

    def present(self) -> npt.NDArray[np.bool_]:
        """Return (B,) bool: the games whose present board is recorded."""
        known = np.zeros(self._count, np.bool_)
        for one in self._ranges:
            known[one.low : one.high] = one.recording.present[one.low : one.high] >= 0
        return known

    def leave(self, which: npt.NDArray[np.bool_]) -> None:
        """End the games that ``which`` (B,) picks, whether or not they are decided: their next turn begins a new game."""
        unknown = which.copy()
        for one in self._ranges:
            unknown[one.low : one.high] &= ~one.leave(which)
        self._namer.forget(np.flatnonzero(unknown).tolist())

    # --- Ranges ---------------------------------------------------------------------------------------------------

    def divide(self, boards: Boards, edges: Sequence[int], turns: int) -> list[GameRange]:
        """Return ranges of the games, with recordings that kernels write to.

        Args:
            boards: The boards.
            edges: The first game of each range, and B.
            turns: How many turns of each game are recorded before ``renew_range``.
        """
        self._arrange(tuple(edges), 2 * turns)  # the boards before and after each turn, if each ends a game
        self._open(boards)
        return self._ranges

    def single_range(self, boards: Boards, low: int, high: int, turns: int) -> GameRange:
        """Return games ``low`` to ``high`` - 1 with a new recording for ``turns`` turns; pass it to ``finish_range`` then."""
        self._room = 2 * turns
        return self._empty(low, high, *self._take_shape(boards))

    def finish(self, goes_on: bool = True) -> None:
        """Make batches of all recordings; if a game ``goes_on``, new recordings begin with the present boards."""
        old, self._ranges = self._ranges, []
        for one in old:
            self.finish_range(one)
        if goes_on:
            self._carry_all(old)

    def renew_range(self, number: int) -> None:
        """Make a batch of a range's recording, and begin a new recording with the present boards."""
        old = self._ranges[number]
        self.finish_range(old)
        self._ranges[number] = self._carry([old], old.low, old.high)

    def finish_range(self, finished: GameRange) -> None:
        """Make a batch of a range's recording."""
        recording, counts = finished.recording, finished.recording.counts
        if self.recipe.memory:
            recall_rows(recording.packed, self._shape[0], finished.carried, int(counts[BOARDS]))
        ids = self._namer.name(recording)
        count = int(counts[EXPERIENCES])
        dense = None if self.dense_capture is None else self.dense_capture.take(count)
        if count:
            rows = first_rows(recording.experiences, count)
            rows["sequence"] = np.arange(self._sequence, self._sequence + count)
            boards = trimmed(recording.packed, int(counts[BOARDS]), int(counts[GROUNDS]), int(counts[WIDE]))
            batch = ExperienceBatch(ids, rows, boards, self._shape, self.recipe, dense, self.metadata)
            self._sequence += count
            self.delivery.append(batch, recording)

    def _arrange(self, edges: tuple[int, ...], room: int) -> None:
        """Let ranges begin at ``edges``, with room for that many boards of each game."""
        if (edges, room) != (self._edges, self._room):
            old, self._ranges = self._ranges, []
            for one in old:
                self.finish_range(one)
            self._edges, self._room = edges, room
            self._pool.max_free = 2 * len(edges)
            self._carry_all(old)

    def _open(self, boards: Boards) -> None:
        """Make recordings for boards of this shape if there are none."""
        if not self._ranges:
            tiles, players = self._take_shape(boards)
            self._ranges = [self._empty(low, high, tiles, players) for low, high in pairwise(self._edges)]

    def _take_shape(self, boards: Boards) -> tuple[int, int]:
        """Take H and W of batches to come from ``boards``, and return their tiles and players."""
        game = boards.games[0]
        self._shape = (int(game["height"]), int(game["width"]))
        return boards.owner.shape[1], boards.players.shape[1]

    def _empty(self, low: int, high: int, tiles: int, players: int) -> GameRange:
        """Return a range with an empty recording."""
        boards = (high - low) * (self.recipe.frames + self._room)
        if (low, high) == self._all_games:
            boards = max(self._min_boards, boards)
        return GameRange(low, high, self._pool.take(boards, tiles, players, self.recipe.memory))

    def _carry_all(self, old: Sequence[GameRange]) -> None:
        if any(one.has_boards() for one in old):
            self._ranges = [self._carry(old, low, high) for low, high in pairwise(self._edges)]

    def _carry(self, old: Sequence[GameRange], low: int, high: int) -> GameRange:
        """Return a range that begins with the present boards of its games."""
        packed = old[0].recording.packed
        new = self._empty(low, high, packed.tiles.shape[1], packed.players.shape[1])
        for one in old:
            if one.low < high and low < one.high:
                new.carry(one, self.recipe.frames)
        return new
