"""Defines the actor of Ray that plays tasks of a rollout."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from generals_env.recorders.distributed.policy_player import PolicyPlayer
from generals_env.recorders.distributed.ray_actors.task_sinks import RolloutSink, TaskSinks
from generals_env.recorders.distributed.ray_actors.weights import unpack_weights
from generals_env.recorders.distributed.ray_actors.write_gate import WriteGate
from generals_env.recorders.distributed.rollout_plan import RolloutPlan
from generals_env.recorders.distributed.task_player import TaskPlayer, TaskResult

__all__ = ["RolloutWorker"]


class RolloutWorker:
    """Plays tasks one after another, in an actor or in the process of the caller."""

    def __init__(
        self,
        plan: RolloutPlan,
        sink: RolloutSink,
        make_policy: Callable[[], Any] | None,
        began: float,
        gate: WriteGate | None = None,
    ) -> None:
        """Keep the arguments; nothing is opened yet, so an error reaches the caller with the first task.

        Args:
            plan: The plan.
            sink: Where the experiences go.
            make_policy: Returns the policy object; None for built-in policies only.
            began: When the rollout began, in seconds since 1970.
            gate: By which another thread of this process ends the writes; None in an actor, which is killed.
        """
        self._plan, self._make, self._gate = plan, make_policy, gate
        self._sinks = TaskSinks(sink, began)
        self._player: TaskPlayer | None = None
        self._version = 0

    def play(self, number: int, weights: list[Any], version: int) -> TaskResult:
        """Play a task; return when the sink has stored its experiences.

        Args:
            number: The number of the task.
            weights: Weights that the policy is to play with, or a reference of Ray to them; empty for those that it has.
            version: Their version, 0 for none.
        """
        if self._player is None:
            self._player = TaskPlayer(self._plan) if self._make is None else PolicyPlayer(self._plan, self._make())
        if version != self._version and isinstance(self._player, PolicyPlayer):
            self._player.set_weights(unpack_weights(weights), version)
        self._version = version
        with self._sinks.of(self._plan.run_of(number)) as sink:
            return self._player.play(number, sink if self._gate is None else self._gate.before(sink))

    def process(self) -> int:
        """Return the id of the process."""
        return os.getpid()

    def close(self) -> None:
        """Close the sink."""
        self._sinks.close()
