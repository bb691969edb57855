"""Holds the turns of a rollout as packed boards, with what a policy gradient learner needs: ``RolloutBuffer``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_integer
from generals_env.config import GameConfig
from generals_env.engine.boards import Boards
from generals_env.engine.packed.pack_turns import pack_turn
from generals_env.engine.packed.packing import PackedBoards, empty_packed, trimmed
from generals_env.engine.packed.turned_views import SymmetryTables, symmetry_tables
from generals_env.errors import ConfigError
from generals_env.learning.rollouts.advantages import advantages
from generals_env.learning.rollouts.sequences import Sequences, sequences
from generals_env.learning.rollouts.turned_batches import turned
from generals_env.observations.packed import PackedObservations

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError as error:
    raise ImportError(f'rollout_buffer: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["Minibatch", "RolloutBuffer"]

Index = npt.NDArray[np.int64]


@dataclass
class Minibatch:
    """n entries of a rollout, as tensors on the learner's device; transformed by their symmetries as the policy saw them.

    Attributes:
        observations: (n, C, H, W) float32, channels last in memory.
        legal: (n, A) bool.
        actions: (n,) int64.
        log_probs: (n,) float32, of the actions when they were taken.
        values: (n,) float32, when they were taken.
        advantages: (n,) float32.
        returns: (n,) float32, advantages plus values.
    """

    observations: Tensor
    legal: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


class RolloutBuffer:
    """T turns of B games, seen from N seats of them.

    A turn is written by ``put_boards`` before its actions are played and by ``put_turn`` after; ``VectorRollout`` does both for
    a vector environment. Boards take two bytes a tile; observations and masks are derived from them when a minibatch is made.
    The columns are arrays (T, N) that may also be written directly.

    Attributes:
        steps: T.
        games: B.
        seats: N.
        game: (N,) int32, the game of each seat.
        player: (N,) int8, the player of each seat.
        symmetries: uint8, by which the policy saw the state transformed.
        actions: int32, as the policy chose them: in the transformed state.
        log_probs: float32, of the actions.
        values: float32, of the states in which they were taken.
        rewards: float32, of the actions.
        ended: bool, whether the seat's episode ended with the action.
        bootstrap: float32, the value after the last action of an episode, see ``advantages``.
        valid: bool, False for rows that are no action: a game is reset in it, or the player was eliminated before. Their
            observations are zeros, their masks allow the pass alone.
        advantages: float32, after ``compute_advantages``.
    """

    def __init__(self, steps: int, games: int, config: GameConfig, game: npt.ArrayLike, player: npt.ArrayLike) -> None:
        """Allocate the arrays.

        Args:
            steps: T.
            games: B.
            config: Shape, players, rules and layout of the games.
            game: (N,) the game of each seat.
            player: (N,) the player of each seat.

        Raises:
            ConfigError: If an argument is invalid.
        """
        self.steps, self.games = check_integer("steps", steps, 1, 2**24), check_integer("games", games, 1, 2**24)
        self.config = config
        self.game = checked_seats("game", game, games).astype(np.int32)
        self.player = checked_seats("player", player, config.players).astype(np.int8)
        if len(self.game) != len(self.player):
            raise ConfigError(f"player: expected one for each of {len(self.game)} games, got {len(self.player)}")
        self.seats = len(self.game)
        self.tables: SymmetryTables = symmetry_tables(*config.shape, config.actions)
        tiles = config.shape[0] * config.shape[1]
        self._boards = empty_packed(steps * games, tiles, config.players, 2 * games, games)
        self._grounds = np.full(games, -1, np.int64)
        self._counts = np.zeros(2, np.int64)
        size = (steps, self.seats)
        self.actions = np.zeros(size, np.int32)
        self.symmetries = np.zeros(size, np.uint8)
        self.valid = np.zeros(size, np.bool_)
        self.ended = np.zeros(size, np.bool_)
        floats = (np.zeros(size, np.float32) for _ in range(5))
        self.log_probs, self.values, self.rewards, self.bootstrap, self.advantages = floats

    def clear(self) -> None:
        """Begin the next rollout: its columns are to be written anew, and no row is valid yet."""
        self._grounds[:] = -1
        self._counts[:] = 0
        self.valid[:] = False

    def put_boards(self, step: int, first: int, boards: Boards) -> None:
        """Write the boards of games ``first`` and following before turn ``step``."""
        count = len(boards.games)
        self._grow(count)
        pack_turn(boards, self._boards, step * self.games + first, self._grounds[first : first + count], self._counts)

    def put_turn(
        self, step: int, rewards: Any, terminated: Any, truncated: Any, final_values: npt.NDArray[np.float32] | None = None
    ) -> None:
        """Write what turn ``step`` brought each seat.

        Args:
            step: The turn.
            rewards: (N,) float32, of the actions of this turn; that of the last action of an episode, too.
            terminated: (N,) bool, whether the episode was decided.
            truncated: (N,) bool, whether it was cut off.
            final_values: (N,) float32, values of the states after this turn, not of those in which the next games begin. Only
                those of truncated seats are read; None if there are none.

        Raises:
            ConfigError: If seats were truncated and there are no final values.
        """
        terminated, truncated = np.asarray(terminated, np.bool_), np.asarray(truncated, np.bool_)
        cut = truncated & ~terminated
        if final_values is None and cut.any():
            raise ConfigError(
                f"final_values: expected values of the final states of {int(cut.sum())} truncated seats, got None: pass what "
                "the network says of the last observations of their games (final_obs), not of the first ones of the next games"
            )
        self.rewards[step] = rewards
        self.ended[step] = terminated | truncated
        self.bootstrap[step] = 0 if final_values is None else np.where(cut, final_values, np.float32(0))

    def _grow(self, count: int) -> None:
        """Make room for as many more grounds and rows of wide armies."""
        grounds, wide = int(self._counts[0]) + count, int(self._counts[1]) + count
        old = self._boards
        if grounds <= len(old.games) and wide <= len(old.armies):
            return
        new = empty_packed(
            0, old.tiles.shape[1], old.players.shape[1], max(2 * grounds, len(old.games)), max(2 * wide, len(old.armies))
        )
        for name in ("terrain", "players", "games", "armies"):
            getattr(new, name)[: len(getattr(old, name))] = getattr(old, name)
        self._boards = new._replace(tiles=old.tiles, entries=old.entries, memory=old.memory)

    def compute_advantages(self, last_values: npt.NDArray[np.float32], gamma: float, gae_lambda: float) -> None:
        """Compute the advantages of the rollout; see ``generals_env.learning.rollouts.advantages``."""
        self.advantages[:] = advantages(
            self.rewards, self.values, self.ended, self.bootstrap, last_values, gamma, gae_lambda, self.valid
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, those for more grounds and wide armies included."""
        columns = (self.actions, self.symmetries, self.valid, self.ended, self.log_probs, self.values, self.rewards)
        others = (self.bootstrap, self.advantages, self.game, self.player, self._grounds, *self.tables)
        return sum(array.nbytes for array in (*self._boards, *columns, *others))

    def sequences(self, length: int, burn_in: int = 0, across_ends: bool = False) -> Sequences:
        """Return the rollout as sequences of turns; see ``generals_env.learning.rollouts.sequences``.

        A first row begins an episode if its board is of turn 0.
        """
        fresh = self._boards.entries["turn"][: self.games][self.game] == 0
        return sequences(self.valid, self.ended, fresh, length, burn_in, across_ends)

    def boards(self) -> PackedBoards:
        """Return the packed boards: board b of turn t in row ``t * B + b``."""
        return trimmed(self._boards, self.steps * self.games, *self._counts.tolist())

    def views(self, entries: Index) -> PackedObservations:
        """Return the observations of entries, numbers ``t * N + seat``, not transformed."""
        step, seat = np.divmod(entries, self.seats)
        board = (step * self.games + self.game[seat]).astype(np.int32)
        shown = self.valid.ravel()[entries]
        layout = self.config.observation
        return PackedObservations(self._boards, board, self.player[seat], shown, self.config.shape, layout)

    def states(self, entries: Index, device: Any = "cpu") -> tuple[Tensor, Tensor]:
        """Return the observations and masks of entries as the policy saw them; shapes as in ``Minibatch``."""
        return turned(self.views(entries), self.tables, self.symmetries.ravel()[entries].astype(np.int64), device)

    def minibatch(self, entries: Index, device: Any = "cpu") -> Minibatch:
        """Return entries, numbers ``t * N + seat``, as tensors."""
        observations, legal = self.states(entries, device)
        values, gains = self.values.ravel()[entries], self.advantages.ravel()[entries]
        columns = (
            self.actions.ravel()[entries].astype(np.int64),
            self.log_probs.ravel()[entries],
            values,
            gains,
            values + gains,
        )
        return Minibatch(observations, legal, *(torch.from_numpy(column).to(device) for column in columns))


def checked_seats(name: str, numbers: npt.ArrayLike, count: int) -> npt.NDArray[Any]:
    """Return numbers from 0 to below ``count``, (N,); raise ``ConfigError`` if they are others, as kernels check no bounds."""
    array = np.asarray(numbers)
    if array.ndim != 1 or not len(array) or array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= count:
        raise ConfigError(f"{name}: expected one or more integers from 0 to {count - 1}, one a seat, got {numbers!r:.200}")
    return array
