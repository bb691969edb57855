"""Plays many lines of a game forward at once: plans on guesses of the board, then fast policies for both seats."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards, copy_boards, empty_boards
from generals_env.engine.planner.evaluation import value_boards
from generals_env.engine.policies.codes import EXPANDER, HUNTER
from generals_env.engine.simulation.batch import Batch
from generals_env.engine.simulation.thinkers import thinkers_of

__all__ = ["BEGUN", "FAST", "Lines", "Rows", "copy_rows"]

#: The policy that plays on in playouts.
FAST = HUNTER

#: Entry of the first array that counts the games begun, see ``policies.hunter.memory``.
BEGUN = 0

#: What a policy remembers: arrays with a row for each seat; none for a policy without memory.
Rows = tuple[npt.NDArray[Any], ...]

NEVER = 2**31 - 1
SALT = np.uint64(0x2545F4914F6CDD1D)


def copy_rows(rows: Rows, which: Any) -> Rows:
    """Return copies of some rows."""
    return tuple(array[which].copy() for array in rows)


class Lines:
    """A batch of boards for playouts."""

    def __init__(self, like: Boards, size: int, policy: int = FAST) -> None:
        """Allocate ``size`` boards of the shape and rules of the first of ``like``."""
        game = like.games[0]
        boards = empty_boards(size, int(game["height"]), int(game["width"]), 2, int(game["version"]), int(game["modifiers"]))
        self.batch = Batch(boards, np.zeros(11), NEVER, np.zeros(6, np.int64), np.zeros(3), dtype=np.uint8)
        self.size = size
        self.turns = 0
        self._policies = np.full(2, policy, np.int64)
        self._remembers = policy > EXPANDER

    def memory(self) -> Rows:
        """Return the memory of the fast policy on these boards, row ``2 * b + player``."""
        if not self._remembers:
            return ()
        thinker: Any = thinkers_of(self.batch, self._policies)[0]
        rows: Rows = tuple(thinker.memory)
        return rows

    def forget(self, rows: Rows, which: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> None:
        """Let the policy begin a new game in some rows."""
        if rows:
            rows[0][which, BEGUN] = -1

    def fresh_memory(self, count: int) -> Rows:
        """Return the memory of ``count`` seats of games that begin."""
        rows = copy_rows(self.memory(), np.zeros(count, np.int64))
        self.forget(rows, np.arange(count))
        return rows

    def put_memory(self, seat: int, count: int, rows: Rows) -> None:
        """Let a seat of the first ``count`` boards remember ``rows``."""
        for array, source in zip(self.memory(), rows, strict=bool(rows)):
            array[seat : 2 * count : 2] = source
        if rows:
            words = self.memory()[0]
            known = words[seat : 2 * count : 2, BEGUN] >= 0
            words[seat : 2 * count : 2, BEGUN] = np.where(known, self.batch.outcome.begun[:count], -1)

    def enter(self, boards: Boards, states: npt.NDArray[np.uint64]) -> None:
        """Put boards at the front; the others stand still."""
        count = len(states)
        batch = self.batch
        which = np.arange(self.size) < count
        batch.outcome.active[:] = False
        batch.seed(np.resize(states, self.size), which)
        batch.load(boards, np.minimum(np.arange(self.size), count - 1), which=which)

    def policy_actions(self, count: int, player: int, given: npt.NDArray[np.bool_]) -> None:
        """Write the fast policy's actions of the first ``count`` boards, not of ``player`` where ``given`` (count,) holds."""
        if not self._remembers:
            self.batch.act(self._policies)
            return
        active = self.batch.outcome.active
        before = active[:count, player].copy()
        active[:count, player] &= ~given  # a policy with a memory chooses for active seats only, which is most of the time
        thinkers_of(self.batch, self._policies)[0].choose(self.batch, self._policies, 0, count)
        active[:count, player] = before

    def one_turn(
        self, boards: Boards, player: int, action: int, rng: npt.NDArray[np.uint64], theirs: Rows
    ) -> tuple[Boards, Rows]:
        """Return boards after a turn in which ``player`` plays ``action`` and the other seat follows the fast policy.

        Args:
            boards: N guesses.
            player: The seat that plans.
            action: What it played.
            rng: (N,) uint64, generators, in and out.
            theirs: N rows, the memory of the other seat.

        Returns:
            The boards, and the memory of the other seat.
        """
        parts = []
        memories = []
        for low in range(0, len(rng), self.size):
            part = copy_boards(boards, slice(low, low + self.size))
            count = len(part.owner)
            rng[low : low + count] += SALT
            self.enter(part, rng[low : low + count])
            self.put_memory(1 - player, count, tuple(array[low : low + count] for array in theirs))
            self.policy_actions(count, player, np.ones(count, np.bool_))
            self.batch.outcome.actions[:, player] = action
            self.batch.step()
            parts.append(copy_boards(self.batch.boards, slice(0, count)))
            memories.append(copy_rows(self.memory(), slice(1 - player, 2 * count, 2)))
        joined = Boards._make(np.concatenate(fields) for fields in zip(*parts, strict=True))
        return joined, tuple(np.concatenate(arrays) for arrays in zip(*memories, strict=True))

    def values(
        self,
        boards: Boards,
        plans: npt.NDArray[np.int64],
        samples: npt.NDArray[np.integer],
        player: int,
        turns: int,
        states: npt.NDArray[np.uint64],
        own: Rows = (),
        theirs: Rows = (),
    ) -> npt.NDArray[np.float64]:
        """Return (n,) float64, the value of each line for ``player``: 1 a win, 0 a loss, in between by ``value_boards``.

        Args:
            boards: S guesses.
            plans: (n, K) int64, moves that ``player`` makes first; -1 ends a plan, a move that is not possible too.
            samples: (n,) the guess of each line.
            player: The seat that plans.
            turns: Turns of a line.
            states: (S,) uint64, a generator state a guess: lines of a guess meet the same chances.
            own: One row, what the fast policy of ``player`` remembers.
            theirs: S rows, what that of the other seat remembers.
        """
        parts = []
        for low in range(0, len(plans), self.size):
            part = samples[low : low + self.size]
            self.enter(copy_boards(boards, part), states[part])
            self.put_memory(player, len(part), own)
            self.put_memory(1 - player, len(part), copy_rows(theirs, part))
            since = self.batch.boards.games["turn"].copy()
            self._play(plans[low : low + self.size], player, turns)
            parts.append(value_boards(self.batch.boards, player, since)[: len(part)])
        return np.concatenate(parts)

    def _play(self, plans: npt.NDArray[np.int64], player: int, turns: int) -> None:
        batch = self.batch
        count, length = plans.shape
        plane = 4 * batch.boards.owner.shape[1]
        follows = np.ones(count, np.bool_)
        lines = np.arange(count)
        for turn in range(turns):
            if turn < length and follows.any():
                moves = plans[:, turn]
                follows &= moves >= 0
                start = np.where(follows, moves, 0) % plane // 4
                owns = batch.boards.owner[lines, start] == player
                follows &= (moves >= 2 * plane) | (owns & (batch.boards.army[lines, start] > 1))
            else:
                follows[:] = False
            self.policy_actions(count, player, follows)
            if follows.any():
                batch.outcome.actions[:count][follows, player] = moves[follows]
            batch.step()
            self.turns += count
            if turn % 8 == 7 and not batch.outcome.active.any():
                break
