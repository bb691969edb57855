"""Small trainings that go the same way each time, and all weights of one."""

from __future__ import annotations

from typing import Any

import torch

from generals_env.learning.ppo import PPO

SMALL: dict[str, Any] = {
    "board": 5, "max_turns": 30, "games": 15, "steps": 8, "epochs": 2, "batch_size": 64, "channels": 8, "blocks": 1,
    "opponents": "hunter,expander,random,self,pool", "seed": 3,
}  # fmt: skip


def trained(trainer: PPO, first: int, end: int) -> PPO:
    for number in range(first, end):
        trainer.progress = number / 8
        trainer.iterate()
    return trainer


def weights_of(trainer: PPO) -> dict[str, torch.Tensor]:
    found = {f"network.{name}": tensor for name, tensor in trainer.network.state_dict().items()}
    found |= {f"averaged.{name}": tensor for name, tensor in trainer.averaged.state_dict().items()}
    for number, state in trainer.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{number}.{name}": tensor for name, tensor in state.items()}
    return {name: tensor.clone() for name, tensor in found.items()}
