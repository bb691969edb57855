"""Records games turn by turn, one game or many at once, and makes batches of the turns for a sink."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.concurrency.interrupts import deferred
from generals_env.concurrency.process_owner import Owner
from generals_env.engine.boards import Boards
from generals_env.engine.packed.recording import (
    ALL_PLAYERS,
    BOARDS,
    begin_games,
    record_turn,
)
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.experience.sink import Sink
from generals_env.recorders.recording.game_range_recording import GameRange
from generals_env.recorders.recording.range_batcher import RangeBatcher

__all__ = ["TurnBatcher"]

#: Boards in a batch, for one game: 0.8 MB of them at 20x20.
CHUNK_BOARDS = 1024

#: Turns of each game in a batch, for many games.
CHUNK_TURNS = 8


class TurnBatcher(RangeBatcher):
    """Records the turns of B games as they are played, and gives them to a sink in batches.

    Attributes:
        closed: Whether it records no more.
        owner: The process in which turns may be recorded; None for any, where everything stays in memory.
        seat: The player whose experience alone is recorded, or ``ALL_PLAYERS`` for all players.
    """

    def __init__(
        self,
        sink: Sink,
        games: int = 1,
        run_id: str | None = None,
        seat: int = ALL_PLAYERS,
        recipe: Recipe | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Record for ``sink``.

        Args:
            sink: Takes the batches.
            games: B.
            run_id: Games are called ``<run_id>-000000`` and so on; a random id without.
            seat: The player whose experience alone to record, or ``ALL_PLAYERS`` for all players.
            recipe: How observations are made of boards.
            metadata: Goes into every batch.
        """
        super().__init__(sink, games, run_id, recipe, metadata, CHUNK_BOARDS)
        self.closed = False
        self.owner: Owner | None = Owner()
        self.seat = seat

    @property
    def waiting(self) -> int:
        """Experiences in finished batches that the sink has not taken."""
        return self.delivery.batches.experiences

    @property
    def dropped(self) -> int:
        """Experiences that the sink never took: given up for newer ones, or left when this was closed."""
        return self.delivery.dropped

    def check_process(self) -> None:
        """Raise ``StateError`` in a process that was forked off the one that records."""
        if self.owner is not None:
            self.owner.check("recorder")

    # --- Turns ----------------------------------------------------------------------------------------------------

    def begin(self, boards: Boards, which: npt.NDArray[np.bool_]) -> None:
        """Begin the games that ``which`` (B,) picks, on these boards."""
        self.leave(which)
        self.resume(boards, which)

    def resume(self, boards: Boards, which: npt.NDArray[np.bool_]) -> None:
        """Record the present boards of games ``which`` (B,), which were played on without being recorded."""
        self.check_process()
        games = self._all_in_one(boards)
        if games.boards - self._count > games.max_boards:  # never within a step: ``turn`` leaves room for new games
            self.finish()
            games = self._all_in_one(boards)
        begin_games(games.recording, boards, which)
        games.boards = int(games.recording.counts[BOARDS])

    def interrupt(self) -> None:
        """Record the board before the next turn anew, as boards were changed between two turns."""
        for one in self._ranges:
            one.recording.present[:] = -1

    def turn(
        self,
        boards: Boards,
        first: int,
        actions: npt.NDArray[np.int64],
        active: npt.NDArray[np.bool_],
        illegal: npt.NDArray[np.bool_],
        rewards: npt.NDArray[np.float32],
        terminated: npt.NDArray[np.bool_],
        truncated: npt.NDArray[np.bool_],
    ) -> None:
        """Record a turn of every game; arguments as of ``record_turn``. Call ``write`` afterwards."""
        self.check_process()
        games = self._ranges[0] if self._edges == self._all_games and self._ranges else self._all_in_one(boards)
        if games.boards > games.max_boards:
            self.finish()
            games = self._all_in_one(boards)
        games.boards = record_turn(
            *games.target,
            *boards,
            first,
            actions,
            active,
            illegal,
            rewards,
            terminated,
            truncated,
            self.seat,
            time.time_ns(),
        )

    def _all_in_one(self, boards: Boards) -> GameRange:
        """Return the range that has all games."""
        if self._edges != self._all_games or not self._ranges:
            self._arrange(self._all_games, CHUNK_TURNS if self._count > 1 else 2)
        self._open(boards)
        return self._ranges[0]

    # --- The sink -------------------------------------------------------------------------------------------------

    def require_room(self) -> None:
        """Make sure that the next turn can be recorded; to be called before it is played.

        Raises:
            StateError: In a process that was forked off the one that records.
            StorageError: If the sink has refused as much as may wait, and refusals are to be raised.
        """
        if not self.closed:
            self.check_process()
            self.delivery.require_room()

    def write(self) -> None:
        """Offer finished batches to the sink. Those that it refuses are offered again together with the next ones.

        Raises:
            StateError: In a process that was forked off the one that records.
            StorageError: If the sink refuses, and refusals are to be raised.
        """
        if self.delivery.is_due:
            self.check_process()
            self.delivery.deliver()

    def flush(self) -> None:
        """Write all turns, also those of games that go on; what the sink raises is raised, whatever ``overflow`` is."""
        self.check_process()
        with deferred():
            self.finish()
        self.delivery.deliver_all()
        self.delivery.sink.flush()

    def close(self) -> None:
        """Write all turns and close the sink; in a process that was forked off the one that records, do neither.

        What the sink refuses once more is lost, and counted in ``dropped``.
        """
        if self.closed:
            return
        with deferred():
            self.closed = True
            if self.owner is not None and not self.owner.is_here:
                return
            try:
                self.finish(goes_on=False)
                self.delivery.deliver_all()
            except BaseException as error:
                if lost := self.delivery.drop_all():
                    error.add_note(f"The sink has not taken {lost} experiences; they are lost.")
                raise
            finally:
                self._pool.clear()
                self.delivery.sink.close()
