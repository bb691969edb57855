"""Fills a rollout buffer from a vector environment, for learners with a loop of their own: ``VectorRollout``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from generals_env.engine.boards import copy_boards
from generals_env.engine.packed.packing import pack
from generals_env.errors import ConfigError, StateError
from generals_env.learning.rollouts.rollout_buffer import RolloutBuffer
from generals_env.observations.packed import PackedObservations
from generals_env.vector import GeneralsVector

try:
    from torch import Tensor
except ModuleNotFoundError as error:
    raise ImportError(f'vector_rollout: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["VectorRollout"]

#: Maps observations (n, C, H, W) to values (n,).
ValueFunction = Callable[[Tensor], Tensor]


class VectorRollout:
    """Plays an environment turn by turn, in any autoreset mode, and writes the turns into a buffer.

    ::

        rollout.begin()
        for _ in range(rollout.buffer.steps):
            observations, legal = rollout.observe()
            ...  # choose actions
            rollout.step(actions, log_probs, values, value_of)
        rollout.finish(value_of, gamma=0.995, gae_lambda=0.9)

    The last reward of an episode is written to its last action, in ``SAME_STEP`` mode, too, where the environment shows the
    next game already; where a game was cut off, ``value_of`` is asked for the value of its final state. Rows in which a game is
    reset (``NEXT_STEP``) and those of eliminated players are not valid. With ``DISABLED``, ``step`` resets games that ended.

    Attributes:
        venv: The environment.
        buffer: The buffer.
    """

    def __init__(
        self,
        venv: GeneralsVector,
        steps: int,
        seats: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        rng: np.random.Generator | None = None,
        device: Any = "cpu",
    ) -> None:
        """Make the buffer.

        Args:
            venv: The environment; unless it was reset before, call its ``reset`` before ``observe``.
            steps: Turns of a rollout.
            seats: The seats that learn: (N,) games and (N,) players; None for all seats of all games.
            rng: Draws a symmetry of each observation; None for none.
            device: Device of the tensors.

        Raises:
            ConfigError: If an argument is invalid.
        """
        if not isinstance(venv, GeneralsVector):
            raise ConfigError(f"venv: expected a GeneralsVector, got {venv!r:.200}: pass what make_vec returns, not a wrapper")
        if seats is None:
            seats = np.divmod(np.arange(venv.num_envs * venv.config.players), venv.config.players)
        self.venv = venv
        self.buffer = RolloutBuffer(steps, venv.num_envs, venv.config, *seats)
        self._rng, self._device = rng, device
        self._step = 0
        self._observed = False

    def begin(self) -> None:
        """Begin the next rollout; games go on."""
        self.buffer.clear()
        self._step = 0
        self._observed = False

    def observe(self) -> tuple[Tensor, Tensor]:
        """Write the boards, and return observations (N, C, H, W) float32 and masks (N, A) bool of all seats.

        Raises:
            StateError: If the buffer is full: call ``finish`` and ``begin``.
        """
        buffer, step = self.buffer, self._step
        if step == buffer.steps:
            raise StateError(f"observe: expected at most {buffer.steps} turns, got one more: call finish(), learn, and begin()")
        buffer.put_boards(step, 0, self.venv.batch.boards)
        playing = self.venv.going[:, None] & self.venv.batch.outcome.active
        buffer.valid[step] = playing[buffer.game, buffer.player]
        buffer.symmetries[step] = 0 if self._rng is None else self._rng.integers(len(buffer.tables.tiles), size=buffer.seats)
        self._observed = True
        return buffer.states(step * buffer.seats + np.arange(buffer.seats), self._device)

    def step(
        self, actions: Any, log_probs: Any, values: Any, value_of: ValueFunction, others: npt.NDArray[np.int64] | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """Play the turn that was observed.

        Args:
            actions: (N,) integers, in the states as ``observe`` returned them.
            log_probs: (N,) float32, of the actions.
            values: (N,) float32, of the states.
            value_of: Returns the values of the final states of games that were cut off; they are not transformed.
            others: (B, P) int64, the actions of the seats that do not learn; None lets them pass.

        Returns:
            What the turn brought the seats: ``"rewards"``, ``"terminated"``, ``"truncated"``, (N,).

        Raises:
            StateError: Without ``observe`` before.
        """
        if not self._observed:
            raise StateError("step: expected a call of observe() before each turn, got none")
        buffer, step, venv = self.buffer, self._step, self.venv
        buffer.actions[step], buffer.log_probs[step], buffer.values[step] = map(as_array, (actions, log_probs, values))
        seats = buffer.game, buffer.player
        height, width = venv.config.shape
        every = np.full((venv.num_envs, venv.config.players), 8 * height * width) if others is None else others.copy()
        every[seats] = buffer.tables.actions[buffer.symmetries[step], buffer.actions[step]]
        _, rewards, terminated, truncated, infos = venv.step(every)
        ends = {"rewards": rewards[seats], "terminated": terminated[seats], "truncated": truncated[seats]}
        final = None
        if ends["truncated"].any():
            cut = np.flatnonzero(ends["truncated"])
            final = np.zeros(buffer.seats, np.float32)
            final[cut] = as_array(value_of(self._final_states(cut, infos)))
        buffer.put_turn(step, **ends, final_values=final)
        if venv.autoreset_mode is AutoresetMode.DISABLED and not venv.going.all():
            venv.reset(options={"reset_mask": ~venv.going})
        self._step += 1
        self._observed = False
        return ends

    def finish(self, value_of: ValueFunction, gamma: float, gae_lambda: float) -> None:
        """Compute the advantages; ``value_of`` is asked for the values of the states after the last turn."""
        states = self.venv.packed()[self.buffer.game]
        rows = np.arange(self.buffer.seats)
        board, shown = states.board[rows, self.buffer.player], states.shown[rows, self.buffer.player]
        views = PackedObservations(states.boards, board, self.buffer.player, shown, states.shape, states.layout)
        last = as_array(value_of(views.to_torch(self._device)["observation"]))
        self.buffer.compute_advantages(last.astype(np.float32), gamma, gae_lambda)

    def _final_states(self, seats: npt.NDArray[np.int64], infos: dict[str, Any]) -> Tensor:
        """Return the final observations of seats whose games were cut off, (n, C, H, W) float32."""
        venv, games = self.venv, self.buffer.game[seats]
        if venv.autoreset_mode is AutoresetMode.SAME_STEP:
            boards: Any = venv.final_boards
            rows = np.searchsorted(np.flatnonzero(infos["_final_obs"]), games)
        else:
            boards, rows = venv.batch.boards, games.astype(np.int64)
        shown = np.ones(len(seats), np.bool_)
        packed = pack(copy_boards(boards, rows))
        board = np.arange(len(seats), dtype=np.int32)
        layout = venv.config.observation
        views = PackedObservations(packed, board, self.buffer.player[seats], shown, venv.config.shape, layout)
        tensor: Tensor = views.to_torch(self._device)["observation"]
        return tensor


def as_array(numbers: Any) -> npt.NDArray[Any]:
    """Return a tensor on any device, or an array, as an array."""
    array: npt.NDArray[Any] = np.asarray(numbers.detach().cpu() if isinstance(numbers, Tensor) else numbers)
    return array
