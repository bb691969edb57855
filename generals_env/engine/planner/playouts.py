"""Plays many lines of a game forward at once: plans on guesses of the board, then fast policies for both seats."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards, copy_boards, empty_boards
from generals_env.engine.planner.evaluation import value_boards
from generals_env.engine.policies.bitboard import EXPANDER
from generals_env.engine.simulation.batch import Batch

__all__ = ["Lines"]

NEVER = 2**31 - 1
SALT = np.uint64(0x2545F4914F6CDD1D)


class Lines:
    """A batch of boards for playouts."""

    def __init__(self, like: Boards, size: int) -> None:
        """Allocate ``size`` boards of the shape and rules of the first of ``like``."""
        game = like.games[0]
        boards = empty_boards(size, int(game["height"]), int(game["width"]), 2, int(game["version"]), int(game["modifiers"]))
        self.batch = Batch(boards, np.zeros(11), NEVER, np.zeros(4, np.int64), np.zeros(3), template=boards, dtype=np.uint8)
        self.size = size
        self.turns = 0

    def enter(self, boards: Boards, states: npt.NDArray[np.uint64]) -> None:
        """Put boards at the front; the others stand still."""
        count = len(states)
        batch = self.batch
        which = np.arange(self.size) < count
        batch.template = boards
        batch.outcome.active[:] = False
        batch.seed(np.resize(states, self.size), which)
        batch.reset(which)

    def policy_actions(self) -> None:
        """Write the fast policy's actions of both seats."""
        self.batch.act(np.full(2, EXPANDER, np.int64))

    def one_turn(self, boards: Boards, player: int, action: int, rng: npt.NDArray[np.uint64]) -> Boards:
        """Return boards after a turn in which ``player`` plays ``action`` and the other seat follows the fast policy."""
        parts = []
        for low in range(0, len(rng), self.size):
            part = copy_boards(boards, slice(low, low + self.size))
            count = len(part.owner)
            rng[low : low + count] += SALT
            self.enter(part, rng[low : low + count])
            self.policy_actions()
            self.batch.outcome.actions[:, player] = action
            self.batch.step()
            parts.append(copy_boards(self.batch.boards, slice(0, count)))
        return Boards._make(np.concatenate(fields) for fields in zip(*parts, strict=True))

    def values(
        self,
        boards: Boards,
        plans: npt.NDArray[np.int64],
        samples: npt.NDArray[np.integer],
        player: int,
        turns: int,
        states: npt.NDArray[np.uint64],
    ) -> npt.NDArray[np.float64]:
        """Return (n,) float64, the value of each line for ``player``: 1 a win, 0 a loss, in between by ``value_boards``.

        Args:
            boards: S guesses.
            plans: (n, K) int64, moves that ``player`` makes first; -1 ends a plan, a move that is not possible too.
            samples: (n,) the guess of each line.
            player: The seat that plans.
            turns: Turns of a line.
            states: (S,) uint64, a generator state a guess: lines of a guess meet the same chances.
        """
        parts = []
        for low in range(0, len(plans), self.size):
            part = samples[low : low + self.size]
            self.enter(copy_boards(boards, part), states[part])
            self._play(plans[low : low + self.size], player, turns)
            parts.append(value_boards(self.batch.boards, player)[: len(part)])
        return np.concatenate(parts)

    def _play(self, plans: npt.NDArray[np.int64], player: int, turns: int) -> None:
        batch = self.batch
        count, length = plans.shape
        plane = 4 * batch.boards.owner.shape[1]
        follows = np.ones(count, np.bool_)
        lines = np.arange(count)
        for turn in range(turns):
            self.policy_actions()
            if turn < length:
                moves = plans[:, turn]
                follows &= moves >= 0
                start = np.where(follows, moves, 0) % plane // 4
                owns = batch.boards.owner[lines, start] == player
                follows &= (moves == 2 * plane) | (moves > 2 * plane) | (owns & (batch.boards.army[lines, start] > 1))
                batch.outcome.actions[:count][follows, player] = moves[follows]
            batch.step()
            self.turns += count
            if turn % 8 == 7 and not batch.outcome.active.any():
                break
