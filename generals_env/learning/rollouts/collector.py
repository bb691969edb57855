"""Plays the games of a learner with its network, and writes the turns into a rollout buffer: ``Collector``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.concurrency.thread_pool import divided
from generals_env.engine.packed.turned_views import turn_rows, turn_tiles
from generals_env.learning.rollouts.game_group import GameGroup
from generals_env.learning.rollouts.rollout_buffer import RolloutBuffer
from generals_env.observations.packed import MIN_VIEWS
from generals_env.recorders.training.masked_choice import drawn_legal

try:
    import torch
    from torch import Tensor, nn
except ModuleNotFoundError as error:
    raise ImportError(f'collector: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["Collector", "log_shares", "masked"]


def log_shares(logits: Tensor, legal: Tensor) -> Tensor:
    """Return the logarithms of the probabilities of the actions, (n, A) float32; about -1e30 for illegal ones.

    Args:
        logits: (n, A) of any float dtype.
        legal: (n, A) bool.
    """
    return masked(logits, legal).log_softmax(1)


def masked(logits: Tensor, legal: Tensor) -> Tensor:
    """Return logits as float32, -1e30 for illegal actions: its multiples stay finite, unlike those of minus infinity."""
    return logits.float().masked_fill(~legal, -1e30)


class Collector:
    """Plays all games of several groups, the learner's seats in one batch, and fills a buffer.

    Attributes:
        groups: Games by opponent.
        buffer: The buffer.
        lessons: (T, N) int32, the actions of the teacher in the transformed states, where ``collect`` had one.
    """

    def __init__(
        self, groups: Sequence[GameGroup], steps: int, rng: np.random.Generator, symmetries: bool, autocast: Any, device: Any
    ) -> None:
        """Prepare the buffer.

        Args:
            groups: The games.
            steps: Turns of a rollout.
            rng: Generator of actions and symmetries.
            symmetries: Whether observations are transformed by random symmetries.
            autocast: Makes the context in which the network computes.
            device: Device of the network.
        """
        self.groups = list(groups)
        self.rng = rng
        self._autocast, self._device = autocast, torch.device(device)
        self.first = np.cumsum([0, *(group.venv.num_envs for group in groups)])
        game = np.concatenate([group.game + first for group, first in zip(groups, self.first[:-1], strict=True)])
        player = np.concatenate([group.player for group in groups])
        config = groups[0].venv.config
        self.buffer = RolloutBuffer(steps, int(self.first[-1]), config, game, player)
        self.lessons = np.zeros((steps, self.buffer.seats), np.int32)
        self._count = len(self.buffer.tables.tiles) if symmetries else 1
        self.seat = np.cumsum([0, *(len(group.game) for group in groups)])
        channels = len(config.channels)
        height, width = config.shape
        self._tensors = np.zeros((self.buffer.seats, height * width, channels), np.float32)
        self._legal = np.zeros((self.buffer.seats, config.actions), np.bool_)
        self._allowed = torch.from_numpy(self._legal).to(self._device)
        self._shape = (self.buffer.seats, height, width, channels)

    def collect(self, network: nn.Module, shaping: float, teacher: str | None = None) -> None:
        """Play the turns of a rollout.

        Args:
            network: The policy network, on the device.
            shaping: Factor of the potential-based rewards.
            teacher: Built-in policy that gives the lessons; None for none.
        """
        buffer = self.buffer
        buffer.clear()
        for step in range(buffer.steps):
            symmetries = self._symmetries()
            log_shares, values = self._evaluate(network, symmetries)
            uniforms = torch.from_numpy(self.rng.random(buffer.seats, np.float32)).to(self._device)
            drawn = drawn_legal(log_shares, self._allowed, uniforms)
            chosen = drawn.cpu().numpy()
            buffer.symmetries[step] = symmetries
            buffer.actions[step] = chosen
            buffer.log_probs[step] = log_shares.gather(1, drawn[:, None])[:, 0].cpu().numpy()
            buffer.values[step] = values.cpu().numpy()
            actions = buffer.tables.actions[symmetries, chosen]
            for k, group in enumerate(self.groups):
                seats = slice(self.seat[k], self.seat[k + 1])
                buffer.put_boards(step, int(self.first[k]), group.venv.batch.boards)
                if teacher is not None:
                    shown = symmetries[seats]
                    self.lessons[step, seats] = buffer.tables.images[shown, group.lessons(teacher)]
                turn = group.play(actions[seats])
                buffer.rewards[step, seats] = turn.rewards + np.float32(shaping) * turn.gains
                buffer.ended[step, seats] = turn.terminated | turn.truncated
                bootstrap = np.zeros(len(turn.rewards), np.float32)
                if len(turn.finals):
                    bootstrap[turn.truncated] = self._values(network, torch.from_numpy(turn.finals))
                buffer.bootstrap[step, seats] = bootstrap
        buffer.valid[:] = True

    def last_values(self, network: nn.Module) -> npt.NDArray[np.float32]:
        """Return the values of the states after the rollout, (N,)."""
        result: npt.NDArray[np.float32] = self._evaluate(network, self._symmetries())[1].cpu().numpy()
        return result

    def _symmetries(self) -> npt.NDArray[np.int64]:
        """Return a random symmetry for each seat."""
        if self._count == 1:
            return np.zeros(self.buffer.seats, np.int64)
        return self.rng.integers(self._count, size=self.buffer.seats)

    def _evaluate(self, network: Any, symmetries: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return the logarithms of probabilities and the values of the current states, transformed."""
        for k, group in enumerate(self.groups):
            self._write_views(group, slice(self.seat[k], self.seat[k + 1]), symmetries)
        states = torch.from_numpy(self._tensors).view(self._shape).permute(0, 3, 1, 2).to(self._device)
        self._allowed = torch.from_numpy(self._legal).to(self._device)
        with torch.no_grad(), self._autocast():
            logits, outputs = network(states)
        return log_shares(logits, self._allowed), network.values(outputs)

    def _write_views(self, group: GameGroup, seats: slice, symmetries: npt.NDArray[np.int64]) -> None:
        """Write what the seats of a group see, transformed."""
        tables, rows, chosen = self.buffer.tables, group.rows(), symmetries[seats]
        tensors, masks = group.observations()
        own, legal = self._tensors[seats], self._legal[seats]

        def write(low: int, high: int) -> None:
            turn_tiles(tensors, rows, tables.tiles, chosen, low, high, own)
            turn_rows(masks, rows, tables.actions, chosen, low, high, legal)

        divided(write, len(rows), MIN_VIEWS)

    def _values(self, network: Any, states: Tensor) -> npt.NDArray[np.float32]:
        with torch.no_grad(), self._autocast():
            _, outputs = network(states.to(self._device))
        values: npt.NDArray[np.float32] = network.values(outputs).cpu().numpy()
        return values
