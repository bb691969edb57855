"""What producers play, and what a learner does, in measurements and in real runs alike."""

from __future__ import annotations

import numpy as np

from generals_env.recorders import ExperienceBatch
from generals_env.recorders.distributed.rollout_plan import RolloutPlan

__all__ = ["BATCH", "BUFFER", "CHUNK", "PLAN", "Learner"]

#: A task has 65,536 turns in all. A producer has one thread.
PLAN = RolloutPlan(num_envs=256, turns=256, policies=("expander", "random"), seed=1, env={"threads": 1})

#: Experiences that a producer plays and records before it sends them: 4,096 turns of two players.
CHUNK = 8192

BUFFER = 250_000  # experiences

#: Experiences of a step of the learner.
BATCH = 256


class Learner:
    """Learns the value of states by a linear function of their tensors (temporal differences)."""

    def __init__(self) -> None:
        """Begin with a value of 0."""
        self.weights = np.zeros(0, np.float32)

    def step(self, batch: ExperienceBatch) -> float:
        """Learn from a batch, and return the mean squared error before."""
        tensors = batch.tensors()
        count = len(tensors.actions)
        states, following = (array.reshape(count, -1) for array in (tensors.states, tensors.next_states))
        if not len(self.weights):
            self.weights = np.zeros(states.shape[1], np.float32)
        values, later = states @ self.weights, following @ self.weights
        errors = tensors.rewards + np.float32(0.99) * later * ~tensors.terminated - values
        self.weights += np.float32(1e-4 / count) * (errors @ states)
        return float((errors**2).mean())
