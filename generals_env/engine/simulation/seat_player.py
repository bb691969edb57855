"""Lets a policy with a memory play one seat of a game that is no batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards, copy_boards, put_boards
from generals_env.engine.observations.incremental import Observations
from generals_env.engine.policies.codes import GIVEN
from generals_env.engine.simulation.seen_board import SeenBoard
from generals_env.engine.simulation.thinker import Thinker
from generals_env.engine.simulation.thinkers import choose_all, thinkers_of
from generals_env.engine.simulation.turn_outcome import WINS, Outcome

__all__ = ["SeatPlayer"]


class SeatPlayer:
    """A policy with the memory of one game.

    It is a batch of one game to the policy, see ``thinker.PlayedBatch``, whose board is replaced each turn.

    Attributes:
        boards: One board, as the seat sees it.
        outcome: See ``Outcome``; only what thinkers use is kept.
        views: Codes of the tiles; there are no tensors and masks.
        policy_rng: (1, P) uint64, generators; that of the seat is the player's.
        thinkers: See ``Batch``.
    """

    boards: Boards
    outcome: Outcome
    views: Observations

    def __init__(self, code: int, state: int) -> None:
        """Begin without a memory.

        Args:
            code: Of the policy, see ``policies.codes``.
            state: State of its generator, 64 bits.
        """
        self._code = code
        self._state = np.uint64(state)
        self._shape: tuple[int, ...] = ()
        self.policy_rng: npt.NDArray[np.uint64] = np.zeros((0, 0), np.uint64)
        self.thinkers: dict[int, Thinker] = {}

    def begin(self) -> None:
        """Forget the last game."""
        if self._shape:
            self.outcome.begun[0] += 1

    def choose(self, seen: SeenBoard) -> int:
        """Return the action index for what the seat sees; call it every turn."""
        self._enter(seen)
        seat = seen.seat
        policies = np.full(self.policy_rng.shape[1], GIVEN, np.int64)
        policies[seat] = self._code
        self.policy_rng[0, seat] = self._state
        self.outcome.active[:] = True
        choose_all(self, thinkers_of(self, policies), policies, 0, 1)
        self._state = self.policy_rng[0, seat]
        return int(self.outcome.actions[0, seat])

    def _enter(self, seen: SeenBoard) -> None:
        """Take a board; one of another shape is of a new game."""
        boards = seen.boards
        game, players, tiles = boards.games[0], boards.players.shape[1], boards.owner.shape[1]
        shape = (players, tiles, int(game["width"]))
        if shape != self._shape:
            self._shape = shape
            self.thinkers = {}
            self.boards = copy_boards(boards)
            self.policy_rng = np.zeros((1, players), np.uint64)
            self.views = Observations(
                observations=np.zeros((1, players, 0, 0), np.float32),
                masks=np.zeros((1, players, 0), np.int8),
                tile_codes=np.zeros((1, players, tiles), np.uint8),
            )
            flags = [np.zeros((1, players), np.bool_) for _ in range(4)]
            numbers = [np.zeros((1, players), np.int64) for _ in range(2)]
            self.outcome = Outcome(
                actions=numbers[0],
                active=flags[0],
                illegal=flags[1],
                illegal_count=numbers[1],
                rewards=np.zeros((1, players), np.float32),
                terminated=flags[2],
                truncated=flags[3],
                counts=np.zeros((1, WINS + players), np.int64),
                begun=np.ones(1, np.int64),
            )
        put_boards(self.boards, slice(None), boards, slice(None))
        self.views.tile_codes[0, seen.seat] = seen.codes
