"""Computes the loss of double Q-learning (double DQN) with action masks.

Van Hasselt, Guez and Silver, "Deep Reinforcement Learning with Double Q-learning", AAAI 2016. The best next action is chosen
among the legal ones of the next state: of 3,201 actions on a 20x20 board few are legal; the values of illegal ones are never
trained, so their maximum must not become a target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from generals_env.recorders.experience.torch_tensors import TorchTensors

__all__ = ["Loss", "double_dqn_loss"]


class Loss(NamedTuple):
    """Result of ``double_dqn_loss``.

    Attributes:
        loss: () float32, to call ``backward`` on.
        errors: (n,) float32, temporal-difference errors; their absolute values are the new priorities.
        values: (n,) float32, values of the actions taken.
    """

    loss: Tensor
    errors: Tensor
    values: Tensor


def double_dqn_loss(
    model: Callable[[Tensor], Tensor], target: Callable[[Tensor], Tensor], batch: TorchTensors, weights: Tensor, gamma: float
) -> Loss:
    """Return the loss of n experiences.

    Args:
        model: The network to train, from states (n, C, H, W) to values of actions (n, A).
        target: The target network.
        batch: The experiences. The next state counts for truncated ones, not for terminated ones.
        weights: (n,) float32, importance weights.
        gamma: Discount per turn.
    """
    values = model(batch.states).gather(1, batch.actions[:, None])[:, 0]
    with torch.no_grad():
        best = model(batch.next_states).masked_fill(batch.next_action_masks == 0, -torch.inf).argmax(1)
        future = target(batch.next_states).gather(1, best[:, None])[:, 0]
        discounts = torch.where(batch.terminated, 0.0, gamma**batch.steps)
        targets = batch.rewards + discounts * future
    losses = functional.smooth_l1_loss(values, targets, reduction="none")
    return Loss((weights * losses).mean(), (targets - values).detach(), values.detach())
