"""Plays the tasks of a rollout in this process, and records them."""

from __future__ import annotations

from typing import NamedTuple

from generals_env.arguments import check_integer, shown
from generals_env.errors import ConfigError
from generals_env.recorders.distributed.rollout_plan import RolloutPlan
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import Sink
from generals_env.recorders.recording.base import ExperienceRecorder
from generals_env.vector import make_vec

__all__ = ["TaskPlayer", "TaskResult"]


class TaskResult(NamedTuple):
    """What a task has played.

    Attributes:
        number: The number of the task.
        turns: Turns of all games together.
        games: Games that ended.
        wins: Games that each player won.
        experiences: Experiences that the sink took.
    """

    number: int
    turns: int
    games: int
    wins: tuple[int, ...]
    experiences: int


class OpenedElsewhere:
    """Passes batches on to a sink that stays open when the recorder of a task closes."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, batch: ExperienceBatch) -> None:
        """Write a batch."""
        self._sink.write(batch)

    def flush(self) -> None:
        """Flush the sink: a task is over when its experiences are stored."""
        self._sink.flush()

    def close(self) -> None:
        """Flush the sink."""
        self._sink.flush()


class TaskPlayer:
    """Plays tasks of a plan, one after another. For one thread."""

    def __init__(self, plan: RolloutPlan) -> None:
        """Play tasks of ``plan``.

        Raises:
            ConfigError: If it is no ``RolloutPlan``.
        """
        if not isinstance(plan, RolloutPlan):
            raise ConfigError(f"plan: expected a RolloutPlan, got {shown(plan)}")
        self.plan = plan

    def play(self, number: int, sink: Sink) -> TaskResult:
        """Play a task into a sink, which is flushed and stays open; return when the sink has stored everything.

        Raises:
            ConfigError: If the number, the options of the environment or the policies are invalid.
            Exception: What the sink raises, unchanged.
        """
        plan, number = self.plan, check_integer("number", number, 0, 2**31)
        env = make_vec(plan.num_envs, **plan.env)
        with ExperienceRecorder(env, OpenedElsewhere(sink), plan.run_of(number)) as recorder:
            recorder.reset(seed=plan.seed_of(number))
            counts = recorder.play(plan.turns, plan.policies)
            recorder.flush()
            return TaskResult(number, counts.turns, counts.games, counts.wins, recorder.experiences)
