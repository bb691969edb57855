"""The loss of double Q-learning with masks.

Van Hasselt, Guez and Silver, "Deep Reinforcement Learning with Double Q-learning", AAAI 2016. The best next action is looked
for among those that the player can choose in the next state: of 3,201 actions at 20x20 all but a few are illegal, and the
largest of values that nothing has ever corrected would be learned from.
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
    """What ``double_dqn_loss`` returns.

    Attributes:
        loss: () float32, to go backward from.
        errors: (n,) float32, how far off each value is: new priorities, when made positive.
        values: (n,) float32, of the actions taken.
    """

    loss: Tensor
    errors: Tensor
    values: Tensor


def double_dqn_loss(
    model: Callable[[Tensor], Tensor], target: Callable[[Tensor], Tensor], batch: TorchTensors, weights: Tensor, gamma: float
) -> Loss:
    """Return the loss of n experiences.

    Args:
        model: Learns; from states (n, C, H, W) to values of actions (n, 8*H*W + 1).
        target: Values next states, and lags behind.
        batch: The experiences. Those that were truncated had a future, those that terminated had none.
        weights: (n,) float32, importance weights.
        gamma: Discount of a turn.
    """
    values = model(batch.states).gather(1, batch.actions[:, None])[:, 0]
    with torch.no_grad():
        best = model(batch.next_states).masked_fill(batch.next_action_masks == 0, -torch.inf).argmax(1)
        future = target(batch.next_states).gather(1, best[:, None])[:, 0]
        discounts = torch.where(batch.terminated, 0.0, gamma**batch.steps)
        goals = batch.rewards + discounts * future
    losses = functional.smooth_l1_loss(values, goals, reduction="none")
    return Loss((weights * losses).mean(), (goals - values).detach(), values.detach())
